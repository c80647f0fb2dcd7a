//! What the database says.

use std::{collections::BTreeMap, sync::Arc};

use api::orders::{OrderedBinding, OrderedPosition, Scope};
use credentials::{Switch, entitlement::Group};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use server::knowledge::{Facts, Knowledge, KnownHost};
use workload::Workload;

use crate::random::Random;

/// The applications, each in two environments.
pub(super) const APPLICATIONS: [&str; 3] = ["orders", "billing", "search"];
pub(super) const ENVIRONMENTS: [&str; 2] = ["prod", "test"];

pub(super) struct Truth {
    facts: Facts,
    known: Arc<Knowledge>,
    next: u64,
}

/// The id of a host.
pub(super) fn host_id(number: usize) -> String {
    format!("h-{number}")
}

/// The region of a host.
pub(super) fn region(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "eu-west-1" } else { "us-east-1" }
}

impl Truth {
    #[expect(clippy::expect_used, reason = "these are right, or this crate is wrong")]
    pub(super) fn new(hosts: usize) -> Self {
        let host = |number| KnownHost {
            id: host_id(number),
            name: host_id(number),
            region: Some(region(number).parse().expect("a region")),
            labels: BTreeMap::new(),
            revoked: false,
        };
        let everything = Group {
            name: "everything".to_owned(),
            selector: BTreeMap::new(),
            everything: true,
            may_run: vec!["*/*".parse().expect("a pattern")],
        };
        let mut bindings = Vec::new();
        for application in APPLICATIONS {
            for environment in ENVIRONMENTS {
                let terms = json!({
                    "application": application, "environment": environment, "version": 1,
                    "role": format!("arn:aws:iam::111122223333:role/{application}-{environment}"),
                    "audience": "sts.amazonaws.com", "duration_minutes": 30,
                    "match": { "netns": format!("{application}-{environment}-*") },
                });
                bindings.push(serde_json::from_value::<OrderedBinding>(terms).expect("a binding"));
            }
        }
        let facts = Facts {
            revision: 1,
            hosts: (0..hosts).map(host).collect(),
            groups: vec![everything],
            bindings,
            ..Facts::default()
        };
        Self { known: Arc::new(Knowledge::new(facts.clone())), facts, next: 1 }
    }

    pub(super) fn revision(&self) -> u64 {
        self.facts.revision
    }

    pub(super) fn knowledge(&self) -> &Arc<Knowledge> {
        &self.known
    }

    fn change(&mut self) {
        self.facts.revision += 1;
        self.known = Arc::new(Knowledge::new(self.facts.clone()));
    }

    /// Sets, raises or clears a position. For a raise, the revision that it makes.
    pub(super) fn flip(&mut self, now: Timestamp, random: &mut Random) -> Option<u64> {
        let raised = self.act(now, random);
        self.change();
        raised.then_some(self.facts.revision)
    }

    /// Says whether it was a raise, and nothing else.
    fn act(&mut self, now: Timestamp, random: &mut Random) -> bool {
        let (old, raise) = (random.place(self.facts.positions.len()), random.chance(400));
        let clear = random.chance(200);
        // Which one is raised is no matter of luck: over an older one another may lie.
        let newest = (0..self.facts.positions.len())
            .max_by_key(|at| self.facts.positions.get(*at).map(|position| position.id));
        let old = if raise { newest } else { old };
        let Some(old) = old.filter(|_| raise || clear) else {
            let position = self.any(now, random);
            self.facts.positions.retain(|other| other.scope != position.scope);
            self.facts.positions.push(position);
            return false;
        };
        let before = self.facts.positions.remove(old);
        if clear && !raise {
            return false;
        }
        self.next += 1;
        let most = 100 - u64::from(before.percent.get());
        let more = u32::try_from(random.below(most + 1)).unwrap_or_default();
        let percent = api::switch::Percent::new(before.percent.get() + more);
        let percent = percent.unwrap_or(api::switch::ALL);
        let on = before.position == api::agents::Asked::On;
        self.facts.positions.push(OrderedPosition { id: self.next, percent, set: now, ..before });
        on
    }

    #[expect(clippy::expect_used, reason = "these are right, or this crate is wrong")]
    fn any(&mut self, now: Timestamp, random: &mut Random) -> OrderedPosition {
        self.next += 1;
        let mut scope = Scope::default();
        if random.chance(600) {
            let application = random.pick(&APPLICATIONS).copied().unwrap_or_default();
            scope.application = Some(application.parse().expect("an application"));
        }
        if random.chance(300) {
            let environment = random.pick(&ENVIRONMENTS).copied().unwrap_or_default();
            scope.environment = Some(environment.parse().expect("an environment"));
        }
        if random.chance(200) {
            scope.region =
                Some(region(random.place(2).unwrap_or_default()).parse().expect("a region"));
        }
        if random.chance(100) {
            scope.host = Some(host_id(random.place(self.facts.hosts.len()).unwrap_or_default()));
        }
        let percent = u32::try_from(random.below(100)).unwrap_or_default() + 1;
        let lasts = i64::try_from(random.below(1_800)).unwrap_or_default() + 5;
        let expires = random.chance(400).then(|| now + SignedDuration::from_secs(lasts));
        OrderedPosition {
            id: self.next,
            scope,
            position: if random.chance(650) {
                api::agents::Asked::On
            } else {
                api::agents::Asked::Off
            },
            percent: api::switch::Percent::new(percent).unwrap_or(api::switch::ALL),
            set: now,
            expires,
            reason: None,
        }
    }

    /// Ends what has ended, as the server's own task does. Says whether anything did.
    pub(super) fn end_expired(&mut self, now: Timestamp) -> bool {
        let before = self.facts.positions.len();
        self.facts.positions.retain(|position| position.expires.is_none_or(|at| now < at));
        let ended = self.facts.positions.len() != before;
        if ended {
            self.change();
        }
        ended
    }

    /// What the switch says for a workload on a host.
    pub(super) fn switch(&self, host: &str, workload: &Workload, now: Timestamp) -> Switch {
        self.known.switch(host, workload, now)
    }
}
