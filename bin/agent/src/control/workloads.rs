//! What runs on this host, what the switch says for it, and what is in effect.
//!
//! *In effect* is measured by the credentials that went through the agent: those of a lease, and those of
//! the host that were let through. What went to a workload before the agent watched it is not known, so
//! nothing is said of it until the longest life of any credentials is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use api::agents::{Asked, InEffect, Lease, SeenWorkload, WORKLOADS_MAX};
use cloud::RoleArn;
use credentials::{Switch, policy::LIFE_MAX};
use jiff::{SignedDuration, Timestamp};
use workload::{CgroupPath, Workload};

use crate::{engine::Now, settings::Settings};

/// The longest that credentials of a role live, whoever gave them out.
pub const LIVES_MAX: Duration = LIFE_MAX;

/// How long a workload is taken to run that showed neither a namespace nor a cgroup, after it asked last.
pub const SILENT_MAX: Duration = Duration::from_secs(3600);

/// The most cgroups that one workload is known by.
const CGROUPS_MAX: usize = 64;

/// By what it is known that a workload runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anchor {
    /// The network namespace of this name is served.
    Namespace(String),
    /// This cgroup exists.
    Cgroup(CgroupPath),
    /// The file names it as the one behind the development listeners.
    Vouched,
    /// It asked lately.
    Asked,
}

/// A namespace that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The workload, where the namespace alone names one.
    pub workload: Option<Workload>,
    /// Whether the agent saw it come: then it has never had credentials that the agent does not know.
    pub came: bool,
}

/// The workloads of this host.
#[derive(Clone, Debug, Default)]
pub struct Workloads {
    seen: BTreeMap<Workload, Seen>,
    /// Grows with whatever the server should hear of.
    changes: u64,
    /// How many could not be taken in, since there are as many as a host may report.
    left_out: u64,
}

#[derive(Clone, Debug)]
struct Seen {
    anchors: BTreeSet<Anchor>,
    first: Timestamp,
    /// When it asked last, in time since boot.
    asked: Duration,
    /// What the switch says.
    switch: Switch,
    /// Until when it may hold credentials that nobody here saw, in time since boot.
    unseen_until: Duration,
    /// Until when it may hold those of a lease, in time since boot.
    ours_until: Duration,
    /// Until when it may hold those of the host, in time since boot.
    hosts_until: Duration,
    lease: Option<Held>,
    /// When what is asked for was first seen to be in effect.
    effective_at: Option<Timestamp>,
}

/// The lease that was served last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The role that it is.
    pub role: RoleArn,
    /// What is told of it.
    pub lease: Lease,
    /// How much of its life is left.
    pub left: Duration,
}

/// How many workloads stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Count {
    /// How many run.
    pub workloads: usize,
    /// For how many the switch is on.
    pub on: usize,
    /// For how many what is asked for is in effect.
    pub in_effect: usize,
    /// How many hold credentials of the other position, or may.
    pub waiting: usize,
    /// Of those that wait, how many nobody knows of.
    pub unknown: usize,
    /// How many were left out, because a host reports no more.
    pub left_out: u64,
}

impl Workloads {
    /// A process showed that a workload runs. Says whether it was not known before.
    pub fn saw(
        &mut self,
        now: Now,
        workload: &Workload,
        anchor: Anchor,
        settings: &Settings,
    ) -> bool {
        self.take_in(now, workload, anchor, false, settings)
    }

    /// The namespaces that are served now, by their names: what is known by another one runs no more.
    pub fn places(&mut self, now: Now, places: &BTreeMap<String, Place>, settings: &Settings) {
        for (name, place) in places {
            if let Some(workload) = &place.workload {
                let anchor = Anchor::Namespace(name.clone());
                self.take_in(now, workload, anchor, place.came, settings);
            }
        }
        let is_of = |workload: &Workload, anchor: &Anchor| match anchor {
            Anchor::Namespace(name) => {
                let named = places.get(name).map(|place| place.workload.as_ref());
                // A namespace that names nobody by itself may still be where this one asked from.
                named.is_some_and(|named| named.is_none_or(|named| named == workload))
            }
            Anchor::Cgroup(_) | Anchor::Vouched | Anchor::Asked => true,
        };
        self.keep(is_of);
    }

    /// Forgets who is known by nothing that still is there. `exists` says so of a cgroup.
    pub fn sweep(&mut self, now: Now, exists: impl Fn(&CgroupPath) -> bool) {
        let silent: BTreeSet<Workload> = self
            .seen
            .iter()
            .filter(|(_, seen)| now.boot > seen.asked.saturating_add(SILENT_MAX))
            .map(|(workload, _)| workload.clone())
            .collect();
        self.keep(|workload, anchor| match anchor {
            Anchor::Cgroup(path) => exists(path),
            Anchor::Asked => !silent.contains(workload),
            Anchor::Namespace(_) | Anchor::Vouched => true,
        });
    }

    /// A lease was served.
    pub fn served(&mut self, now: Now, workload: &Workload, held: Held) {
        let Some(seen) = self.seen.get_mut(workload) else { return };
        seen.asked = now.boot;
        seen.ours_until = seen.ours_until.max(now.boot.saturating_add(held.left));
        let news = seen.lease.as_ref().is_none_or(|before| before.lease != held.lease);
        seen.lease = Some(held);
        if news {
            self.changes += 1;
            self.settle_one(now, workload);
        }
    }

    /// The host's own credentials were let through. They end then; where that could not be read, or is
    /// past by a clock that must be wrong, as late as any do.
    pub fn passed(&mut self, now: Now, workload: &Workload, ends: Option<Timestamp>) {
        let Some(seen) = self.seen.get_mut(workload) else { return };
        let left = ends.and_then(|ends| Duration::try_from(ends.duration_since(now.wall)).ok());
        let left =
            left.filter(|left| !left.is_zero()).map_or(LIVES_MAX, |left| left.min(LIVES_MAX));
        seen.asked = now.boot;
        let until = now.boot.saturating_add(left);
        if until > seen.hosts_until {
            seen.hosts_until = until;
            self.changes += 1;
            self.settle_one(now, workload);
        }
    }

    /// New settings are in force. Names the workloads that they switched on.
    pub fn decide(&mut self, now: Now, settings: &Settings) -> Vec<Workload> {
        let mut on = Vec::new();
        for (workload, seen) in &mut self.seen {
            let switch = switch_of(settings, workload);
            if switch == seen.switch {
                continue;
            }
            (seen.switch, seen.effective_at) = (switch, None);
            self.changes += 1;
            if switch == Switch::On {
                on.push(workload.clone());
            }
        }
        self.settle(now);
        on
    }

    /// Looks whether what is asked for has come into effect since.
    pub fn settle(&mut self, now: Now) {
        for seen in self.seen.values_mut() {
            self.changes += u64::from(seen.settle(now));
        }
    }

    fn settle_one(&mut self, now: Now, workload: &Workload) {
        if let Some(seen) = self.seen.get_mut(workload) {
            self.changes += u64::from(seen.settle(now));
        }
    }

    /// Grows with whatever the server should hear of.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether a workload is known to run.
    pub fn runs(&self, workload: &Workload) -> bool {
        self.seen.contains_key(workload)
    }

    /// What the server is told.
    pub fn report(&self, now: Now) -> Vec<SeenWorkload> {
        self.seen.iter().map(|(workload, seen)| seen.report(now, workload)).collect()
    }

    /// How many stand where, and when the last of those that wait are predicted to have what is asked for.
    pub fn count(&self, now: Now) -> (Count, Option<Timestamp>) {
        let mut count = Count { left_out: self.left_out, ..Count::default() };
        let mut last = None;
        for seen in self.seen.values() {
            count.workloads += 1;
            count.on += usize::from(seen.switch == Switch::On);
            match seen.effect(now) {
                effect if effect == wanted(seen.switch) => count.in_effect += 1,
                effect => {
                    count.waiting += 1;
                    count.unknown += usize::from(effect == InEffect::Unknown);
                    last = last.max(seen.effective_by(now));
                }
            }
        }
        (count, last)
    }

    fn take_in(
        &mut self,
        now: Now,
        workload: &Workload,
        anchor: Anchor,
        came: bool,
        settings: &Settings,
    ) -> bool {
        if let Some(seen) = self.seen.get_mut(workload) {
            seen.asked = now.boot;
            if seen.anchors.len() < CGROUPS_MAX {
                seen.anchors.insert(anchor);
            }
            return false;
        }
        if self.seen.len() >= WORKLOADS_MAX {
            self.left_out += 1;
            return false;
        }
        let unseen = if came { Duration::ZERO } else { LIVES_MAX };
        let mut seen = Seen {
            anchors: BTreeSet::from([anchor]),
            first: now.wall,
            asked: now.boot,
            switch: switch_of(settings, workload),
            unseen_until: now.boot.saturating_add(unseen),
            ours_until: Duration::ZERO,
            hosts_until: Duration::ZERO,
            lease: None,
            effective_at: None,
        };
        seen.settle(now);
        self.seen.insert(workload.clone(), seen);
        self.changes += 1;
        true
    }

    fn keep(&mut self, is_there: impl Fn(&Workload, &Anchor) -> bool) {
        let before = self.seen.len();
        self.seen.retain(|workload, seen| {
            seen.anchors.retain(|anchor| is_there(workload, anchor));
            !seen.anchors.is_empty()
        });
        self.changes += u64::from(self.seen.len() != before);
    }
}

impl Seen {
    fn effect(&self, now: Now) -> InEffect {
        let lives = |until: Duration| until > now.boot;
        match (lives(self.ours_until), lives(self.hosts_until)) {
            (true, true) => InEffect::Mixed,
            _ if lives(self.unseen_until) => InEffect::Unknown,
            (true, false) => InEffect::On,
            (false, true) => InEffect::Off,
            // It holds none: whatever it gets next is what is asked for.
            (false, false) => wanted(self.switch),
        }
    }

    /// Says whether what is in effect is news.
    fn settle(&mut self, now: Now) -> bool {
        let is_so = self.effect(now) == wanted(self.switch);
        let was_so = self.effective_at.is_some();
        match (was_so, is_so) {
            (false, true) => self.effective_at = Some(now.wall),
            (true, false) => self.effective_at = None,
            _ => {}
        }
        was_so != is_so
    }

    fn effective_by(&self, now: Now) -> Option<Timestamp> {
        if self.effect(now) == wanted(self.switch) {
            return None;
        }
        let other = match self.switch {
            Switch::On => self.hosts_until,
            Switch::Off => self.ours_until,
        };
        let left = other.max(self.unseen_until).saturating_sub(now.boot);
        now.wall.checked_add(SignedDuration::try_from(left).ok()?).ok()
    }

    fn report(&self, now: Now, workload: &Workload) -> SeenWorkload {
        let held = self.lease.as_ref().filter(|_| self.ours_until > now.boot);
        SeenWorkload {
            workload: workload.clone(),
            asked_for: match self.switch {
                Switch::On => Asked::On,
                Switch::Off => Asked::Off,
            },
            in_effect: self.effect(now),
            effective_by: self.effective_by(now),
            effective_at: self.effective_at,
            role: held.map(|held| held.role.clone()),
            lease: held.map(|held| held.lease.clone()),
            first_seen: self.first,
        }
    }
}

const fn wanted(switch: Switch) -> InEffect {
    match switch {
        Switch::On => InEffect::On,
        Switch::Off => InEffect::Off,
    }
}

/// What is bound to nothing has what the host gives.
fn switch_of(settings: &Settings, workload: &Workload) -> Switch {
    let bound = settings.bound_to(workload);
    bound.map_or(Switch::Off, |bound| settings.switch_of(bound, workload))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;

    /// A host with one workload, whose binding stands in a file.
    struct Host {
        workloads: Workloads,
        id: Workload,
        settings: Settings,
    }

    fn now(second: u64) -> Now {
        let wall = Timestamp::from_second(1_000_000 + second as i64).unwrap();
        Now { boot: Duration::from_secs(second), wall }
    }

    fn settings(switch: &str) -> Settings {
        let text = format!(
            "region = \"eu-central-1\"\n[[binding]]\napplication = \"orders\"\nenvironment = \"prod\"\n\
             role = \"arn:aws:iam::111122223333:role/orders\"\nsource = \"assume-role\"\n\
             match = {{ netns = \"orders*\" }}\nswitch = \"{switch}\"\n"
        );
        Settings::parse("agent.toml", &text, 1).unwrap()
    }

    impl Host {
        /// A workload that came while the agent watched, or was there before.
        fn new(came: bool) -> Self {
            let (id, settings) = ("orders/prod/1".parse::<Workload>().unwrap(), settings("on"));
            let mut workloads = Workloads::default();
            let place = Place { workload: Some(id.clone()), came };
            let places = BTreeMap::from([("orders-1".to_owned(), place)]);
            workloads.places(now(0), &places, &settings);
            Self { workloads, id, settings }
        }

        fn switch(&mut self, at: u64, switch: &str) -> Vec<Workload> {
            self.settings = settings(switch);
            self.workloads.decide(now(at), &self.settings)
        }

        /// A lease of an hour is served for the first time.
        fn serve(&mut self, at: u64) {
            let lease = Lease {
                since: now(at).wall,
                ends: now(at + 60 * MINUTE).wall,
                access_key_id: format!("ASIA{at}"),
            };
            let role = "arn:aws:iam::111122223333:role/orders".parse().unwrap();
            let held = Held { role, lease, left: Duration::from_secs(60 * MINUTE) };
            self.workloads.served(now(at), &self.id, held);
        }

        fn pass(&mut self, at: u64, ends: u64) {
            self.workloads.passed(now(at), &self.id, Some(now(ends).wall));
        }

        /// What is reported: what is in effect, and by when and since when what is asked for is.
        #[track_caller]
        fn check(&mut self, at: u64, effect: InEffect, by: Option<u64>, since: Option<u64>) {
            self.workloads.settle(now(at));
            let seen = self.workloads.report(now(at)).pop().unwrap();
            let wall = |at: Option<u64>| at.map(|at| now(at).wall);
            let said = (seen.in_effect, seen.effective_by, seen.effective_at);
            assert_eq!(said, (effect, wall(by), wall(since)));
        }
    }

    #[test]
    fn what_is_asked_for_comes_into_effect_when_the_last_lease_has_ended() {
        let mut host = Host::new(true);
        host.check(1, InEffect::On, None, Some(0));
        host.serve(10);
        host.check(20, InEffect::On, None, Some(0));
        host.switch(30, "off");
        let end = 10 + 60 * MINUTE;
        host.check(30, InEffect::On, Some(end), None);
        host.pass(40, 7000);
        host.check(41, InEffect::Mixed, Some(end), None);
        host.check(end, InEffect::Off, None, Some(end));
        // It has asked since, and still holds what the host gave it.
        assert_eq!(host.switch(end + 1, "on"), [host.id.clone()]);
        host.check(end + 1, InEffect::Off, Some(7000), None);
        host.check(7000, InEffect::On, None, Some(7000));
    }

    #[test]
    fn nothing_is_said_of_what_ran_before_the_agent_until_nothing_can_live_of_it() {
        let (mut host, horizon) = (Host::new(false), LIVES_MAX.as_secs());
        host.check(1, InEffect::Unknown, Some(horizon), None);
        host.serve(10);
        host.check(11, InEffect::Unknown, Some(horizon), None);
        // That it has both is known.
        host.pass(20, 5000);
        host.check(21, InEffect::Mixed, Some(horizon), None);
        host.check(horizon, InEffect::On, None, Some(horizon));
    }

    #[test]
    fn credentials_whose_end_cannot_be_read_live_as_long_as_any() {
        let mut host = Host::new(true);
        host.pass(10, 10);
        host.check(10, InEffect::Off, Some(10 + LIVES_MAX.as_secs()), None);
        let mut host = Host::new(true);
        host.workloads.passed(now(10), &host.id, None);
        host.check(11, InEffect::Off, Some(10 + LIVES_MAX.as_secs()), None);
    }

    #[test]
    fn a_clock_that_jumps_changes_no_life() {
        let mut host = Host::new(true);
        host.serve(10);
        host.switch(20, "off");
        let ahead = now(20).wall + SignedDuration::from_hours(48);
        let jumped = Now { wall: ahead, ..now(30) };
        host.workloads.settle(jumped);
        let seen = host.workloads.report(jumped).pop().unwrap();
        assert_eq!((seen.in_effect, seen.effective_at), (InEffect::On, None));
    }

    #[test]
    fn a_workload_goes_with_the_last_thing_that_it_is_known_by() {
        let mut host = Host::new(true);
        let path: CgroupPath = "/orders.slice/1".parse().unwrap();
        let (id, settings) = (host.id.clone(), &host.settings);
        host.workloads.saw(now(1), &id, Anchor::Cgroup(path.clone()), settings);
        host.workloads.places(now(2), &BTreeMap::new(), settings);
        assert!(host.workloads.runs(&id));
        host.workloads.sweep(now(3), |other| *other == path);
        assert!(host.workloads.runs(&id));
        host.workloads.sweep(now(4), |_| false);
        assert!(!host.workloads.runs(&id));
    }

    #[test]
    fn one_that_shows_nothing_is_taken_to_run_for_an_hour_after_it_asked() {
        let mut host = Host::new(true);
        let id: Workload = "orders/prod/2".parse().unwrap();
        host.workloads.saw(now(1), &id, Anchor::Asked, &host.settings);
        let silent = SILENT_MAX.as_secs();
        host.workloads.saw(now(10), &id, Anchor::Asked, &host.settings);
        host.workloads.sweep(now(10 + silent), |_| true);
        assert!(host.workloads.runs(&id));
        host.workloads.sweep(now(11 + silent), |_| true);
        assert!(!host.workloads.runs(&id));
    }

    #[test]
    fn no_more_are_taken_in_than_a_host_may_report() {
        let mut host = Host::new(true);
        for number in 2..=WORKLOADS_MAX + 10 {
            let id = format!("orders/prod/{number}").parse().unwrap();
            host.workloads.saw(now(1), &id, Anchor::Asked, &host.settings);
        }
        assert_eq!(host.workloads.report(now(2)).len(), WORKLOADS_MAX);
        assert_eq!(host.workloads.count(now(2)).0.left_out, 10);
    }

    #[test]
    fn only_news_count_as_changes() {
        let mut host = Host::new(true);
        host.serve(10);
        host.pass(15, 100);
        let before = host.workloads.changes();
        host.serve(10);
        host.workloads.settle(now(20));
        host.pass(20, 100);
        host.switch(21, "on");
        assert_eq!(host.workloads.changes(), before);
        host.serve(30);
        assert_eq!(host.workloads.changes(), before + 1);
    }
}
