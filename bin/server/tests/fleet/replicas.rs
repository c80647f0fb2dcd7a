//! One replica dies, or the database does, while tokens are asked for.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use api::{
    agents::{Asked, Minted},
    client::AskError,
    ledger::{EntriesAsked, ReadLedger},
    switch::Scope,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use tokio::task::JoinSet;

use crate::{
    deployment::{Deployment, ROLE, workload},
    host::Host,
    operator::Operator,
};

/// How many tokens must have been given out before something is done to the servers, and after it.
const STEADY: u64 = 60;
/// How long to wait for that.
const PATIENCE: Duration = Duration::from_secs(60);

/// Hosts that ask for one token after the other, and what they got.
struct Load {
    stop: Arc<AtomicBool>,
    given: Arc<AtomicU64>,
    asking: JoinSet<Asking>,
}

/// What one host saw.
#[derive(Default)]
struct Asking {
    tokens: Vec<String>,
    failed: Vec<AskError>,
}

impl Load {
    fn begin(hosts: &[Arc<Host>]) -> Self {
        let (stop, given) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut asking = JoinSet::new();
        for (number, host) in hosts.iter().enumerate() {
            let (host, stop, given) = (Arc::clone(host), Arc::clone(&stop), Arc::clone(&given));
            let workload = workload(u32::try_from(number).unwrap());
            asking.spawn(async move {
                let mut seen = Asking::default();
                while !stop.load(Ordering::Relaxed) {
                    match host.token(&workload, ROLE).await {
                        Ok(Minted { token, .. }) => {
                            seen.tokens.push(jti(token.expose()));
                            given.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            seen.failed.push(error);
                            // What failed once is not asked for without a pause.
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                    }
                }
                seen
            });
        }
        Self { stop, given, asking }
    }

    /// Waits until so many more tokens were given out.
    async fn more(&self, count: u64) {
        let (from, began) = (self.given.load(Ordering::Relaxed), Instant::now());
        while self.given.load(Ordering::Relaxed) < from + count {
            assert!(began.elapsed() < PATIENCE, "no {count} tokens within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) -> Asking {
        self.stop.store(true, Ordering::Relaxed);
        let all = self.asking.join_all().await;
        all.into_iter().fold(Asking::default(), |mut all, mut one| {
            all.tokens.append(&mut one.tokens);
            all.failed.append(&mut one.failed);
            all
        })
    }
}

/// The id within a token.
fn jti(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

/// All entries of the ledger; the chain is verified.
pub(crate) async fn entries(operator: &Operator) -> Vec<ledger::Entry> {
    let (mut entries, mut after) = (Vec::new(), None);
    let mut verifier = ledger::Verifier::new(Vec::new());
    loop {
        let asked = EntriesAsked { after, limit: Some(api::Within::new(500).unwrap()) };
        let page = operator.client.ask::<ReadLedger>(&(), &asked, &()).await.unwrap();
        for entry in page.items {
            let line = serde_json::to_vec(&entry).unwrap();
            let entry = ledger::read_line(&line).unwrap();
            verifier.take(&entry).unwrap();
            entries.push(entry);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return entries,
        }
    }
}

/// The ids of all tokens that the ledger says were minted.
async fn minted(operator: &Operator) -> BTreeSet<String> {
    let minted = entries(operator).await.into_iter().filter(|entry| entry.event == "token.minted");
    minted.map(|entry| entry.detail["jti"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_of_three_replicas_may_be_killed_under_load_and_no_token_request_fails() {
    let Some(mut deployment) = Deployment::start(3) else { return };
    let (admin, hosts) = deployment.hosts(9).await;
    let load = Load::begin(&hosts);
    load.more(STEADY).await;
    for victim in 0..3 {
        deployment.servers[victim].kill().unwrap();
        load.more(STEADY).await;
        deployment.servers[victim].resume().unwrap();
        load.more(STEADY).await;
    }
    let Asking { tokens, failed } = load.end().await;
    assert!(failed.is_empty(), "{} of {} failed: {}", failed.len(), tokens.len(), failed[0]);
    let minted = minted(&admin).await;
    assert!(tokens.iter().all(|token| minted.contains(token)), "a token is not in the ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_postgresql_loses_nothing_that_was_acknowledged() {
    let Some(deployment) = Deployment::start(2) else { return };
    let (admin, hosts) = deployment.hosts(4).await;
    let load = Load::begin(&hosts);
    load.more(STEADY).await;
    deployment.postgres.kill().unwrap();
    deployment.postgres.resume().unwrap();
    load.more(STEADY).await;
    let Asking { tokens, failed } = load.end().await;
    // Who waited in vain was told that nothing was done, or that nobody knows.
    for error in &failed {
        let clear = error.problem().is_some_and(|problem| problem.status >= 500)
            || matches!(error, AskError::Lost { .. } | AskError::Unreachable(_));
        assert!(clear, "{error}");
    }
    let minted = minted(&admin).await;
    assert!(tokens.iter().all(|token| minted.contains(token)), "a token is not in the ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_switches_off_no_other_one_mints_for() {
    let Some(deployment) = Deployment::start(2) else { return };
    let (admin, hosts) = deployment.hosts(2).await;
    hosts[1].token(&workload(1), ROLE).await.unwrap();
    // Each host asks another replica first; the switch is set through the first one.
    admin.flip(Scope::default(), Asked::Off).await;
    for (number, host) in hosts.iter().enumerate() {
        let workload = workload(u32::try_from(number).unwrap());
        let error = host.token(&workload, ROLE).await.unwrap_err();
        assert_eq!(error.problem().unwrap().kind, api::Kind::SwitchedOff, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flip_at_one_replica_reaches_the_hosts_of_another_within_two_seconds() {
    let Some(deployment) = Deployment::start(2) else { return };
    let (admin, hosts) = deployment.hosts(2).await;
    let held = hosts[1].orders(None).await.unwrap().unwrap();
    let waiting = {
        let host = Arc::clone(&hosts[1]);
        tokio::spawn(async move { host.orders(Some(held.revision)).await })
    };
    let flipped = Instant::now();
    let position = admin.flip(Scope::default(), Asked::Off).await;
    let orders = waiting.await.unwrap().unwrap().expect("orders come before the wait is over");
    let took = flipped.elapsed();
    assert!(orders.positions.iter().any(|known| known.id == position.id));
    assert!(took < Duration::from_secs(2), "{took:?}");
}
