//! A fleet: several hosts, several servers over one database, and a network that fails between them.
//!
//! It drives the very code that decides: [`server::knowledge::Knowledge`] and
//! [`server::orders::OrdersDesk`] on each server, [`agent::control::Obedience`] and
//! [`agent::engine::Engine`] on each host. Servers lag behind the database, crash and forget; hosts are cut
//! off, restart from their disk, and have clocks that are wrong. After every second the [`LAWS`] are checked
//! against what the simulated world knows. A [`Fault`] breaks a part on purpose, to see that they notice.

mod host;
mod judge;
mod truth;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use agent::{control::line::REPORT_EVERY, engine::Now};
use credentials::Switch;
use issuer::{Algorithm, SigningKey};
use jiff::{SignedDuration, Timestamp};
use server::{knowledge::Knowledge, orders::OrdersDesk};

use crate::{
    Law, Seed,
    random::{KeyDice, Random},
};

use self::{
    host::{Errand, Host},
    judge::Judge,
    truth::Truth,
};

/// When the simulated world begins: 2026-01-01.
const BEGINNING: Timestamp = Timestamp::constant(1_767_225_600, 0);
/// How long it is stormy.
const STORM: Duration = Duration::from_secs(2 * 3600);
/// How long it is calm then.
const CALM: Duration = Duration::from_secs(60);
/// How long a lease lives.
const LIFE: Duration = Duration::from_secs(1800);
/// How soon a host does what the database says whose question for orders waits at a server that reaches it.
pub const OBEYED_WITHIN: Duration = Duration::from_secs(2);
/// How soon the others do that reach such a server at all: their next report finds it.
pub const CONVERGED_WITHIN: Duration = REPORT_EVERY.saturating_add(OBEYED_WITHIN);

/// How many servers there are.
const SERVERS: usize = 3;
/// How many hosts there are.
const HOSTS: usize = 6;

/// What the server's data plane promises: leases do not need it.
pub const LEASES_GO_ON: Law = Law {
    name: "leases go on",
    promise: "a lease is served to its end while no server can be reached",
};

/// Within [`OBEYED_WITHIN`] where orders are asked for at a server that reaches the database, and within
/// [`CONVERGED_WITHIN`] where one is reached at all.
pub const POSITIONS_CONVERGE: Law = Law {
    name: "positions converge",
    promise: "a host decides as the database says within two seconds, or with the report that finds a server \
              which knows it",
};

/// For workloads of one region, and positions that name no host.
pub const NO_SPLIT: Law =
    Law { name: "no split decision", promise: "two hosts with the same revision decide alike" };

/// From one revision to the next, where nothing else changed.
pub const RAISING_ADDS: Law =
    Law { name: "raising adds", promise: "a higher percentage never flips anybody back" };

/// Whatever servers that lag behind offer.
pub const ORDERS_GO_FORWARD: Law = Law {
    name: "orders go forward",
    promise: "orders in force are never older than those before, restarts included",
};

/// By the right time, on hosts whose clock is right or behind.
pub const POSITIONS_END: Law = Law {
    name: "positions end",
    promise: "a position that ends by itself ends without a server and with a clock that is behind",
};

/// All of them.
pub const LAWS: [Law; 6] =
    [LEASES_GO_ON, POSITIONS_CONVERGE, NO_SPLIT, RAISING_ADDS, ORDERS_GO_FORWARD, POSITIONS_END];

/// Something that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A host that reaches no server drops its leases.
    DropsLeases,
    /// Orders are obeyed only when something was offered for the thirtieth time.
    IgnoresOrders,
    /// Each host has dice of its own for percentages.
    OwnDice,
    /// Each position has dice of its own for percentages.
    NewDice,
    /// Orders are taken from whoever offers any.
    TakesOlder,
    /// A host goes by its own clock alone.
    BelievesItsClock,
}

/// What was seen in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where it all came from.
    pub seed: Seed,
    /// How often orders were put in force.
    pub obeyed: u64,
    /// How often a lease was served.
    pub served: u64,
    /// How often one was served while the host reached no server.
    pub served_alone: u64,
    /// How often a position was set, raised or cleared.
    pub flips: u64,
    /// How often a host heard of a raise and of nothing else.
    pub raised: u64,
    /// How often a position ended by itself on a host that reached no server.
    pub ended_alone: u64,
    /// The first violation of each law.
    pub violations: BTreeMap<&'static str, String>,
}

impl Report {
    /// What was seen against a law.
    pub fn violation(&self, law: Law) -> Option<&str> {
        self.violations.get(law.name).map(String::as_str)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "fleet with seed {}: {} orders obeyed, {} leases served, {} without a server, {} flips, {} \
             positions ended without a server",
            self.seed, self.obeyed, self.served, self.served_alone, self.flips, self.ended_alone
        )?;
        self.violations.iter().try_for_each(|(law, what)| write!(f, "\n  broken: {law}: {what}"))
    }
}

/// Runs a fleet to its end. Of each law the first violation is kept.
pub fn run(seed: Seed, fault: Option<Fault>) -> Report {
    let mut fleet = Fleet::new(seed, fault);
    while fleet.now < STORM + CALM {
        fleet.second();
    }
    fleet.judge.report
}

/// A server: what it knows, and whether it is up and reaches the database.
struct Server {
    knowledge: Arc<Knowledge>,
    desk: OrdersDesk,
    up: bool,
    reaches_database: bool,
}

struct Fleet {
    random: Random,
    now: Duration,
    truth: Truth,
    servers: Vec<Server>,
    hosts: Vec<Host>,
    /// The key's PEM: each server of a deployment signs with the same.
    key: SigningKey,
    judge: Judge,
}

impl Fleet {
    #[expect(clippy::expect_used, reason = "dice that never fail make a key")]
    fn new(seed: Seed, fault: Option<Fault>) -> Self {
        let mut random = Random::new(seed);
        let key = SigningKey::generate(Algorithm::Es256, &mut KeyDice(&mut random));
        let key = key.expect("a key from dice");
        let truth = Truth::new(HOSTS);
        let servers = (0..SERVERS).map(|_| Server {
            knowledge: Arc::clone(truth.knowledge()),
            desk: desk(&key),
            up: true,
            reaches_database: true,
        });
        let servers = servers.collect();
        let hosts = (0..HOSTS).map(|number| Host::new(number, &key, fault, &mut random));
        let hosts = hosts.collect();
        let judge = Judge::new(seed);
        Self { random, now: Duration::ZERO, truth, servers, hosts, key, judge }
    }

    /// One second of everybody's time.
    fn second(&mut self) {
        self.now += Duration::from_secs(1);
        if self.now <= STORM {
            self.weather();
            self.people();
        } else {
            self.heal();
        }
        let right = right_time(self.now);
        if self.truth.end_expired(right) {
            self.judge.changed(self.now, None);
        }
        for server in self.servers.iter_mut().filter(|server| server.up && server.reaches_database)
        {
            // Each server looks four times a second.
            if server.knowledge.revision() != self.truth.revision() {
                server.knowledge = Arc::clone(self.truth.knowledge());
            }
        }
        for at in 0..self.hosts.len() {
            self.talk(at, right);
        }
        self.judge.check(self.now, right, &self.truth, &mut self.hosts);
    }

    /// A host asks for orders, and reports, as [`agent::control::line`] does: one server after the other, from
    /// the one on that answered last, and with the same waits where none does.
    fn talk(&mut self, at: usize, right: Timestamp) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        let (now, servers) = (host.clocks(self.now), &self.servers);
        let reached = |number: &usize| {
            host.links.contains(number) && servers.get(*number).is_some_and(|server| server.up)
        };
        let knows = |number: &usize| {
            reached(number) && servers.get(*number).is_some_and(|server| server.reaches_database)
        };
        let from = host.preferred;
        let order = || (0..SERVERS).map(|step| (from + step) % SERVERS);
        let (any, fresh) = (order().find(reached), order().find(knows));
        (host.heard, host.reaches_fresh) = (any.is_some(), fresh.is_some());
        let mut asks = host.is_due(self.now, Errand::Orders).then_some(any);
        if host.is_due(self.now, Errand::Report) {
            host.went(self.now, Errand::Report, fresh.is_some());
            // A report is taken by a server that can write it down, and says what there is.
            let news = host.asks_after() < Some(self.truth.revision());
            if let Some(number) = fresh.filter(|_| news) {
                host.preferred = number;
                asks = Some(fresh);
            }
        }
        host.listens_fresh = any.is_some() && any == fresh && !host.rests(self.now);
        if let Some(asked) = asks {
            host.went(self.now, Errand::Orders, asked.is_some());
            if let Some((number, server)) = asked.and_then(|at| Some((at, servers.get(at)?))) {
                (host.preferred, host.listens_fresh) = (number, server.reaches_database);
                let offered =
                    server.desk.answer(&server.knowledge, &host.id, host.asks_after(), right);
                if let Ok(Some(signed)) = offered
                    && host.offer(now, signed)
                {
                    self.judge.obeyed(self.now, host);
                }
            }
        }
        host.end_positions(now);
        let id = host.id.clone();
        let grounds = |workload: &workload::Workload| {
            fresh.is_some() && self.truth.switch(&id, workload, right) == Switch::On
        };
        host.fetch(now, grounds);
        self.judge.ask(self.now, host, now);
    }

    /// What fails and what comes back.
    fn weather(&mut self) {
        for server in 0..SERVERS {
            let (crash, lag) = (self.random.chance(2), self.random.chance(4));
            let back = (self.random.chance(30), self.random.chance(40));
            let Some(of) = self.servers.get_mut(server) else { continue };
            if of.up && crash {
                of.up = false;
            } else if !of.up && back.0 {
                // It has forgotten whom it told what.
                (of.up, of.desk) = (true, desk(&self.key));
            }
            of.reaches_database = if of.reaches_database { !lag } else { back.1 };
        }
        for host in &mut self.hosts {
            for server in 0..SERVERS {
                if host.links.contains(&server) {
                    if self.random.chance(3) {
                        host.links.remove(&server);
                    }
                } else if self.random.chance(6) {
                    host.links.insert(server);
                }
            }
            // Now and then one is cut off from all of them for long.
            if self.random.chance(1) {
                host.links.clear();
            }
            if self.random.chance(1) {
                host.restart(self.now);
            }
            if self.random.chance(2) {
                let most = *self.random.pick(&[0, 60, 86_400]).unwrap_or(&0);
                let off = i64::try_from(self.random.below(2 * most + 1)).unwrap_or_default();
                host.set_clock(SignedDuration::from_secs(
                    off - i64::try_from(most).unwrap_or_default(),
                ));
            }
        }
    }

    /// What people do.
    fn people(&mut self) {
        if !self.random.chance(30) {
            return;
        }
        let right = right_time(self.now);
        let raised = self.truth.flip(right, &mut self.random);
        self.judge.report.flips += 1;
        self.judge.changed(self.now, raised);
    }

    fn heal(&mut self) {
        for server in &mut self.servers {
            if !server.up {
                server.desk = desk(&self.key);
            }
            (server.up, server.reaches_database) = (true, true);
        }
        for host in &mut self.hosts {
            host.links = (0..SERVERS).collect();
            host.set_clock(SignedDuration::ZERO);
        }
    }
}

#[expect(clippy::expect_used, reason = "a key that was just made can be written and read")]
fn desk(key: &SigningKey) -> OrdersDesk {
    let pem = key.to_pem().expect("a key can be written");
    OrdersDesk::new(SigningKey::from_pem(&pem).expect("and read"))
}

/// The wall clock of everybody whose clock is right.
fn right_time(now: Duration) -> Timestamp {
    BEGINNING.checked_add(now).unwrap_or(BEGINNING)
}

/// Both clocks of a host that started its machine at the beginning.
fn clocks(now: Duration, offset: SignedDuration) -> Now {
    let right = right_time(now);
    Now { boot: now, wall: right.checked_add(offset).unwrap_or(right) }
}
