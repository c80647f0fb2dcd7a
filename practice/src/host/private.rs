//! Entering a private place, and knowing that one is in it.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use super::{HostError, QUICK};
use crate::program::Invocation;
use crate::tools::Tools;

/// How a private place can be had on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// As root, by itself.
    Root,
    /// As root of an unprivileged user namespace.
    UserNamespace,
    /// Not at all.
    None {
        /// Why, in the words of the tool that failed.
        why: String,
    },
}

/// What became of a test that wanted a private place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Visit {
    /// It ran there, and passed.
    Done,
    /// There is no private place to be had here.
    Skipped {
        /// Why.
        why: String,
    },
}

/// Finds out how a private place can be had, by trying: namespaces, a veth pair and `lo` up.
pub fn privilege(tools: &Tools) -> Privilege {
    let mut why = "`unshare` and `ip` are missing".to_owned();
    let ways =
        [(Privilege::Root, rustix::process::geteuid().is_root()), (Privilege::UserNamespace, true)];
    for (way, possible) in ways {
        if !possible {
            continue;
        }
        match attempt(tools, &way) {
            Ok(()) => return way,
            Err(error) => why = error.to_string(),
        }
    }
    Privilege::None { why }
}

fn attempt(tools: &Tools, way: &Privilege) -> Result<(), HostError> {
    let script = "set -e; \"$0\" link set lo up; \"$0\" link add rc0 type veth peer name rc1";
    let probe = Invocation::new("sh").args(["-c", script]).arg(tools.ip()?);
    probe.through(tools.unshare()?, options(way)).run(QUICK)?.success()?;
    Ok(())
}

/// `invocation`, run in a private place of its own. With [`Privilege::None`] it is as it was, and
/// [`is_inside`] says so to it.
pub fn inside(
    tools: &Tools,
    way: &Privilege,
    invocation: Invocation,
) -> Result<Invocation, HostError> {
    if matches!(way, Privilege::None { .. }) {
        return Ok(invocation);
    }
    Ok(invocation.env(MARK, network()).through(tools.unshare()?, options(way)))
}

/// Whether this process is in a private place.
///
/// The mark holds the network namespace that was left, so that a mark that leaked is no mark.
pub fn is_inside() -> bool {
    std::env::var_os(MARK).is_some_and(|left| left != network())
}

/// Starts this very program again in a private place, with the same arguments, and returns its exit
/// code; none where it is in one already, and shall go on.
///
/// # Errors
/// [`HostError::Outside`] where `way` is none.
pub fn reenter(tools: &Tools, way: &Privilege) -> Result<Option<i32>, HostError> {
    if is_inside() {
        return Ok(None);
    }
    if matches!(way, Privilege::None { .. }) {
        return Err(HostError::Outside);
    }
    let this = this_program()?;
    // It keeps our terminal and our process group: Ctrl-C reaches both.
    let status = Command::new(tools.unshare()?)
        .args(options(way))
        .arg(&this)
        .args(std::env::args_os().skip(1))
        .env(MARK, network())
        .status()
        .map_err(|source| super::files_error(&this, source))?;
    Ok(Some(status.code().unwrap_or(KILLED)))
}

/// Runs `body` in a private place: starts the running test program again for the one test `name`,
/// whose whole path this is, and there runs `body`.
///
/// ```no_run
/// # use practice::{host, tools::Tools};
/// # use std::time::Duration;
/// #[test]
/// fn two_workloads_are_apart() {
///     let visit = host::within("two_workloads_are_apart", Duration::from_secs(60), || {
///         let workspace = host::Workspace::new(&Tools::find()).unwrap();
///     });
///     if let host::Visit::Skipped { why } = visit.unwrap() {
///         println!("skipped: {why}");
///     }
/// }
/// ```
///
/// # Errors
/// [`HostError::Inside`] with all that the test said, where it failed there or there is no such test.
pub fn within(name: &str, limit: Duration, body: impl FnOnce()) -> Result<Visit, HostError> {
    if is_inside() {
        body();
        return Ok(Visit::Done);
    }
    within_as(&privilege(&Tools::find()), name, limit, body)
}

/// As [`within`], in one way and no other.
///
/// # Errors
/// As [`within`].
pub fn within_as(
    way: &Privilege,
    name: &str,
    limit: Duration,
    body: impl FnOnce(),
) -> Result<Visit, HostError> {
    if is_inside() {
        body();
        return Ok(Visit::Done);
    }
    let tools = Tools::find();
    if let Privilege::None { why } = way {
        return Ok(Visit::Skipped { why: why.clone() });
    }
    if let Err(error) = attempt(&tools, way) {
        return Ok(Visit::Skipped { why: error.to_string() });
    }
    let test = Invocation::new(this_program()?).envs(std::env::vars_os()).args([
        name,
        "--exact",
        "--nocapture",
        "--test-threads=1",
    ]);
    let finished = inside(&tools, way, test)?.run(limit)?;
    if finished.code != Some(0) || !finished.stdout.contains("1 passed") {
        return Err(HostError::Inside { said: finished.stdout + &finished.stderr });
    }
    Ok(match skipped(&finished.stdout) {
        Some(why) => Visit::Skipped { why: why.to_owned() },
        None => Visit::Done,
    })
}

/// Why a test says that it was skipped, if it does. The harness may have begun the line.
fn skipped(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.split_once("skipped: ")).map(|(_, why)| why.trim())
}

fn this_program() -> Result<std::path::PathBuf, HostError> {
    std::env::current_exe().map_err(|source| super::files_error("/proc/self/exe".as_ref(), source))
}

fn options(way: &Privilege) -> Vec<&'static str> {
    let mut options = match way {
        Privilege::UserNamespace => vec!["--user", "--map-root-user"],
        Privilege::Root | Privilege::None { .. } => Vec::new(),
    };
    options.extend(["--net", "--mount", "--"]);
    options
}

/// The network namespace of this process, as the kernel names it.
fn network() -> OsString {
    std::fs::read_link("/proc/self/ns/net").map(Into::into).unwrap_or_default()
}

/// The variable that says that a private place was entered.
const MARK: &str = "ROLECALL_PRACTICE_HOST";
/// What a shell says of a program that a signal ended.
const KILLED: i32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: &str, why: Option<&str>) {
        assert_eq!(skipped(said), why);
    }

    #[test]
    fn a_test_that_is_skipped_inside_is_skipped_outside() {
        check(
            "test a_test ... skipped: no cgroups: read-only \nok\n",
            Some("no cgroups: read-only"),
        );
        check("skipped: no nft\n", Some("no nft"));
        check("test a_test ... ok\ntest result: ok. 1 passed\n", None);
    }
}
