//! Whether this replica works, and by which authority it is known.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use api::{Kind, Problem, health::Health, trust::Trust};

use crate::{VERSION, caller::Anybody, fault::OrProblem, server::Server};

/// For how long an answer is good: anybody may ask, and looking takes the lock of all acts.
const GOOD: Duration = Duration::from_secs(1);

/// What was found when it was looked last. One looks at a time, and the others wait for what is found: the lock
/// of all acts is had in turn, and a crowd that looks would be before whoever wants to do something.
#[derive(Debug, Default)]
pub(crate) struct Looked(tokio::sync::Mutex<Option<Found>>);

#[derive(Debug)]
struct Found {
    at: Instant,
    revision: Result<u64, Problem>,
}

impl Looked {
    /// The revision that acts begin with, as it is now or was a moment ago.
    async fn revision(&self, server: &Server) -> Result<u64, Problem> {
        let mut last = self.0.lock().await;
        if let Some(found) = &*last
            && found.at.elapsed() < GOOD
        {
            return found.revision.clone();
        }
        // Whoever can begin an act can write; dropped, it never was.
        let revision = server.state.act().await.map(|act| act.revision()).or_problem();
        *last = Some(Found { at: Instant::now(), revision: revision.clone() });
        revision
    }
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
    server.refresher.check_fresh()?;
    let revision = server.health.revision(&server).await?;
    Ok(Health { version: VERSION.to_owned(), started: server.started, revision })
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
