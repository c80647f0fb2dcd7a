//! The laws, against what the simulated world knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use agent::engine::Now;
use credentials::Switch;
use jiff::{SignedDuration, Timestamp};

use super::{
    CONVERGED_WITHIN, LEASES_GO_ON, NO_SPLIT, OBEYED_WITHIN, ORDERS_GO_FORWARD, POSITIONS_CONVERGE,
    POSITIONS_END, RAISING_ADDS, Report,
    host::{Before, Decisions, Host},
    right_time,
    truth::Truth,
};
use crate::{Law, Seed};

pub(super) struct Judge {
    pub(super) report: Report,
    /// When the database changed last.
    changed: Duration,
    /// The revisions that a raise of the newest position made.
    raises: BTreeSet<u64>,
    /// Since when each host reaches a server that reaches the database.
    fresh_since: BTreeMap<String, Duration>,
    /// Since when the question of each host waits at one.
    listens_since: BTreeMap<String, Duration>,
    /// The revision and the decisions of each host that agreed last.
    agreed: BTreeMap<String, (u64, Decisions)>,
    /// The latest revision that each host ever had in force.
    revisions: BTreeMap<String, u64>,
}

impl Judge {
    pub(super) fn new(seed: Seed) -> Self {
        let report = Report {
            seed,
            obeyed: 0,
            served: 0,
            served_alone: 0,
            flips: 0,
            raised: 0,
            ended_alone: 0,
            violations: BTreeMap::new(),
        };
        Self {
            report,
            changed: Duration::ZERO,
            raises: BTreeSet::new(),
            fresh_since: BTreeMap::new(),
            listens_since: BTreeMap::new(),
            agreed: BTreeMap::new(),
            revisions: BTreeMap::new(),
        }
    }

    fn broken(&mut self, law: Law, what: impl FnOnce() -> String) {
        self.report.violations.entry(law.name).or_insert_with(what);
    }

    /// The database changed, by a raise or otherwise.
    pub(super) fn changed(&mut self, now: Duration, raised: Option<u64>) {
        self.changed = now;
        self.raises.extend(raised);
    }

    /// A host put orders in force.
    pub(super) fn obeyed(&mut self, now: Duration, host: &mut Host) {
        self.report.obeyed += 1;
        let Some(revision) = host.orders().map(|orders| orders.revision) else { return };
        let last = self.revisions.insert(host.id.clone(), revision).unwrap_or_default();
        if revision < last {
            let id = host.id.clone();
            self.broken(ORDERS_GO_FORWARD, || {
                format!("{now:?}: {id} goes from {last} to {revision}")
            });
        }
        let decisions = host.decisions();
        let ahead = host.decided_at().is_some_and(|at| at > right_time(now));
        if let Some(old) = host.before.take()
            && old.revision + 1 == revision
            && self.raises.contains(&revision)
            && !(ahead || old.ahead)
        {
            let is_on = |of: &Decisions, workload| of.get(workload) == Some(&Switch::On);
            let back = old
                .decisions
                .keys()
                .find(|&workload| is_on(&old.decisions, workload) && !is_on(&decisions, workload));
            if let Some(back) = back {
                let what = format!("{now:?}: {back} on {} at {revision}", host.id);
                self.broken(RAISING_ADDS, || what);
            }
            self.report.raised += 1;
        }
        host.before = Some(Before { revision, decisions, ahead });
    }

    /// One workload of a host asks that must have a lease, in turn.
    pub(super) fn ask(&mut self, now: Duration, host: &mut Host, clocks: Now) {
        let alone = !std::mem::take(&mut host.heard);
        host.leases.retain(|_, end| *end > clocks.boot);
        let turn = usize::try_from(now.as_secs()).unwrap_or_default() % host.leases.len().max(1);
        if let Some(workload) = host.leases.keys().nth(turn) {
            let status = host.ask(clocks, workload);
            self.report.served += 1;
            self.report.served_alone += u64::from(alone);
            if status != 200 {
                let what = format!("{now:?}: {workload} on {} hears {status}", host.id);
                self.broken(LEASES_GO_ON, || what);
            }
        }
    }

    /// What must hold at the end of a second.
    pub(super) fn check(
        &mut self,
        now: Duration,
        right: Timestamp,
        truth: &Truth,
        hosts: &mut [Host],
    ) {
        let knowledge = truth.knowledge();
        let all: Vec<_> = hosts.iter_mut().map(Host::decisions).collect();
        for (host, decisions) in hosts.iter().zip(&all) {
            if !host.reaches_fresh {
                self.fresh_since.insert(host.id.clone(), now);
            }
            if !host.listens_fresh {
                self.listens_since.insert(host.id.clone(), now);
            }
            self.check_end(now, right, host);
            let since = |of: &BTreeMap<String, Duration>| {
                let since = of.get(&host.id).copied().unwrap_or_default();
                now.saturating_sub(since.max(self.changed).max(host.upset))
            };
            let must = since(&self.listens_since) >= OBEYED_WITHIN
                || since(&self.fresh_since) >= CONVERGED_WITHIN;
            // One whose clock is ahead ends positions early; nobody can tell it otherwise.
            let ahead = host.offset.is_positive() || host.decided_at().is_some_and(|at| at > right);
            if ahead || !must {
                continue;
            }
            // What agreed agrees until one of the two changes.
            let revision = knowledge.revision();
            let same =
                |(at, agreed): &(u64, Decisions)| *at == revision && Arc::ptr_eq(agreed, decisions);
            if self.agreed.get(&host.id).is_some_and(same) {
                continue;
            }
            self.agreed.insert(host.id.clone(), (revision, Arc::clone(decisions)));
            let other = decisions
                .iter()
                .find(|(workload, switch)| knowledge.switch(&host.id, workload, right) != **switch);
            if let Some((workload, switch)) = other {
                let what = format!("{now:?}: {} says {} for {workload}", host.id, switch.as_str());
                self.broken(POSITIONS_CONVERGE, || what);
            }
        }
        self.check_split(now, hosts, &all);
    }

    /// No position decides that has ended, where the host can know.
    fn check_end(&mut self, now: Duration, right: Timestamp, host: &Host) {
        let (Some(orders), Some(at)) = (host.orders(), host.decided_at()) else { return };
        if host.restored || host.offset.is_positive() {
            return;
        }
        let ended = |end: Option<Timestamp>| {
            end.is_some_and(|end| end + SignedDuration::from_secs(1) < right && end > at)
        };
        let wrong = orders.positions.iter().find(|position| ended(position.expires));
        if let Some(position) = wrong {
            let what = format!("{now:?}: position {} still lives on {}", position.id, host.id);
            self.broken(POSITIONS_END, || what);
        } else if !host.reaches_fresh {
            let ends_now = |end: Option<Timestamp>| {
                end.is_some_and(|end| end <= right && right.duration_since(end).as_secs() < 1)
            };
            let ends =
                orders.positions.iter().filter(|position| ends_now(position.expires)).count();
            self.report.ended_alone += u64::try_from(ends).unwrap_or_default();
        }
    }

    /// Of one region, with one revision, hosts decide alike.
    fn check_split(&mut self, now: Duration, hosts: &[Host], all: &[Decisions]) {
        let comparable = |host: &Host| {
            let orders = host.orders()?;
            let names_hosts = orders.positions.iter().any(|position| position.scope.host.is_some());
            let ends = orders.positions.iter().any(|position| position.expires.is_some());
            // With a position that ends, clocks decide as well: that is another law.
            (!names_hosts && !ends).then_some((host.region, orders.revision))
        };
        let mut said: BTreeMap<(&str, u64), (&Host, &Decisions)> = BTreeMap::new();
        for (host, decisions) in hosts.iter().zip(all) {
            let Some(at) = comparable(host) else { continue };
            let (other, theirs) = *said.entry(at).or_insert((host, decisions));
            if !Arc::ptr_eq(theirs, decisions) && theirs != decisions {
                let what = format!("{now:?}: {} and {} at {}", host.id, other.id, at.1);
                self.broken(NO_SPLIT, || what);
            }
        }
    }
}
