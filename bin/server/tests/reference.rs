//! The reference says what the program says.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, path::Path};

use practice::manual;
use server::config::Config;

/// What a file must have, so that what else is wrong with it is found.
const LEAST: &str = "[issuer]\nurl = \"https://issuer.example.com\"\n";

/// A page of the reference.
fn page(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// The keys that a section may have, as the error about one that it may not have lists them.
fn keys(section: &str) -> BTreeSet<String> {
    let text = match section {
        "" => format!("no_such_key = 1\n{LEAST}"),
        "[issuer]" => format!("{LEAST}no_such_key = 1\n"),
        other => format!("{LEAST}{other}\nno_such_key = 1\n"),
    };
    let reason = Config::parse("server.toml", &text).unwrap_err().reason;
    let (_, expected) = reason.split_once("expected").unwrap_or_else(|| panic!("{reason}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Each key of `section` is in a first column below its heading.
#[track_caller]
fn check(heading: &str, section: &str, but: &[&str]) {
    let page = page("server-configuration.md");
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
    let sections = ["database", "issuer", "oidc", "aws", "limits", "log"];
    check("## The file itself", "", &sections);
    for section in sections {
        check(&format!("## `[{section}]`"), &format!("[{section}]"), &[]);
    }
}

#[test]
fn the_reference_has_the_programs_own_help() {
    let program = manual::page(Path::new(env!("CARGO_BIN_EXE_rolecall-server"))).unwrap();
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rolecall-server.md");
    std::fs::write(&fresh, &program).unwrap();
    let kept = page("rolecall-server.md");
    assert!(program == kept, "copy {} to docs/reference/", fresh.display());
}

#[test]
fn the_least_file_of_the_reference_is_enough() {
    let page = page("server-configuration.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (file, _) = rest.split_once("```").unwrap();
    assert!(Config::parse("server.toml", file).is_ok());
}

#[test]
fn the_defaults_of_the_reference_are_those_of_the_program() {
    let config = Config::parse("server.toml", LEAST).unwrap();
    let page = page("server-configuration.md");
    let limits = config.limits;
    for (key, value) in [
        ("connections_max", limits.connections_max.get()),
        ("connections_per_address", limits.connections_per_address.get()),
        ("open_per_s", limits.open_per_s.get()),
        ("open_burst", limits.open_burst.get()),
        ("handshake_s", limits.handshake_s.get()),
        ("idle_s", limits.idle_s.get()),
        ("body_s", limits.body_s.get()),
        ("stop_s", limits.stop_s.get()),
        ("token_life_s", config.issuer.token_life_s.get()),
        ("rotate_days", config.issuer.rotate_days.get()),
    ] {
        assert!(page.contains(&format!("| `{key}` | `{value}` |")), "{key} = {value}");
    }
}
