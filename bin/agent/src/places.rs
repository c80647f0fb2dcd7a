//! The namespaces that are served: opened, kept, closed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use linux::{Diag, DiagError, Event, ListenError, Listeners, Plan, Watch, WatchError};
use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;
use tokio::{net::TcpListener, task::AbortHandle};
use workload::{CgroupPath, Evidence, Namespace, Workload};

use crate::{
    clock,
    engine::Standing,
    identify::{Kernel, Origin, protocol},
    serve::Server,
};

/// The namespaces that are served.
#[derive(Debug)]
pub struct Places {
    server: Arc<Server>,
    kernel: Arc<Kernel>,
    plan: Plan,
    connections_max: usize,
    runtime: tokio::runtime::Handle,
    open: Mutex<BTreeMap<String, Place>>,
}

/// One namespace that is served.
#[derive(Debug)]
struct Place {
    evidence: Namespace,
    how: How,
    listeners: Listeners,
    accepting: Vec<AbortHandle>,
    workload: Option<Workload>,
}

/// How a namespace came to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It is in the watched folder.
    Watched,
    /// An operator or a launcher handed it in.
    Attached,
}

/// What is said of a namespace that is served.
#[derive(Clone, Debug, Serialize)]
pub struct PlaceSummary {
    /// The name that rules see.
    pub name: String,
    /// The kernel's number for it.
    pub inode: u64,
    /// How it came to be served.
    pub how: How,
    /// The cgroup that callers in it must come from, where it is known.
    pub pinned: Option<String>,
    /// The workload, where the namespace alone names one.
    pub workload: Option<String>,
    /// The doors that it cannot have, and why.
    pub absent: Vec<String>,
}

/// A namespace cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The name is in use for another namespace.
    #[error("namespace `{0}` is served already; detach it first")]
    Served(String),
    /// The namespace is served under another name.
    #[error("this namespace is served already, as `{0}`")]
    ServedAs(String),
    /// Nothing of that name was handed in.
    #[error("no namespace `{0}` was attached")]
    NotAttached(String),
    /// The doors cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The kernel cannot be asked about sockets there.
    #[error(transparent)]
    Diag(#[from] DiagError),
    /// The doors cannot be waited at.
    #[error("cannot wait for connections: {0}")]
    Wait(#[from] std::io::Error),
}

impl Places {
    /// Nothing is served yet. Must be called inside of the runtime.
    pub fn new(
        server: Arc<Server>,
        kernel: Arc<Kernel>,
        plan: Plan,
        connections_max: usize,
    ) -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self { server, kernel, plan, connections_max, runtime, open: Mutex::default() }
    }

    /// Serves one more namespace. Blocks for about a millisecond.
    ///
    /// # Errors
    /// When it is served already or its doors cannot be opened.
    pub fn serve(
        &self,
        namespace: &linux::Namespace,
        name: &str,
        pinned: Option<CgroupPath>,
        how: How,
    ) -> Result<PlaceSummary, PlaceError> {
        let mut open = self.open();
        if open.contains_key(name) {
            return Err(PlaceError::Served(name.to_owned()));
        }
        let inode = namespace.inode();
        if let Some((other, _)) = open.iter().find(|(_, place)| place.evidence.inode == inode) {
            return Err(PlaceError::ServedAs(other.clone()));
        }
        let evidence = Namespace { name: name.to_owned(), inode, pinned };
        let mut listeners = Listeners::open(namespace, &self.plan)?;
        let accepting = self.accept(namespace, &evidence, &mut listeners)?;
        let mut place = Place { evidence, how, listeners, accepting, workload: None };
        place.workload = self.prefetch(&place.evidence);
        let summary = place.summary();
        open.insert(name.to_owned(), place);
        Ok(summary)
    }

    /// Stops serving a namespace that was handed in.
    ///
    /// # Errors
    /// When none of that name was.
    pub fn detach(&self, name: &str) -> Result<(), PlaceError> {
        let mut open = self.open();
        match open.get(name) {
            Some(place) if place.how == How::Attached => {}
            _ => return Err(PlaceError::NotAttached(name.to_owned())),
        }
        if let Some(place) = open.remove(name) {
            self.close(place);
        }
        Ok(())
    }

    /// What is served.
    pub fn summaries(&self) -> Vec<PlaceSummary> {
        self.open().values().map(Place::summary).collect()
    }

    /// The name and the pinned cgroup of a served namespace, by the kernel's number.
    pub fn evidence_of(&self, inode: u64) -> Option<Namespace> {
        let open = self.open();
        open.values().map(|place| &place.evidence).find(|known| known.inode == inode).cloned()
    }

    /// Serves what is in the watched folder until the agent has gone. Blocks, so it wants a thread
    /// of its own; that thread does not keep the agent alive.
    ///
    /// # Errors
    /// When the folder cannot be watched any more.
    pub fn follow(places: &Weak<Self>, mut watch: Watch) -> Result<(), WatchError> {
        loop {
            let Some(places) = places.upgrade() else { return Ok(()) };
            for event in watch.poll()? {
                places.follow_one(event);
            }
            drop(places);
            let mut fds = [PollFd::new(&watch, PollFlags::IN)];
            // Interrupted or woken: either way the folder is looked at as a whole.
            let _ = poll(&mut fds, None);
        }
    }

    fn follow_one(&self, event: Event) {
        match event {
            Event::Added { name, namespace, .. } => {
                if let Err(error) = self.serve(&namespace, &name, None, How::Watched) {
                    crate::report(&format!("namespace `{name}` is not served: {error}"));
                }
            }
            Event::Removed { name } => {
                let mut open = self.open();
                if open.get(&name).is_some_and(|place| place.how == How::Watched)
                    && let Some(place) = open.remove(&name)
                {
                    self.close(place);
                }
            }
        }
    }

    fn accept(
        &self,
        namespace: &linux::Namespace,
        evidence: &Namespace,
        listeners: &mut Listeners,
    ) -> Result<Vec<AbortHandle>, PlaceError> {
        let diag = Arc::new(Diag::open(namespace)?);
        let _inside = self.runtime.enter();
        let mut accepting = Vec::new();
        for listener in listeners.take() {
            let origin = Origin::Inside {
                namespace: evidence.clone(),
                diag: Arc::clone(&diag),
                door: protocol(listener.door),
                kernel: Arc::clone(&self.kernel),
            };
            let socket = TcpListener::from_std(listener.socket)?;
            let server = Arc::clone(&self.server);
            let accept = server.accept(socket, Arc::new(origin), self.connections_max);
            accepting.push(self.runtime.spawn(accept).abort_handle());
        }
        Ok(accepting)
    }

    /// If the namespace alone names a workload, its lease is fetched before it asks.
    fn prefetch(&self, evidence: &Namespace) -> Option<Workload> {
        let cgroup = evidence.pinned.clone();
        let evidence =
            Evidence { namespace: Some(evidence.clone()), cgroup, ..Evidence::default() };
        let caller = self.server.engine.identify(evidence);
        let Standing::Known(known) = &caller.standing else { return None };
        self.server.engine.prefetch(clock::now(), &caller);
        self.server.nudge.notify_one();
        Some(known.key.workload.clone())
    }

    fn close(&self, place: Place) {
        for task in place.accepting {
            task.abort();
        }
        if let Some(workload) = &place.workload {
            self.server.engine.gone(workload);
        }
        // In a namespace that is gone there is nothing left to undo.
        let _ = place.listeners.close();
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Place>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn summary(&self) -> PlaceSummary {
        let absent = self.listeners.absent().iter();
        PlaceSummary {
            name: self.evidence.name.clone(),
            inode: self.evidence.inode,
            how: self.how,
            pinned: self.evidence.pinned.as_ref().map(|path| path.as_str().to_owned()),
            workload: self.workload.as_ref().map(ToString::to_string),
            absent: absent.map(|door| format!("{:?}: {}", door.door, door.reason)).collect(),
        }
    }
}
