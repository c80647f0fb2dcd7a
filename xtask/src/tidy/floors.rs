//! Who may lean on whom, as DESIGN says it.

use super::{Finding, Sight};
use crate::house::{Crate, Lean};

/// A crate, and what it may lean on.
type Floor = (&'static str, &'static [&'static str]);

/// Every crate of the workspace, floor by floor. An edge never leans on another edge, and core only
/// on core.
const FLOORS: &[Floor] = &[
    ("core/secret", &[]),
    ("core/cloud", &[]),
    ("core/workload", &["core/cloud"]),
    ("core/metadata", &["core/cloud", "core/secret"]),
    ("core/issuer", &["core/cloud", "core/secret"]),
    ("core/credentials", &["core/cloud", "core/secret", "core/workload"]),
    ("core/calls", &["core/cloud", "core/workload"]),
    ("core/ledger", &[]),
    ("edge/linux", &["core/workload"]),
    ("edge/docker", &["core/workload"]),
    ("edge/aws", &["core/cloud", "core/secret"]),
    ("edge/disk", &["core/issuer", "core/secret"]),
    // Frames are bytes to it.
    ("edge/spool", &[]),
    // A row and its ledger entry are one transaction, so the chain is linked where rows are written.
    ("edge/state", &["core/cloud", "core/secret", "core/ledger"]),
    ("edge/api", &["core/cloud", "core/secret", "core/workload"]),
    (
        "bin/agent",
        &[
            "core/cloud",
            "core/secret",
            "core/workload",
            "core/metadata",
            "core/issuer",
            "core/credentials",
            "core/calls",
            "edge/linux",
            "edge/docker",
            "edge/aws",
            "edge/disk",
            "edge/spool",
            "edge/api",
        ],
    ),
    (
        "bin/server",
        &[
            "core/cloud",
            "core/secret",
            "core/workload",
            "core/issuer",
            "core/credentials",
            "core/ledger",
            "edge/aws",
            "edge/disk",
            "edge/state",
            "edge/api",
        ],
    ),
    // What a person types names workloads, verifies ledgers, issues tokens of a standalone agent and judges
    // metadata services.
    (
        "bin/cli",
        &[
            "core/cloud",
            "core/secret",
            "core/workload",
            "core/issuer",
            "core/metadata",
            "core/ledger",
            // To look into an account: does it trust the issuer?
            "edge/aws",
            "edge/disk",
            "edge/api",
            "conformance",
        ],
    ),
    ("conformance", &[]),
    ("practice", &[]),
    ("practice/clients/rust", &[]),
    (
        "sim",
        &[
            "bin/agent",
            "bin/server",
            "edge/api",
            "core/cloud",
            "core/secret",
            "core/workload",
            "core/metadata",
            "core/issuer",
            "core/credentials",
        ],
    ),
    ("packaging", &["bin/agent", "bin/server", "bin/cli"]),
    ("xtask", &["practice"]),
];

/// What the tests of any crate may lean on besides: they are made for it and lean on nothing.
const FOR_TESTS: &[&str] = &["conformance", "practice"];

/// What nothing below `core/` may lean on, because it brings clocks, files, sockets or threads.
/// Names that end in `*` stand for all that begin so.
const IMPURE: &[&str] = &[
    "aws-*",
    "async-*",
    "axum",
    "futures*",
    "getrandom",
    "hyper*",
    "libc",
    "log",
    "mio",
    "netlink-*",
    "nix",
    "rand",
    "reqwest",
    "rustix",
    "rustls*",
    "socket2",
    "sqlx",
    "tokio*",
    "tracing*",
];

/// Finds crates that lean where they may not.
pub(super) fn floors(sight: &Sight) -> Vec<Finding> {
    sight.crates.iter().flat_map(leans).collect()
}

fn leans(krate: &Crate) -> Vec<Finding> {
    let manifest = format!("{}/Cargo.toml", krate.folder);
    let Some((_, may)) = FLOORS.iter().find(|(folder, _)| *folder == krate.folder) else {
        let what = format!("`{}` has no place in the house", krate.folder);
        let fix = "say what it may lean on in xtask/src/tidy/floors.rs and in ARCHITECTURE.md";
        return vec![Finding::new(&manifest, what, fix)];
    };
    let ours = krate.leans.iter().filter_map(|lean| Some((lean, lean.folder.as_deref()?)));
    let astray = ours.filter(|(lean, on)| {
        let allowed = may.contains(on) || (lean.tests_only && FOR_TESTS.contains(on));
        // A crate may use itself in its tests.
        !allowed && *on != krate.folder
    });
    let finding = |(lean, on): (&Lean, &str)| {
        let tests = if lean.tests_only { " in its tests" } else { "" };
        let may = if may.is_empty() { "nothing of ours".to_owned() } else { may.join(", ") };
        let what = format!("`{}` leans on `{on}`{tests}; it may lean on {may}", krate.folder);
        Finding::new(
            &manifest,
            what,
            "let a crate of bin/ join the two, or move what is shared down",
        )
    };
    astray.map(finding).collect()
}

/// Finds core crates that lean on impure ones.
pub(super) fn purity(sight: &Sight) -> Vec<Finding> {
    let mut findings = Vec::new();
    for krate in sight.crates.iter().filter(|krate| krate.folder.starts_with("core/")) {
        for lean in krate.leans.iter().filter(|lean| !lean.tests_only && impure(&lean.on)) {
            let what = format!("`{}` leans on `{}`, which is not pure", krate.folder, lean.on);
            let fix = "take what it would fetch as an argument, and fetch it in an edge";
            findings.push(Finding::new(&format!("{}/Cargo.toml", krate.folder), what, fix));
        }
    }
    findings
}

fn impure(name: &str) -> bool {
    IMPURE.iter().any(|banned| match banned.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *banned,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(folder: &str, on: &str, ours: bool, tests_only: bool) -> Sight {
        let lean = Lean { on: on.to_owned(), folder: ours.then(|| on.to_owned()), tests_only };
        let krate = Crate { folder: folder.to_owned(), leans: vec![lean], ..Crate::default() };
        Sight { crates: vec![krate], ..Sight::default() }
    }

    #[track_caller]
    fn check(folder: &str, on: &str, tests_only: bool, allowed: bool) {
        assert_eq!(floors(&sight(folder, on, true, tests_only)).is_empty(), allowed);
    }

    #[test]
    fn an_edge_never_leans_on_another_edge() {
        check("edge/aws", "edge/linux", false, false);
        check("edge/aws", "edge/linux", true, false);
        check("edge/aws", "core/cloud", false, true);
        for (folder, may) in FLOORS.iter().filter(|(folder, _)| folder.starts_with("edge/")) {
            assert!(may.iter().all(|on| on.starts_with("core/")), "{folder}");
        }
    }

    #[test]
    fn core_leans_on_core_alone() {
        check("core/workload", "edge/linux", false, false);
        check("core/secret", "core/cloud", false, false);
        for (folder, may) in FLOORS.iter().filter(|(folder, _)| folder.starts_with("core/")) {
            assert!(may.iter().all(|on| on.starts_with("core/")), "{folder}");
        }
    }

    #[test]
    fn tests_may_lean_on_what_is_made_for_tests() {
        check("core/metadata", "conformance", true, true);
        check("core/metadata", "conformance", false, false);
        check("edge/linux", "practice", true, true);
    }

    #[test]
    fn a_crate_that_the_table_does_not_know_is_found() {
        check("core/misplaced", "core/cloud", false, false);
    }

    #[test]
    fn the_house_has_no_circle() {
        // Each row leans only on rows above it, `sim` and `bin/cli` aside, which lean on `conformance`.
        let mut above: Vec<&str> = vec!["conformance", "practice"];
        for (folder, may) in FLOORS {
            assert!(may.iter().all(|on| above.contains(on)), "{folder}");
            above.push(folder);
        }
    }

    #[test]
    fn core_leans_on_nothing_impure_but_its_tests_may() {
        let found =
            |on, tests_only| !purity(&sight("core/cloud", on, false, tests_only)).is_empty();
        assert!(found("tokio", false) && found("tokio-util", false) && found("aws-sdk-sts", false));
        assert!(!found("thiserror", false) && !found("tokio", true));
        assert!(purity(&sight("edge/aws", "tokio", false, false)).is_empty());
    }
}
