use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use issuer::{Claims, Due, InvalidSchedule, KeyId, KeyRing, Lead, Schedule};
use jiff::Timestamp;
use proptest::prelude::*;

use crate::random::key;

const LEAD: u64 = KeyRing::LEAD.as_secs();
const RETENTION: u64 = KeyRing::RETENTION.as_secs();
const EVERY: u64 = Schedule::ROTATE_EVERY.as_secs();
const LIFE: u64 = Claims::LIFE_MAX.as_secs();

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

fn schedule(every: Option<u64>, lead: u64, retention: u64) -> Result<Schedule, InvalidSchedule> {
    let seconds = Duration::from_secs;
    Schedule::new(every.map(seconds), seconds(lead), seconds(retention))
}

#[track_caller]
fn check(keys: &KeyRing, second: u64, expected: Option<Due>) {
    assert_eq!(keys.due(at(second.try_into().unwrap())), expected, "{second}");
}

#[test]
fn by_default_a_key_signs_for_thirty_days_and_is_published_a_day_before() {
    let mut keys = KeyRing::new(key(0), at(0));
    check(&keys, 0, None);
    check(&keys, EVERY - LEAD - 1, None);
    check(&keys, EVERY - LEAD, Some(Due::Publish));
    keys.publish(key(1), at((EVERY - LEAD).try_into().unwrap())).unwrap();
    check(&keys, EVERY - 1, None);
    check(&keys, EVERY, Some(Due::Rotate));
    keys.rotate(at(EVERY.try_into().unwrap()), Lead::Required).unwrap();
    check(&keys, EVERY + RETENTION - 1, None);
    check(&keys, EVERY + RETENTION, Some(Due::Prune));
    keys.prune(at((EVERY + RETENTION).try_into().unwrap()));
    check(&keys, EVERY + RETENTION, None);
    check(&keys, 2 * EVERY - LEAD, Some(Due::Publish));
}

#[test]
fn a_key_that_was_published_late_signs_late() {
    let mut keys = KeyRing::new(key(0), at(0));
    keys.publish(key(1), at(EVERY.try_into().unwrap())).unwrap();
    check(&keys, EVERY + LEAD - 1, None);
    check(&keys, EVERY + LEAD, Some(Due::Rotate));
}

#[test]
fn a_key_that_was_published_early_waits_for_its_turn() {
    let mut keys = KeyRing::new(key(0), at(0));
    keys.publish(key(1), at(5)).unwrap();
    check(&keys, 5 + LEAD, None);
    check(&keys, EVERY, Some(Due::Rotate));
}

#[test]
fn without_a_schedule_keys_change_by_hand_and_still_go_by_themselves() {
    let by_hand = schedule(None, LEAD, RETENTION).unwrap();
    let mut keys = KeyRing::new(key(0), at(0)).with_schedule(by_hand);
    check(&keys, 100 * EVERY, None);
    keys.publish(key(1), at(0)).unwrap();
    check(&keys, 100 * EVERY, None);
    keys.rotate(at(LEAD.try_into().unwrap()), Lead::Required).unwrap();
    check(&keys, LEAD + RETENTION, Some(Due::Prune));
}

#[test]
fn a_full_ring_asks_for_no_further_key() {
    let mut keys = KeyRing::new(key(0), at(0));
    for seed in 1..16 {
        keys.publish(key(seed), at(0)).unwrap();
        keys.rotate(at(0), Lead::Waived).unwrap();
    }
    let long = schedule(Some(EVERY), LEAD, 100 * EVERY).unwrap();
    check(&keys, RETENTION - 1, None);
    let mut full = KeyRing::new(key(0), at(0)).with_schedule(long);
    for seed in 1..16 {
        full.publish(key(seed), at(0)).unwrap();
        full.rotate(at(0), Lead::Waived).unwrap();
    }
    check(&full, EVERY, None);
}

#[test]
fn a_schedule_that_would_lose_tokens_is_refused() {
    let seconds = Duration::from_secs;
    let lead = schedule(Some(EVERY), LEAD - 1, RETENTION);
    assert_eq!(lead, Err(InvalidSchedule::Lead(seconds(LEAD - 1))));
    let retention = schedule(Some(EVERY), LEAD, RETENTION - 1);
    assert_eq!(retention, Err(InvalidSchedule::Retention(seconds(RETENTION - 1))));
    let (every, lead) = (seconds(LEAD), seconds(LEAD));
    assert_eq!(schedule(Some(LEAD), LEAD, RETENTION), Err(InvalidSchedule::Every { every, lead }));
    assert_eq!(schedule(Some(EVERY), LEAD, RETENTION), Ok(Schedule::default()));
}

#[test]
fn a_clock_that_is_set_right_by_up_to_an_hour_orphans_nothing() {
    let mut keys = KeyRing::new(key(0), at(0));
    keys.publish(key(1), at(0)).unwrap();
    // The clock is an hour ahead when the last token is signed, and right when the keys change.
    let (change, ahead) = (at(LEAD.try_into().unwrap()), Duration::from_secs(60 * 60));
    keys.rotate(change, Lead::Required).unwrap();
    let last_end = change + ahead + Claims::LIFE_MAX;
    assert_eq!(keys.prune(last_end - Duration::from_secs(1)), []);
    assert_eq!(keys.prune(last_end), [key(0).kid().clone()]);
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    SetBack(u64),
    Sign,
    PublishByHand,
    RotateByHand,
    BringBack,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..2 * LEAD).prop_map(Step::Wait),
        3 => (0..2 * RETENTION).prop_map(Step::Wait),
        3 => (0..2 * LIFE).prop_map(Step::Wait),
        1 => (0..3 * LEAD).prop_map(Step::SetBack),
        6 => Just(Step::Sign),
        1 => Just(Step::PublishByHand),
        1 => Just(Step::RotateByHand),
        1 => Just(Step::BringBack),
        1 => Just(Step::Restart),
    ]
}

/// A server that keeps its ring on schedule, and the true time, which it does not know.
struct World {
    keys: KeyRing,
    schedule: Schedule,
    seed: u64,
    seeds: BTreeMap<KeyId, u64>,
    now: i64,
    /// How far the server's clock is behind.
    behind: i64,
    /// The true times at which a key was first published, and left the document.
    published: BTreeMap<KeyId, i64>,
    left: BTreeMap<KeyId, i64>,
    retired: BTreeSet<KeyId>,
    /// Key and true end of each token.
    tokens: Vec<(KeyId, i64)>,
}

impl World {
    fn new(schedule: Schedule) -> Self {
        let first = key(0).kid().clone();
        Self {
            keys: KeyRing::new(key(0), at(0)).with_schedule(schedule),
            schedule,
            seed: 0,
            seeds: [(first.clone(), 0)].into(),
            now: 0,
            behind: 0,
            // Nobody has a document from before the issuer's first day.
            published: [(first, i64::MIN)].into(),
            left: BTreeMap::new(),
            retired: BTreeSet::new(),
            tokens: Vec::new(),
        }
    }

    fn wall(&self) -> Timestamp {
        at(self.now - self.behind)
    }

    fn publish(&mut self) {
        self.seed += 1;
        let fresh = key(self.seed);
        let kid = fresh.kid().clone();
        if self.keys.publish(fresh, self.wall()).is_ok() {
            self.seeds.insert(kid.clone(), self.seed);
            self.published.insert(kid, self.now);
        }
    }

    fn rotate(&mut self) {
        let old = self.keys.active().kid().clone();
        if self.keys.rotate(self.wall(), Lead::Required).is_ok() {
            self.retired.insert(old);
        }
    }

    /// What a keeper does each time that it looks.
    fn keep(&mut self) {
        while let Some(due) = self.keys.due(self.wall()) {
            match due {
                Due::Publish => self.publish(),
                Due::Rotate => self.rotate(),
                Due::Prune => {
                    for kid in self.keys.prune(self.wall()) {
                        self.left.insert(kid, self.now);
                    }
                }
            }
        }
    }

    fn restart(&mut self) {
        let files = self.keys.iter().map(|(found, _)| key(self.seeds[found.kid()])).collect();
        let again = KeyRing::assemble(&self.keys.manifest(), files).unwrap();
        self.keys = again.with_schedule(self.schedule).with_gone(self.left.keys().cloned());
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Wait(seconds) => self.now += i64::try_from(*seconds).unwrap(),
            Step::SetBack(seconds) => self.behind += i64::try_from(*seconds).unwrap(),
            Step::Sign => {
                // A token that is dated earlier ends earlier: this is the longest that it can live.
                let end = self.now + i64::try_from(LIFE).unwrap();
                self.tokens.push((self.keys.active().kid().clone(), end));
            }
            Step::PublishByHand => self.publish(),
            Step::RotateByHand => self.rotate(),
            Step::BringBack => {
                for kid in self.retired.clone() {
                    let refused = self.keys.publish(key(self.seeds[&kid]), self.wall());
                    assert!(refused.is_err(), "a retired key came back");
                }
            }
            Step::Restart => self.restart(),
        }
        self.keep();
    }

    /// Every document that a verifier may still use holds the key of every token that may live.
    fn holds(&self, lead: i64) -> Result<(), TestCaseError> {
        prop_assert!(!self.retired.contains(self.keys.active().kid()), "a retired key signs");
        for (kid, _) in self.tokens.iter().filter(|(_, end)| *end >= self.now) {
            let oldest = self.now - lead;
            prop_assert!(self.published[kid] <= oldest, "a document lacks the key of a token");
            prop_assert!(!self.left.contains_key(kid), "the key of a token left the document");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn on_any_schedule_every_live_token_can_be_checked_with_any_document_of_the_last_lead(
        every in (LEAD + 1)..(4 * LEAD), more_lead in 0..LEAD, more_retention in 0..LEAD,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let lead = LEAD + more_lead;
        let schedule = schedule(Some(every + more_lead), lead, RETENTION + more_retention).unwrap();
        let mut world = World::new(schedule);
        for step in steps {
            world.step(&step);
            world.holds(lead.try_into().unwrap())?;
        }
    }
}
