//! The namespaces that are served: opened, kept, closed.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use linux::{
    Diag, DiagError, Event, Found, ListenError, Listeners, NamespaceError, Plan, Redirect, Watch,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use tokio::{net::TcpListener, task::JoinHandle};
use workload::{CgroupPath, Evidence, Namespace, Workload};

use crate::{
    calls::Calls,
    clock, control,
    engine::Standing,
    identify::{Kernel, Origin, protocol},
    serve::Server,
    unserved::{Backoff, Unserved, UnservedSummary},
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
    unserved: Mutex<Unserved>,
    /// Whether all was tried that was there when the agent started: what comes later, came.
    looked: AtomicBool,
    /// Why the watched folder cannot be looked at, while it cannot.
    blind: Mutex<Option<String>>,
    /// Who hears what is in a namespace, where calls are recorded.
    calls: OnceLock<Arc<Calls>>,
}

/// One namespace that is served.
#[derive(Debug)]
struct Place {
    evidence: Namespace,
    how: How,
    listeners: Listeners,
    accepting: Vec<JoinHandle<()>>,
    workload: Option<Workload>,
    /// Whether it came while the agent watched.
    came: bool,
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
    /// It was detached, but not all of its addresses could be removed.
    #[error("`{name}` is detached, but addresses are left on its loopback: {source}")]
    Addresses {
        /// The namespace.
        name: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The namespace cannot be opened.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The doors cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Connections to port 80 cannot be redirected there.
    #[error(transparent)]
    Redirect(#[from] linux::RedirectError),
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
        Self {
            server,
            kernel,
            plan,
            connections_max,
            runtime,
            open: Mutex::default(),
            unserved: Mutex::default(),
            looked: AtomicBool::new(false),
            blind: Mutex::default(),
            calls: OnceLock::new(),
        }
    }

    /// Hears the monitoring of namespaces that are served from now on.
    pub fn record(&self, calls: Arc<Calls>) {
        // It is set once, before anything is served.
        let _ = self.calls.set(calls);
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
        if self.redirected() {
            // After the listeners: nobody is redirected to a port where nothing listens yet.
            namespace.run(|| Redirect::inside(self.plan.port).install())??;
        }
        let accepting = self.accept(namespace, &evidence, &mut listeners)?;
        let came = how == How::Watched && self.looked.load(Ordering::Acquire);
        let mut place = Place { evidence, how, listeners, accepting, workload: None, came };
        place.workload = self.prefetch(&place.evidence);
        let summary = place.summary();
        open.insert(name.to_owned(), place);
        self.tell(&open);
        if let (Some(calls), Some(place)) = (self.calls.get(), open.get(name)) {
            calls.hear(namespace, &place.evidence);
        }
        Ok(summary)
    }

    /// Stops serving a namespace that was handed in: its requests are refused from then on. Only when
    /// `remove_addresses` asks for it may they travel on to the host's own metadata; the answer is
    /// which addresses were removed.
    ///
    /// # Errors
    /// When none of that name was, or an address cannot be removed.
    pub fn detach(&self, name: &str, remove_addresses: bool) -> Result<Vec<IpAddr>, PlaceError> {
        let place = self.take(name, How::Attached);
        let place = place.ok_or_else(|| PlaceError::NotAttached(name.to_owned()))?;
        let listeners = self.close(place);
        if !remove_addresses {
            return Ok(Vec::new());
        }
        let failed = |source| PlaceError::Addresses { name: name.to_owned(), source };
        listeners.remove_addresses().map_err(failed)
    }

    /// Whether clients ask at port 80 and are led to another one.
    const fn redirected(&self) -> bool {
        self.plan.port != 80
    }

    /// What is served.
    pub fn summaries(&self) -> Vec<PlaceSummary> {
        self.open().values().map(Place::summary).collect()
    }

    /// What is in the watched folder and cannot be served.
    pub fn unserved(&self) -> Vec<UnservedSummary> {
        locked(&self.unserved).summaries()
    }

    /// Why the watched folder cannot be looked at, if it cannot. What is served stays served.
    pub fn blind(&self) -> Option<String> {
        locked(&self.blind).clone()
    }

    /// The name and the pinned cgroup of a served namespace, by the kernel's number.
    pub fn evidence_of(&self, inode: u64) -> Option<Namespace> {
        let open = self.open();
        open.values().map(|place| &place.evidence).find(|known| known.inode == inode).cloned()
    }

    /// Serves what is in the watched folder until the agent has gone; `seen` is called once all that was
    /// there at first was tried. Blocks, so it wants a thread of its own; that thread does not keep the
    /// agent alive.
    pub fn follow(places: &Weak<Self>, mut watch: Watch, seen: impl FnOnce()) {
        let (mut seen, mut backoff) = (Some(seen), Backoff::default());
        loop {
            let Some(places) = places.upgrade() else { return };
            let looked = places.look(&mut watch);
            places.retry();
            let due = locked(&places.unserved).next_due();
            if looked {
                places.looked.store(true, Ordering::Release);
            }
            drop(places);
            if looked {
                backoff = Backoff::default();
                if let Some(seen) = seen.take() {
                    seen();
                }
                wait(&watch, due);
            } else {
                // The descriptor may be readable still: waiting for it would not be waiting.
                std::thread::sleep(backoff.wait());
            }
        }
    }

    /// Looks at the whole folder. `false` when that is not possible now: nothing changes then.
    fn look(&self, watch: &mut Watch) -> bool {
        let fault = match watch.poll() {
            Ok(events) => {
                events.into_iter().for_each(|event| self.follow_one(event));
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let before = std::mem::replace(&mut *locked(&self.blind), fault.clone());
        match &fault {
            Some(fault) if before.is_none() => {
                crate::report(&format!("new namespaces are not served until this ends: {fault}"));
            }
            None if before.is_some() => crate::report("new namespaces are served again"),
            _ => {}
        }
        fault.is_none()
    }

    fn follow_one(&self, event: Event) {
        match event {
            Event::Added(found) => self.serve_found(found),
            Event::Removed { name } => {
                locked(&self.unserved).forget(&name);
                if let Some(place) = self.take(&name, How::Watched) {
                    // Its programs may run on, and must not reach the host's metadata: the addresses
                    // stay.
                    drop(self.close(place));
                }
            }
        }
    }

    fn serve_found(&self, found: Found) {
        let served = match found.open() {
            // The next look at the folder tells, as a rule. Not where it comes back before that.
            Ok(None) => {
                let reason = "it was not there when it was to be opened".to_owned();
                locked(&self.unserved).failed(found, reason, Instant::now());
                return;
            }
            Ok(Some(namespace)) => self.serve(&namespace, &found.name, None, How::Watched),
            Err(error) => Err(error.into()),
        };
        let mut unserved = locked(&self.unserved);
        match served {
            Ok(_) if unserved.forget(&found.name) => {
                crate::report(&format!("namespace `{}` is served now", found.name));
            }
            Ok(_) => {}
            Err(error) => {
                let (name, reason) = (found.name.clone(), error.to_string());
                if unserved.failed(found, reason.clone(), Instant::now()) {
                    crate::report(&format!("namespace `{name}` is not served: {reason}"));
                }
            }
        }
    }

    /// Tries those again whose time has come.
    fn retry(&self) {
        let due = locked(&self.unserved).due(Instant::now());
        due.into_iter().for_each(|found| self.serve_found(found));
    }

    fn accept(
        &self,
        namespace: &linux::Namespace,
        evidence: &Namespace,
        listeners: &mut Listeners,
    ) -> Result<Vec<JoinHandle<()>>, PlaceError> {
        let diag = Arc::new(Diag::open(namespace)?);
        let _inside = self.runtime.enter();
        let adopt = |listener: linux::Listener| {
            TcpListener::from_std(listener.socket).map(|socket| (listener.door, socket))
        };
        // All or none: a door that is waited at already would not end with the others.
        let sockets = listeners.take().into_iter().map(adopt).collect::<Result<Vec<_>, _>>()?;
        let wait_at = |(door, socket)| {
            let origin = Origin::Inside {
                namespace: evidence.clone(),
                diag: Arc::clone(&diag),
                door: protocol(door),
                redirected: self.redirected(),
                kernel: Arc::clone(&self.kernel),
            };
            let server = Arc::clone(&self.server);
            let accept = server.accept(socket, Arc::new(origin), self.connections_max);
            self.runtime.spawn(accept)
        };
        Ok(sockets.into_iter().map(wait_at).collect())
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

    /// After a reload: namespaces that name another workload now, or none, forget the old one's lease,
    /// and what they name now is fetched before it asks.
    pub fn judge_again(&self) {
        let mut open = self.open();
        for place in open.values_mut() {
            let workload = self.prefetch(&place.evidence);
            if let Some(old) = place.workload.take_if(|old| workload.as_ref() != Some(old)) {
                self.server.engine.gone(&old);
            }
            place.workload = workload;
        }
        self.tell(&open);
    }

    /// Tells the line to the server what is served now.
    fn tell(&self, open: &BTreeMap<String, Place>) {
        let Some(control) = &self.server.control else { return };
        let place =
            |place: &Place| control::Place { workload: place.workload.clone(), came: place.came };
        let places = open.iter().map(|(name, open)| (name.clone(), place(open))).collect();
        control.places(&self.server.engine, &places);
    }

    fn take(&self, name: &str, how: How) -> Option<Place> {
        let mut open = self.open();
        let there = open.get(name).is_some_and(|place| place.how == how);
        let taken = if there { open.remove(name) } else { None };
        self.tell(&open);
        taken
    }

    /// Closes the doors; when it returns, requests are refused. The addresses stay, so that nobody else
    /// answers. Not for a thread of the runtime.
    fn close(&self, place: Place) -> Listeners {
        if let Some(calls) = self.calls.get() {
            calls.forget(&place.evidence.name);
        }
        for task in place.accepting {
            task.abort();
            // It ends by being aborted, and that is no news.
            let _ = self.runtime.block_on(task);
        }
        if let Some(workload) = &place.workload {
            self.server.engine.gone(workload);
        }
        place.listeners
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Place>> {
        locked(&self.open)
    }
}

/// Waits for news of the folder, until a time at the most.
fn wait(watch: &Watch, until: Option<Instant>) {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    let mut fds = [PollFd::new(watch, PollFlags::IN)];
    // Interrupted or woken: either way the folder is looked at as a whole.
    let _ = poll(&mut fds, left.as_ref());
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
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
