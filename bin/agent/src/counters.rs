//! What the agent counts since its start, for `rolecall-agent status`.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use credentials::Outcome;
use serde::Serialize;

/// The most workloads that notes are counted for; further ones are counted together.
const WORKLOADS_MAX: usize = 4096;
/// Where the notes of further workloads are counted.
const OTHERS: &str = "(others)";

/// Counters that only grow.
#[derive(Debug, Default)]
pub struct Counters {
    attested: AtomicU64,
    refused: AtomicU64,
    broken_connections: AtomicU64,
    over_budget: AtomicU64,
    fetched: AtomicU64,
    fetch_failed: AtomicU64,
    fetch_discarded: AtomicU64,
    leases_full: AtomicU64,
    notes: Mutex<BTreeMap<String, BTreeMap<&'static str, u64>>>,
}

/// The counters at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Connections whose other end was attested.
    pub attested: u64,
    /// Connections whose other end was not.
    pub refused: u64,
    /// Connections that ended amid a request.
    pub broken_connections: u64,
    /// Connections that were closed at once, because their caller held as many as it may.
    pub over_budget: u64,
    /// Fetches that brought credentials.
    pub fetched: u64,
    /// Fetches that failed.
    pub fetch_failed: u64,
    /// Fetches whose result nobody wanted any more.
    pub fetch_discarded: u64,
    /// Requests for a lease beyond the most that are held.
    pub leases_full: u64,
    /// By workload: how often it asked without a token, for another role, and so on.
    pub notes: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

impl Counters {
    pub(crate) fn verdict(&self, attested: bool) {
        add(if attested { &self.attested } else { &self.refused });
    }

    pub(crate) fn broken_connection(&self) {
        add(&self.broken_connections);
    }

    pub(crate) fn over_budget(&self) {
        add(&self.over_budget);
    }

    pub(crate) fn full(&self) {
        add(&self.leases_full);
    }

    pub(crate) fn fetched(&self, outcome: &Outcome) {
        add(match outcome {
            Outcome::Held { .. } => &self.fetched,
            Outcome::Failed { .. } => &self.fetch_failed,
            Outcome::Discarded | Outcome::Unknown => &self.fetch_discarded,
        });
    }

    pub(crate) fn note(&self, workload: &str, note: &'static str) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = notes.contains_key(workload) || notes.len() < WORKLOADS_MAX;
        let of = notes.entry(if known { workload } else { OTHERS }.to_owned()).or_default();
        *of.entry(note).or_default() += 1;
    }

    /// Reads all of them.
    pub fn read(&self) -> Counted {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            attested: get(&self.attested),
            refused: get(&self.refused),
            broken_connections: get(&self.broken_connections),
            over_budget: get(&self.over_budget),
            fetched: get(&self.fetched),
            fetch_failed: get(&self.fetch_failed),
            fetch_discarded: get(&self.fetch_discarded),
            leases_full: get(&self.leases_full),
            notes: self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
