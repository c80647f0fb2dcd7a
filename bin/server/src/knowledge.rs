//! What the server knows, as plain values: which host may have what, and what each is told.
//!
//! Nothing here waits, reads a clock or asks the database, so the simulator drives the very same code.
//! A replica holds one [`Knowledge`] at a time and replaces it whole when the database has changed.

use std::{collections::BTreeMap, time::Duration};

use api::{
    agents::Asked,
    applications::Application as KnownApplication,
    bindings::Terms,
    joining::JoinRule,
    orders::{OrderedBinding, OrderedPosition, Orders, Scope as WireScope},
};
use cloud::Region;
use credentials::{
    Position, Positions, Scope, Seat, Switch,
    entitlement::{Bound, Grounds, Group, Reported, Standing},
};
use jiff::Timestamp;
use workload::{Application, Environment, Workload};

/// How long a host's report says what runs there. Agents report every quarter of a minute, so that one
/// that keeps silent for so long is down or cut off.
pub const REPORT_STALE: Duration = Duration::from_secs(90);

/// Everything that decides, as it was read at one moment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The number of that moment. It only ever grows.
    pub revision: u64,
    /// Every host that joined, those that were revoked as well.
    pub hosts: Vec<KnownHost>,
    /// The groups of hosts.
    pub groups: Vec<Group>,
    /// The bindings in force.
    pub bindings: Vec<OrderedBinding>,
    /// The positions of the switch that nobody ended.
    pub positions: Vec<OrderedPosition>,
    /// What is known of applications.
    pub applications: Vec<KnownApplication>,
    /// The rules by which hosts join as their AWS role.
    pub join_rules: Vec<JoinRule>,
}

/// A host that joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHost {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The region that it is in.
    pub region: Option<Region>,
    /// What people said of it.
    pub labels: BTreeMap<String, String>,
    /// Whether somebody revoked it.
    pub revoked: bool,
}

/// What a server knows.
#[derive(Debug, Default)]
pub struct Knowledge {
    revision: u64,
    hosts: BTreeMap<String, KnownHost>,
    groups: Vec<Group>,
    bindings: BTreeMap<(Application, Environment), OrderedBinding>,
    positions: Positions,
    /// The same positions in the words of orders, latest first.
    ordered: Vec<OrderedPosition>,
    applications: BTreeMap<Application, KnownApplication>,
    join_rules: Vec<JoinRule>,
}

/// What is said of a host that nobody knows.
static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();

impl Knowledge {
    /// Puts facts in order.
    pub fn new(facts: Facts) -> Self {
        let Facts { revision, hosts, mut groups, bindings, positions, applications, join_rules } =
            facts;
        groups.sort_by(|left, right| left.name.cmp(&right.name));
        let name = |binding: &OrderedBinding| {
            (binding.terms.application.clone(), binding.terms.environment.clone())
        };
        let mut ordered = positions;
        ordered.sort_by_key(|position| std::cmp::Reverse(position.id));
        Self {
            revision,
            hosts: hosts.into_iter().map(|host| (host.id.clone(), host)).collect(),
            groups,
            bindings: bindings.into_iter().map(|binding| (name(&binding), binding)).collect(),
            positions: Positions::new(ordered.iter().map(position_of)),
            ordered,
            applications: applications
                .into_iter()
                .map(|known| (known.application.clone(), known))
                .collect(),
            join_rules,
        }
    }

    /// The number of the moment that it was read at.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A host that joined, whether revoked or not.
    pub fn host(&self, id: &str) -> Option<&KnownHost> {
        self.hosts.get(id)
    }

    /// Every host that joined, those that were revoked as well.
    pub fn hosts(&self) -> impl Iterator<Item = &KnownHost> {
        self.hosts.values()
    }

    /// Whether a host is one of ours.
    pub fn standing(&self, host: &str) -> Standing {
        match self.hosts.get(host) {
            Some(KnownHost { revoked: false, .. }) => Standing::Joined,
            Some(KnownHost { revoked: true, .. }) => Standing::Revoked,
            None => Standing::Unknown,
        }
    }

    /// The groups of hosts, by name.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The names of the groups that select a host with these labels.
    pub fn groups_of(&self, labels: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
        let selecting = self.groups.iter().filter(|group| group.selects(labels));
        selecting.map(|group| group.name.as_str())
    }

    /// How many hosts that are not revoked a group selects.
    pub fn selected_by(&self, group: &Group) -> usize {
        let selected = |host: &&KnownHost| !host.revoked && group.selects(&host.labels);
        self.hosts.values().filter(selected).count()
    }

    /// The binding in force.
    pub fn binding(
        &self,
        application: &Application,
        environment: &Environment,
    ) -> Option<&OrderedBinding> {
        self.bindings.get(&(application.clone(), environment.clone()))
    }

    /// What is known of an application.
    pub fn application(&self, name: &Application) -> Option<&KnownApplication> {
        self.applications.get(name)
    }

    /// The rules by which hosts join as their AWS role.
    pub fn join_rules(&self) -> &[JoinRule] {
        &self.join_rules
    }

    /// The positions of the switch.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The positions of the switch in the words of orders, latest first.
    pub fn ordered_positions(&self) -> &[OrderedPosition] {
        &self.ordered
    }

    /// What the switch says for a workload on a host.
    pub fn switch(&self, host: &str, workload: &Workload, now: Timestamp) -> Switch {
        self.positions.decide(&self.seat(host, workload), now)
    }

    /// Where a workload on a host runs, as far as scopes ask.
    pub fn seat<'a>(&'a self, host: &'a str, workload: &'a Workload) -> Seat<'a> {
        let region = self.hosts.get(host).and_then(|host| host.region.as_ref());
        Seat { region, host, workload }
    }

    /// What is looked at before a token for a workload on a host is signed, for whatever role its
    /// binding names.
    pub fn grounds<'a>(
        &'a self,
        host: &'a str,
        workload: &'a Workload,
        reported: Reported,
    ) -> Grounds<'a> {
        let known = self.hosts.get(host);
        let bound = self.binding(&workload.application, &workload.environment);
        Grounds {
            host,
            standing: self.standing(host),
            region: known.and_then(|host| host.region.as_ref()),
            labels: known.map_or(&NO_LABELS, |host| &host.labels),
            groups: &self.groups,
            workload,
            reported,
            bound: bound.map(|bound| Bound { version: bound.version, role: &bound.terms.role }),
            role: None,
            positions: &self.positions,
        }
    }

    /// What a host is told: the bindings of what it may run, and the positions that can matter to those.
    /// Nothing where it never joined or was revoked.
    pub fn orders_for(&self, host: &str, now: Timestamp) -> Option<Orders> {
        let host = self.hosts.get(host).filter(|host| !host.revoked)?;
        let groups: Vec<&Group> =
            self.groups.iter().filter(|group| group.selects(&host.labels)).collect();
        let placed = |terms: &Terms| {
            groups.iter().any(|group| group.lets_run(&terms.application, &terms.environment))
        };
        let bindings: Vec<OrderedBinding> =
            self.bindings.values().filter(|binding| placed(&binding.terms)).cloned().collect();
        let matters = |position: &Position| {
            position.lives(now)
                && position.scope.concerns_host(&host.id, host.region.as_ref())
                && bindings.iter().any(|binding| {
                    let Terms { application, environment, .. } = &binding.terms;
                    position.scope.concerns(application, environment)
                })
        };
        let told = self.ordered.iter().zip(self.positions.iter());
        let told = told.filter(|(_, position)| matters(position));
        Some(Orders {
            host: host.id.clone(),
            revision: self.revision,
            issued: now,
            region: host.region.clone(),
            labels: host.labels.clone(),
            positions: told.map(|(ordered, _)| ordered.clone()).collect(),
            bindings,
        })
    }
}

/// Whether a report that came then says what runs now. A time in the future is as bad as one long ago: the
/// clock was set back, and nobody knows for how long the host has kept silent.
pub fn reported(received: Option<Timestamp>, now: Timestamp) -> Reported {
    let Some(received) = received else { return Reported::No };
    if now.duration_since(received).unsigned_abs() <= REPORT_STALE {
        Reported::Running
    } else {
        Reported::Stale
    }
}

/// A position in the words of core.
pub fn position_of(ordered: &OrderedPosition) -> Position {
    Position {
        id: ordered.id,
        scope: scope_of(&ordered.scope),
        switch: switch_of(ordered.position),
        percent: ordered.percent.get(),
        expires: ordered.expires,
    }
}

/// A scope in the words of core.
pub fn scope_of(scope: &WireScope) -> Scope {
    let WireScope { region, application, environment, host, workload } = scope.clone();
    Scope { region, application, environment, host, workload }
}

/// A position's side in the words of core.
pub const fn switch_of(asked: Asked) -> Switch {
    match asked {
        Asked::On => Switch::On,
        Asked::Off => Switch::Off,
    }
}

/// The same in the words of the wire.
pub const fn asked_of(switch: Switch) -> Asked {
    match switch {
        Switch::On => Asked::On,
        Switch::Off => Asked::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn host(id: &str, pool: &str, revoked: bool) -> KnownHost {
        KnownHost {
            id: id.to_owned(),
            name: id.to_owned(),
            region: Some("eu-west-1".parse().unwrap()),
            labels: BTreeMap::from([("pool".to_owned(), pool.to_owned())]),
            revoked,
        }
    }

    fn group(pool: &str, may_run: &str) -> Group {
        Group {
            name: pool.to_owned(),
            selector: BTreeMap::from([("pool".to_owned(), pool.to_owned())]),
            everything: false,
            may_run: vec![may_run.parse().unwrap()],
        }
    }

    fn binding(application: &str) -> OrderedBinding {
        let terms = serde_json::json!({
            "application": application, "environment": "prod", "version": 1,
            "role": format!("arn:aws:iam::111122223333:role/{application}"),
            "audience": "sts.amazonaws.com", "duration_minutes": 60,
            "match": { "unit": format!("{application}.service") },
        });
        serde_json::from_value(terms).unwrap()
    }

    fn position(id: u64, scope: serde_json::Value, expires: Option<i64>) -> OrderedPosition {
        OrderedPosition {
            id,
            scope: serde_json::from_value(scope).unwrap(),
            position: Asked::On,
            percent: api::switch::ALL,
            set: at(0),
            expires: expires.map(at),
            reason: None,
        }
    }

    fn knowledge(positions: Vec<OrderedPosition>) -> Knowledge {
        Knowledge::new(Facts {
            revision: 7,
            hosts: vec![host("h1", "web", false), host("h2", "web", true), host("h3", "db", false)],
            groups: vec![group("web", "orders/*"), group("db", "billing/test")],
            bindings: vec![binding("orders"), binding("billing")],
            positions,
            ..Facts::default()
        })
    }

    /// Which of the positions is `h1` told at second 5?
    #[track_caller]
    fn check(scope: serde_json::Value, expires: Option<i64>, told: bool) {
        let orders = knowledge(vec![position(1, scope, expires)]).orders_for("h1", at(5)).unwrap();
        assert_eq!(orders.positions.len(), usize::from(told));
    }

    #[test]
    fn a_host_is_told_the_bindings_of_what_it_may_run_and_no_others() {
        let knowledge = knowledge(Vec::new());
        let orders = knowledge.orders_for("h1", at(0)).unwrap();
        let names = orders.bindings.iter().map(|binding| binding.terms.application.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["orders"]);
        assert_eq!((orders.host.as_str(), orders.revision), ("h1", 7));
        assert!(knowledge.orders_for("h3", at(0)).unwrap().bindings.is_empty());
    }

    #[test]
    fn a_revoked_host_and_one_that_never_joined_are_told_nothing() {
        for host in ["h2", "h4"] {
            assert_eq!(knowledge(Vec::new()).orders_for(host, at(0)), None);
        }
    }

    #[test]
    fn a_host_is_told_the_positions_that_can_matter_to_its_bindings() {
        check(serde_json::json!({}), None, true);
        check(serde_json::json!({ "region": "eu-west-1" }), None, true);
        check(serde_json::json!({ "region": "eu-west-2" }), None, false);
        check(serde_json::json!({ "application": "orders" }), None, true);
        check(serde_json::json!({ "application": "billing" }), None, false);
        check(serde_json::json!({ "host": "h3" }), None, false);
        check(serde_json::json!({ "workload": "orders/test/1" }), None, false);
        check(serde_json::json!({}), Some(6), true);
        check(serde_json::json!({}), Some(5), false);
    }

    #[test]
    fn a_report_counts_for_as_long_as_the_bound_says_in_either_direction() {
        let reported = |received: Option<i64>| super::reported(received.map(at), at(1000));
        assert_eq!(reported(None), Reported::No);
        assert_eq!(reported(Some(910)), Reported::Running);
        assert_eq!(reported(Some(909)), Reported::Stale);
        assert_eq!(reported(Some(1090)), Reported::Running);
        assert_eq!(reported(Some(1091)), Reported::Stale);
    }

    #[test]
    fn a_thousand_hosts_are_put_in_order_within_a_blink() {
        let hosts = (0..1000).map(|n| host(&format!("h{n}"), "web", false)).collect();
        let bindings = (0..200).map(|n| binding(&format!("a{n}"))).collect();
        let groups = vec![group("web", "*/*")];
        let knowledge = Knowledge::new(Facts { hosts, bindings, groups, ..Facts::default() });
        assert_eq!(knowledge.selected_by(&knowledge.groups[0]), 1000);
        assert_eq!(knowledge.orders_for("h999", at(0)).unwrap().bindings.len(), 200);
    }
}
