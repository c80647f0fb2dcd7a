//! The table against a model that knows only what went in and came out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use credentials::{
    Fetch, FetchError, Outcome, Policy,
    policy::{FETCH_MAX, FETCH_SPACING_MIN, REPAIR_MAX, renewal_window},
};
use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, prelude::*};

use crate::host::{Host, MINUTE, SECOND, Seen, credentials, denied, key, unavailable};

const KEYS: u64 = 6;
const POLICY: Policy = Policy { seed: 1, fetches_max: 2, leases_max: 4 };

#[derive(Clone, Debug)]
enum Act {
    Ask(u64),
    /// Lets time pass, without a poll.
    Pass(Duration),
    /// Lets time pass and polls, a little before the time that was named.
    PollEarly(Duration),
    /// Polls exactly when it was asked for.
    PollDue,
    /// The n-th newest fetch ever started comes back, perhaps for the second time.
    Land(usize, Landing),
    Stop(u64),
    Resume(u64),
    Renew(u64),
    /// Keeps the keys whose bit is set.
    Retain(u8),
}

#[derive(Clone, Debug)]
enum Landing {
    Brings { requested: Duration, ahead: SignedDuration },
    Empty,
    Fails(FetchError),
}

/// What a key must be served.
struct Good {
    access_key: String,
    started: Duration,
    end: Duration,
}

struct Flown {
    fetch: Fetch,
    started: Duration,
    landed: bool,
    /// Its key was stopped or forgotten since.
    orphan: bool,
}

struct Model {
    host: Host,
    flown: Vec<Flown>,
    good: BTreeMap<u64, Good>,
    stopped: BTreeSet<u64>,
    /// When a key that failed may be tried again.
    retry_at: BTreeMap<u64, Duration>,
    /// Keys that may be fetched whatever they hold, because somebody said so, and how many fetches
    /// had started by then.
    renewed: BTreeMap<u64, usize>,
}

impl Model {
    fn act(&mut self, act: Act) {
        match act {
            Act::Ask(n) => self.ask(n),
            Act::Pass(time) => self.host.pass(time),
            Act::PollEarly(short) => self.poll_early(short),
            Act::PollDue => self.poll_due(),
            Act::Land(n, landing) => self.land(n, landing),
            Act::Stop(n) => {
                self.host.leases.stop(&key(n));
                self.stopped.insert(n);
                self.forget(n);
            }
            Act::Resume(n) => {
                self.host.leases.resume(&key(n));
                self.stopped.remove(&n);
            }
            Act::Renew(n) => {
                self.host.leases.renew(self.host.boot, &key(n));
                self.renewed.insert(n, self.flown.len());
            }
            Act::Retain(kept) => {
                let keeps = |n: u64| kept & (1 << n) != 0;
                self.host.leases.retain(|k| (0..KEYS).any(|n| keeps(n) && *k == key(n)));
                (0..KEYS).filter(|n| !keeps(*n)).for_each(|n| self.forget(n));
            }
        }
        assert!(self.host.leases.keys().count() <= POLICY.leases_max);
        let tally = self.host.leases.tally();
        assert!(tally.in_flight <= POLICY.fetches_max);
        assert_eq!(tally.fetching + tally.renewing + tally.discarding, tally.in_flight);
    }

    fn forget(&mut self, n: u64) {
        self.good.remove(&n);
        self.retry_at.remove(&n);
        for flown in self.flown.iter_mut().filter(|flown| flown.fetch.key == key(n)) {
            flown.orphan = true;
        }
    }

    fn ask(&mut self, n: u64) {
        let boot = self.host.boot;
        if !self.host.leases.keys().any(|known| *known == key(n)) {
            // An idle lease is forgotten at its end, and its failures with it.
            self.retry_at.remove(&n);
        }
        let seen = self.host.ask(n);
        let good = self.good.get(&n).filter(|good| good.end > boot);
        match (seen, good) {
            (Seen::Stopped, _) => assert!(self.stopped.contains(&n)),
            (Seen::Held { key, left, .. }, Some(good)) => {
                assert!(!self.stopped.contains(&n));
                assert_eq!((key, left), (good.access_key.clone(), good.end - boot));
            }
            (Seen::Failing { retry_at, .. }, None) => {
                assert!(retry_at > boot && retry_at <= boot + REPAIR_MAX);
            }
            (Seen::Wait, None) => {}
            (Seen::Full, None) => {
                assert_eq!(self.host.leases.keys().count(), POLICY.leases_max);
            }
            (seen, good) => panic!("served {seen:?}, had {:?}", good.map(|good| &good.access_key)),
        }
    }

    fn poll_early(&mut self, short: Duration) {
        let Some(wake) = self.host.leases.next_wake() else {
            self.host.pass(MINUTE);
            assert!(self.host.poll().is_empty());
            return;
        };
        let before = wake.saturating_sub(short);
        if before > self.host.boot && before < wake {
            self.host.pass_to(before);
            let tally = self.host.leases.tally();
            assert!(self.host.poll().is_empty());
            assert_eq!(
                (self.host.leases.next_wake(), self.host.leases.tally()),
                (Some(wake), tally)
            );
        }
    }

    fn poll_due(&mut self) {
        let Some(wake) = self.host.leases.next_wake() else { return };
        self.host.pass_to(wake);
        for fetch in self.host.poll() {
            self.started(fetch);
        }
        let boot = self.host.boot;
        assert!(self.host.leases.next_wake().is_none_or(|next| next > boot));
    }

    fn started(&mut self, fetch: Fetch) {
        let boot = self.host.boot;
        let n = (0..KEYS).find(|n| fetch.key == key(*n)).unwrap();
        assert!(!self.stopped.contains(&n));
        let flying = |flown: &&Flown| !flown.landed && boot < flown.started + FETCH_MAX;
        let in_flight = self.flown.iter().filter(flying);
        assert!(in_flight.clone().count() < POLICY.fetches_max);
        assert!(in_flight.clone().all(|flown| flown.fetch.key != fetch.key));
        if let Some(good) = self.good.get(&n)
            && !self.renewed.contains_key(&n)
        {
            // One call per renewal: none for a lease that is not yet due.
            let due = renewal_window(good.end - good.started).0.max(FETCH_SPACING_MIN);
            assert!(boot >= good.started + due.min(good.end - good.started));
        }
        let retry_at = self.retry_at.get(&n).filter(|_| !self.renewed.contains_key(&n));
        assert!(retry_at.is_none_or(|retry_at| boot >= *retry_at));
        self.flown.push(Flown { fetch, started: boot, landed: false, orphan: false });
    }

    fn land(&mut self, newest: usize, landing: Landing) {
        let (boot, wall) = (self.host.boot, self.host.wall);
        let Some(place) = self.flown.len().checked_sub(newest + 1) else { return };
        let Flown { fetch, started, landed, orphan } = &mut self.flown[place];
        let n = (0..KEYS).find(|n| fetch.key == key(*n)).unwrap();
        let (good, result) = answer(fetch, *started, wall, landing);
        let outcome = self.host.leases.fetched(boot, wall, fetch.id, result);
        match outcome {
            // Given up, or landed before.
            Outcome::Unknown => assert!(*landed || boot >= *started + FETCH_MAX),
            Outcome::Discarded => assert!(*orphan && !*landed),
            Outcome::Held { .. } => {
                assert!(!*orphan && !*landed);
                let good = good.unwrap();
                assert!(good.end > boot);
                self.good.insert(n, good);
                self.retry_at.remove(&n);
                if self.renewed.get(&n).is_some_and(|started| place >= *started) {
                    self.renewed.remove(&n);
                }
            }
            Outcome::Failed { retry_at, .. } => {
                assert!(!*orphan && !*landed && good.is_none_or(|good| good.end <= boot));
                assert!(retry_at >= boot && retry_at <= boot + REPAIR_MAX);
                self.retry_at.insert(n, retry_at);
            }
        }
        *landed = true;
    }
}

/// The answer of a source, and what it is worth.
fn answer(
    fetch: &Fetch,
    started: Duration,
    wall: Timestamp,
    landing: Landing,
) -> (Option<Good>, Result<credentials::Credentials, FetchError>) {
    match landing {
        Landing::Fails(error) => (None, Err(error)),
        Landing::Empty => {
            let mut empty = credentials(fetch, MINUTE, wall);
            empty.access_key_id.clear();
            (None, Ok(empty))
        }
        Landing::Brings { requested, ahead } => {
            let brought = credentials(fetch, requested, wall - ahead);
            let left = Duration::try_from(brought.expiration.duration_since(wall));
            let left = left.ok().filter(|left| !left.is_zero() && *left < requested);
            let end = started + left.unwrap_or(requested);
            let access_key = brought.access_key_id.clone();
            (Some(Good { access_key, started, end }), Ok(brought))
        }
    }
}

fn landings() -> impl Strategy<Value = Landing> {
    let hours = |n: i64| SignedDuration::from_hours(n);
    let ahead = prop_oneof![
        6 => Just(SignedDuration::ZERO),
        1 => (-7200_i64..7200).prop_map(SignedDuration::from_secs),
        1 => Just(hours(200_000)),
    ];
    let life = prop_oneof![1 => Just(10 * SECOND), 2 => Just(15 * MINUTE), 6 => Just(60 * MINUTE)];
    let error = prop_oneof![Just(unavailable()), Just(FetchError::Throttled), Just(denied())];
    prop_oneof![
        6 => (life, ahead).prop_map(|(requested, ahead)| Landing::Brings { requested, ahead }),
        1 => Just(Landing::Empty),
        3 => error.prop_map(Landing::Fails),
    ]
}

fn acts() -> impl Strategy<Value = Act> {
    let n = || 0..KEYS;
    let time = || prop_oneof![0_u64..2_000, 0_u64..20_000, 0_u64..4_000_000];
    prop_oneof![
        8 => n().prop_map(Act::Ask),
        3 => time().prop_map(|ms| Act::Pass(Duration::from_millis(ms))),
        3 => time().prop_map(|ms| Act::PollEarly(Duration::from_millis(ms))),
        10 => Just(Act::PollDue),
        8 => (0_usize..4, landings()).prop_map(|(n, landing)| Act::Land(n, landing)),
        1 => n().prop_map(Act::Stop),
        2 => n().prop_map(Act::Resume),
        1 => n().prop_map(Act::Renew),
        1 => any::<u8>().prop_map(Act::Retain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_table_does_what_its_model_allows(acts in vec(acts(), 1..200)) {
        let mut model = Model {
            host: Host::with(POLICY),
            flown: Vec::new(),
            good: BTreeMap::new(),
            stopped: BTreeSet::new(),
            retry_at: BTreeMap::new(),
            renewed: BTreeMap::new(),
        };
        for act in acts {
            model.act(act);
        }
    }
}
