//! A workload of the practice host.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::UnmountFlags;

use super::cgroups::Group;
use super::{CLOUD, HostError, QUICK, Workspace, files_error, next};
use crate::program::{Finished, Invocation, ProgramError, Running};

/// What a workload shall have.
#[derive(Clone, Debug)]
pub struct Plan {
    name: String,
    namespace: bool,
    link: bool,
    addresses: Vec<IpAddr>,
    cgroup: Option<String>,
}

impl Plan {
    /// A namespace of that name, a link to the cloud, and a cgroup of that name where there are any.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: true,
            link: true,
            addresses: Vec::new(),
            cgroup: None,
        }
    }

    /// In the host's own network namespace, as a systemd unit is: told apart by cgroup alone.
    #[must_use]
    pub fn on_host(mut self) -> Self {
        self.namespace = false;
        self
    }

    /// Without a link: it reaches nothing but what listens inside of it. Quicker to make.
    #[must_use]
    pub fn without_link(mut self) -> Self {
        self.link = false;
        self
    }

    /// Also has `address` on its loopback. Several workloads may have the same one, and their clients
    /// may speak from it: that is how two clients with one source address are made.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Has this cgroup below the workspace's, such as `system.slice/orders.service`; without cgroups
    /// there is then no workload.
    #[must_use]
    pub fn cgroup(mut self, below: &str) -> Self {
        self.cgroup = Some(below.to_owned());
        self
    }
}

/// A workload. Dropped, its processes end, and its namespace, link and cgroup are gone.
#[derive(Debug)]
pub struct Workload {
    name: String,
    // Dropped in this order: what is in a namespace ends before the namespace does.
    cgroup: Option<Group>,
    link: Option<Link>,
    namespace: Option<Namespace>,
    nsenter: PathBuf,
}

impl Workload {
    pub(super) fn new(workspace: &Workspace, plan: &Plan) -> Result<Self, HostError> {
        let name = plan.name.clone();
        let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(good) || name.starts_with('.') {
            return Err(HostError::Name { name });
        }
        let cgroup = match (&workspace.cgroups, &plan.cgroup) {
            (Ok(cgroups), below) => Some(cgroups.group(below.as_deref().unwrap_or(&name))?),
            (Err(_), None) if plan.namespace => None,
            (Err(why), _) => return Err(HostError::NoCgroups { name, why: why.clone() }),
        };
        let mut workload =
            Self { name, cgroup, namespace: None, link: None, nsenter: workspace.nsenter.clone() };
        if plan.namespace {
            let namespace = Namespace::new(workspace, &plan.name)?;
            let path = namespace.path.clone();
            workload.namespace = Some(namespace);
            let mut inside = "link set lo up\n".to_owned();
            if plan.link {
                workload.link = Some(workspace.link(&path, &mut inside)?);
            }
            for address in &plan.addresses {
                inside += &format!("addr add {address} dev lo\n");
            }
            workspace.ip(Some(&path), &inside)?;
        }
        Ok(workload)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that holds its network namespace, below [`Workspace::namespaces`].
    pub fn namespace(&self) -> Option<&Path> {
        self.namespace.as_ref().map(|namespace| namespace.path.as_path())
    }

    /// The kernel's number of its network namespace.
    pub fn namespace_inode(&self) -> Option<u64> {
        fs::metadata(self.namespace()?).ok().map(|metadata| metadata.ino())
    }

    /// Its cgroup as `/proc/PID/cgroup` shows it, such as `/rolecall-practice-7-1.slice/orders`.
    pub fn cgroup(&self) -> Option<&str> {
        self.cgroup.as_ref().map(|group| group.path.as_str())
    }

    /// Its cgroup's folder.
    pub fn cgroup_folder(&self) -> Option<&Path> {
        self.cgroup.as_ref().map(|group| group.folder.as_path())
    }

    /// The address of its end of the link.
    pub fn address(&self) -> Option<IpAddr> {
        self.link.as_ref().map(|link| link.own.into())
    }

    /// `invocation`, placed in this workload: a process that is in its cgroup and its namespace from
    /// before its first own instruction.
    pub fn place(&self, invocation: Invocation) -> Invocation {
        let placed = match self.namespace() {
            Some(path) => {
                let net = format!("--net={}", path.display());
                invocation.through(&self.nsenter, [net, "--".to_owned()])
            }
            None => invocation,
        };
        match &self.cgroup {
            Some(group) => {
                let procs = group.folder.join("cgroup.procs");
                let script = "echo $$ > \"$0\" && exec \"$@\"";
                placed.through("sh", ["-c".into(), script.into(), procs.into_os_string()])
            }
            None => placed,
        }
    }

    /// Starts a program in it.
    ///
    /// # Errors
    /// As [`Invocation::start`].
    pub fn start(&self, invocation: Invocation) -> Result<Running, ProgramError> {
        self.place(invocation).start()
    }

    /// Runs a program in it to its end.
    ///
    /// # Errors
    /// As [`Invocation::run`].
    pub fn run(&self, invocation: Invocation, limit: Duration) -> Result<Finished, ProgramError> {
        self.place(invocation).run(limit)
    }

    /// Takes its namespace's file away, as a container engine does at the end. Processes that are in
    /// the namespace keep it alive.
    pub fn forget_namespace(&mut self) {
        self.namespace = None;
    }
}

/// A named network namespace. Dropped, the name is gone.
#[derive(Debug)]
struct Namespace {
    path: PathBuf,
}

impl Namespace {
    fn new(workspace: &Workspace, name: &str) -> Result<Self, HostError> {
        let path = workspace.namespaces().join(name);
        File::create_new(&path).map_err(|source| files_error(&path, source))?;
        // From here on: a failure takes the file away again.
        let namespace = Self { path };
        let net = format!("--net={}", namespace.path.display());
        Invocation::new("true").through(&workspace.unshare, [net]).run(QUICK)?.success()?;
        Ok(namespace)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Either fails only where the workspace was dropped first.
        let _ = rustix::mount::unmount(&self.path, UnmountFlags::DETACH);
        let _ = fs::remove_file(&self.path);
    }
}

/// The host's end of a link. Dropped, the link is gone at once: the kernel takes its time to remove
/// what was in a namespace that has ended.
#[derive(Debug)]
struct Link {
    name: String,
    own: Ipv4Addr,
    ip: PathBuf,
}

impl Drop for Link {
    fn drop(&mut self) {
        // It fails where the namespace has taken the link with it.
        let _ = Invocation::new(&self.ip).args(["link", "delete", &self.name]).run(QUICK);
    }
}

impl Workspace {
    /// Links a namespace to the host's side; adds to `inside` what has to be said in it.
    fn link(&self, namespace: &Path, inside: &mut String) -> Result<Link, HostError> {
        let number = next();
        let [host, own] = ends(number);
        let path = namespace.display();
        self.ip(
            None,
            &format!(
                "link add rc{number} type veth peer name eth0 netns {path}\n\
                 addr add {host}/30 dev rc{number}\nlink set rc{number} up\n"
            ),
        )?;
        *inside += &format!(
            "addr add {own}/30 dev eth0\nlink set eth0 up\nroute add default via {host}\n"
        );
        Ok(Link { name: format!("rc{number}"), own, ip: self.ip.clone() })
    }
}

/// The two addresses of link `number`: each link has four of 10.77.0.0/16, the cloud has the first four.
fn ends(number: u32) -> [Ipv4Addr; 2] {
    let network = u32::from(CLOUD) - 1;
    let first = network + 4 * (1 + number % (LINKS - 1));
    [Ipv4Addr::from(first + 1), Ipv4Addr::from(first + 2)]
}

/// How many fours there are in a /16.
const LINKS: u32 = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(number: u32, host: [u8; 4], own: [u8; 4]) {
        assert_eq!(ends(number), [Ipv4Addr::from(host), Ipv4Addr::from(own)]);
    }

    #[test]
    fn links_have_addresses_of_their_own_and_never_the_clouds() {
        check(0, [10, 77, 0, 5], [10, 77, 0, 6]);
        check(1, [10, 77, 0, 9], [10, 77, 0, 10]);
        check(63, [10, 77, 1, 1], [10, 77, 1, 2]);
        check(LINKS - 2, [10, 77, 255, 253], [10, 77, 255, 254]);
        check(LINKS - 1, [10, 77, 0, 5], [10, 77, 0, 6]);
    }
}
