//! Hosts with many workloads, run from event to event through outages of STS.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use credentials::{
    Fetch, FetchError, Policy,
    policy::{OUTAGE_SURVIVED, SERVE_MIN},
};
use proptest::prelude::*;

use crate::{
    clients::asks_again_after,
    host::{HOUR, Host, MINUTE, SECOND, Seen, credentials, key, unavailable},
};

/// How STS is down.
#[derive(Clone, Copy, Debug)]
enum Outage {
    Refuses,
    Throttles,
    Silent,
    /// Each fetch one of the others.
    Mixed,
}

/// Who asks when.
#[derive(Clone, Copy, Debug)]
enum Client {
    /// Every so often, whatever it was given.
    Steady(Duration),
    /// As botocore does.
    Botocore,
}

enum Event {
    Ask(u64),
    Land(Box<Fetch>, Result<(), FetchError>),
}

struct World {
    host: Host,
    events: BTreeMap<(Duration, u64), Event>,
    down: Range<Duration>,
    outage: Outage,
    client: Client,
    dice: u64,
    made: u64,
    calls: u64,
    refused_before_first: u64,
    refused: Vec<(Duration, Seen)>,
    least_while_up: Duration,
    served: BTreeMap<u64, Duration>,
}

impl World {
    fn new(seed: u64, down: Range<Duration>, outage: Outage, client: Client) -> Self {
        let host = Host::with(Policy::new(seed));
        let down = host.boot + down.start..host.boot + down.end;
        let (events, served, refused) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let (made, calls, refused_before_first, least_while_up) = (0, 0, 0, Duration::MAX);
        let dice = seed | 1;
        Self {
            host,
            events,
            down,
            outage,
            client,
            dice,
            made,
            calls,
            refused_before_first,
            refused,
            least_while_up,
            served,
        }
    }

    /// Xorshift: any numbers will do, as long as they follow from the seed.
    fn roll(&mut self, range: Range<u64>) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        range.start + self.dice % (range.end - range.start)
    }

    fn at(&mut self, boot: Duration, event: Event) {
        self.made += 1;
        self.events.insert((boot, self.made), event);
    }

    fn run(&mut self, workloads: u64, time: Duration) {
        let (start, end) = (self.host.boot, self.host.boot + time);
        for n in 0..workloads {
            let first = Duration::from_millis(self.roll(0..60_000));
            self.at(start + first, Event::Ask(n));
        }
        loop {
            let wake = self.host.leases.next_wake().unwrap_or(Duration::MAX);
            let event = self.events.first_key_value().map_or(Duration::MAX, |((at, _), _)| *at);
            let now = wake.min(event);
            if now >= end {
                break;
            }
            self.host.pass_to(now);
            if event <= now {
                let (_, event) = self.events.pop_first().unwrap();
                self.happen(event);
            }
            for fetch in self.host.poll() {
                self.call(fetch);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Land(fetch, Err(error)) => drop(self.host.fails(&fetch, error)),
            Event::Land(fetch, Ok(())) => {
                let answer = credentials(&fetch, HOUR, self.host.wall);
                let _ =
                    self.host.leases.fetched(self.host.boot, self.host.wall, fetch.id, Ok(answer));
            }
            Event::Ask(n) => self.ask(n),
        }
    }

    fn ask(&mut self, n: u64) {
        let boot = self.host.boot;
        let next = match self.host.ask(n) {
            Seen::Held { left, .. } => {
                self.served.insert(n, boot);
                // An outage is felt until the longest back-off after it is over.
                if boot < self.down.start || boot > self.down.end + 3 * MINUTE {
                    self.least_while_up = self.least_while_up.min(left);
                }
                let roll = self.roll(120..601);
                match self.client {
                    Client::Steady(every) => every,
                    Client::Botocore => asks_again_after(left, roll),
                }
            }
            _ if !self.served.contains_key(&n) => {
                self.refused_before_first += 1;
                SECOND
            }
            seen => {
                self.refused.push((boot, seen));
                SECOND
            }
        };
        self.at(boot + next, Event::Ask(n));
    }

    fn call(&mut self, fetch: Fetch) {
        self.calls += 1;
        let boot = self.host.boot;
        let latency = Duration::from_millis(self.roll(40..900));
        let outage = match (self.outage, self.roll(0..3)) {
            _ if !self.down.contains(&boot) => None,
            (Outage::Refuses, _) | (Outage::Mixed, 0) => Some(Err(unavailable())),
            (Outage::Throttles, _) | (Outage::Mixed, 1) => Some(Err(FetchError::Throttled)),
            (Outage::Silent | Outage::Mixed, _) => return,
        };
        self.at(boot + latency, Event::Land(Box::new(fetch), outage.unwrap_or(Ok(()))));
    }
}

fn outages() -> impl Strategy<Value = Outage> {
    use Outage::{Mixed, Refuses, Silent, Throttles};
    prop_oneof![Just(Refuses), Just(Throttles), Just(Silent), Just(Mixed)]
}

fn clients() -> impl Strategy<Value = Client> {
    let steady = (30_u64..1500).prop_map(|s| Client::Steady(Duration::from_secs(s)));
    prop_oneof![steady, Just(Client::Botocore)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn an_outage_of_forty_five_minutes_is_seen_by_nobody_who_holds_a_lease_of_one_hour(
        seed: u64, from in 2_u32..150, outage in outages(), client in clients()
    ) {
        let down = from * MINUTE..from * MINUTE + OUTAGE_SURVIVED;
        let mut world = World::new(seed, down, outage, client);
        world.run(40, 4 * HOUR);
        prop_assert_eq!(&world.refused, &[]);
        prop_assert_eq!(world.served.len(), 40);
        prop_assert!(world.least_while_up >= SERVE_MIN, "{:?}", world.least_while_up);
    }
}

#[test]
fn an_outage_that_began_with_the_host_keeps_nobody_waiting_after_it_ends() {
    let mut world =
        World::new(5, Duration::ZERO..20 * MINUTE, Outage::Silent, Client::Steady(MINUTE));
    world.run(200, HOUR);
    assert!(world.refused_before_first > 0 && world.refused.is_empty());
    let latest = world.served.len();
    assert_eq!(latest, 200);
    assert_eq!(world.host.leases.tally().failing, 0);
}

#[test]
fn two_hundred_workloads_cost_fewer_than_eight_calls_an_hour_each() {
    let mut world = World::new(3, 9 * HOUR..9 * HOUR, Outage::Silent, Client::Botocore);
    world.run(200, 5 * HOUR);
    // Renewed when a sixth to a fifth of the life has passed: five to six renewals an hour.
    assert!((200 * 5 * 5..200 * 5 * 8).contains(&world.calls), "{}", world.calls);
    assert!(world.least_while_up >= 47 * MINUTE);
}

#[test]
fn after_a_longer_outage_everybody_is_served_again_within_three_minutes() {
    let down = 30 * MINUTE..3 * HOUR;
    let mut world = World::new(11, down.clone(), Outage::Mixed, Client::Steady(10 * SECOND));
    let (start, end) = (world.host.boot + down.start, world.host.boot + down.end);
    world.run(100, 4 * HOUR);
    let first = world.refused.iter().map(|(boot, _)| *boot).min().unwrap();
    let last = world.refused.iter().map(|(boot, _)| *boot).max().unwrap();
    assert!(first > start + OUTAGE_SURVIVED, "{first:?}");
    assert!(last < end + 3 * MINUTE, "{last:?} {end:?}");
    assert!((0..100).all(|n| world.host.leases.keys().any(|held| *held == key(n))));
}
