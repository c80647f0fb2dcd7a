//! A machine of its own: a fresh Debian in a folder, with systemd as its first process, its own network, and
//! nothing on it but what a test installs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::{
    guard::Watched,
    host::cgroups::Cgroups,
    program::{Invocation, ProgramError, Running},
    tools::Tools,
};

/// How long it may take to unpack the system, and then to boot it, on a busy machine.
const START: Duration = Duration::from_secs(180);
/// How often a booting machine is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// From here into the machine: its cgroup, its mounts, its root, and its first process.
const BOOT: &str = r#"
set -e
root=$1
echo $$ > "$2/cgroup.procs"
exec unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child -- sh -e -c '
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
hostname practice
cd "$root"
pivot_root . mnt
umount -l mnt
exec chroot . env -i container=practice /lib/systemd/systemd --unit=basic.target' sh "$root"
"#;

/// A machine that runs. Dropped, it and all that is on it is gone.
#[derive(Debug)]
pub struct Machine {
    first: u32,
    // Dropped in this order: its mounts go with its last process, then its cgroups, then its files.
    _running: Running,
    _cgroups: Cgroups,
    root: Folder,
}

/// A machine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// This is no place where one can run: a test is then skipped.
    #[error("{0}")]
    NotHere(String),
    /// A program that makes it failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A file or folder of it could not be used.
    #[error("cannot use `{}`: {source}", path.display())]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It did not come up in time.
    #[error("systemd did not start the machine within {START:?}")]
    TooSlow,
}

impl Machine {
    /// Unpacks a fresh Debian, adds `packages` of its own to it, and boots it. Nothing is fetched: the packages
    /// must be among those that [`crate::setup::debian`] keeps.
    ///
    /// # Errors
    /// [`MachineError::NotHere`] with the reason where this machine cannot hold another.
    pub fn start(tools: &Tools, packages: &[&str]) -> Result<Self, MachineError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let archive =
            tools.debian().map_err(|missing| MachineError::NotHere(missing.to_string()))?;
        if !rustix::process::geteuid().is_root() {
            let why = "a machine of its own needs root".to_owned();
            return Err(MachineError::NotHere(why));
        }
        let name =
            format!("machine-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let cgroups = Cgroups::new(&name).map_err(MachineError::NotHere)?;
        let root = tools.folder().join(name);
        fs::create_dir_all(&root).map_err(|source| files(&root, source))?;
        let root = Folder { _watched: Watched::folder(&root), path: root };
        let unpack = Invocation::new("tar").args(["--extract", "--numeric-owner", "--directory"]);
        unpack.arg(&root.path).arg("--file").arg(archive).run(START)?.success()?;
        let install =
            ["apt-get", "install", "--yes", "--no-install-recommends", "systemd", "systemd-sysv"];
        let words = install.iter().chain(packages).copied();
        inside(Invocation::new("chroot").arg(&root.path).args(words)).run(START)?.success()?;
        let boot = Invocation::new("sh").args(["-c", BOOT, "sh"]);
        let running = boot.arg(&root.path).arg(cgroups.folder()).start()?;
        let first = first_process(running.id())?;
        let machine = Self { first, _running: running, _cgroups: cgroups, root };
        machine.wait_until_up()?;
        Ok(machine)
    }

    /// A program inside, with a plain environment.
    pub fn inside(&self, program: &str) -> Invocation {
        let id = self.first.to_string();
        let words = [
            "--target", &id, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root",
            "--wd",
        ];
        inside(Invocation::new("nsenter").args(words).arg("--").arg(program))
    }

    /// One of our own programs, with the machine's network alone: what the machine has not.
    pub fn in_network(&self, program: &str) -> Invocation {
        let id = self.first.to_string();
        Invocation::new("nsenter").args(["--target", &id, "--net", "--"]).arg(program)
    }

    /// A file of the machine, as seen from here. Not below `/run` and `/tmp`, which live in its memory.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path.join(path.trim_start_matches('/'))
    }

    fn wait_until_up(&self) -> Result<(), MachineError> {
        let until = Instant::now() + START;
        let ask = self.inside("systemctl").args(["is-active", "--quiet", "basic.target"]);
        while ask.run(START)?.code != Some(0) {
            if Instant::now() > until {
                return Err(MachineError::TooSlow);
            }
            std::thread::sleep(LOOK);
        }
        self.in_network("ip").args(["link", "set", "lo", "up"]).run(START)?.success()?;
        Ok(())
    }
}

/// The folder that the machine's files are in; it goes when dropped.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    _watched: Watched,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in the target folder and harms nobody.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn inside(invocation: Invocation) -> Invocation {
    invocation
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
}

/// The process that `unshare` has forked: the first of the machine.
fn first_process(unshare: u32) -> Result<u32, MachineError> {
    let path = PathBuf::from(format!("/proc/{unshare}/task/{unshare}/children"));
    let until = Instant::now() + START;
    while Instant::now() < until {
        let listed = fs::read_to_string(&path).map_err(|source| files(&path, source))?;
        if let Some(id) = listed.split_whitespace().next().and_then(|id| id.parse().ok()) {
            // Not before it has become systemd.
            let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            if name.trim() == "systemd" {
                return Ok(id);
            }
        }
        std::thread::sleep(LOOK);
    }
    Err(MachineError::TooSlow)
}

fn files(path: &Path, source: io::Error) -> MachineError {
    MachineError::Files { path: path.to_owned(), source }
}
