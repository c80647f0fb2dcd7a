//! What the Rust code may not contain.

use super::{Finding, Sight};
use crate::source::{code_only, words};

/// Names that fit everything and so say nothing.
const EMPTY_NAMES: &[&str] = &[
    "common",
    "helper",
    "helpers",
    "manager",
    "managers",
    "misc",
    "prelude",
    "shared",
    "test_utils",
    "testutil",
    "types",
    "util",
    "utils",
];

/// About how long a file may be without its tests, in lines.
const LONG: usize = 600;

/// Finds unsafe code outside the one crate that may have it.
pub(super) fn unsafety(sight: &Sight) -> Vec<Finding> {
    let fix = "let edge/linux do it behind a safe function";
    each_line(sight, |path, line| {
        if path.starts_with("edge/linux/") {
            return None;
        }
        let mut words = words(line);
        words
            .any(|word| word == "unsafe" || word == "unsafe_code")
            .then(|| ("unsafe code outside edge/linux".to_owned(), fix))
    })
}

/// Finds modules, files and folders with names that say nothing.
pub(super) fn names(sight: &Sight) -> Vec<Finding> {
    let fix = "name it after the noun that it holds";
    let say = |name: &str| format!("`{name}` is a name that fits everything");
    let mut findings = each_line(sight, |_, line| {
        let mut words = words(line);
        words.find(|word| *word == "mod")?;
        let name = words.next().filter(|name| EMPTY_NAMES.contains(name))?;
        Some((say(name), fix))
    });
    for (path, _) in sight.with_ending(".rs") {
        let parts = path.trim_end_matches(".rs").split('/');
        for name in parts.filter(|part| EMPTY_NAMES.contains(&part.replace('-', "_").as_str())) {
            findings.push(Finding::new(path, say(name), fix));
        }
    }
    findings
}

/// Finds tests that never run.
pub(super) fn ignored(sight: &Sight) -> Vec<Finding> {
    let fix = "let the test print `skipped: REASON` and return where it cannot run";
    each_line(sight, |_, line| {
        let attribute: String = line.split_whitespace().collect();
        attribute.starts_with("#[ignore").then(|| ("an ignored test".to_owned(), fix))
    })
}

/// Finds files that are long to read.
pub(super) fn length(sight: &Sight) -> Vec<Finding> {
    let long = |(path, text): (&str, &str)| {
        let tests = text.lines().position(|line| line.trim() == "#[cfg(test)]");
        let lines = tests.unwrap_or_else(|| text.lines().count());
        (lines > LONG).then(|| {
            let what = format!("{lines} lines without tests, more than {LONG}");
            Finding::new(path, what, "one noun per file, where that reads better")
        })
    };
    sight.with_ending(".rs").filter_map(long).collect()
}

/// Looks at every line of code, comments and texts left out.
fn each_line(
    sight: &Sight,
    look: impl Fn(&str, &str) -> Option<(String, &'static str)>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in sight.with_ending(".rs") {
        for (index, line) in code_only(text).lines().enumerate() {
            if let Some((what, fix)) = look(path, line) {
                findings.push(Finding::at(path, index, what, fix));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: fn(&Sight) -> Vec<Finding>, path: &str, text: &str, places: &[&str]) {
        assert_eq!(Sight::of(&[(path, text)]).places(rule), places);
    }

    #[test]
    fn unsafe_code_is_found_outside_edge_linux() {
        check(
            unsafety,
            "core/a/src/lib.rs",
            "fn f() {\n    unsafe { g() }\n}",
            &["core/a/src/lib.rs:2"],
        );
        check(unsafety, "edge/linux/src/lib.rs", "unsafe fn f() {}", &[]);
    }

    #[test]
    fn allowing_unsafe_code_is_found_as_well() {
        let text = "#![expect(unsafe_code, reason = \"fast\")]";
        check(unsafety, "bin/a/src/main.rs", text, &["bin/a/src/main.rs:1"]);
    }

    #[test]
    fn the_word_alone_is_not_unsafe_code() {
        check(unsafety, "a.rs", "// unsafe\nlet a = \"unsafe\"; let unsafely = 1;", &[]);
    }

    #[test]
    fn a_module_that_is_named_after_nothing_is_found() {
        check(names, "core/a/src/lib.rs", "\npub mod utils;", &["core/a/src/lib.rs:2"]);
        check(names, "core/a/src/lib.rs", "pub(crate) mod types {}", &["core/a/src/lib.rs:1"]);
        check(names, "core/a/src/lib.rs", "mod lease;", &[]);
    }

    #[test]
    fn a_file_or_folder_that_is_named_after_nothing_is_found() {
        check(names, "core/a/tests/common/mod.rs", "", &["core/a/tests/common/mod.rs"]);
        check(names, "core/test-utils/src/lib.rs", "", &["core/test-utils/src/lib.rs"]);
        check(names, "core/a/src/helpers.rs", "", &["core/a/src/helpers.rs"]);
    }

    #[test]
    fn an_ignored_test_is_found() {
        check(ignored, "a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}", &["a.rs:2"]);
        check(ignored, "a.rs", "// #[ignore]", &[]);
    }

    #[test]
    fn a_long_file_is_noted_but_its_tests_do_not_count() {
        check(length, "a.rs", &"line\n".repeat(601), &["a.rs"]);
        let tests = format!("{}#[cfg(test)]\n{}", "line\n".repeat(500), "line\n".repeat(500));
        check(length, "a.rs", &tests, &[]);
    }
}
