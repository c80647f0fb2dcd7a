//! What a host may have: whether a token for a workload's role may be signed, and why.

use std::collections::BTreeMap;

use cloud::{Region, RoleArn};
use jiff::Timestamp;
use workload::{Application, Environment, Pattern, Workload};

use crate::{Positions, Seat, Switch};

/// A group of hosts, and what they may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Labels, each of which a host must have with that very value. Without any it selects no host, unless
    /// `everything` is true.
    pub selector: BTreeMap<String, String>,
    /// Whether it selects every host.
    pub everything: bool,
    /// What its hosts may run.
    pub may_run: Vec<Pattern>,
}

/// Whether a host is one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has joined.
    Joined,
    /// It had joined, and somebody revoked it.
    Revoked,
    /// It never joined.
    Unknown,
}

/// Whether a host runs a workload, by its own report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// Its last report names it, and it came in time.
    Running,
    /// Its last report names it, but none came since for too long.
    Stale,
    /// Its last report does not name it, or there is none.
    No,
}

/// The binding in force of the workload's application and environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound<'a> {
    /// Its version.
    pub version: u64,
    /// The role that it names.
    pub role: &'a RoleArn,
}

/// Everything that is looked at before a token is signed.
#[derive(Clone, Copy, Debug)]
pub struct Grounds<'a> {
    /// The host that asks.
    pub host: &'a str,
    /// Whether it is one of ours.
    pub standing: Standing,
    /// The region that it is in.
    pub region: Option<&'a Region>,
    /// What people said of it.
    pub labels: &'a BTreeMap<String, String>,
    /// All groups of hosts.
    pub groups: &'a [Group],
    /// The workload that the token is for.
    pub workload: &'a Workload,
    /// Whether the host reported it.
    pub reported: Reported,
    /// What it is bound to.
    pub bound: Option<Bound<'a>>,
    /// The role that is asked for; where nobody asks for one, that of the binding is meant.
    pub role: Option<&'a RoleArn>,
    /// The switch.
    pub positions: &'a Positions,
}

/// What was found, one for each question and in the order in which they decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The host is one of ours, or not.
    Host(Standing),
    /// The group by which the host may run the application; none where no group lets it.
    Placement(Option<String>),
    /// Whether the host runs the workload.
    Running(Reported),
    /// The binding that names the role.
    Bound {
        /// Its version.
        version: u64,
        /// The role.
        role: RoleArn,
    },
    /// The binding names another role than the one that is asked for.
    OtherRole {
        /// Its version.
        version: u64,
        /// The role that it names.
        role: RoleArn,
    },
    /// No binding is in force.
    NotBound,
    /// What the switch says, and the position that says so; none where nothing was said.
    Switch(Switch, Option<u64>),
}

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// Nobody knows, which lets nobody in.
    Unknown,
}

/// Proof that a host may have a token for a workload's role. Only [`Grounds::entitle`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Entitled {
    role: RoleArn,
    version: u64,
    group: String,
    position: u64,
}

impl Group {
    /// Whether a host with these labels belongs to it.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |(name, value): (&String, &String)| labels.get(name) == Some(value);
        self.everything || (!self.selector.is_empty() && self.selector.iter().all(has))
    }

    /// Whether its hosts may run an application in an environment.
    pub fn lets_run(&self, application: &Application, environment: &Environment) -> bool {
        self.may_run.iter().any(|pattern| pattern.takes_in(application, environment))
    }
}

/// The first group that lets a host with these labels run an application in an environment.
pub fn placed_by<'a>(
    groups: &'a [Group],
    labels: &BTreeMap<String, String>,
    application: &Application,
    environment: &Environment,
) -> Option<&'a Group> {
    let lets = |group: &&Group| group.selects(labels) && group.lets_run(application, environment);
    groups.iter().find(lets)
}

impl Finding {
    /// Whether it lets a token be signed.
    pub fn holds(&self) -> Holds {
        match self {
            Self::Host(Standing::Joined)
            | Self::Placement(Some(_))
            | Self::Running(Reported::Running)
            | Self::Bound { .. }
            | Self::Switch(Switch::On, _) => Holds::Yes,
            Self::Running(Reported::Stale) => Holds::Unknown,
            Self::Host(Standing::Revoked | Standing::Unknown)
            | Self::Placement(None)
            | Self::Running(Reported::No)
            | Self::OtherRole { .. }
            | Self::NotBound
            | Self::Switch(Switch::Off, _) => Holds::No,
        }
    }
}

impl Grounds<'_> {
    /// The answers to all five questions, whatever comes of them.
    pub fn findings(&self, now: Timestamp) -> [Finding; 5] {
        [
            Finding::Host(self.standing),
            self.placement(),
            Finding::Running(self.reported),
            self.binding(),
            self.switch(now),
        ]
    }

    /// The proof that a token may be signed.
    ///
    /// # Errors
    /// With the first finding that does not hold.
    pub fn entitle(&self, now: Timestamp) -> Result<Entitled, Finding> {
        let findings = self.findings(now);
        if let Some(wrong) = findings.iter().find(|finding| finding.holds() != Holds::Yes) {
            return Err(wrong.clone());
        }
        match findings {
            [
                _,
                Finding::Placement(Some(group)),
                _,
                Finding::Bound { version, role },
                Finding::Switch(Switch::On, Some(position)),
            ] => Ok(Entitled { role, version, group, position }),
            [.., switch] => Err(switch),
        }
    }

    fn placement(&self) -> Finding {
        let Workload { application, environment, .. } = self.workload;
        let group = placed_by(self.groups, self.labels, application, environment);
        Finding::Placement(group.map(|group| group.name.clone()))
    }

    fn binding(&self) -> Finding {
        let Some(Bound { version, role }) = self.bound else { return Finding::NotBound };
        let fits = self.role.is_none_or(|wanted| wanted == role);
        let role = role.clone();
        if fits { Finding::Bound { version, role } } else { Finding::OtherRole { version, role } }
    }

    fn switch(&self, now: Timestamp) -> Finding {
        let seat = Seat { region: self.region, host: self.host, workload: self.workload };
        match self.positions.decider(&seat, now) {
            Some(position) => Finding::Switch(position.switch, Some(position.id)),
            None => Finding::Switch(Switch::Off, None),
        }
    }
}

impl Entitled {
    /// The role.
    pub fn role(&self) -> &RoleArn {
        &self.role
    }

    /// The version of the binding that names it.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The group of hosts that lets the host run the application.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The position of the switch that says on.
    pub fn position(&self) -> u64 {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Position, Scope};

    struct World {
        labels: BTreeMap<String, String>,
        groups: Vec<Group>,
        workload: Workload,
        positions: Positions,
        role: RoleArn,
        other: RoleArn,
    }

    impl World {
        fn new() -> Self {
            let pool = BTreeMap::from([("pool".to_owned(), "web".to_owned())]);
            let on = Position {
                id: 7,
                scope: Scope::default(),
                switch: Switch::On,
                percent: 100,
                expires: None,
            };
            Self {
                labels: pool.clone(),
                groups: vec![Group {
                    name: "web".to_owned(),
                    selector: pool,
                    everything: false,
                    may_run: vec!["orders/*".parse().unwrap()],
                }],
                workload: "orders/prod/1".parse().unwrap(),
                positions: Positions::new([on]),
                role: "arn:aws:iam::222222222222:role/orders".parse().unwrap(),
                other: "arn:aws:iam::333333333333:role/billing".parse().unwrap(),
            }
        }

        fn grounds(&self) -> Grounds<'_> {
            Grounds {
                host: "h1",
                standing: Standing::Joined,
                region: None,
                labels: &self.labels,
                groups: &self.groups,
                workload: &self.workload,
                reported: Reported::Running,
                bound: Some(Bound { version: 3, role: &self.role }),
                role: Some(&self.role),
                positions: &self.positions,
            }
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Grounds<'_>), wrong: &Finding) {
        let world = World::new();
        let mut grounds = world.grounds();
        change(&mut grounds);
        assert_eq!(grounds.entitle(Timestamp::UNIX_EPOCH).as_ref(), Err(wrong));
    }

    #[test]
    fn a_host_that_may_run_a_bound_workload_that_is_on_is_entitled() {
        let world = World::new();
        let entitled = world.grounds().entitle(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((entitled.role(), entitled.version()), (&world.role, 3));
        assert_eq!((entitled.group(), entitled.position()), ("web", 7));
    }

    #[test]
    fn each_ground_alone_keeps_a_token_back() {
        check(|g| g.standing = Standing::Revoked, &Finding::Host(Standing::Revoked));
        check(|g| g.standing = Standing::Unknown, &Finding::Host(Standing::Unknown));
        check(|g| g.groups = &[], &Finding::Placement(None));
        check(|g| g.reported = Reported::No, &Finding::Running(Reported::No));
        check(|g| g.reported = Reported::Stale, &Finding::Running(Reported::Stale));
        check(|g| g.bound = None, &Finding::NotBound);
        let (world, none) = (World::new(), Positions::default());
        let mut grounds = world.grounds();
        grounds.positions = &none;
        let off = Err(Finding::Switch(Switch::Off, None));
        assert_eq!(grounds.entitle(Timestamp::UNIX_EPOCH), off);
        let mut grounds = world.grounds();
        grounds.role = Some(&world.other);
        let other = Err(Finding::OtherRole { version: 3, role: world.role.clone() });
        assert_eq!(grounds.entitle(Timestamp::UNIX_EPOCH), other);
    }

    #[test]
    fn a_label_with_another_value_places_nothing() {
        let world = World::new();
        let other = BTreeMap::from([("pool".to_owned(), "batch".to_owned())]);
        for labels in [&other, &BTreeMap::new()] {
            let grounds = Grounds { labels, ..world.grounds() };
            assert_eq!(grounds.entitle(Timestamp::UNIX_EPOCH), Err(Finding::Placement(None)));
        }
    }

    #[test]
    fn a_group_without_a_selector_selects_nobody_unless_it_says_so() {
        let mut group = World::new().groups.remove(0);
        group.selector = BTreeMap::new();
        assert!(!group.selects(&BTreeMap::new()));
        group.everything = true;
        assert!(group.selects(&BTreeMap::new()));
    }

    #[test]
    fn an_application_that_no_group_lists_is_not_placed() {
        let mut world = World::new();
        world.workload = "billing/prod/1".parse().unwrap();
        let refused = world.grounds().entitle(Timestamp::UNIX_EPOCH);
        assert_eq!(refused, Err(Finding::Placement(None)));
    }
}
