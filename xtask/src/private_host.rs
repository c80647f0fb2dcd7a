//! A private host: a network and mounts of its own, in which a test may make namespaces, routes
//! and redirects without touching the machine.

use std::{ffi::OsStr, process::Command};

use crate::{house::House, programs};

/// What is done inside before the program starts. `/run` is fresh, so that `/run/netns` is ours.
const FURNISH: &str =
    "mount -t tmpfs tmpfs /run && mkdir -p /run/netns && ip link set lo up && exec \"$@\"";

/// A way into a private host that works here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrivateHost {
    /// As root.
    Root,
    /// As anybody, root only inside: the kernel must allow unprivileged user namespaces.
    User,
}

impl PrivateHost {
    /// The first way that works, or why none does.
    pub(crate) fn find(house: &House) -> Result<Self, String> {
        for tool in ["unshare", "ip", "mount"] {
            // Both know `-V`; what matters is that they start.
            if Command::new(tool).arg("-V").output().is_err() {
                return Err(format!("`{tool}` is missing; `cargo xtask setup` installs it"));
            }
        }
        let works = |way: &Self| programs::works(&mut way.command(house, "true"));
        [Self::Root, Self::User].into_iter().find(works).ok_or_else(|| {
            "no private host can be made: not root, and the kernel allows no unprivileged user \
             namespaces (see `sysctl kernel.unprivileged_userns_clone user.max_user_namespaces`)"
                .to_owned()
        })
    }

    /// A command that runs `program` inside, in a host of its own.
    pub(crate) fn command(self, house: &House, program: impl AsRef<OsStr>) -> Command {
        let mut command = programs::command(house, "unshare");
        if self == Self::User {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--net", "--mount", "--", "sh", "-c", FURNISH, "sh"]).arg(program);
        command
    }
}
