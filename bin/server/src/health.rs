//! Whether this replica works, and by which authority it is known.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use api::{Kind, Problem, health::Health, trust::Trust};

use crate::{VERSION, caller::Anybody, fault::OrProblem, server::Server};

/// For how long an answer is good: anybody may ask, and looking takes the lock of all acts.
const GOOD: Duration = Duration::from_secs(1);

/// What was found when it was looked last.
#[derive(Clone, Debug)]
pub(crate) struct Looked {
    at: Instant,
    found: Result<u64, Problem>,
}

/// Tells whether this replica can read and write what it must.
pub(crate) async fn health(
    server: Arc<Server>,
    _: Anybody,
    (): (),
    (): (),
    (): (),
) -> Result<Health, Problem> {
    if server.is_stopping() {
        return Err(Problem::new(Kind::Busy, "this replica is stopping"));
    }
    let known = server.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let found = match known.filter(|known| known.at.elapsed() < GOOD) {
        Some(known) => known.found,
        None => {
            // Whoever can begin an act can write; dropped, it never was.
            let found = server.state.act().await.map(|act| act.revision()).or_problem();
            let looked = Looked { at: Instant::now(), found: found.clone() };
            *server.health.lock().unwrap_or_else(PoisonError::into_inner) = Some(looked);
            found
        }
    };
    Ok(Health { version: VERSION.to_owned(), started: server.started, revision: found? })
}

/// Shows the authority.
pub(crate) async fn trust(
    server: Arc<Server>,
    _: Anybody,
    (): (),
    (): (),
    (): (),
) -> Result<Trust, Problem> {
    let authority = &server.authority;
    Ok(Trust { ca_pem: authority.pem().to_owned(), fingerprint: authority.fingerprint() })
}
