//! A host of the fleet: what its agent decides, without its sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use agent::{
    control::{
        Obedience, Obeyed, OrdersKeys,
        line::REPORT_EVERY,
        patience::{LONGEST, Patience},
    },
    engine::{Engine, Now, Progress},
    settings::Settings,
};
use api::orders::SignedOrders;
use credentials::{Credentials, Fetch, FetchError, Switch};
use issuer::SigningKey;
use jiff::{SignedDuration, Timestamp};
use metadata::{Door, Request, TokenKey};
use secret::{SecretKey, SecretText};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use workload::{Evidence, Namespace, Workload};

use super::{
    Fault, LIFE, clocks,
    truth::{APPLICATIONS, ENVIRONMENTS, host_id, region},
};
use crate::random::Random;

/// How many workloads of each application and environment a host has.
const INSTANCES: usize = 3;

/// What the orders before said.
pub(super) struct Before {
    pub(super) revision: u64,
    pub(super) decisions: Decisions,
    /// Whether its clock ran ahead, so that positions had ended early.
    pub(super) ahead: bool,
}

/// What a host decides for each of its workloads.
pub(super) type Decisions = Arc<BTreeMap<Workload, Switch>>;

/// What a host asks a server for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Errand {
    Orders,
    Report,
}

pub(super) struct Host {
    pub(super) id: String,
    pub(super) region: &'static str,
    pub(super) workloads: Vec<Workload>,
    /// The servers that it reaches.
    pub(super) links: BTreeSet<usize>,
    /// Whether it reached any this second.
    pub(super) heard: bool,
    /// Whether it reached one this second that reaches the database.
    pub(super) reaches_fresh: bool,
    /// Whether its question for orders waits at one.
    pub(super) listens_fresh: bool,
    /// The server that answered last.
    pub(super) preferred: usize,
    orders_due: Duration,
    report_due: Duration,
    orders_patience: Patience,
    report_patience: Patience,
    /// How far its clock is ahead.
    pub(super) offset: SignedDuration,
    /// Whether its orders came from the disk.
    pub(super) restored: bool,
    /// When it started last, and when its clock was set last.
    pub(super) upset: Duration,
    /// Since when each workload has a lease that lives until then, in time since boot.
    pub(super) leases: BTreeMap<Workload, Duration>,
    /// What the orders in force said when they came.
    pub(super) before: Option<Before>,
    /// What was decided in which settings of which start.
    decided: Option<((Duration, u64), Decisions)>,
    engine: Engine,
    obedience: Obedience,
    keys: OrdersKeys,
    disk: Option<SignedOrders>,
    fault: Option<Fault>,
    offered: u64,
    key: [u8; 32],
    seed: u64,
}

impl Host {
    #[expect(clippy::expect_used, reason = "the key was just made, and the names are right")]
    pub(super) fn new(
        number: usize,
        key: &SigningKey,
        fault: Option<Fault>,
        random: &mut Random,
    ) -> Self {
        let jwk = key.public().to_json();
        let jwk = jwk.as_object().cloned().expect("a key is an object");
        let keys = OrdersKeys::read(&[jwk]).expect("a key for ES256");
        let mut workloads = Vec::new();
        for application in APPLICATIONS {
            for environment in ENVIRONMENTS {
                for instance in 0..INSTANCES {
                    let id = format!(
                        "{application}/{environment}/{}",
                        name(application, environment, instance)
                    );
                    workloads.push(id.parse().expect("a workload"));
                }
            }
        }
        let (secret, seed) = (random.bytes(), random.number());
        Self {
            id: host_id(number),
            region: region(number),
            workloads,
            links: (0..super::SERVERS).collect(),
            heard: false,
            reaches_fresh: false,
            listens_fresh: false,
            preferred: number % super::SERVERS,
            orders_due: Duration::ZERO,
            report_due: Duration::ZERO,
            orders_patience: Patience::new(seed, LONGEST),
            report_patience: Patience::new(seed.rotate_left(16), LONGEST),
            offset: SignedDuration::ZERO,
            restored: false,
            upset: Duration::ZERO,
            leases: BTreeMap::new(),
            before: None,
            decided: None,
            engine: engine(secret, seed),
            obedience: Obedience::new(host_id(number), keys.clone()),
            keys,
            disk: None,
            fault,
            offered: 0,
            key: secret,
            seed,
        }
    }

    pub(super) fn clocks(&self, now: Duration) -> Now {
        clocks(now, self.offset)
    }

    pub(super) fn orders(&self) -> Option<&Arc<Obeyed>> {
        self.obedience.orders()
    }

    /// Whether it asks now.
    pub(super) fn is_due(&self, now: Duration, errand: Errand) -> bool {
        match errand {
            Errand::Orders => now >= self.orders_due,
            Errand::Report => now >= self.report_due,
        }
    }

    /// Whether it waits because no server answered.
    pub(super) fn rests(&self, now: Duration) -> bool {
        now < self.orders_due
    }

    /// It asked, and somebody answered or nobody did.
    pub(super) fn went(&mut self, now: Duration, errand: Errand, answered: bool) {
        let (due, patience, every) = match errand {
            // The question for orders waits at the server: here it is put each second.
            Errand::Orders => (&mut self.orders_due, &mut self.orders_patience, Duration::ZERO),
            Errand::Report => (&mut self.report_due, &mut self.report_patience, REPORT_EVERY),
        };
        *due = if answered {
            patience.calm();
            now + every
        } else {
            now + patience.wait()
        };
    }

    /// The revision that it tells the server.
    pub(super) fn asks_after(&self) -> Option<u64> {
        let held = self.obedience.held().map(|held| held.revision);
        held.filter(|_| self.fault != Some(Fault::TakesOlder))
    }

    /// Orders come. Says whether they are in force now.
    pub(super) fn offer(&mut self, now: Now, signed: SignedOrders) -> bool {
        self.offered += 1;
        if self.fault == Some(Fault::IgnoresOrders) && !self.offered.is_multiple_of(30) {
            return false;
        }
        if self.fault == Some(Fault::TakesOlder) {
            self.obedience = Obedience::new(self.id.clone(), self.keys.clone());
        }
        let Ok(judged) = self.obedience.judge(&signed) else { return false };
        self.disk = Some(signed);
        self.restored = false;
        if self.obedience.obey(now, judged) {
            self.put_in_force(now);
        }
        true
    }

    /// Positions that have ended by themselves end.
    pub(super) fn end_positions(&mut self, now: Now) {
        if self.obedience.is_due(now) || self.fault == Some(Fault::BelievesItsClock) {
            self.put_in_force(now);
        }
    }

    fn put_in_force(&mut self, now: Now) {
        let Some((orders, at)) = self.obedience.look(now) else { return };
        let at = if self.fault == Some(Fault::BelievesItsClock) { now.wall } else { at };
        let old = self.engine.settings();
        self.engine.reload(now, old.obeying(&orders, at, old.generation + 1));
        let settings = self.engine.settings();
        for workload in &self.workloads {
            let bound = settings.bound_to(workload);
            if bound.is_none_or(|bound| settings.switch_of(bound, workload) == Switch::Off) {
                self.leases.remove(workload);
            }
        }
    }

    /// What it decides for each workload, which is the same for as long as its settings are.
    pub(super) fn decisions(&mut self) -> Decisions {
        let generation = self.engine.settings().generation;
        let started = self.upset;
        if let Some((of, decisions)) = &self.decided
            && *of == (started, generation)
        {
            return Arc::clone(decisions);
        }
        let decisions = Arc::new(self.decide_all());
        self.decided = Some(((started, generation), Arc::clone(&decisions)));
        decisions
    }

    fn decide_all(&self) -> BTreeMap<Workload, Switch> {
        let settings = self.engine.settings();
        let decide = |workload: &Workload| {
            let bound = settings.bound_to(workload)?;
            let standing = settings.standing.as_ref()?;
            let position = standing.orders.decider(workload, standing.at);
            let salt = match (self.fault, position) {
                (Some(Fault::OwnDice), Some(_)) => Some(self.id.clone()),
                (Some(Fault::NewDice), Some(position)) => Some(position.id.to_string()),
                _ => None,
            };
            Some(match (salt, position) {
                (Some(salt), Some(position)) if position.percent < 100 => {
                    let digest = Sha256::digest(format!("{salt}{workload}"));
                    let below = u32::from(digest.first().copied().unwrap_or_default()) * 100 / 256;
                    if below < position.percent { position.switch } else { Switch::Off }
                }
                _ => settings.switch_of(bound, workload),
            })
        };
        let decided = self
            .workloads
            .iter()
            .map(|workload| (workload.clone(), decide(workload).unwrap_or(Switch::Off)));
        decided.collect()
    }

    /// Fetches what is due. Tokens come for those that are named, and STS never fails here.
    pub(super) fn fetch(&mut self, now: Now, minted: impl Fn(&Workload) -> bool) {
        if !self.heard && self.fault == Some(Fault::DropsLeases) {
            self.workloads.iter().for_each(|workload| self.engine.gone(workload));
        }
        // Whoever asks keeps a lease alive; a few seconds later than an SDK would.
        let turn = usize::try_from(now.boot.as_secs()).unwrap_or_default() % self.workloads.len();
        if let Some(workload) = self.workloads.get(turn) {
            self.engine.want(now, workload);
        }
        let (fetches, _) = self.engine.poll(now);
        for Fetch { id, key, .. } in fetches {
            let fetched = minted(&key.workload);
            let result = if fetched { Ok(credentials(now)) } else { Err(unreachable()) };
            let _ = self.engine.fetched(now, id, result);
            if fetched {
                self.leases.insert(key.workload, now.boot + LIFE);
            }
        }
    }

    /// What a workload hears that asks for its credentials.
    pub(super) fn ask(&self, now: Now, workload: &Workload) -> u16 {
        let name = workload.instance.as_str().to_owned();
        let namespace = Namespace { name, inode: 1, pinned: None };
        let caller =
            self.engine.identify(Evidence { namespace: Some(namespace), ..Evidence::default() });
        let id = metadata::container_id(self.engine.tokens(), &workload.to_string());
        let target = format!("/v2/credentials/{}", id.expose());
        let request = Request::new("GET", &target, []);
        match self.engine.request(now, &caller, Door::Container, &request, [0; 16]).0 {
            Progress::Answer(answer) => answer.status,
            Progress::Wait(_) | Progress::Host(..) => 503,
        }
    }

    /// The agent starts anew, from its disk.
    pub(super) fn restart(&mut self, now: Duration) {
        let clocks = self.clocks(now);
        (self.upset, self.before) = (now, None);
        self.leases.clear();
        self.engine = engine(self.key, self.seed);
        self.obedience = Obedience::new(self.id.clone(), self.keys.clone());
        if let Some(signed) = &self.disk
            && let Ok(judged) = self.obedience.judge(signed)
        {
            self.restored = true;
            self.obedience.obey(clocks, judged);
            self.put_in_force(clocks);
        }
    }

    pub(super) fn set_clock(&mut self, offset: SignedDuration) {
        self.offset = offset;
    }

    /// The time that its decisions were made for.
    pub(super) fn decided_at(&self) -> Option<Timestamp> {
        self.engine.settings().standing.as_ref().map(|standing| standing.at)
    }
}

/// The name of a workload's namespace, and of its instance.
fn name(application: &str, environment: &str, instance: usize) -> String {
    format!("{application}-{environment}-{instance}")
}

#[expect(clippy::expect_used, reason = "the file is right, or this crate is wrong")]
fn engine(key: [u8; 32], seed: u64) -> Engine {
    let file = "region = \"eu-west-1\"\n[server]\naddresses = [\"https://server.example:8443\"]\n";
    let settings = Settings::parse("fleet.toml", file, 1).expect("the file of a joined host");
    Engine::new(settings, TokenKey::new(&SecretKey::new(key), [1; 16]), seed)
}

fn credentials(now: Now) -> Credentials {
    Credentials {
        access_key_id: "ASIAEXAMPLE".to_owned(),
        secret_access_key: SecretText::new(json!("secret").to_string()),
        session_token: SecretText::new("token".to_owned()),
        requested: LIFE,
        expiration: now.wall + LIFE,
        fetched: now.wall,
    }
}

fn unreachable() -> FetchError {
    FetchError::Unavailable("no server can be reached".to_owned())
}
