//! Documents that must agree with the code.

use std::collections::BTreeSet;

use super::{Finding, Sight};

/// The map of the house.
const MAP: &str = "ARCHITECTURE.md";
/// The known failures of the field.
const INCIDENTS: &str = "docs/past-incidents.md";
/// The documents that promise and name the tests that hold the promise.
const PROMISES: &[&str] = &["SPECIFICATION.md", INCIDENTS];
/// How many words a backticked name has at least to be taken for a test's: tests are sentences.
const SENTENCE: usize = 4;

/// Finds crates whose first line, description and row in the map differ.
pub(super) fn map(sight: &Sight) -> Vec<Finding> {
    let mut findings = Vec::new();
    let map = sight.files.get(MAP).map(String::as_str).unwrap_or_default();
    for krate in &sight.crates {
        let (folder, description) = (&krate.folder, &krate.description);
        let place = |file: &str| format!("{folder}/src/{file}");
        let (path, text) = ["lib.rs", "main.rs"]
            .iter()
            .find_map(|file| Some((place(file), sight.files.get(&place(file))?.as_str())))
            .unwrap_or_else(|| (place("lib.rs"), ""));
        let first = text.lines().next().unwrap_or_default();
        if first != format!("//! {description}") {
            let what = format!("the first line is not `//! {description}`");
            findings.push(Finding::at(
                &path,
                0,
                what,
                "say there what `description` in Cargo.toml says",
            ));
        }
        if !rows(map).any(|(_, row)| row == (folder.as_str(), description.as_str())) {
            let what = format!("the code map has no row `| `{folder}` | {description} |`");
            findings.push(Finding::new(
                MAP,
                what,
                "one row per crate, with the words of its manifest",
            ));
        }
    }
    for (index, (folder, _)) in rows(map) {
        let known = sight.crates.iter().any(|krate| krate.folder == folder);
        let is_crate = ["core/", "edge/", "bin/"].iter().any(|floor| folder.starts_with(floor));
        if is_crate && !known {
            let what = format!("the code map shows `{folder}`, which is no crate");
            findings.push(Finding::at(MAP, index, what, "remove the row"));
        }
    }
    findings
}

/// The rows of the code map: line, folder and what it is for.
fn rows(map: &str) -> impl Iterator<Item = (usize, (&str, &str))> {
    map.lines().enumerate().filter_map(|(index, line)| {
        let (folder, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((index, (folder, rest.split(" |").next()?.trim())))
    })
}

/// Finds tests that a promise names and that do not exist.
pub(super) fn tests(sight: &Sight) -> Vec<Finding> {
    let known = functions(sight);
    let mut findings = Vec::new();
    for path in PROMISES {
        let text = sight.files.get(*path).map(String::as_str).unwrap_or_default();
        for (index, line) in text.lines().enumerate() {
            for name in test_names(line).filter(|name| !known.contains(name)) {
                let what = format!("there is no test `{name}`");
                let fix = "write the test, or name the one that holds the promise";
                findings.push(Finding::at(path, index, what, fix));
            }
            for (file, name) in cases(line) {
                let file = format!("conformance/{file}");
                let quoted = format!("\"{name}\"");
                if !sight.files.get(&file).is_some_and(|text| text.contains(&quoted)) {
                    let what = format!("there is no case `{name}` in `{file}`");
                    findings.push(Finding::at(
                        path,
                        index,
                        what,
                        "write the case, or name another",
                    ));
                }
            }
        }
    }
    findings
}

/// Cases of the conformance kit, which are named with their file: `metadata/token.json: a sentence`.
fn cases(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let quoted = line.split('`').skip(1).step_by(2);
    let parts = quoted.filter_map(|text| text.split_once(": "));
    parts.filter(|(file, _)| file.ends_with(".json"))
}

/// The names of all functions in Rust and Python.
fn functions(sight: &Sight) -> BTreeSet<&str> {
    let named = |(path, line): (&str, &'_ str)| -> Option<(usize, usize)> {
        let word = if path.ends_with(".py") { "def " } else { "fn " };
        let start = line.find(word)? + word.len();
        let rest = line.get(start..)?;
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        Some((start, start + length))
    };
    let mut names = BTreeSet::new();
    for (path, text) in sight.with_ending(".rs").chain(sight.with_ending(".py")) {
        for line in text.lines() {
            let name = named((path, line)).and_then(|(start, end)| line.get(start..end));
            names.extend(name);
        }
    }
    names
}

/// What looks like a test's name: in backticks, lower case, a sentence of words.
fn test_names(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    let last = quoted.map(|name| name.rsplit("::").next().unwrap_or(name));
    last.filter(|name| {
        let is_name =
            name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        is_name && name.split('_').filter(|word| !word.is_empty()).count() >= SENTENCE
    })
}

/// Finds incidents that name no test. An incident is a heading of the third level.
pub(super) fn incidents(sight: &Sight) -> Vec<Finding> {
    let text = sight.files.get(INCIDENTS).map(String::as_str).unwrap_or_default();
    let mut findings = Vec::new();
    let mut open: Option<(usize, &str)> = None;
    let find = |open: Option<(usize, &str)>| {
        let (index, title) = open?;
        let what = format!("`{title}` names no test");
        Some(Finding::at(INCIDENTS, index, what, "end it with `Shown by:` and the test's name"))
    };
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') {
            findings.extend(find(open));
            open = line.strip_prefix("### ").map(|title| (index, title));
        } else if test_names(line).next().is_some() || cases(line).next().is_some() {
            open = None;
        }
    }
    findings.extend(find(open));
    findings
}

/// Finds links to files that do not exist.
pub(super) fn links(sight: &Sight) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in sight.with_ending(".md") {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut fenced = false;
        for (index, line) in text.lines().enumerate() {
            fenced ^= line.trim_start().starts_with("```");
            for link in targets(line).filter(|_| !fenced) {
                let file = link.split('#').next().unwrap_or_default();
                let elsewhere = link.contains("://") || link.starts_with("mailto:");
                if !elsewhere && !file.is_empty() && !exists(sight, &join(folder, file)) {
                    let what = format!("`{link}` leads nowhere");
                    let fix = "link to a file of this clone, from where this one is";
                    findings.push(Finding::at(path, index, what, fix));
                }
            }
        }
    }
    findings
}

/// What `[…](target)` links to.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

fn join(folder: &str, file: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether there is such a file, or a folder with files.
fn exists(sight: &Sight, path: &str) -> bool {
    let below = format!("{path}/");
    path.is_empty()
        || sight.files.contains_key(path)
        || sight.files.keys().any(|file| file.starts_with(&below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::Crate;

    #[track_caller]
    fn check(rule: fn(&Sight) -> Vec<Finding>, files: &[(&str, &str)], places: &[&str]) {
        assert_eq!(Sight::of(files).places(rule), places);
    }

    #[track_caller]
    fn check_map(first: &str, row: &str, places: &[&str]) {
        let mut sight = Sight::of(&[("core/a/src/lib.rs", first), (MAP, row)]);
        let (folder, description) = ("core/a".to_owned(), "A thing: done.".to_owned());
        sight.crates = vec![Crate { folder, description, ..Crate::default() }];
        assert_eq!(sight.places(map), places);
    }

    #[test]
    fn a_crate_is_described_in_one_way_everywhere() {
        check_map("//! A thing: done.", "| `core/a` | A thing: done. |", &[]);
        check_map("//! Another.", "| `core/a` | A thing: done. |", &["core/a/src/lib.rs:1"]);
        check_map("//! A thing: done.", "| `core/a` | Another. |", &[MAP]);
    }

    #[test]
    fn a_crate_that_is_gone_leaves_the_map() {
        let rows = "| `core/a` | A thing: done. |\n| `core/b` | Gone. |";
        check_map("//! A thing: done.", rows, &["ARCHITECTURE.md:2"]);
    }

    #[test]
    fn a_promised_test_must_exist() {
        let code = ("a.rs", "#[test]\nfn a_lease_is_served_to_its_end() {}");
        check(tests, &[code, (INCIDENTS, "`a_lease_is_served_to_its_end`")], &[]);
        check(tests, &[code, (INCIDENTS, "`leases::a_lease_is_served_to_its_end`")], &[]);
        check(
            tests,
            &[code, (INCIDENTS, "\n`a_lease_is_never_served`")],
            &["docs/past-incidents.md:2"],
        );
        check(tests, &[code, ("SPECIFICATION.md", "`no_such_test_here`")], &["SPECIFICATION.md:1"]);
    }

    #[test]
    fn other_names_are_not_taken_for_tests() {
        check(tests, &[(INCIDENTS, "`sock_diag`, `AWS_A_B_C_D`, `user-data`, a_b_c_d")], &[]);
    }

    #[test]
    fn a_python_test_counts_as_well() {
        let code = ("gate.py", "    def test_a_stale_token_is_refused(self):");
        check(tests, &[code, (INCIDENTS, "`test_a_stale_token_is_refused`")], &[]);
    }

    #[test]
    fn a_promised_case_must_exist() {
        let case = ("conformance/metadata/token.json", "{\"name\": \"a token has a life\"}");
        check(tests, &[case, (INCIDENTS, "`metadata/token.json: a token has a life`")], &[]);
        let places = ["docs/past-incidents.md:1"];
        check(tests, &[case, (INCIDENTS, "`metadata/token.json: a token is free`")], &places);
        check(tests, &[case, (INCIDENTS, "`metadata/none.json: a token has a life`")], &places);
    }

    #[test]
    fn every_incident_names_a_test() {
        let text =
            "# All\n### First\nShown by: `a_b_c_d`\n### Second\nnothing\n## Part\n### Third\n";
        check(
            incidents,
            &[(INCIDENTS, text)],
            &["docs/past-incidents.md:4", "docs/past-incidents.md:7"],
        );
    }

    #[test]
    fn a_link_to_a_missing_file_is_found() {
        let files = [("docs/a.md", "[x](b.md) [y](../README.md#top)"), ("README.md", "[d](docs)")];
        check(links, &files, &["docs/a.md:1"]);
    }

    #[test]
    fn links_elsewhere_and_examples_are_left_alone() {
        let text = "[x](https://example.com/a) [y](#here)\n```\n[z](no.md)\n```\n";
        check(links, &[("a.md", text)], &[]);
    }
}
