//! The line to the server: orders come, reports and questions for tokens go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use api::{
    Kind, Within,
    agents::{Joined, OrdersAsked, ReadOrders, Renew, RenewRequest, Report, SendReport},
    client::{Address, AskError, Client, InvalidSettings},
    orders::SignedOrders,
};
use disk::Folder;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use workload::{Evidence, Workload};

use super::{
    identity::{self, FreshKey, Identity, IdentityError},
    joining::{connect, version},
    obedience::Obedience,
    patience::{LONGEST, Patience, REVOKED},
    term::{Origin, Term},
    told::{self, Told},
    workloads::{Anchor, Held, Place, Workloads},
};
use crate::{
    clock,
    engine::{Caller, Engine, ServedLease, Standing},
    identify::Kernel,
    places::Places,
    reload::Reloader,
    report,
};

/// How long one question may take, over all addresses: a fetch has fifteen seconds, and STS needs its part.
pub const TIMEOUT: Duration = Duration::from_secs(6);
/// How long the server may let a question for orders wait.
const WAIT: Within<0, { api::agents::WAIT_MAX_S }> = Within::literal::<25>();
/// How often the server hears of this host without news.
pub const REPORT_EVERY: Duration = Duration::from_secs(15);
/// How long news wait for others to come along.
pub const DEBOUNCE: Duration = Duration::from_millis(200);
/// How often is looked whether a position has ended or something has come into effect.
const TICK: Duration = Duration::from_millis(500);
/// How often is looked whether workloads are still there.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// How soon the server is asked again that answers at once and has nothing.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest that is waited until a certificate is tried to be renewed again.
const RENEW_LONGEST: Duration = Duration::from_secs(300);
/// Hosts that joined together do not renew together.
const RENEW_SPREAD: Duration = Duration::from_secs(300);

/// What the agent holds of its server, shared by all of its doors.
#[derive(Debug)]
pub struct Control {
    state: Mutex<State>,
    client: RwLock<Client>,
    addresses: Vec<Address>,
    folder: Folder,
    /// Which start of the agent this is.
    boot: String,
    /// Held while a report is under way: they arrive in their order.
    sending: tokio::sync::Mutex<()>,
    /// There is something to report.
    news: Notify,
    /// There may be newer orders.
    newer: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) identity: Identity,
    obedience: Obedience,
    /// The orders in force as they came.
    signed: Option<SignedOrders>,
    workloads: Workloads,
    pub(super) told: Told,
    sequence: u64,
    /// The report that the server took last, and whom it named.
    pub(super) taken: u64,
    pub(super) named: BTreeSet<Workload>,
    /// The changes that the last report told of.
    told_of: u64,
    /// The revision for which orders were asked again.
    asked_for: u64,
}

/// The task that keeps agent and server at one.
#[derive(Debug)]
pub struct Line {
    /// What is shared with the doors.
    pub control: Arc<Control>,
    /// The agent's state.
    pub engine: Arc<Engine>,
    /// Puts settings in force.
    pub reloader: Arc<Reloader>,
    /// The namespaces that are served.
    pub places: Arc<Places>,
    /// Says whether a cgroup is still there.
    pub kernel: Arc<Kernel>,
    /// Wakes the task that fetches leases.
    pub nudge: Arc<Notify>,
    /// Spreads what hosts do; no secret.
    pub seed: u64,
}

impl Control {
    /// Takes up who the host is and the orders on its disk. Orders that cannot be obeyed are reported and
    /// left: the server sends others.
    ///
    /// # Errors
    /// When the host has not joined, or its identity cannot be used.
    pub fn open(folder: Folder, addresses: &[Address]) -> Result<Self, OpenError> {
        let identity = Identity::read(&folder)?.ok_or(IdentityError::NotJoined)?;
        let obedience = Obedience::new(identity.joined.host.clone(), identity.orders_keys()?);
        let client = connect(&identity, addresses)?;
        let state = State {
            identity,
            obedience,
            signed: None,
            workloads: Workloads::default(),
            told: Told::default(),
            sequence: 0,
            taken: 0,
            named: BTreeSet::new(),
            told_of: 0,
            asked_for: 0,
        };
        let control = Self {
            state: Mutex::new(state),
            client: RwLock::new(client),
            addresses: addresses.to_vec(),
            folder,
            boot: crate::fetch::random().iter().map(|byte| format!("{byte:02x}")).collect(),
            sending: tokio::sync::Mutex::default(),
            news: Notify::new(),
            newer: Notify::new(),
        };
        control.restore();
        Ok(control)
    }

    fn restore(&self) {
        let signed = match identity::read_orders(&self.folder) {
            Ok(Some(signed)) => signed,
            Ok(None) => return,
            Err(error) => return report(&format!("no orders from the disk: {error}")),
        };
        let (now, mut state) = (clock::now(), self.state());
        match state.obedience.judge(&signed) {
            Ok(judged) => {
                state.obedience.obey(now, judged);
                state.signed = Some(signed);
            }
            Err(error) => {
                state.told.disobeyed(now.wall, error.to_string());
                report(&format!("the orders on the disk are not obeyed: {error}"));
            }
        }
    }

    /// The orders in force and as of when, to make settings of.
    pub fn look(&self) -> Option<(Arc<super::Obeyed>, Timestamp)> {
        self.state().obedience.look(clock::now())
    }

    /// Somebody was attested.
    pub fn saw(&self, engine: &Engine, caller: &Caller) {
        let Standing::Known(known) = &caller.standing else { return };
        let anchor = anchor(&caller.evidence, caller.is_vouched());
        self.about_workloads(|workloads| {
            // Asked with the lock held: settings that come later are told to all who are known by then.
            let settings = engine.settings();
            workloads.saw(clock::now(), &known.key.workload, anchor, &settings);
        });
    }

    /// The namespaces that are served now.
    pub fn places(&self, engine: &Engine, places: &BTreeMap<String, Place>) {
        self.about_workloads(|workloads| {
            workloads.places(clock::now(), places, &engine.settings());
        });
    }

    /// A lease was served.
    pub fn served(&self, caller: &Caller, lease: &ServedLease) {
        let Standing::Known(known) = &caller.standing else { return };
        let credentials = &lease.credentials;
        let held = Held {
            role: known.key.role.clone(),
            lease: api::agents::Lease {
                since: credentials.fetched,
                ends: credentials.expiration,
                access_key_id: credentials.access_key_id.clone(),
            },
            left: credentials.requested.saturating_sub(lease.age),
        };
        self.about_workloads(|workloads| {
            workloads.served(clock::now(), &known.key.workload, held);
        });
    }

    /// The host's own credentials were let through, which end then.
    pub fn passed(&self, caller: &Caller, ends: Option<Timestamp>) {
        let Standing::Known(known) = &caller.standing else { return };
        self.about_workloads(|workloads| {
            workloads.passed(clock::now(), &known.key.workload, ends);
        });
    }

    fn about_workloads<T>(&self, what: impl FnOnce(&mut Workloads) -> T) -> T {
        let mut state = self.state();
        let before = state.workloads.changes();
        let done = what(&mut state.workloads);
        if state.workloads.changes() != before {
            self.news.notify_one();
        }
        done
    }

    /// Sends a report, unless another one has come to say so meanwhile.
    pub(super) async fn report_unless(
        &self,
        said: impl Fn(&State) -> bool,
    ) -> Result<(), AskError> {
        if said(&self.state()) {
            return Ok(());
        }
        let _turn = self.sending.lock().await;
        if said(&self.state()) {
            return Ok(());
        }
        let (message, changes) = self.next_report();
        let received = self.client().ask::<SendReport>(&(), &(), &message).await;
        self.note(&received);
        let revision = received?.revision;
        let mut state = self.state();
        state.taken = message.sequence;
        state.named = message.workloads.into_iter().map(|seen| seen.workload).collect();
        state.told_of = changes;
        let held = state.obedience.held().map_or(0, |held| held.revision);
        if revision > held.max(state.asked_for) {
            // The question that waits may wait at a server that lags behind. Once is enough: there need
            // not be any orders of that revision for this host.
            state.asked_for = revision;
            self.newer.notify_one();
        }
        Ok(())
    }

    fn next_report(&self) -> (Report, u64) {
        let (now, mut state) = (clock::now(), self.state());
        state.sequence += 1;
        state.workloads.settle(now);
        let message = Report {
            boot: self.boot.clone(),
            sequence: state.sequence,
            version: version(),
            orders: state.obedience.held(),
            workloads: state.workloads.report(now),
        };
        (message, state.workloads.changes())
    }

    /// Notes whether the server answered, and tells the operator if that is news.
    pub(super) fn note<T>(&self, answer: &Result<T, AskError>) {
        let (now, mut state) = (clock::now().wall, self.state());
        let news = match answer {
            Ok(_) => state.told.heard(now).map(str::to_owned),
            // It is there, and means this question alone.
            Err(AskError::Refused(problem)) if problem.kind != Kind::Revoked => {
                state.told.heard(now).map(str::to_owned)
            }
            Err(error) => state.told.missed(now, error),
        };
        drop(state);
        if let Some(news) = news {
            report(&news);
        }
    }

    /// What the operator is told.
    pub fn status(&self) -> Value {
        let (now, state) = (clock::now(), self.state());
        let orders = state.obedience.orders().map(|orders| {
            json!({
                "revision": orders.revision,
                "issued": orders.issued.to_string(),
                "age_s": told::seconds(orders.issued, now.wall),
                "bindings": orders.bound.len(),
                "positions": orders.positions.iter().len(),
            })
        });
        let (count, effective_by) = state.workloads.count(now);
        json!({
            "addresses": self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "identity": told::identity(&state.identity.joined, now.wall),
            "line": state.told.status(now.wall),
            "orders": orders,
            "workloads": count,
            "all_in_effect_by": effective_by.map(|at| at.to_string()),
        })
    }

    pub(super) fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line to the server cannot be opened. The host's operator must act.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Who the host is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// How it connects.
    #[error("the line to the server cannot be opened: {0}")]
    Client(#[from] InvalidSettings),
}

impl Line {
    /// Keeps agent and server at one until the future is dropped.
    pub async fn run(self) {
        self.control.saw(&self.engine, &self.engine.vouched());
        tokio::join!(self.follow_orders(), self.send_reports(), self.watch(), self.renew());
    }

    async fn follow_orders(&self) {
        let mut patience = Patience::new(self.seed, LONGEST);
        loop {
            let after = self.control.state().obedience.held().map(|held| held.revision);
            let asked = OrdersAsked { after, wait_s: Some(WAIT) };
            let wait = Duration::from_secs(u64::from(WAIT.get()));
            let began = Instant::now();
            let asking = self.control.client().wait::<ReadOrders>(&(), &asked, &(), wait);
            let answer = tokio::select! {
                answer = asking => answer,
                () = self.control.newer.notified() => continue,
            };
            self.control.note(&answer);
            let pause = match answer {
                Ok(Some(signed)) => match self.take(signed).await {
                    true => Ok(Duration::ZERO),
                    false => Err(patience.wait()),
                },
                Ok(None) if began.elapsed() >= PAUSE => Ok(Duration::ZERO),
                Ok(None) => Ok(PAUSE),
                Err(_) if self.control.state().told.is_revoked() => Err(REVOKED),
                Err(_) => Err(patience.wait()),
            };
            match pause {
                Ok(pause) => {
                    patience.calm();
                    tokio::time::sleep(pause).await;
                }
                Err(pause) => tokio::time::sleep(pause).await,
            }
        }
    }

    /// Obeys orders that came, if they must be. Says whether they were.
    ///
    /// They are on the disk before they are in force. Where the disk does not take them they are in force all
    /// the same: a full disk must not keep anybody from switching off.
    async fn take(&self, signed: SignedOrders) -> bool {
        let control = &self.control;
        let judged = control.state().obedience.judge(&signed);
        let judged = match judged {
            Ok(judged) => judged,
            Err(error) => {
                let news = control.state().told.disobeyed(clock::now().wall, error.to_string());
                if news {
                    report(&format!("orders are not obeyed, the old ones stay in force: {error}"));
                }
                return false;
            }
        };
        let unwritten = self.write(&signed).await;
        let changed = {
            let mut state = control.state();
            state.told.obeyed(unwritten);
            state.signed = Some(signed);
            state.obedience.obey(clock::now(), judged)
        };
        if changed {
            self.put_in_force();
        }
        true
    }

    /// Writes orders to the disk, or says why that did not go.
    async fn write(&self, signed: &SignedOrders) -> Option<String> {
        let (control, signed) = (Arc::clone(&self.control), signed.clone());
        let written = tokio::task::spawn_blocking(move || {
            identity::keep_orders(&control.folder, &signed).map_err(|error| error.to_string())
        });
        let failed = written.await.unwrap_or_else(|error| Err(error.to_string())).err()?;
        report(&format!("orders are in force but not on the disk: {failed}"));
        Some(failed)
    }

    /// Puts the orders in force as they stand now: leases of what is off go at once, and those of what is on
    /// are fetched before anybody asks.
    fn put_in_force(&self) {
        let Some((orders, at)) = self.control.look() else { return };
        self.reloader.obey(&orders, at);
        self.places.judge_again();
        self.control.saw(&self.engine, &self.engine.vouched());
        let now = clock::now();
        let on = self
            .control
            .about_workloads(|workloads| workloads.decide(now, &self.engine.settings()));
        for workload in on {
            self.engine.want(now, &workload);
        }
        self.nudge.notify_one();
    }

    async fn watch(&self) {
        let mut swept = Instant::now();
        loop {
            tokio::time::sleep(TICK).await;
            let now = clock::now();
            let due = {
                let mut state = self.control.state();
                state.workloads.settle(now);
                if state.workloads.changes() != state.told_of {
                    self.control.news.notify_one();
                }
                state.obedience.is_due(now)
            };
            if due {
                self.put_in_force();
            }
            if swept.elapsed() < SWEEP_EVERY {
                continue;
            }
            swept = Instant::now();
            self.control
                .about_workloads(|workloads| workloads.sweep(now, |path| self.kernel.has(path)));
            let unwritten = {
                let state = self.control.state();
                state.signed.clone().filter(|_| state.told.is_unwritten())
            };
            if let Some(signed) = unwritten
                && self.write(&signed).await.is_none()
            {
                self.control.state().told.obeyed(None);
            }
        }
    }

    async fn send_reports(&self) {
        let mut patience = Patience::new(self.seed.rotate_left(16), LONGEST);
        loop {
            match self.control.report_unless(|_| false).await {
                Ok(()) => patience.calm(),
                Err(_) if self.control.state().told.is_revoked() => {
                    tokio::time::sleep(REVOKED).await;
                    continue;
                }
                Err(_) => {
                    tokio::time::sleep(patience.wait()).await;
                    continue;
                }
            }
            tokio::select! {
                () = self.control.news.notified() => tokio::time::sleep(DEBOUNCE).await,
                () = tokio::time::sleep(REPORT_EVERY) => {}
            }
        }
    }

    async fn renew(&self) {
        let mut patience = Patience::new(self.seed.rotate_left(32), RENEW_LONGEST);
        let spread = patience.part(RENEW_SPREAD);
        let mut term = Term::of(&self.control.state().identity.joined, clock::now(), Origin::Disk);
        loop {
            let now = clock::now();
            let issued = self.control.state().obedience.orders().map(|orders| orders.issued);
            if !term.is_due(now, issued, spread) {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let joined = self.control.state().identity.joined.clone();
            let failure = self.renew_once(&joined).await.err();
            self.control.state().told.renewed(clock::now().wall, failure.clone());
            match failure {
                None => {
                    patience.calm();
                    // From before it was asked for: the certificate is younger than it is taken to be.
                    term = Term::of(&self.control.state().identity.joined, now, Origin::Server);
                    report("the host's certificate was renewed");
                }
                Some(why) => {
                    report(&format!(
                        "the host's certificate, which ends at {}, cannot be renewed: {why}",
                        joined.expires
                    ));
                    tokio::time::sleep(patience.wait() + PAUSE).await;
                }
            }
        }
    }

    /// Renews with a new key. What is under way ends with the old one.
    async fn renew_once(&self, old: &Joined) -> Result<(), String> {
        let control = &self.control;
        let key = FreshKey::make().map_err(|error| error.to_string())?;
        let request = RenewRequest { csr_pem: key.csr_pem().to_owned() };
        let answer = control.client().ask::<Renew>(&(), &(), &request).await;
        control.note(&answer);
        let joined = answer.map_err(|error| told::words(&error))?;
        if joined.host != old.host {
            return Err(format!("the server gave a certificate of `{}`", joined.host));
        }
        let identity = key.with(joined, control.addresses.clone());
        let keys = identity.orders_keys().map_err(|error| error.to_string())?;
        let client = connect(&identity, &control.addresses).map_err(|error| error.to_string())?;
        let (kept, shared) = (identity.clone(), Arc::clone(control));
        let written = tokio::task::spawn_blocking(move || {
            kept.keep(&shared.folder).map_err(|error| error.to_string())
        });
        if let Err(error) = written.await.unwrap_or_else(|error| Err(error.to_string())) {
            // The old one is still good after a restart, for a while.
            report(&format!("the renewed certificate is used but not on the disk: {error}"));
        }
        *control.client.write().unwrap_or_else(PoisonError::into_inner) = client;
        let mut state = control.state();
        state.obedience.learn(keys);
        state.identity = identity;
        Ok(())
    }
}

/// By what a caller is known to run: its namespace outlives its cgroups and says more.
fn anchor(evidence: &Evidence, vouched: bool) -> Anchor {
    match (&evidence.namespace, &evidence.cgroup) {
        _ if vouched => Anchor::Vouched,
        (Some(namespace), _) => Anchor::Namespace(namespace.name.clone()),
        (None, Some(path)) => Anchor::Cgroup(path.clone()),
        (None, None) => Anchor::Asked,
    }
}
