//! The agent without its sockets: who asked and for what goes in, an answer or a wish comes out.
//!
//! Nothing here waits, reads a clock or opens a socket, so the simulator drives the very same code
//! from one thread and one seed. The sockets are in [`crate::serve`], the calls to STS in
//! [`crate::fetch`].

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use credentials::{
    Ask, Credentials, Failing, Fetch, FetchError, FetchId, Held, LeaseId, LeaseKey, Leases,
    Outcome, Policy, Switch, Tally,
};
use jiff::Timestamp;
use metadata::{
    Answer, Decision, Door, Form, HostPath, Note, Request, Step, Subject, TokenKey, Unavailable,
};
use secret::SecretBytes;
use workload::{Evidence, Refusal, Verdict, Workload};

use crate::{
    clock::Skew,
    counters::Counters,
    settings::{BoundRole, Development, Settings},
};

/// The two clocks at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Time since boot; never jumps. Lives and waits are measured with it.
    pub boot: Duration,
    /// Calendar time; may jump. It is only printed and signed.
    pub wall: Timestamp,
}

/// Somebody at the other end of a connection, and what the agent thinks of them.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What the kernel showed.
    pub evidence: Evidence,
    /// The verdict on it.
    pub standing: Standing,
    /// Whether they came through a development listener, which vouches for them.
    vouched: bool,
    /// The settings that the verdict was made with.
    settings: Arc<Settings>,
}

impl Caller {
    /// Whether a development listener vouches for them.
    pub const fn is_vouched(&self) -> bool {
        self.vouched
    }
}

/// The verdict on a caller.
#[derive(Clone, Debug)]
pub enum Standing {
    /// One workload, by all the evidence.
    Known(Known),
    /// Nobody whom the rules name, or more than one.
    Refused(Refusal),
}

/// A workload and its role.
#[derive(Clone, Debug)]
pub struct Known {
    /// Who it is, and with that which lease is its own. Shared, because every request needs it.
    pub key: Arc<LeaseKey>,
    /// Who it is, as text.
    pub id: String,
    /// What it is bound to.
    pub bound: Arc<BoundRole>,
    /// Where its credentials come from.
    pub switch: Switch,
}

impl Known {
    fn new(settings: &Settings, workload: Workload, bound: &Arc<BoundRole>) -> Self {
        let switch = settings.switch_of(bound, &workload);
        let (id, role) = (workload.to_string(), bound.binding.role.clone());
        let key = Arc::new(LeaseKey { workload, role });
        Self { key, id, bound: Arc::clone(bound), switch }
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Progress {
    /// Send this.
    Answer(Answer),
    /// Ask [`Engine::serve`] again when leases change; give up at the caller's time limit.
    Wait(Wanted),
    /// Ask the host's own metadata service for this path.
    Host(HostPath, Option<u16>),
}

/// Credentials that a caller waits for.
#[derive(Clone, Debug)]
pub struct Wanted {
    key: Arc<LeaseKey>,
    form: Form,
    token_ttl_left: Option<u16>,
    /// The settings that they were decided with.
    generation: u64,
}

/// What is known of a request once it is decided, for the access log.
#[derive(Debug, Default)]
pub struct Seen {
    /// The class of the path.
    pub class: &'static str,
    /// What was remarkable.
    pub notes: Vec<&'static str>,
    /// The lease that was served.
    pub lease: Option<ServedLease>,
}

/// The lease that an answer carried.
#[derive(Clone, Debug)]
pub struct ServedLease {
    /// Its number.
    pub id: u64,
    /// How old it was.
    pub age: Duration,
    /// The form that it was served in.
    pub form: Form,
    /// What was served: its access key id is an identifier, not a secret.
    pub credentials: Arc<Credentials>,
}

/// The agent's state.
pub struct Engine {
    settings: RwLock<Arc<Settings>>,
    /// That of the settings, to be compared at every request without a lock.
    generation: AtomicU64,
    tokens: TokenKey,
    book: Mutex<Book>,
    /// What was counted since the start.
    pub counters: Counters,
    /// How far the host's clock is from the source's.
    pub skew: Skew,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("tally", &self.tally()).finish_non_exhaustive()
    }
}

/// Leases, and the bodies that were made of them.
#[derive(Debug)]
struct Book {
    leases: Leases,
    /// One rendered body per lease and form, with the generation that it shows.
    bodies: BTreeMap<(LeaseId, Form), (u64, Arc<SecretBytes>)>,
}

impl Engine {
    /// An agent that holds nothing yet. `seed` spreads renewals; it is no secret.
    pub fn new(settings: Settings, tokens: TokenKey, seed: u64) -> Self {
        let book = Book { leases: Leases::new(Policy::new(seed)), bodies: BTreeMap::new() };
        Self {
            generation: AtomicU64::new(settings.generation),
            settings: RwLock::new(Arc::new(settings)),
            tokens,
            book: Mutex::new(book),
            counters: Counters::default(),
            skew: Skew::default(),
        }
    }

    /// Puts new settings in force. Leases whose role is bound no more end. Those that would be asked
    /// for in other words now are fetched anew, and served until then: STS may be away just then.
    pub fn reload(&self, now: Now, settings: Settings) {
        let settings = Arc::new(settings);
        let old = {
            let mut in_force = self.settings.write().unwrap_or_else(PoisonError::into_inner);
            self.generation.store(settings.generation, Ordering::Release);
            std::mem::replace(&mut *in_force, Arc::clone(&settings))
        };
        let mut book = self.book();
        book.leases.retain(|key| in_force(&settings, key).is_some());
        let changed = |key: &&LeaseKey| {
            let (new, old) = (in_force(&settings, key), in_force(&old, key));
            !new.zip(old).is_some_and(|(new, old)| new.binding.asks_like(&old.binding))
        };
        let keys = book.leases.keys().filter(changed);
        for key in keys.cloned().collect::<Vec<_>>() {
            book.leases.renew(now.boot, &key);
        }
        book.forget_bodies();
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The key of session tokens and container secrets.
    pub const fn tokens(&self) -> &TokenKey {
        &self.tokens
    }

    /// Judges what the kernel showed of somebody who asks.
    pub fn identify(&self, evidence: Evidence) -> Caller {
        let caller = self.judge(evidence);
        self.counters.verdict(matches!(caller.standing, Standing::Known(_)));
        caller
    }

    /// Judges what the kernel showed, and counts it nowhere.
    pub fn judge(&self, evidence: Evidence) -> Caller {
        let settings = self.settings();
        let standing = judge(&settings, &evidence);
        Caller { evidence, standing, vouched: false, settings }
    }

    /// Whoever connects to a development listener is the workload that the file names.
    pub fn vouched(&self) -> Caller {
        let settings = self.settings();
        let standing = vouch(&settings);
        Caller { evidence: Evidence::default(), standing, vouched: true, settings }
    }

    /// Judges again if the settings changed since, and says whether they did.
    pub fn refresh(&self, caller: &mut Caller) -> bool {
        if self.is_in_force(caller.settings.generation) {
            return false;
        }
        let settings = self.settings();
        caller.standing =
            if caller.vouched { vouch(&settings) } else { judge(&settings, &caller.evidence) };
        caller.settings = settings;
        true
    }

    /// Decides one request. `random` must be fresh: it becomes part of a session token.
    pub fn request(
        &self,
        now: Now,
        caller: &Caller,
        door: Door,
        request: &Request<'_>,
        random: [u8; 16],
    ) -> (Progress, Seen) {
        let Standing::Known(known) = &caller.standing else {
            let seen = Seen { class: "unattested", ..Seen::default() };
            return (Progress::Answer(metadata::unattested(door)), seen);
        };
        let binding = &known.bound.binding;
        let role = (known.switch == Switch::On).then_some(&binding.role);
        let settings = &caller.settings;
        let subject = Subject {
            workload: &known.id,
            role,
            v1: binding.imds_v1,
            facts: &settings.facts,
            allow: &settings.allow,
        };
        let decision = metadata::decide(door, request, &subject, &self.tokens, now.boot, random);
        self.count(known, &decision);
        let mut seen = Seen {
            class: decision.class.as_str(),
            notes: decision.notes.iter().map(Note::as_str).collect(),
            lease: None,
        };
        let progress = match decision.step {
            Step::Answer(answer) => Progress::Answer(answer),
            Step::Host(path) => Progress::Host(path, decision.token_ttl_left),
            Step::Credentials(form) => {
                let key = Arc::clone(&known.key);
                let token_ttl_left = decision.token_ttl_left;
                let generation = settings.generation;
                let wanted = Wanted { key, form, token_ttl_left, generation };
                match self.serve(now, &wanted, &mut seen) {
                    Some(answer) => Progress::Answer(answer),
                    None => Progress::Wait(wanted),
                }
            }
        };
        (progress, seen)
    }

    /// The answer to a caller who waits, or `None` while there is still hope.
    pub fn serve(&self, now: Now, wanted: &Wanted, seen: &mut Seen) -> Option<Answer> {
        let mut book = self.book();
        let book = &mut *book;
        if !self.still_in_force(wanted.generation, &wanted.key) {
            // Its workload is to ask again: it has another role now, or none.
            return Some(self.not_ready(now, wanted));
        }
        let held = match book.leases.ask(now.boot, &wanted.key) {
            Ask::Held(held) => held,
            Ask::Wait => return None,
            Ask::Failing { error, .. } => return Some(unavailable(wanted, error, now)),
            Ask::Stopped => {
                return Some(metadata::unavailable(wanted.form, &Unavailable::Stopped, now.wall));
            }
            Ask::Full { .. } => {
                self.counters.full();
                return Some(metadata::unavailable(wanted.form, &Unavailable::NotReady, now.wall));
            }
        };
        seen.lease = Some(ServedLease {
            id: held.lease().get(),
            age: held.age(now.boot),
            form: wanted.form,
            credentials: Arc::clone(held.credentials()),
        });
        let body = body(&mut book.bodies, held, wanted);
        Some(metadata::answer_credentials(wanted.form, body, wanted.token_ttl_left))
    }

    /// The answer in place of a lease that must not be given out now.
    pub fn withheld(&self, now: Now, lease: &ServedLease) -> Answer {
        metadata::unavailable(lease.form, &Unavailable::NotReady, now.wall)
    }

    /// The answer to a caller whose time is up. The fetch goes on without them.
    pub fn not_ready(&self, now: Now, wanted: &Wanted) -> Answer {
        metadata::unavailable(wanted.form, &Unavailable::NotReady, now.wall)
    }

    /// Makes the lease of a workload wanted before it asks.
    pub fn prefetch(&self, now: Now, caller: &Caller) {
        if let Standing::Known(known) = &caller.standing
            && known.switch == Switch::On
        {
            let mut book = self.book();
            if self.still_in_force(caller.settings.generation, &known.key) {
                let _ = book.leases.ask(now.boot, &known.key);
            }
        }
    }

    /// Makes the lease of a workload wanted that was attested before, if its switch is on.
    pub fn want(&self, now: Now, workload: &Workload) {
        let settings = self.settings();
        let Some(bound) = settings.bound_to(workload) else { return };
        let key = LeaseKey { workload: workload.clone(), role: bound.binding.role.clone() };
        let mut book = self.book();
        // Asked with the book locked: see `still_in_force`.
        if in_force(&self.settings(), &key).is_some() {
            let _ = book.leases.ask(now.boot, &key);
        }
    }

    /// The fetches to start now, and when to ask again, in time since boot.
    pub fn poll(&self, now: Now) -> (Vec<Fetch>, Option<Duration>) {
        let mut book = self.book();
        let fetches = book.leases.poll(now.boot);
        book.forget_bodies();
        (fetches, book.leases.next_wake())
    }

    /// The binding that a fetch is for, if it is still in force.
    pub fn binding_of(&self, key: &LeaseKey) -> Option<Arc<BoundRole>> {
        in_force(&self.settings(), key).cloned()
    }

    /// Takes in the result of a fetch.
    pub fn fetched(
        &self,
        now: Now,
        fetch: FetchId,
        result: Result<Credentials, FetchError>,
    ) -> Outcome {
        let outcome = self.book().leases.fetched(now.boot, now.wall, fetch, result);
        self.counters.fetched(&outcome);
        outcome
    }

    /// Forgets the leases of a workload that has gone.
    pub fn gone(&self, workload: &Workload) {
        let mut book = self.book();
        book.leases.retain(|key| key.workload != *workload);
        book.forget_bodies();
    }

    /// Looks at the leases whose last fetch failed.
    pub fn with_failing<T>(
        &self,
        look: impl FnOnce(&mut dyn Iterator<Item = Failing<'_>>) -> T,
    ) -> T {
        look(&mut self.book().leases.failing())
    }

    /// How many leases stand where.
    pub fn tally(&self) -> Tally {
        self.book().leases.tally()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a lease that settings of this generation bound may still be wanted. Ask with the
    /// book locked: a reload puts settings in force first and then drops the leases of the old
    /// ones, so none can come back behind it.
    fn still_in_force(&self, generation: u64, key: &LeaseKey) -> bool {
        self.is_in_force(generation) || in_force(&self.settings(), key).is_some()
    }

    fn is_in_force(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) == generation
    }

    fn count(&self, known: &Known, decision: &Decision) {
        for note in decision.notes.iter() {
            self.counters.note(&known.id, note.as_str());
        }
    }
}

impl Book {
    /// Bodies carry secrets: they go with their lease.
    fn forget_bodies(&mut self) {
        if !self.bodies.is_empty() {
            let leases = &self.leases;
            self.bodies.retain(|(lease, _), (generation, _)| leases.holds(*lease, *generation));
        }
    }
}

fn body(
    bodies: &mut BTreeMap<(LeaseId, Form), (u64, Arc<SecretBytes>)>,
    held: &Held,
    wanted: &Wanted,
) -> Arc<SecretBytes> {
    let at = (held.lease(), wanted.form);
    if let Some((generation, body)) = bodies.get(&at)
        && *generation == held.generation()
    {
        return Arc::clone(body);
    }
    let credentials = held.credentials();
    let body = Arc::new(metadata::render(
        wanted.form,
        &metadata::Credentials {
            access_key_id: &credentials.access_key_id,
            secret_access_key: &credentials.secret_access_key,
            session_token: &credentials.session_token,
            expiration: credentials.expiration,
            last_updated: credentials.fetched,
            role: &wanted.key.role,
        },
    ));
    bodies.insert(at, (held.generation(), Arc::clone(&body)));
    body
}

/// The binding that a lease is for, if the switch is on for its workload.
fn in_force<'a>(settings: &'a Settings, key: &LeaseKey) -> Option<&'a Arc<BoundRole>> {
    let bound = settings.bound_to(&key.workload)?;
    let on = || settings.switch_of(bound, &key.workload) == Switch::On;
    (bound.binding.role == key.role && on()).then_some(bound)
}

fn judge(settings: &Settings, evidence: &Evidence) -> Standing {
    let mut evidence = Cow::Borrowed(evidence);
    if evidence.address.is_some() && !settings.trust_addresses {
        evidence.to_mut().address = None;
    }
    let attested = match workload::attest(&settings.rules, &evidence) {
        Verdict::Attested(attested) => attested,
        Verdict::Refused(refusal) => return Standing::Refused(refusal),
    };
    match settings.by_rule.get(attested.rule()) {
        Some(bound) => Standing::Known(Known::new(settings, attested.workload().clone(), bound)),
        None => Standing::Refused(Refusal::Unknown),
    }
}

fn vouch(settings: &Settings) -> Standing {
    let development = settings.development.as_ref();
    development.map_or(Standing::Refused(Refusal::NoEvidence), |Development { workload, bound }| {
        Standing::Known(Known::new(settings, workload.clone(), bound))
    })
}

/// What a client may know of a failed fetch: who must act, in words that its SDK prints.
fn unavailable(wanted: &Wanted, error: &FetchError, now: Now) -> Answer {
    let why = match error {
        FetchError::Throttled => Unavailable::Throttled,
        FetchError::Unavailable(_) => Unavailable::NotReady,
        FetchError::Denied { code, message } => {
            Unavailable::Denied { code: code.clone(), message: message.clone() }
        }
        FetchError::HostDenied { code, .. } => Unavailable::Denied {
            code: code.clone(),
            message: "the role does not let this host in; the agent's `status` has AWS's words"
                .to_owned(),
        },
        FetchError::Refused { kind, .. } => Unavailable::Denied {
            code: "TokenRefused".to_owned(),
            message: format!("the control plane gives no token (`{kind}`): ask who runs it"),
        },
        FetchError::Misconfigured(_) | FetchError::Clock(_) => Unavailable::Denied {
            code: "AgentMisconfigured".to_owned(),
            message: "the host's operator must look at the agent's log".to_owned(),
        },
    };
    metadata::unavailable(wanted.form, &why, now.wall)
}
