//! The agent without its sockets: who asked and for what goes in, an answer or a wish comes out.
//!
//! Nothing here waits, reads a clock or opens a socket, so the simulator drives the very same code
//! from one thread and one seed. The sockets are in [`crate::serve`], the calls to STS in
//! [`crate::fetch`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use credentials::{Ask, Credentials, Fetch, FetchError, FetchId, Held, LeaseKey, Leases, Tally};
use jiff::Timestamp;
use metadata::{Answer, Decision, Door, Form, Request, Step, Subject, TokenKey, Unavailable};
use secret::SecretBytes;
use workload::{Evidence, Refusal, Verdict, Workload};

use crate::{
    counters::{Counter, Counters},
    settings::{BoundRole, Settings},
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
    Host(String),
}

/// Credentials that a caller waits for.
#[derive(Clone, Debug)]
pub struct Wanted {
    key: LeaseKey,
    form: Form,
    ttl_left: Option<u32>,
    head_only: bool,
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
    /// The access key: an identifier, not a secret.
    pub access_key_id: String,
}

/// The agent's state.
#[derive(Debug)]
pub struct Engine {
    settings: RwLock<Arc<Settings>>,
    tokens: TokenKey,
    book: Mutex<Book>,
    /// What was counted since the start.
    pub counters: Counters,
}

/// Leases, and the bodies that were made of them.
#[derive(Debug)]
struct Book {
    leases: Leases,
    /// One rendered body per lease and form, with the generation that it shows.
    bodies: BTreeMap<(u64, FormKind), (u64, Arc<SecretBytes>)>,
}
