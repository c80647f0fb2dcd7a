//! The system's own packages, where we may install them.

use super::{LONG, Progress, QUICK, SetupError};
use crate::program::Invocation;
use crate::tools::on_path;

/// Installs packages of the system by name, as root or through `sudo` that asks for no password.
///
/// # Errors
/// [`SetupError::System`] with the exact command for a person, where neither is possible or the
/// system is not Debian's kin; [`SetupError::Program`] where the installer fails.
pub fn system_packages(names: &[&str], progress: Progress<'_>) -> Result<(), SetupError> {
    let install = || Plan::of(names, on_path("apt-get").is_some(), is_root(), has_sudo());
    match install() {
        Plan::Ask { why, command } => Err(SetupError::System { why, command }),
        Plan::Install { through } => {
            progress(&format!("installing {}", names.join(" ")));
            apt(&through, &["update", "--quiet"])?;
            apt(
                &through,
                &[&["install", "--quiet", "--yes", "--no-install-recommends"], names].concat(),
            )
        }
    }
}

/// What is to be done about packages on this system.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Install { through: Vec<&'static str> },
    Ask { why: &'static str, command: String },
}

impl Plan {
    fn of(names: &[&str], debian: bool, root: bool, sudo: bool) -> Self {
        let names = names.join(" ");
        let command = format!("sudo apt-get update && sudo apt-get install --yes {names}");
        match (debian, root, sudo) {
            (false, _, _) => Self::Ask {
                why: "this system has no `apt-get`, so take its own names for these packages",
                command: format!("apt-get install --yes {names}"),
            },
            (true, true, _) => Self::Install { through: vec!["env"] },
            (true, false, true) => Self::Install { through: vec!["sudo", "-n", "env"] },
            (true, false, false) => {
                Self::Ask { why: "neither root nor a `sudo` without password is at hand", command }
            }
        }
    }
}

fn apt(through: &[&'static str], arguments: &[&str]) -> Result<(), SetupError> {
    let invocation = match through.split_first() {
        // `env` carries the one variable through `sudo`, which drops the rest.
        Some((first, rest)) => Invocation::new(*first).args(rest.iter().copied()),
        None => Invocation::new("env"),
    };
    let run = invocation
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get"])
        .args(arguments.iter().copied());
    run.envs(std::env::vars_os()).run(LONG)?.success()?;
    Ok(())
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn has_sudo() -> bool {
    let asked = on_path("sudo").map(|sudo| Invocation::new(sudo).args(["-n", "true"]).run(QUICK));
    asked.is_some_and(|asked| asked.is_ok_and(|finished| finished.code == Some(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(debian: bool, root: bool, sudo: bool, words: &str) {
        let said = format!("{:?}", Plan::of(&["nftables", "iproute2"], debian, root, sudo));
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn root_installs_by_itself() {
        check(true, true, false, "Install { through: [\"env\"] }");
    }

    #[test]
    fn sudo_without_password_is_used() {
        check(true, false, true, "\"sudo\", \"-n\"");
    }

    #[test]
    fn without_rights_the_exact_command_is_named() {
        check(true, false, false, "sudo apt-get install --yes nftables iproute2");
    }

    #[test]
    fn elsewhere_the_packages_are_named() {
        check(false, true, true, "no `apt-get`");
    }
}
