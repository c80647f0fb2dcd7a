//! The suites of tests, as data: adding one is one entry of [`SUITES`].

use std::time::Duration;

/// A suite of tests.
#[derive(Debug)]
pub(crate) struct Suite {
    /// What a person types.
    pub(crate) name: &'static str,
    /// What holds when it passes.
    pub(crate) promise: &'static str,
    /// What must be installed before.
    pub(crate) needs: &'static [Need],
    /// How it is run.
    pub(crate) run: Run,
}

/// What must be installed before a suite runs, through [`practice::setup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The system's programs for namespaces and redirects.
    Host,
    /// A container engine: podman, and an image's worth of busybox.
    Containers,
    /// What makes packages, and a system to install them on.
    Packaging,
    /// The practice cloud, boto3 and the AWS CLI.
    Python,
    /// A PostgreSQL server.
    Postgres,
    /// The OpenID provider of the practice people.
    People,
    /// A Python with our shim in it, and aiobotocore.
    ShimmedPython,
    /// What the table of names is made from.
    Names,
    /// The JavaScript client.
    Node,
    /// The Go client.
    Go,
    /// The Java client.
    Java,
    /// The shim for Java, and what its tests lean on.
    JavaShim,
    /// What the tests of the shim for JavaScript lean on.
    JsShim,
    /// The Go client with its shim, and what the tests of that lean on.
    GoShim,
    /// The Rust client.
    Rust,
}

impl Need {
    /// Everything, in the order in which it is installed.
    pub(crate) const ALL: &[Self] = &[
        Self::Host,
        Self::Containers,
        Self::Packaging,
        Self::Python,
        Self::Postgres,
        Self::People,
        Self::ShimmedPython,
        Self::Names,
        Self::Node,
        Self::Go,
        Self::Java,
        Self::JavaShim,
        Self::JsShim,
        Self::GoShim,
        Self::Rust,
    ];

    /// What a private host and the practice cloud need.
    const STAGE: &[Self] = &[Self::Host, Self::Python];
}

/// How a suite is run.
#[derive(Debug)]
pub(crate) enum Run {
    /// Cargo commands that answer by their exit code; each is one test.
    Checks(&'static [Check]),
    /// The rules of [`crate::tidy`]; each is one test.
    Tidy,
    /// The workspace's test programs that [`suite_of`] gives to this suite.
    Programs(Place),
    /// The examples in the documentation, and then the documentation itself.
    Docs,
    /// Each fuzz target for so many seconds; each is one test.
    Fuzz(u32),
}

/// A cargo command that answers by its exit code.
#[derive(Debug)]
pub(crate) struct Check {
    /// The words after `cargo`.
    pub(crate) words: &'static [&'static str],
    /// The component of the toolchain that brings the subcommand, where one must.
    pub(crate) component: Option<&'static str>,
}

/// Where test programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Here, as we run.
    Here,
    /// Each in a private host of its own.
    PrivateHost,
}

/// How long any one program of a suite may run. Far above what is needed: it only keeps a hanging
/// test from holding everything.
pub(crate) const PROGRAM_LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long one build may take on a small machine with nothing built before.
pub(crate) const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);

/// The suites, quick ones first.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "format",
        promise: "every Rust file is formatted",
        needs: &[],
        run: Run::Checks(&[
            Check { words: &["fmt", "--all", "--check"], component: Some("rustfmt") },
            Check {
                words: &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"],
                component: Some("rustfmt"),
            },
        ]),
    },
    Suite {
        name: "tidy",
        promise: "the house is in order: dependencies, names, documents, leftovers",
        needs: &[],
        run: Run::Tidy,
    },
    Suite {
        name: "lint",
        promise: "no warning, and nothing impure below core/",
        needs: &[],
        run: Run::Checks(&[Check {
            words: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
            component: Some("clippy"),
        }]),
    },
    Suite {
        name: "unit",
        promise: "every crate keeps its own promises",
        needs: &[Need::Python],
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "names",
        promise: "the embedded table of names is what the published packages give",
        needs: &[Need::Python, Need::Names],
        run: Run::Checks(&[Check {
            words: &["xtask", "gen", "names", "--check"],
            component: None,
        }]),
    },
    Suite {
        name: "vectors",
        promise: "the language-neutral cases hold",
        needs: &[],
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "sim",
        promise: "the laws hold through faults, restarts and clock jumps, from fixed seeds",
        needs: &[],
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "database",
        promise: "on either database acts are serial, whole and recorded, through crashes and full disks",
        needs: &[Need::Postgres],
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "fleet",
        promise: "replicas and their database die under load, and nothing acknowledged is lost",
        needs: &[Need::Postgres],
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "cloud",
        promise: "KMS, IAM and STS are asked as they answer, and who signed a request is found out",
        needs: &[Need::Python],
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "people",
        promise: "people sign in by a real provider, with a browser or a device, and nobody else does",
        needs: &[Need::People],
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "control",
        promise: "a joined host obeys within two seconds, outlives its server, and has what is its own",
        needs: &[Need::Python, Need::People],
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "conformance",
        promise: "the built agent answers as the metadata protocols say",
        needs: Need::STAGE,
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "namespaces",
        promise: "workloads are told apart by a real kernel and a real container engine",
        needs: &[Need::Host, Need::Containers, Need::Python],
        run: Run::Programs(Place::PrivateHost),
    },
    Suite {
        name: "doc",
        promise: "every example in the documentation runs, and no link in it is broken",
        needs: &[],
        run: Run::Docs,
    },
    Suite {
        name: "practice",
        promise: "the practice cloud refuses what AWS would refuse; the practice host is private",
        needs: Need::ALL,
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "clients",
        promise: "unchanged programs with the real AWS SDKs each act in their own account",
        needs: Need::ALL,
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "recording",
        promise: "calls are recorded with their workload, lease and resources, and every loss is counted",
        needs: &[
            Need::Host,
            Need::Python,
            Need::ShimmedPython,
            Need::Java,
            Need::JavaShim,
            Need::Node,
            Need::JsShim,
            Need::GoShim,
        ],
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "shims",
        promise: "unchanged programs tell of their calls, never notice it, and let no secret out",
        needs: &[
            Need::Python,
            Need::ShimmedPython,
            Need::Java,
            Need::JavaShim,
            Need::Node,
            Need::JsShim,
            Need::GoShim,
        ],
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "demo",
        promise: "the demo shows what it promises, with a server and without, with namespaces and without",
        needs: Need::STAGE,
        run: Run::Checks(&[
            Check { words: &["xtask", "demo", "--once"], component: None },
            Check { words: &["xtask", "demo", "--once", "--loopback", "--json"], component: None },
            Check { words: &["xtask", "demo", "--once", "--standalone"], component: None },
            Check {
                words: &["xtask", "demo", "--once", "--standalone", "--loopback"],
                component: None,
            },
        ]),
    },
    Suite {
        name: "package",
        promise: "the packages install on a fresh Debian, serve there, and leave nothing behind",
        needs: &[Need::Packaging, Need::Python],
        run: Run::Programs(Place::Here),
    },
    Suite {
        name: "fuzz",
        promise: "no input breaks a parser, as far as a few seconds tell",
        needs: &[],
        run: Run::Fuzz(5),
    },
];

/// Which test programs belong where: by folder, then by how the name of the file begins. The first
/// row that fits decides.
const CLAIMS: &[(&str, &str, &str)] = &[
    ("sim", "", "sim"),
    ("practice", "", "practice"),
    ("packaging", "", "package"),
    ("edge/linux", "kernel", "namespaces"),
    ("edge/docker", "podman", "namespaces"),
    ("edge/state", "database", "database"),
    ("edge/aws", "cloud", "cloud"),
    ("bin/server", "people", "people"),
    ("bin/server", "fleet", "fleet"),
    ("bin/agent", "control", "control"),
    ("bin/agent", "shims", "shims"),
    ("bin/agent", "recording", "recording"),
    ("", "namespaces", "namespaces"),
    ("", "clients", "clients"),
    ("", "vectors", "vectors"),
    ("", "conformance", "conformance"),
];

/// The suite of a test program: `folder` of its crate, and the name of its file below `tests/`
/// where it is one. What nobody claims is `unit`.
pub(crate) fn suite_of(folder: &str, file: Option<&str>) -> &'static str {
    let fits = |claim: &&(&str, &str, &str)| {
        (claim.0.is_empty() || claim.0 == folder)
            && (claim.1.is_empty() || file.is_some_and(|file| file.starts_with(claim.1)))
    };
    CLAIMS.iter().find(fits).map_or("unit", |claim| claim.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(folder: &str, file: Option<&str>, suite: &str) {
        assert_eq!(suite_of(folder, file), suite);
    }

    #[test]
    fn a_test_program_belongs_to_the_suite_that_its_file_is_named_after() {
        check("edge/linux", Some("kernel"), "namespaces");
        check("bin/agent", Some("namespaces_redirect"), "namespaces");
        check("core/metadata", Some("vectors"), "vectors");
        check("bin/agent", Some("clients_java"), "clients");
    }

    #[test]
    fn what_nobody_claims_is_a_unit_test() {
        check("core/metadata", Some("decide"), "unit");
        check("conformance", None, "unit");
        check("edge/linux", None, "unit");
    }

    #[test]
    fn all_of_the_simulator_is_one_suite() {
        check("sim", None, "sim");
        check("sim", Some("laws"), "sim");
    }

    #[test]
    fn all_of_the_stage_is_one_suite() {
        check("practice", None, "practice");
        check("practice", Some("gate"), "practice");
    }

    #[test]
    fn every_claim_names_a_suite_that_runs_programs() {
        for (_, _, suite) in CLAIMS {
            let named = SUITES.iter().find(|s| s.name == *suite);
            assert!(named.is_some_and(|s| matches!(s.run, Run::Programs(_))), "{suite}");
        }
    }

    #[test]
    fn no_two_suites_have_one_name() {
        let mut names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SUITES.len());
    }
}
