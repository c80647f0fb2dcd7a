//! A replica without its doors, people and hosts around it, and a clock that stands until it is told to go.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use api::{
    Problem,
    agents::{Asked, InEffect, JoinRequest, Minted, Report, SeenWorkload, TokenRequest},
    bindings::{Binding, Proposal, Review, VersionPath},
    joining::JoinTokenFacts,
    switch::{Flip, Position},
};
use jiff::{SignedDuration, Timestamp};
use ledger::Draft;
use practice::{postgres::Postgres, tools::Tools};
use rcgen::{CertificateParams, KeyPair};
use secret::SecretText;
use serde_json::json;
use state::{Database, PersonRow, Settings, State};
use tokio::task::JoinHandle;

use crate::{
    acts::{agents, applications, bindings, groups, joining, switch},
    authority::{Authority, Shown},
    caller::{Host, Person, Session},
    clock::Clock,
    config::Config,
    fault::OrProblem,
    http::{Connection, RequestLog},
    knowledge::REPORT_STALE,
    people,
    seal::Seal,
    server::{Parts, Server},
    works::{self, Works},
};

/// Which database.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

/// A deployment: a database, a key file, an authority, and a clock that all of its replicas share.
pub(super) struct Stage {
    /// Its first replica.
    pub(super) server: Arc<Server>,
    time: Arc<Mutex<Timestamp>>,
    settings: Settings,
    folder: tempfile::TempDir,
    minters: Mutex<Vec<JoinHandle<()>>>,
    _postgres: Option<Arc<Postgres>>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.minters.lock().unwrap().iter().for_each(JoinHandle::abort);
    }
}

impl Stage {
    /// On SQLite.
    pub(super) async fn new() -> Self {
        Self::on(Kind::Sqlite).await
    }

    pub(super) async fn on(kind: Kind) -> Self {
        Self::with(kind, "").await
    }

    /// With more lines in the server's file.
    pub(super) async fn with(kind: Kind, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (database, postgres) = match kind {
            Kind::Sqlite => (Database::Sqlite(folder.path().join("state.db")), None),
            Kind::Postgres => {
                let server = Postgres::shared(&Tools::find()).unwrap();
                let url = SecretText::new(server.database().unwrap());
                (Database::Postgres(url), Some(server))
            }
        };
        let settings = Settings { database, connections_max: 5, wait: Duration::from_secs(20) };
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let time = Arc::new(Mutex::new(start));
        let authority = Authority::make(start).unwrap();
        let (server, minter) = replica(&settings, &time, folder.path(), authority, more).await;
        works::first_key(&server).await.unwrap();
        let minters = Mutex::new(vec![minter]);
        Self { server, time, settings, folder, minters, _postgres: postgres }
    }

    /// Another replica of the same deployment. Nothing tells it of changes but what it does itself.
    pub(super) async fn another(&self) -> Arc<Server> {
        let authority = &self.server.authority;
        let authority = Authority::restore(authority.pem(), &authority.private_key()).unwrap();
        let (server, minter) =
            replica(&self.settings, &self.time, self.folder.path(), authority, "").await;
        self.minters.lock().unwrap().push(minter);
        server
    }

    pub(super) fn now(&self) -> Timestamp {
        *self.time.lock().unwrap()
    }

    /// Lets time pass.
    pub(super) fn pass(&self, time: SignedDuration) {
        *self.time.lock().unwrap() += time;
    }

    /// Lets so much time pass that no report counts any more.
    pub(super) fn pass_reports(&self) {
        self.pass(SignedDuration::try_from(REPORT_STALE).unwrap() + SignedDuration::from_secs(1));
    }

    /// Somebody in these groups, who is signed in.
    pub(super) async fn person(&self, id: &str, groups: &[&str]) -> Person {
        let now = self.now();
        let mut act = self.server.state.act().await.unwrap();
        if act.person(id).await.unwrap().is_none() {
            act.record(Draft::new("test", "person.put", id, json!({})).unwrap(), now)
                .await
                .unwrap();
            let body = json!({ "name": id, "given": groups }).to_string();
            let row = PersonRow { person: id.to_owned(), body, disabled: None, last_login: None };
            act.put_person(&row).await.unwrap();
        }
        let row = act.person(id).await.unwrap().unwrap();
        act.commit(now).await.unwrap();
        let session = Session { hash: String::new(), expires: Timestamp::MAX, csrf: None };
        let policies = self.server.policies_of(None).unwrap();
        Person { known: people::known(&row).unwrap(), session, policies }
    }

    /// Somebody who may do everything.
    pub(super) async fn admin(&self) -> Person {
        self.person("root", &["admin"]).await
    }

    /// Makes applications known, each in `prod` and `test` and owned by `team`.
    pub(super) async fn applications(&self, names: &[&str]) {
        let admin = self.admin().await;
        for name in names {
            let path = serde_json::from_value(json!({ "application": name })).unwrap();
            let facts = json!({ "owner": "team", "tier": 1, "environments": ["prod", "test"] });
            let facts = serde_json::from_value(facts).unwrap();
            let server = Arc::clone(&self.server);
            applications::put(server, admin.clone(), path, (), facts).await.unwrap();
        }
    }

    /// Lets hosts with the label `pool` of that value run what the pattern says.
    pub(super) async fn group(&self, pool: &str, may_run: &str) {
        let path = serde_json::from_value(json!({ "group": pool })).unwrap();
        let facts = json!({ "selector": { "pool": pool }, "may_run": [may_run] });
        let facts = serde_json::from_value(facts).unwrap();
        let admin = self.admin().await;
        groups::put(Arc::clone(&self.server), admin, path, (), facts).await.unwrap();
    }

    /// A host with the label `pool` of that value, which has joined.
    pub(super) async fn host(&self, pool: &str) -> Host {
        let facts = JoinTokenFacts {
            labels: BTreeMap::from([("pool".to_owned(), pool.to_owned())]),
            region: Some("eu-west-1".parse().unwrap()),
            ..JoinTokenFacts::default()
        };
        let (server, admin) = (Arc::clone(&self.server), self.admin().await);
        let made = joining::make_token(server, admin, (), (), facts).await.unwrap();
        let request =
            JoinRequest { token: made.token, csr_pem: csr(), version: "0.1.0".parse().unwrap() };
        let server = Arc::clone(&self.server);
        let joined = agents::join(server, anybody(), (), (), request).await.unwrap();
        self.caller(&joined.host).await.unwrap()
    }

    /// Who shows the certificate of a host.
    pub(super) async fn caller(&self, host: &str) -> Result<Host, Problem> {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let expires = self.now() + SignedDuration::from_hours(1);
        let shown = Some(Shown { host: host.to_owned(), expires });
        Host::of(&self.server, &Connection { peer, shown }).await
    }

    /// Proposes a binding of an application in `prod` to a role of that name.
    pub(super) async fn propose(&self, by: &Person, application: &str, role: &str) -> Binding {
        self.try_propose(by, application, role).await.unwrap()
    }

    pub(super) async fn try_propose(
        &self,
        by: &Person,
        application: &str,
        role: &str,
    ) -> Result<Binding, Problem> {
        let server = Arc::clone(&self.server);
        bindings::propose(server, by.clone(), (), (), proposal(application, role)).await
    }

    /// Reviews a version.
    pub(super) async fn review(
        &self,
        by: &Person,
        binding: &Binding,
        approve: bool,
    ) -> Result<Binding, Problem> {
        review_at(&self.server, by, binding, approve).await
    }

    /// Brings a binding of an application in `prod` in force.
    pub(super) async fn bind(&self, application: &str, role: &str) -> Binding {
        let ann = self.person("ann", &["operator"]).await;
        let bob = self.person("bob", &["operator"]).await;
        let binding = self.propose(&ann, application, role).await;
        self.review(&bob, &binding, true).await.unwrap()
    }

    /// Sets a position.
    pub(super) async fn flip(&self, scope: serde_json::Value, on: bool, percent: u32) -> Position {
        self.try_flip(scope, on, percent).await.unwrap()
    }

    pub(super) async fn try_flip(
        &self,
        scope: serde_json::Value,
        on: bool,
        percent: u32,
    ) -> Result<Position, Problem> {
        let (server, admin) = (Arc::clone(&self.server), self.admin().await);
        switch::set(server, admin, (), (), flip(scope, on, percent)).await
    }

    /// Lets a host report that these run, with what is in effect.
    pub(super) async fn report(&self, host: &Host, workloads: &[(&str, InEffect)]) {
        let (server, seen) = (
            Arc::clone(&self.server),
            workloads.iter().map(|(id, in_effect)| SeenWorkload {
                workload: id.parse().unwrap(),
                asked_for: Asked::On,
                in_effect: *in_effect,
                effective_by: None,
                effective_at: None,
                role: None,
                lease: None,
                first_seen: self.now(),
            }),
        );
        let report = Report {
            boot: "boot".to_owned(),
            // One a microsecond is more than the clock of a test ever shows.
            sequence: u64::try_from(self.now().as_microsecond()).unwrap(),
            version: "0.1.0".parse().unwrap(),
            orders: None,
            workloads: seen.collect(),
        };
        self.pass(SignedDuration::from_micros(1));
        agents::report(server, host.clone(), (), (), report).await.unwrap();
    }

    /// Asks for a token for a role of that name.
    pub(super) async fn mint(
        &self,
        host: &Host,
        workload: &str,
        role: &str,
    ) -> Result<Minted, Problem> {
        mint_at(&self.server, host, workload, role).await
    }

    /// The whole ledger, of which every link is checked.
    pub(super) async fn entries(&self) -> Vec<ledger::Entry> {
        let mut reading = self.server.state.read().await.unwrap();
        let (mut verifier, mut all) = (ledger::Verifier::new(Vec::new()), Vec::new());
        loop {
            let after = all.last().map_or(0, |entry: &ledger::Entry| entry.seq);
            let page = reading.entries(after, 500).await.or_problem().unwrap();
            if page.is_empty() {
                verifier.finish().unwrap();
                return all;
            }
            page.iter().for_each(|entry| verifier.take(entry).unwrap());
            all.extend(page);
        }
    }

    /// How often something happened, by the ledger.
    pub(super) async fn count(&self, event: &str) -> usize {
        self.entries().await.iter().filter(|entry| entry.event == event).count()
    }
}

async fn replica(
    settings: &Settings,
    time: &Arc<Mutex<Timestamp>>,
    folder: &std::path::Path,
    authority: Authority,
    more: &str,
) -> (Arc<Server>, JoinHandle<()>) {
    let file = format!(
        "data = {:?}\n[issuer]\nurl = \"https://issuer.example.com\"\n{more}",
        folder.display().to_string()
    );
    let config = Config::parse("server.toml", &file).unwrap();
    let shown = Arc::clone(time);
    let clock = Clock::saying(move || *shown.lock().unwrap());
    let state = State::open(settings).await.unwrap();
    let seal = Arc::new(Seal::open(&folder.join("keys/server.key"), true).unwrap());
    let (works, minter) = Works::open(&config, &state, &seal, &clock).await.unwrap();
    let (log, _) = RequestLog::open(Some(&folder.join("requests.log"))).unwrap();
    let parts = Parts { config, clock, state, seal, authority, works, log, provider: None };
    (Arc::new(Server::new(parts).unwrap()), tokio::spawn(minter.run()))
}

/// A certificate signing request of a fresh key.
pub(super) fn csr() -> String {
    let key = KeyPair::generate().unwrap();
    CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap()
}

/// Somebody who comes from this very machine.
pub(super) fn anybody() -> crate::caller::Anybody {
    crate::caller::Anybody { address: Ipv4Addr::LOCALHOST.into(), cookies: Vec::new() }
}

pub(super) fn role(name: &str) -> cloud::RoleArn {
    format!("arn:aws:iam::222222222222:role/{name}").parse().unwrap()
}

pub(super) fn proposal(application: &str, role: &str) -> Proposal {
    let proposal = json!({
        "application": application,
        "environment": "prod",
        "role": self::role(role).to_string(),
        "tags": { "team": "blue" },
        "match": { "unit": format!("{application}.service") },
        "reason": "ticket 4711",
    });
    serde_json::from_value(proposal).unwrap()
}

pub(super) fn flip(scope: serde_json::Value, on: bool, percent: u32) -> Flip {
    let position = if on { "on" } else { "off" };
    let mut flip = json!({ "position": position, "percent": percent, "reason": "a test" });
    flip["scope"] = scope;
    serde_json::from_value(flip).unwrap()
}

pub(super) fn path(binding: &Binding) -> VersionPath {
    let terms = &binding.terms;
    let (application, environment) = (terms.application.clone(), terms.environment.clone());
    VersionPath { application, environment, version: binding.version }
}

/// Reviews a version at one of several replicas.
pub(super) async fn review_at(
    server: &Arc<Server>,
    by: &Person,
    binding: &Binding,
    approve: bool,
) -> Result<Binding, Problem> {
    let review = Review { approve, reason: "looks good".parse().unwrap() };
    bindings::review(Arc::clone(server), by.clone(), path(binding), (), review).await
}

/// Asks one of several replicas for a token.
pub(super) async fn mint_at(
    server: &Arc<Server>,
    host: &Host,
    workload: &str,
    role: &str,
) -> Result<Minted, Problem> {
    let request = TokenRequest { workload: workload.parse().unwrap(), role: self::role(role) };
    agents::mint(Arc::clone(server), host.clone(), (), (), request).await
}
