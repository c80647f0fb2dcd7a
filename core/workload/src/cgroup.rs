use std::{fmt, str::FromStr};

use crate::{ContainerId, PodUid, workload::excerpt};

/// A cgroup's path in the unified (v2) hierarchy, as the host sees it: `/system.slice/orders.service`.
///
/// What the path says is decided from the top down, because only the top is made by somebody whom the
/// operator trusts. Below a delegated unit, a user's manager or a container, whoever runs there may
/// make a directory of any name: `/system.slice/evil.service/orders.service` is `evil.service`.
/// So the *outermost* unit or container counts, and nothing below it:
///
/// - slices are skipped; the first `.service` or `.scope` below them is the [`unit`](Self::unit);
/// - below `user@UID.service` units are that user's, and say so: see [`Unit`];
/// - a container is recognised in a runtime's scope, below a runtime's own top directory (`/docker`,
///   `/kubepods`, `/ecs`, …) or below a runtime's own service, and nowhere else. A rootless
///   container is therefore its user's unit, and a container that podman put *into* a unit
///   (`--cgroups=split`) is that unit;
/// - a runtime's scope is the container, not a unit, and `conmon` beside it is neither.
///
/// ```
/// # use workload::CgroupPath;
/// let path: CgroupPath = "/system.slice/orders@eu.service".parse().unwrap();
/// assert_eq!(path.unit().unwrap().template(), Some(("orders", "eu")));
/// assert!("/../escaped".parse::<CgroupPath>().is_err());
/// ```
///
/// [Kernel: control group v2](https://docs.kernel.org/admin-guide/cgroup-v2.html),
/// [systemd: control groups and delegation](https://systemd.io/CGROUP_DELEGATION/)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupPath {
    path: String,
    unit: Option<Unit>,
    container: Option<ContainerId>,
    pod: Option<PodUid>,
}

/// The text is not a cgroup's path as the host sees it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCgroupPath {
    /// Longer than [`CgroupPath::LENGTH_MAX`].
    #[error("cgroup path must be at most 4096 bytes, not {0}")]
    Length(usize),
    /// Not absolute, with an empty or illegal segment.
    #[error("cgroup path must look like `/system.slice/name.service`: `{0}`")]
    Shape(String),
    /// It leads out of the reader's cgroup namespace, so it does not say where in the host it lies.
    #[error("cgroup path is seen from another cgroup namespace; read it as the host: `{0}`")]
    Foreign(String),
}

impl CgroupPath {
    /// The longest path, in bytes: the kernel's own limit.
    pub const LENGTH_MAX: usize = 4096;

    /// The cgroup of a process, from the text of `/proc/PID/cgroup`: its `0::` line.
    ///
    /// Nothing where the host has cgroup v1 alone, where the cgroup was removed, or where the text is
    /// not what the kernel writes: no evidence rather than wrong evidence.
    ///
    /// ```
    /// # use workload::CgroupPath;
    /// let text = "4:memory:/user\n0::/system.slice/orders.service\n";
    /// assert_eq!(CgroupPath::of_process(text).unwrap().as_str(), "/system.slice/orders.service");
    /// assert_eq!(CgroupPath::of_process("4:memory:/user\n"), None);
    /// ```
    pub fn of_process(text: &str) -> Option<Self> {
        let path = text.lines().take(LINES_MAX).find_map(|line| line.strip_prefix("0::"))?;
        if path.ends_with(" (deleted)") { None } else { path.parse().ok() }
    }

    /// The path; starts with a slash.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// Whether this is the root, which tells nobody apart.
    pub fn is_root(&self) -> bool {
        self.path == "/"
    }

    /// Whether `other` is this cgroup or lies below it.
    ///
    /// ```
    /// # use workload::CgroupPath;
    /// let path = |text: &str| text.parse::<CgroupPath>().unwrap();
    /// assert!(path("/a").contains(&path("/a/b")));
    /// assert!(!path("/a").contains(&path("/ab")));
    /// ```
    pub fn contains(&self, other: &Self) -> bool {
        self.is_root()
            || other
                .path
                .strip_prefix(&self.path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The systemd unit, unless a container runtime made it.
    pub fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// The container.
    pub fn container(&self) -> Option<&ContainerId> {
        self.container.as_ref()
    }

    /// The Kubernetes pod.
    pub fn pod(&self) -> Option<&PodUid> {
        self.pod.as_ref()
    }
}

impl FromStr for CgroupPath {
    type Err = InvalidCgroupPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > Self::LENGTH_MAX {
            return Err(InvalidCgroupPath::Length(text.len()));
        }
        let shape = || InvalidCgroupPath::Shape(excerpt(text));
        let rest = text.strip_prefix('/').ok_or_else(shape)?;
        let mut path = Self { path: text.to_owned(), unit: None, container: None, pod: None };
        if rest.is_empty() {
            return Ok(path);
        }
        if rest.split('/').any(|segment| segment == "..") {
            return Err(InvalidCgroupPath::Foreign(excerpt(text)));
        }
        let legal = |s: &str| !matches!(s, "" | ".") && !s.chars().any(char::is_control);
        if !rest.split('/').all(legal) {
            return Err(shape());
        }
        path.read(rest);
        Ok(path)
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl CgroupPath {
    /// Goes from the top down and stops at the first thing that has an owner of its own.
    fn read(&mut self, rest: &str) {
        let mut above = Above::Slices;
        let mut segments = rest.split('/').map(unescape);
        while let Some(segment) = segments.next() {
            match Segment::of(segment, above) {
                Segment::Slice => {}
                Segment::Container(id) => {
                    (self.container, self.unit) = (Some(id), None);
                    self.pod = pod(segment).or(self.pod.take());
                    return;
                }
                Segment::Runtime(name) => {
                    self.unit = Some(Unit::system(name));
                    above = Above::Runtime;
                }
                Segment::Unit(name) => {
                    self.unit = Some(Unit::below(name, segments));
                    return;
                }
                Segment::Directory if segment == "libpod_parent" => above = Above::Podman,
                Segment::Directory if above == Above::Slices => above = Above::Runtime,
                Segment::Directory => {}
                Segment::Opaque => return,
            }
            self.pod = pod(segment).or(self.pod.take());
        }
    }
}

/// A systemd unit that holds a cgroup. Prints as its name, as `systemctl` does, escapes and all.
///
/// A unit of a user's own manager prints with the manager in front: `user@1000.service/app.service`.
/// The user chooses that second name, so a rule that names it trusts the user, and a rule for
/// `app.service` never matches it.
///
/// ```
/// # use workload::CgroupPath;
/// let text = "/user.slice/user-1000.slice/user@1000.service/app.slice/orders.service";
/// let path: CgroupPath = text.parse().unwrap();
/// let unit = path.unit().unwrap();
/// assert_eq!(unit.as_str(), "user@1000.service/orders.service");
/// assert_eq!((unit.user(), unit.name()), (Some(1000), "orders.service"));
/// ```
///
/// [systemd.unit](https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    text: String,
    user: Option<u32>,
}

impl Unit {
    /// The longest name of a unit, in bytes.
    pub const NAME_MAX: usize = 255;

    /// The name, with the manager in front where that is a user's.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The user whose manager made the unit; nothing for the system's.
    pub fn user(&self) -> Option<u32> {
        self.user
    }

    /// The name alone. Never compare this with a rule: a user may choose it.
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    /// Template and instance, where the unit is an instance of a template: `orders@eu.service`.
    pub fn template(&self) -> Option<(&str, &str)> {
        let (stem, _) = self.name().rsplit_once('.')?;
        stem.split_once('@')
    }

    fn system(name: &str) -> Self {
        Self { text: name.to_owned(), user: None }
    }

    /// The unit `name` of the system's manager, or the user's unit below it if that is a user's manager.
    fn below<'a>(name: &str, mut segments: impl Iterator<Item = &'a str>) -> Self {
        let user = name
            .strip_prefix("user@")
            .and_then(|name| name.strip_suffix(".service"))
            .and_then(|uid| uid.parse().ok());
        let own = user.and_then(|_| segments.find(|segment| !is_slice(segment)));
        match own.filter(|own| is_unit(own)) {
            Some(own) => Self { text: format!("{name}/{own}"), user },
            None => Self::system(name),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Who made the directories so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Above {
    /// The system's manager: nothing but slices.
    Slices,
    /// A container runtime.
    Runtime,
    /// Podman, which names its pods as others name their containers.
    Podman,
}

/// What one segment is, given what lies above it.
enum Segment<'a> {
    Slice,
    Container(ContainerId),
    /// A container runtime's own service.
    Runtime(&'a str),
    Unit(&'a str),
    /// A directory of a container runtime.
    Directory,
    /// Somebody's, we do not know whose: what lies below proves nothing.
    Opaque,
}

impl<'a> Segment<'a> {
    fn of(segment: &'a str, above: Above) -> Self {
        let stem = segment.strip_suffix(".scope").unwrap_or(segment);
        let (head, id) = stem.rsplit_once([':', '-']).unwrap_or(("", stem));
        let runtime = head.rsplit(':').next().unwrap_or_default();
        match above {
            _ if is_container(id) && RUNTIMES.contains(&runtime) => Self::container(id),
            _ if is_container(id) && runtime.ends_with("conmon") => Self::Opaque,
            _ if is_slice(segment) => Self::Slice,
            Above::Slices if RUNTIME_SERVICES.contains(&segment) => Self::Runtime(segment),
            Above::Slices if is_unit(segment) => Self::Unit(segment),
            Above::Slices if RUNTIME_DIRECTORIES.contains(&segment) => Self::Directory,
            Above::Slices => Self::Opaque,
            Above::Runtime if is_container(segment) => Self::container(segment),
            Above::Runtime if is_fargate(head, id) => Self::container(segment),
            Above::Runtime | Above::Podman => Self::Directory,
        }
    }

    fn container(id: &str) -> Self {
        id.parse().map_or(Self::Opaque, Self::Container)
    }
}

/// What engines put in front of a container's id.
const RUNTIMES: [&str; 6] = ["docker", "libpod", "cri-containerd", "crio", "nerdctl", "containerd"];

/// Where engines that manage cgroups themselves put their containers.
const RUNTIME_DIRECTORIES: [&str; 5] = ["docker", "libpod_parent", "kubepods", "kubelet", "ecs"];

/// Services below which engines put containers when their cgroup settings disagree with systemd's.
const RUNTIME_SERVICES: [&str; 10] = [
    "containerd.service",
    "crio.service",
    "docker.service",
    "k3s-agent.service",
    "k3s.service",
    "kubelet.service",
    "podman.service",
    "rke2-agent.service",
    "rke2-server.service",
    "snap.docker.dockerd.service",
];

/// A host has at most one line for each v1 controller and one for v2.
const LINES_MAX: usize = 64;

/// systemd writes `_` in front of a name that could be taken for one of the kernel's own files.
fn unescape(segment: &str) -> &str {
    segment.strip_prefix('_').unwrap_or(segment)
}

fn is_slice(segment: &str) -> bool {
    segment.strip_suffix(".slice").is_some_and(|stem| !stem.is_empty())
}

fn is_unit(segment: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || br":_.\-@".contains(&b);
    let stem = segment.strip_suffix(".service").or_else(|| segment.strip_suffix(".scope"));
    stem.is_some_and(|stem| !stem.is_empty() && stem.bytes().all(legal))
        && segment.len() <= Unit::NAME_MAX
}

fn is_container(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(is_hex)
}

/// A container of an ECS task that runs on Fargate: `<task>-<number>`.
fn is_fargate(task: &str, number: &str) -> bool {
    task.len() == 32
        && task.bytes().all(is_hex)
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// The pod in `pod<uid>`, `kubepods-burstable-pod<uid>.slice` or `<slice>:cri-containerd:<id>`.
fn pod(segment: &str) -> Option<PodUid> {
    let stem = segment.split(':').next()?;
    let stem = stem.strip_suffix(".slice").unwrap_or(stem);
    let (head, uid) = stem.rsplit_once("pod")?;
    let kubernetes = head.is_empty() || head.contains("kubepods") && head.ends_with('-');
    if kubernetes { uid.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
