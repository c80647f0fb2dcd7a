//! The agent without its sockets: who asked and for what goes in, an answer or a wish comes out.
//!
//! Nothing here waits, reads a clock or opens a socket, so the simulator drives the very same code
//! from one thread and one seed. The sockets are in [`crate::serve`], the calls to STS in
//! [`crate::fetch`].

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use credentials::{
    Ask, Credentials, Fetch, FetchError, FetchId, Held, LeaseId, LeaseKey, Leases, Outcome, Policy,
    Switch, Tally,
};
use jiff::Timestamp;
use metadata::{
    Answer, Decision, Door, Form, HostPath, Note, Request, Step, Subject, TokenKey, Unavailable,
};
use secret::SecretBytes;
use workload::{Evidence, Refusal, Verdict, Workload};

use crate::{
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
    /// Who it is.
    pub workload: Workload,
    /// The same as text.
    pub id: String,
    /// What it is bound to.
    pub bound: Arc<BoundRole>,
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
    key: LeaseKey,
    form: Form,
    token_ttl_left: Option<u16>,
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
    /// What was served: its access key id is an identifier, not a secret.
    pub credentials: Arc<Credentials>,
}

/// The agent's state.
pub struct Engine {
    settings: RwLock<Arc<Settings>>,
    tokens: TokenKey,
    book: Mutex<Book>,
    /// What was counted since the start.
    pub counters: Counters,
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
            settings: RwLock::new(Arc::new(settings)),
            tokens,
            book: Mutex::new(book),
            counters: Counters::default(),
        }
    }

    /// Puts new settings in force. Leases whose binding is the same go on; the others end.
    pub fn reload(&self, settings: Settings) {
        let settings = Arc::new(settings);
        let old = std::mem::replace(
            &mut *self.settings.write().unwrap_or_else(PoisonError::into_inner),
            Arc::clone(&settings),
        );
        let in_force = |settings: &Settings, key: &LeaseKey| {
            let mut all = settings.bound().map(|bound| &bound.binding);
            all.find(|binding| {
                binding.switch == Switch::On
                    && binding.role == key.role
                    && binding.application == key.workload.application
                    && binding.environment == key.workload.environment
            })
            .cloned()
        };
        let mut book = self.book();
        book.leases.retain(|key| {
            let new = in_force(&settings, key);
            new.is_some() && new == in_force(&old, key)
        });
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

    /// Judges what the kernel showed.
    pub fn identify(&self, evidence: Evidence) -> Caller {
        let settings = self.settings();
        let standing = judge(&settings, &evidence);
        self.counters.verdict(matches!(standing, Standing::Known(_)));
        Caller { evidence, standing, vouched: false, settings }
    }

    /// Whoever connects to a development listener is the workload that the file names.
    pub fn vouched(&self) -> Caller {
        let settings = self.settings();
        let standing = vouch(settings.development.as_ref());
        Caller { evidence: Evidence::default(), standing, vouched: true, settings }
    }

    /// Judges again if the settings changed since.
    pub fn refresh(&self, caller: &mut Caller) {
        let settings = self.settings();
        if settings.generation == caller.settings.generation {
            return;
        }
        caller.standing = if caller.vouched {
            vouch(settings.development.as_ref())
        } else {
            judge(&settings, &caller.evidence)
        };
        caller.settings = settings;
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
        let role = (binding.switch == Switch::On).then_some(&binding.role);
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
                let (workload, role) = (known.workload.clone(), binding.role.clone());
                let key = LeaseKey { workload, role };
                let wanted = Wanted { key, form, token_ttl_left: decision.token_ttl_left };
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
            credentials: Arc::clone(held.credentials()),
        });
        let body = body(&mut book.bodies, held, wanted);
        Some(metadata::answer_credentials(wanted.form, body, wanted.token_ttl_left))
    }

    /// The answer to a caller whose time is up. The fetch goes on without them.
    pub fn not_ready(&self, now: Now, wanted: &Wanted) -> Answer {
        metadata::unavailable(wanted.form, &Unavailable::NotReady, now.wall)
    }

    /// Makes the lease of a workload wanted before it asks.
    pub fn prefetch(&self, now: Now, caller: &Caller) {
        if let Standing::Known(known) = &caller.standing
            && known.bound.binding.switch == Switch::On
        {
            let (workload, role) = (known.workload.clone(), known.bound.binding.role.clone());
            let _ = self.book().leases.ask(now.boot, &LeaseKey { workload, role });
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
        let settings = self.settings();
        let mut bound = settings.bound().filter(|bound| bound.binding.switch == Switch::On);
        let found = bound.find(|bound| {
            bound.binding.role == key.role
                && bound.binding.application == key.workload.application
                && bound.binding.environment == key.workload.environment
        });
        found.cloned()
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

    /// How many leases stand where.
    pub fn tally(&self) -> Tally {
        self.book().leases.tally()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
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

fn judge(settings: &Settings, evidence: &Evidence) -> Standing {
    let evidence = if settings.trust_addresses {
        evidence.clone()
    } else {
        Evidence { address: None, ..evidence.clone() }
    };
    let attested = match workload::attest(&settings.rules, &evidence) {
        Verdict::Attested(attested) => attested,
        Verdict::Refused(refusal) => return Standing::Refused(refusal),
    };
    match settings.by_rule.get(attested.rule()) {
        Some(bound) => {
            let workload = attested.workload().clone();
            Standing::Known(Known { id: workload.to_string(), workload, bound: Arc::clone(bound) })
        }
        None => Standing::Refused(Refusal::Unknown),
    }
}

fn vouch(development: Option<&Development>) -> Standing {
    development.map_or(Standing::Refused(Refusal::NoEvidence), |development| {
        Standing::Known(Known {
            workload: development.workload.clone(),
            id: development.workload.to_string(),
            bound: Arc::clone(&development.bound),
        })
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
        FetchError::Misconfigured(_) | FetchError::Clock(_) => Unavailable::Denied {
            code: "AgentMisconfigured".to_owned(),
            message: "the host's operator must look at the agent's log".to_owned(),
        },
    };
    metadata::unavailable(wanted.form, &why, now.wall)
}
