//! What must not stay behind in any file.

use super::{Finding, Sight};

/// Notes to oneself. An issue is where they belong.
const MARKERS: &[&str] = &["TODO", "FIXME", "XXX"];

/// Places that exist on one machine only.
const MACHINES: &[&str] = &["/root/", "/home/", "/Users/", "/work/", "/farm/"];

/// Hosts of package registries and of what mirrors them. Their ordinary clients know them.
const REGISTRIES: &[&str] = &[
    "crates.io/api",
    "deb.debian.org",
    "files.pythonhosted.org",
    "index.crates.io",
    "proxy.golang.org",
    "pypi.org",
    "registry.npmjs.org",
    "repo.maven.apache.org",
    "repo1.maven.org",
    "static.crates.io",
    "sum.golang.org",
];

/// The rule's own words are in this file.
const THIS: &str = "xtask/src/tidy/leftovers.rs";

/// Finds notes to oneself that name no issue, `(#12)` right behind them, and gaps to be filled: a word in
/// capitals between two pairs of `@`.
pub(super) fn markers(sight: &Sight) -> Vec<Finding> {
    let gaps = each_line(sight, &["@@"], |line, pair| {
        let is_gap = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase());
        let parts: Vec<&str> = line.split(pair).collect();
        let inner = parts.get(1..parts.len().saturating_sub(1)).unwrap_or_default();
        inner
            .iter()
            .find(|word| is_gap(word))
            .map(|word| (format!("`{word}` is a gap"), "put there what was measured or printed"))
    });
    notes(sight).into_iter().chain(gaps).collect()
}

fn notes(sight: &Sight) -> Vec<Finding> {
    each_line(sight, MARKERS, |line, marker| {
        let mut at = line.match_indices(marker);
        let alone = at.any(|(start, _)| {
            let before = line.get(..start).and_then(|text| text.chars().next_back());
            let after = line.get(start + marker.len()..).unwrap_or_default();
            let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
            let whole = !before.is_some_and(is_word) && !after.starts_with(is_word);
            whole && !after.starts_with("(#")
        });
        alone.then(|| {
            (
                format!("`{marker}` without an issue"),
                "do it, or file an issue and write its number behind the word",
            )
        })
    })
}

/// Finds paths of one machine and hosts of registries.
pub(super) fn places(sight: &Sight) -> Vec<Finding> {
    let mut findings =
        each_line(sight, MACHINES, |line, path| {
            // `/home/` in `https://example.com/home/x` or in `a/work/b` is no path of a machine.
            let mut at = line.match_indices(path);
            let rooted = at.any(|(start, _)| {
                let before = line.get(..start).and_then(|text| text.chars().next_back());
                !before.is_some_and(|c| c.is_alphanumeric() || "_-./}>*)".contains(c))
            });
            rooted.then(|| (
            format!("`{path}` is a path of one machine"),
            "find the place from the root of the clone, the target folder or the environment",
        ))
        });
    findings.extend(each_line(sight, REGISTRIES, |line, host| {
        line.contains(host).then(|| {
            (
                format!("`{host}` is the host of a registry"),
                "name the package; its ordinary client knows where to look",
            )
        })
    }));
    findings
}

/// Looks at every line that contains one of the words.
fn each_line(
    sight: &Sight,
    words: &[&str],
    look: impl Fn(&str, &str) -> Option<(String, &'static str)>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in sight.files.iter().filter(|(path, _)| *path != THIS) {
        for (index, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                if let Some((what, fix)) = look(line, word) {
                    findings.push(Finding::at(path, index, what, fix));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: fn(&Sight) -> Vec<Finding>, text: &str, found: bool) {
        assert_eq!(!Sight::of(&[("a.md", text)]).places(rule).is_empty(), found, "{text}");
    }

    #[test]
    fn a_marker_needs_an_issue() {
        check(markers, "// TODO: later", true);
        check(markers, "# FIXME", true);
        check(markers, "// TODO(#12): later", false);
    }

    #[test]
    fn a_gap_that_was_left_is_found() {
        check(markers, &format!("| {0}BENCH{0} |", "@@"), true);
        check(markers, "@@ -1,2 +3,4 @@ fn a()", false);
    }

    #[test]
    fn a_marker_inside_a_word_is_none() {
        check(markers, "arn:aws:iam::XXXX", false);
        check(markers, "TODOS and METHODTODO", false);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        check(places, "see /root/notes", true);
        check(places, "\"/work/main\"", true);
        check(places, "the clone's target/work/x and https://example.com/home/", false);
    }

    #[test]
    fn the_host_of_a_registry_is_found() {
        check(places, "\"resolved\": \"https://registry.npmjs.org/a\"", true);
        check(places, "source = \"registry+https://github.com/rust-lang/crates.io-index\"", false);
    }
}
