//! The laws of a fleet, over a fixed list of seeds and a fresh one, and a fault for each.
//!
//! `ROLECALL_SIM_SEED=0x2a` replays one seed alone; `ROLECALL_SIM_SEEDS=500` runs so many.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected must fail"
)]

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::Write as _,
    sync::LazyLock,
};

use sim::{
    Law, Seed,
    fleet::{
        self, Fault, LAWS, LEASES_GO_ON, NO_SPLIT, ORDERS_GO_FORWARD, POSITIONS_CONVERGE,
        POSITIONS_END, RAISING_ADDS, Report,
    },
};

static REPORTS: LazyLock<Vec<Report>> = LazyLock::new(|| {
    let runs: Vec<_> = seeds()
        .into_iter()
        .map(|seed| std::thread::spawn(move || fleet::run(seed, None)))
        .collect();
    runs.into_iter().map(|run| run.join().expect("a run")).collect()
});

fn seeds() -> Vec<Seed> {
    if let Ok(seed) = std::env::var("ROLECALL_SIM_SEED") {
        return vec![seed.parse().expect("ROLECALL_SIM_SEED")];
    }
    let count = std::env::var("ROLECALL_SIM_SEEDS");
    let count = count.map_or(3, |count| count.parse().expect("ROLECALL_SIM_SEEDS"));
    let fresh = Seed(RandomState::new().build_hasher().finish());
    // Past the test harness, which keeps what passing tests print to itself.
    let _ = writeln!(std::io::stderr(), "fleet: the first {count} seeds and {fresh}");
    (0..count).map(Seed).chain([fresh]).collect()
}

/// The law holds in every run, and not because nothing happened.
#[track_caller]
fn check(law: Law) {
    for report in &*REPORTS {
        if let Some(what) = report.violation(law) {
            panic!("{law}: {what}\n{report}");
        }
        assert!(report.flips > 100 && report.obeyed > 500, "{report}");
        assert!(report.served > 5_000 && report.served_alone > 100, "{report}");
    }
    let sum = |of: fn(&Report) -> u64| REPORTS.iter().map(of).sum::<u64>();
    assert!(
        sum(|report| report.raised) > 30 && sum(|report| report.ended_alone) > 0,
        "{REPORTS:?}"
    );
}

#[test]
fn leases_go_on_while_no_server_can_be_reached() {
    check(LEASES_GO_ON);
}

#[test]
fn hosts_decide_as_the_database_says_soon_after_a_partition_heals() {
    check(POSITIONS_CONVERGE);
}

#[test]
fn two_hosts_with_the_same_revision_decide_alike() {
    check(NO_SPLIT);
}

#[test]
fn a_higher_percentage_never_flips_anybody_back() {
    check(RAISING_ADDS);
}

#[test]
fn orders_in_force_are_never_older_than_those_before() {
    check(ORDERS_GO_FORWARD);
}

#[test]
fn positions_end_without_a_server_and_with_a_clock_that_is_behind() {
    check(POSITIONS_END);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(fleet::run(Seed(1), None), fleet::run(Seed(1), None));
}

/// Each fault, and the law that it breaks.
const FAULTS: [(Fault, Law); 6] = [
    (Fault::DropsLeases, LEASES_GO_ON),
    (Fault::IgnoresOrders, POSITIONS_CONVERGE),
    (Fault::OwnDice, NO_SPLIT),
    (Fault::NewDice, RAISING_ADDS),
    (Fault::TakesOlder, ORDERS_GO_FORWARD),
    (Fault::BelievesItsClock, POSITIONS_END),
];

#[test]
fn every_law_is_broken_by_a_fault_that_is_noticed() {
    let breaks = |fault, law| {
        (1..=3).any(|seed| fleet::run(Seed(seed), Some(fault)).violation(law).is_some())
    };
    let checks: Vec<_> = FAULTS
        .into_iter()
        .map(|(fault, law)| std::thread::spawn(move || (law, breaks(fault, law))))
        .collect();
    let noticed: Vec<Law> = checks
        .into_iter()
        .map(|check| check.join().expect("a run"))
        .filter_map(|(law, broken)| broken.then_some(law))
        .collect();
    assert_eq!(noticed, LAWS);
}
