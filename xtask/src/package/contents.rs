//! What is in each package, as data: adding a file is one entry.

/// A Debian package with one program.
#[derive(Debug)]
pub(super) struct Package {
    /// The package's name.
    pub(super) name: &'static str,
    /// The program in `/usr/bin`.
    pub(super) program: &'static str,
    /// The crate that the program comes from.
    pub(super) krate: &'static str,
    /// The folder below `packaging/` with the files and the maintainer scripts.
    pub(super) folder: &'static str,
    /// One line: what it is.
    pub(super) title: &'static str,
    /// What a person should know who chooses packages; lines of at most 80 letters.
    pub(super) about: &'static str,
    /// What it needs besides the libraries that its program is linked with.
    pub(super) depends: &'static [&'static str],
    /// What goes well with it.
    pub(super) suggests: &'static [&'static str],
    /// Files of `folder`, and where they go.
    pub(super) files: &'static [(&'static str, &'static str)],
}

const UNITS: &str = "/usr/lib/systemd/system";

/// What makes the user of a unit.
const SYSUSERS: &str = "systemd | systemd-standalone-sysusers";

/// The packages.
pub(super) const PACKAGES: &[Package] = &[
    Package {
        name: "rolecall-agent",
        program: "rolecall-agent",
        krate: "rolecall-agent",
        folder: "agent",
        title: "gives each workload on a host the role of its own AWS account",
        about: "\
Answers the metadata services of Amazon EC2, ECS and EKS on this host, tells
the programs that ask apart by the kernel, and hands each the credentials of
its own application's role. One agent runs per host.",
        depends: &["ca-certificates", "nftables", SYSUSERS],
        suggests: &["rolecall", "iproute2"],
        files: &[
            ("rolecall-agent.service", UNITS),
            ("rolecall-redirect.service", UNITS),
            ("rolecall-agent.conf", "/usr/lib/sysusers.d"),
            ("agent.toml", "/etc/rolecall"),
            ("rolecall-agent", "/etc/logrotate.d"),
        ],
    },
    Package {
        name: "rolecall-server",
        program: "rolecall-server",
        krate: "rolecall-server",
        folder: "server",
        title: "control plane that signs for a fleet of Rolecall agents",
        about: "\
Tells the agents of a fleet which workload may have which role, signs the
tokens that they ask AWS with, and writes down who changed what and who was
given what before it happens.",
        depends: &["ca-certificates"],
        suggests: &["rolecall", "postgresql"],
        files: &[("rolecall-server.service", UNITS), ("server.toml", "/etc/rolecall")],
    },
    Package {
        name: "rolecall",
        program: "rolecall",
        krate: "rolecall",
        folder: "cli",
        title: "command line of Rolecall",
        about: "\
Looks after the keys of an issuer, writes what IAM must trust, and judges
implementations of the metadata protocols.",
        depends: &[],
        suggests: &["rolecall-agent"],
        files: &[],
    },
];

/// The scripts that dpkg runs, where a package has them.
pub(super) const SCRIPTS: &[&str] = &["preinst", "postinst", "prerm", "postrm"];
