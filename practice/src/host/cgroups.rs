//! Cgroups of our own, where the kernel's version 2 hierarchy can be written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::{HostError, QUICK, files_error};
use crate::guard::Watched;
use crate::program::Invocation;

/// The cgroup below which all of a workspace's are.
#[derive(Debug)]
pub(crate) struct Cgroups {
    folder: PathBuf,
    path: String,
    _watched: Watched,
}

impl Cgroups {
    /// Makes a cgroup `name`: at the top, or where that is not allowed below our own.
    ///
    /// Errors say why there can be none, in words for a person.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount = mounted.lines().find_map(mount_point).ok_or("cgroup2 is not mounted")?;
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned();
        let mut why = String::new();
        for above in ["/", own.as_str()] {
            let path = format!("{}/{name}", above.trim_end_matches('/'));
            let folder = mount.join(path.trim_start_matches('/'));
            match probe(&folder) {
                Ok(()) => {
                    let watched = Watched::cgroups(&folder);
                    return Ok(Self { folder, path, _watched: watched });
                }
                Err(error) => why = format!("cannot use `{}`: {error}", folder.display()),
            }
        }
        Err(why)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the cgroup at `below`, with those above it.
    pub(super) fn group(&self, below: &str) -> Result<Group, HostError> {
        let folder = self.folder.join(below);
        fs::create_dir_all(&folder).map_err(|source| files_error(&folder, source))?;
        Ok(Group { path: format!("{}/{below}", self.path), top: self.folder.clone(), folder })
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        end(&self.folder);
        remove(&self.folder);
    }
}

/// One workload's cgroup. Dropped, its processes are killed and it is removed.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) folder: PathBuf,
    /// As `/proc/PID/cgroup` shows it.
    pub(super) path: String,
    top: PathBuf,
}

impl Drop for Group {
    fn drop(&mut self) {
        end(&self.folder);
        remove(&self.folder);
        // Those that were made on the way, as far as no other workload is in them.
        let above = self.folder.ancestors().skip(1).take_while(|folder| *folder != self.top);
        for folder in above {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// Whether a cgroup can be made there and a process moved into it.
fn probe(folder: &Path) -> Result<(), String> {
    fs::create_dir(folder).map_err(|error| error.to_string())?;
    let script = "echo $$ > \"$0/cgroup.procs\"";
    let moved = Invocation::new("sh").args(["-c", script]).arg(folder).run(QUICK);
    let moved = moved.and_then(crate::program::Finished::success);
    moved.map(drop).map_err(|error| {
        remove(folder);
        error.to_string()
    })
}

/// Kills every process in a cgroup and below it.
fn end(folder: &Path) {
    if fs::write(folder.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    // Kernels before 5.14 have no such file.
    let listed = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for id in listed.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw) {
        let _ = rustix::process::kill_process(id, Signal::KILL);
    }
}

/// Removes a cgroup and those below it. The kernel is done with killed processes only a moment later.
fn remove(folder: &Path) {
    if let Ok(entries) = fs::read_dir(folder) {
        for entry in
            entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        {
            remove(&entry.path());
        }
    }
    let until = Instant::now() + PATIENCE;
    while let Err(error) = fs::remove_dir(folder) {
        if error.kind() == io::ErrorKind::NotFound || Instant::now() > until {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where a line of mountinfo mounts cgroup2, if it does: proc(5).
fn mount_point(line: &str) -> Option<PathBuf> {
    let (left, right) = line.split_once(" - ")?;
    (right.split(' ').next()? == "cgroup2").then_some(())?;
    left.split(' ').nth(4).map(PathBuf::from)
}

/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<&str>) {
        assert_eq!(mount_point(line), expected.map(PathBuf::from));
    }

    #[test]
    fn cgroup2_is_found_wherever_it_is_mounted() {
        check(
            "31 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw",
            Some("/sys/fs/cgroup"),
        );
        check(
            "42 30 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
            Some("/sys/fs/cgroup/unified"),
        );
        check("40 30 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids", None);
        check("nonsense", None);
    }
}
