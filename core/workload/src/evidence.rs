use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use crate::{CgroupPath, Unit, workload::excerpt};

/// What the kernel, and a container engine that the operator trusts, say about one caller.
///
/// Every field is optional because every source can be silent: [`attest`](crate::attest) treats what
/// is missing as not shown, never as shown otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The network namespace whose listener accepted the connection.
    pub namespace: Option<Namespace>,
    /// The cgroup in which the caller's socket was made.
    pub cgroup: Option<CgroupPath>,
    /// What the engine says of the container that the cgroup names.
    pub container: Option<Container>,
    /// The address that the connection came from. Counts only for rules that name an address.
    pub address: Option<IpAddr>,
}

impl Evidence {
    /// The cgroup, unless it is the root.
    ///
    /// The root is what a host with cgroup v1 alone reports for every socket (id 1), and where
    /// everything lies that nobody placed: it tells nobody apart, so it is not evidence.
    pub fn placed(&self) -> Option<&CgroupPath> {
        self.cgroup.as_ref().filter(|cgroup| !cgroup.is_root())
    }

    /// The namespace's name.
    pub fn netns(&self) -> Option<&str> {
        self.namespace.as_ref().map(|namespace| namespace.name.as_str())
    }

    /// The unit, as it prints.
    pub fn unit(&self) -> Option<&str> {
        self.placed()?.unit().map(Unit::as_str)
    }

    /// The value of one of the container's labels.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.container.as_ref()?.labels.get(name).map(String::as_str)
    }
}

/// A network namespace that the agent listens in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The name it was attached under, such as the file's name in `/run/netns`.
    pub name: String,
    /// Its inode, unique among the namespaces that live at one time.
    pub inode: u64,
    /// The cgroup that was seen when the namespace was attached by pid. Sockets must come from it or
    /// from below, so that the namespace of a process that has ended is worth nothing to the next.
    pub pinned: Option<CgroupPath>,
}

/// A container as its engine describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The engine's id.
    pub id: ContainerId,
    /// Its name, without a leading slash; empty where it has none.
    pub name: String,
    /// Its labels. Whoever starts a container chooses them: see [`Conditions`](crate::Conditions).
    pub labels: BTreeMap<String, String>,
}

/// A container's id: 1 to 76 letters, digits, `.`, `_` and `-`, starting with a letter or digit.
///
/// Docker, podman, CRI-O and containerd under Kubernetes use 64 hexadecimal digits; the wider grammar
/// is containerd's own. It is safe in a URL path.
///
/// ```
/// # use workload::ContainerId;
/// let id: ContainerId = "3f4c0e5d1b2a".repeat(5).parse().unwrap();
/// assert_eq!(id.short(), "3f4c0e5d1b2a");
/// assert!("../images".parse::<ContainerId>().is_err());
/// ```
///
/// [containerd: identifiers](https://github.com/containerd/containerd/blob/main/pkg/identifiers/validate.go)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

/// The text is not a container's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("container id must be 1 to 76 of `A-Z a-z 0-9 . _ -`: `{0}`")]
pub struct InvalidContainerId(String);

impl ContainerId {
    /// The longest id, in bytes.
    pub const LENGTH_MAX: usize = 76;

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve characters, as engines print it for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl FromStr for ContainerId {
    type Err = InvalidContainerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if starts && text.len() <= Self::LENGTH_MAX && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidContainerId(excerpt(text)))
        }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Kubernetes pod's uid: a UUID with hyphens, or the 32 digits that a static pod has.
///
/// The systemd cgroup driver writes `_` for `-`; both parse to the same uid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(String);

/// The text is not a pod's uid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pod uid must be a UUID: `{0}`")]
pub struct InvalidPodUid(String);

impl PodUid {
    /// The uid, with hyphens where it has groups.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PodUid {
    type Err = InvalidPodUid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
        let uid = text.replace('_', "-");
        let groups: Vec<_> = uid.split('-').take(6).map(str::len).collect();
        if matches!(groups.as_slice(), [32] | [8, 4, 4, 4, 12]) && uid.split('-').all(hex) {
            Ok(Self(uid))
        } else {
            Err(InvalidPodUid(excerpt(text)))
        }
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, id: bool, pod: bool) {
        assert_eq!(text.parse::<ContainerId>().is_ok(), id, "{text}");
        assert_eq!(text.parse::<PodUid>().is_ok(), pod, "{text}");
    }

    #[test]
    fn an_id_is_what_an_engine_could_have_made() {
        check(&"0f".repeat(32), true, false);
        check("redis.1-a_b", true, false);
        check("72f7f152-440c-66ac-9084-e0fc1d8a910c", true, true);
        check("72f7f152_440c_66ac_9084_e0fc1d8a910c", true, true);
        check("72f7f152440c66ac9084e0fc1d8a910c", true, true);
        check("72f7f152-440c-66ac-9084-e0fc1d8a910g", true, false);
        check("72f7f152-440c-66ac-9084-e0fc1d8a910c-1", true, false);
        for text in ["", "-a", ".", "..", "a/b", "a?b", "a%2fb", "ä", &"a".repeat(77)] {
            check(text, false, false);
        }
    }

    #[test]
    fn both_cgroup_drivers_name_the_same_pod() {
        let (left, right) =
            ("72f7f152_440c_66ac_9084_e0fc1d8a910c", "72f7f152-440c-66ac-9084-e0fc1d8a910c");
        assert_eq!(left.parse::<PodUid>(), right.parse());
    }
}
