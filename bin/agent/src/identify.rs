//! Who is at the other end: the kernel is asked once per connection.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use linux::{Cgroups, Diag, DoorAddress};
use metadata::Door;
use tokio::net::TcpStream;
use workload::{CgroupPath, Container, ContainerId, Evidence, Namespace};

use crate::engine::{Caller, Engine};

/// How long the container engine is asked for labels.
const LABELS_TIMEOUT: Duration = Duration::from_millis(400);
/// How many containers' labels are kept.
const LABELS_MAX: usize = 4096;

/// Where connections come from.
#[derive(Debug)]
pub enum Origin {
    /// A listener inside of a workload's namespace.
    Inside {
        /// What the namespace shows of whoever is in it.
        namespace: Namespace,
        /// The line to the kernel in that namespace.
        diag: Arc<Diag>,
        /// Which protocol the listener's address speaks.
        door: Door,
        /// Whether the client asked at another port than the listener's.
        redirected: bool,
        /// What all origins share.
        kernel: Arc<Kernel>,
    },
    /// The listener behind the redirect of the host's own namespace.
    Redirected {
        /// The line to the kernel in the host's namespace.
        diag: Diag,
        /// What all origins share.
        kernel: Arc<Kernel>,
    },
    /// A development listener.
    Development {
        /// Which protocol it speaks.
        door: Door,
    },
}

/// What every origin asks.
#[derive(Debug)]
pub struct Kernel {
    /// The cgroup hierarchy, where there is one.
    pub cgroups: Option<Cgroups>,
    /// The container engine, where labels are wanted.
    pub containers: Option<docker::Engine>,
    known: Mutex<std::collections::BTreeMap<ContainerId, Container>>,
}

/// Who is asking.
#[derive(Debug)]
pub struct Identity {
    /// The verdict.
    pub caller: Caller,
    /// The protocol they speak.
    pub door: Door,
    /// The client's user, where the kernel still knew it.
    pub uid: Option<u32>,
}

impl Origin {
    /// Asks the kernel, and the container engine if a rule looks at labels.
    ///
    /// Nothing is an error here: what could not be learnt is absent from the evidence. A caller whose
    /// socket is not in the namespace that accepted shows nothing at all, because it is a neighbour:
    /// Linux accepts packets for an address of `lo` on every interface.
    pub async fn identify(
        &self,
        engine: &Engine,
        stream: &TcpStream,
        peer: SocketAddr,
    ) -> Identity {
        match self {
            Self::Development { door } => {
                Identity { caller: engine.vouched(), door: *door, uid: None }
            }
            Self::Inside { namespace, diag, door, redirected, kernel } => {
                let mut evidence =
                    Evidence { namespace: Some(namespace.clone()), ..Evidence::default() };
                // The client's socket knows only the address that it asked for.
                let original = || linux::original_destination(stream).ok().flatten();
                let local = if *redirected { original() } else { stream.local_addr().ok() };
                let uid = kernel.collect(engine, diag, peer, local, &mut evidence).await;
                Identity { caller: engine.identify(evidence), door: *door, uid }
            }
            Self::Redirected { diag, kernel } => {
                let mut evidence = Evidence { address: Some(peer.ip()), ..Evidence::default() };
                // The client's socket knows only the address that it asked for.
                let original = linux::original_destination(stream).ok().flatten();
                let door = original.and_then(|address| DoorAddress::at(address.ip()));
                let uid = kernel.collect(engine, diag, peer, original, &mut evidence).await;
                let caller = match door {
                    Some(_) => engine.identify(evidence),
                    // Somebody connected to the port itself: the redirect was not involved.
                    None => engine.identify(Evidence::default()),
                };
                Identity { caller, door: door.map_or(Door::Instance, protocol), uid }
            }
        }
    }
}

impl Kernel {
    /// Without containers known yet.
    pub fn new(cgroups: Option<Cgroups>, containers: Option<docker::Engine>) -> Self {
        Self { cgroups, containers, known: Mutex::default() }
    }

    /// Whether a cgroup is there still. Where there is no hierarchy nobody knows, and it is taken to be.
    pub fn has(&self, path: &CgroupPath) -> bool {
        let known = self.cgroups.as_ref().map(|cgroups| cgroups.at(path.as_str()));
        !matches!(known, Some(Ok(None)))
    }

    async fn collect(
        &self,
        engine: &Engine,
        diag: &Diag,
        peer: SocketAddr,
        server: Option<SocketAddr>,
        evidence: &mut Evidence,
    ) -> Option<u32> {
        let Some((server, before)) = server.and_then(|at| Some((at, diag.lookup(peer, at).ok()?)))
        else {
            *evidence = Evidence::default();
            return None;
        };
        let path = before.cgroup.and_then(|id| self.cgroups.as_ref()?.path_of(id).ok());
        evidence.cgroup = path.and_then(|path| path.parse::<CgroupPath>().ok());
        if engine.settings().needs_labels {
            evidence.container = self.container(evidence.cgroup.as_ref()).await;
        }
        // Asked again after attesting: the socket is still the one that was attested.
        match diag.lookup(peer, server) {
            Ok(after) if after.cookie == before.cookie => after.uid,
            _ => {
                // The client has gone. Whoever has its address now is somebody else.
                *evidence = Evidence::default();
                None
            }
        }
    }

    /// The container of a cgroup with its labels, where both are known.
    pub async fn container(&self, cgroup: Option<&CgroupPath>) -> Option<Container> {
        let (containers, id) = (self.containers.as_ref()?, cgroup?.container()?.clone());
        let known = |kernel: &Self| {
            let known = kernel.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&id).cloned()
        };
        // Ids are never reused and labels never change, so what was learnt once stays true.
        if let Some(container) = known(self) {
            return Some(container);
        }
        let asked = tokio::time::timeout(LABELS_TIMEOUT, containers.container(&id)).await;
        let container = asked.ok()?.ok()?.container;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= LABELS_MAX {
            known.clear();
        }
        known.insert(id, container.clone());
        Some(container)
    }
}

/// The protocol of an address.
pub const fn protocol(door: DoorAddress) -> Door {
    match door {
        DoorAddress::InstanceV4 | DoorAddress::InstanceV6 => Door::Instance,
        DoorAddress::Container => Door::Container,
        DoorAddress::PodIdentityV4 | DoorAddress::PodIdentityV6 => Door::PodIdentity,
    }
}
