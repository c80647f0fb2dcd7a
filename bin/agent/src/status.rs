//! What the operator is told of leases: how many stand where, and which fail and why.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::engine::{Engine, Now};

/// The most failing leases that are named; the counts are of all.
const NAMED_MAX: usize = 64;

/// A lease whose last fetch failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailingLease {
    /// Whom it is for.
    pub workload: String,
    /// What it would let them be.
    pub role: String,
    /// Why, in words for the operator.
    pub reason: String,
    /// How many fetches failed in a row.
    pub attempts: u32,
    /// When it is tried again; 0 while it is being tried.
    pub retry_in_s: u64,
    /// How long what is held is still served; none where nothing is.
    pub served_for_s: Option<u64>,
}

/// What is said of leases and of the clock that they depend on.
pub fn leases(engine: &Engine, now: Now) -> Map<String, Value> {
    let tally = engine.tally();
    let first_end = tally.first_end.map(|end| end.saturating_sub(now.boot).as_secs());
    let counts = json!({
        "waiting": tally.vacant + tally.fetching,
        "held": tally.held + tally.renewing,
        "renewing": tally.renewing,
        "strained": tally.strained,
        "failing": tally.failing,
        "first_ends_in_s": first_end,
    });
    Map::from_iter([
        ("leases".to_owned(), counts),
        ("failing".to_owned(), json!(failing(engine, now))),
        ("clock_skew_s".to_owned(), json!(engine.skew.behind_s())),
    ])
}

/// Those with nothing to serve come first: their workloads stand still.
fn failing(engine: &Engine, now: Now) -> Vec<FailingLease> {
    let left = |until: std::time::Duration| until.saturating_sub(now.boot).as_secs();
    engine.with_failing(|leases| {
        let mut all: Vec<_> = leases.collect();
        all.sort_by_key(|lease| lease.served_until.is_some());
        let named = all.into_iter().take(NAMED_MAX).map(|lease| FailingLease {
            workload: lease.key.workload.to_string(),
            role: lease.key.role.to_string(),
            reason: lease.error.to_string(),
            attempts: lease.attempts,
            retry_in_s: left(lease.retry_at),
            served_for_s: lease.served_until.map(left),
        });
        named.collect()
    })
}
