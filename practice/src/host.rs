//! The practice host: a private place in which a machine's parts can be made and broken.
//!
//! A process enters it by being started anew under `unshare`, with a network and a mount namespace
//! of its own: as root, or as root of a user namespace where the kernel lets anybody have one.
//! Inside, a [`Workspace`] makes [`Workload`]s. A workload has a network namespace, a link to the
//! host's side and a cgroup, or some of these; programs are placed in all of them at once.
//!
//! ```text
//!   host's side (private as well)                 a workload
//!   lo    10.77.0.1   the practice cloud          lo    169.254.169.254 once the agent serves it
//!   rc7   10.77.0.29/30 ───────── veth ───────── eth0  10.77.0.30/30, default route
//! ```

pub(crate) mod cgroups;
mod private;
mod workload;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::mount::UnmountFlags;

use crate::guard::Watched;
use crate::program::{Invocation, ProgramError};
use crate::tools::{Missing, Tools};

use cgroups::Cgroups;
pub use private::{Privilege, Visit, inside, is_inside, privilege, reenter, within, within_as};
pub use workload::{Plan, Workload};

/// Where the practice cloud listens on a practice host: the host's side of every workload's route.
pub const CLOUD: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The practice host of one test or run. Dropped, everything that was made in it is gone.
#[derive(Debug)]
pub struct Workspace {
    folder: PathBuf,
    ip: PathBuf,
    unshare: PathBuf,
    nsenter: PathBuf,
    cgroups: Result<Cgroups, String>,
    _watched: Watched,
}

impl Workspace {
    /// Makes one, in the private place that this process has entered.
    ///
    /// # Errors
    /// [`HostError::Outside`] where it has not entered one: nothing is ever changed on the machine
    /// itself. Otherwise where a tool is missing or the kernel refuses.
    pub fn new(tools: &Tools) -> Result<Self, HostError> {
        if !is_inside() {
            return Err(HostError::Outside);
        }
        let name = format!("rolecall-practice-{}-{}", std::process::id(), next());
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(folder.join("netns"))
            .map_err(|source| files_error(&folder, source))?;
        let watched = Watched::folder(&folder);
        let workspace = Self {
            ip: tools.ip()?,
            unshare: tools.unshare()?,
            nsenter: tools.nsenter()?,
            // As a slice, so that units below it are units as on a real host.
            cgroups: Cgroups::new(&format!("{name}.slice")),
            folder,
            _watched: watched,
        };
        workspace.ip(None, &format!("link set lo up\naddr replace {CLOUD}/32 dev lo\n"))?;
        Ok(workspace)
    }

    /// A folder for logs, sockets and configuration. It goes with the workspace.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder in which the workloads' namespaces appear: what the agent is told to watch.
    pub fn namespaces(&self) -> PathBuf {
        self.folder.join("netns")
    }

    /// Where the practice cloud listens.
    pub fn cloud_address(&self) -> IpAddr {
        CLOUD.into()
    }

    /// The folder below which workloads get cgroups of their own.
    ///
    /// # Errors
    /// Why they do not: no cgroup2, or no leave to make any. Workloads are then told apart by
    /// namespace alone.
    pub fn cgroups(&self) -> Result<&Path, &str> {
        self.cgroups.as_ref().map(Cgroups::folder).map_err(String::as_str)
    }

    /// A workload with everything: namespace, link to the cloud, cgroup where there are any.
    ///
    /// # Errors
    /// As [`Workspace::add`].
    pub fn workload(&self, name: &str) -> Result<Workload, HostError> {
        self.add(&Plan::new(name))
    }

    /// A workload as planned.
    ///
    /// # Errors
    /// [`HostError`] where the kernel refuses something, or a plan needs cgroups and there are none.
    pub fn add(&self, plan: &Plan) -> Result<Workload, HostError> {
        Workload::new(self, plan)
    }

    /// Runs `ip` on many lines at once, on the host's side or in a namespace.
    fn ip(&self, namespace: Option<&Path>, lines: &str) -> Result<(), HostError> {
        let batch = Invocation::new(&self.ip).args(["-batch", "-"]);
        let batch = match namespace {
            Some(path) => batch.through(&self.nsenter, [format!("--net={}", path.display())]),
            None => batch,
        };
        let mut running = batch.start()?;
        running.say(lines)?;
        running.close_input();
        running.wait(QUICK)?.success()?;
        Ok(())
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // A workload that outlives its workspace finds its namespace gone; that is its loss.
        if let Ok(entries) = std::fs::read_dir(self.namespaces()) {
            for entry in entries.flatten() {
                let _ = rustix::mount::unmount(entry.path(), UnmountFlags::DETACH);
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Why a practice host is not as wanted.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The process has not entered a private place.
    #[error("not in a private place: start this through `practice::host::within` or `reenter`")]
    Outside,
    /// Something must be installed.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// `ip`, `unshare` or the like failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A file or folder could not be used.
    #[error("could not use `{}`", path.display())]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The plan needs cgroups.
    #[error("workload `{name}` needs a cgroup, and there are none: {why}")]
    NoCgroups {
        /// The workload.
        name: String,
        /// Why there are none.
        why: String,
    },
    /// The plan has too little to tell the workload by, or a name that no path may have.
    #[error("`{name}` is no name for a workload: letters, digits, `.`, `_` and `-`, at most 64")]
    Name {
        /// The name.
        name: String,
    },
    /// A test that was run in a private place failed there.
    #[error("failed in the private place:\n{said}")]
    Inside {
        /// All that it said.
        said: String,
    },
}

fn files_error(path: &Path, source: io::Error) -> HostError {
    HostError::Files { path: path.to_owned(), source }
}

/// A number that no other workspace, workload or link of this process has.
fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::SeqCst)
}

/// The longest that `ip` and the like may take.
const QUICK: Duration = Duration::from_secs(30);
