//! The reference says what the program says.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, path::Path};

use agent::settings::Settings;
use practice::manual;

/// A file of the reference.
fn reference(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// The keys that a section may have, as the error about one that it may not have lists them.
fn keys(section: &str) -> BTreeSet<String> {
    let text = format!("{section}\nno_such_key = 1\n");
    let reason = Settings::parse("agent.toml", &text, 0).unwrap_err().reason;
    let (_, expected) = reason.split_once("expected").unwrap_or_else(|| panic!("{reason}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Each key of `section` is in a first column below its heading.
#[track_caller]
fn check(heading: &str, section: &str, but: &[&str]) {
    let page = reference("configuration.md");
    let (_, below) = page.split_once(heading).unwrap_or_else(|| panic!("no `{heading}`"));
    let text = below.split("\n#").next().unwrap_or_default();
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let told: BTreeSet<String> =
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect();
    let sections: BTreeSet<String> = but.iter().map(|&key| key.to_owned()).collect();
    let keys: BTreeSet<String> = keys(section).difference(&sections).cloned().collect();
    assert_eq!(told, keys, "{heading}");
}

#[test]
fn the_reference_has_every_key_of_the_file_and_no_other() {
    let sections = [
        "metadata", "host", "sts", "issuer", "server", "log", "admin", "calls", "docker", "binding",
    ];
    check("## The file itself", "", &sections);
    check("## `[metadata]`", "[metadata]", &["redirect"]);
    check("### `[metadata.redirect]`", "[metadata.redirect]", &[]);
    check("## `[host]`", "[host]", &[]);
    check("## `[sts]`", "[sts]", &[]);
    check("## `[issuer]`", "[issuer]", &[]);
    check("## `[server]`", "[server]", &[]);
    check("## `[log]`", "[log]", &[]);
    check("## `[admin]`", "[admin]", &[]);
    check("## `[calls]`", "[calls]", &[]);
    check("## `[docker]`", "[docker]", &[]);
    check("## `[[binding]]`", "[[binding]]", &[]);
    check("### `match = { … }`", "[[binding]]\n[binding.match]", &[]);
}

#[test]
fn the_reference_says_what_may_be_read_of_the_host() {
    let page = reference("configuration.md");
    let line = page.lines().find(|line| line.starts_with("Without being named")).unwrap();
    let told: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
    assert_eq!(told, agent::settings::ALLOWED);
}

#[test]
fn the_reference_has_the_programs_own_help() {
    let page = manual::page(Path::new(env!("CARGO_BIN_EXE_rolecall-agent"))).unwrap();
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rolecall-agent.md");
    std::fs::write(&fresh, &page).unwrap();
    assert!(page == reference("rolecall-agent.md"), "copy {} to docs/reference/", fresh.display());
}

#[test]
fn the_file_of_each_document_is_right() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for name in ["README.md", "docs/operating/install.md"] {
        let text = std::fs::read_to_string(page.join(name)).unwrap();
        let (_, rest) = text.split_once("```toml\n").unwrap();
        let (file, _) = rest.split_once("```").unwrap();
        let settings = Settings::parse(name, file, 0);
        assert_eq!(settings.map(|settings| settings.by_rule.len()), Ok(1), "{name}");
    }
}
