//! Each law, in every scenario, over a fixed list of seeds and a fresh one.
//!
//! `ROLECALL_SIM_SEED=0x2a` replays one seed alone; `ROLECALL_SIM_SEEDS=500` runs so many of each
//! scenario.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that meets the unexpected must fail"
)]

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::Write as _,
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sim::{Act, Law, Report, Scenario, Seed, laws};

/// How many fixed seeds each scenario has unless the environment says otherwise.
const SEEDS: u64 = 4;

/// All runs, made once by as many threads as there are processors. Each run has one thread.
static REPORTS: LazyLock<Vec<Report>> = LazyLock::new(|| {
    let runs: Vec<(Seed, Scenario)> = Scenario::all()
        .into_iter()
        .flat_map(|scenario| seeds().into_iter().map(move |seed| (seed, scenario.clone())))
        .collect();
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((seed, scenario)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let report = sim::run(*seed, scenario);
            reports.lock().unwrap().push(report);
        }
    };
    std::thread::scope(|threads| {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        (0..count).for_each(|_| drop(threads.spawn(work)));
    });
    reports.into_inner().unwrap()
});

fn seeds() -> Vec<Seed> {
    static SEEDS_OF_THIS_RUN: LazyLock<Vec<Seed>> = LazyLock::new(|| {
        if let Ok(seed) = std::env::var("ROLECALL_SIM_SEED") {
            return vec![seed.parse().expect("ROLECALL_SIM_SEED")];
        }
        let count = std::env::var("ROLECALL_SIM_SEEDS");
        let count = count.map_or(SEEDS, |count| count.parse().expect("ROLECALL_SIM_SEEDS"));
        let fresh = Seed(RandomState::new().build_hasher().finish());
        // Past the test harness, which keeps what passing tests print to itself.
        let _ = writeln!(std::io::stderr(), "sim: the first {count} seeds and {fresh}");
        (0..count).map(Seed).chain([fresh]).collect()
    });
    SEEDS_OF_THIS_RUN.clone()
}

/// The law holds in every run.
#[track_caller]
fn check(law: Law) {
    for report in &*REPORTS {
        if let Some(violation) = report.violation(law) {
            panic!("{violation}\n{report}");
        }
    }
    assert!(REPORTS.len() >= Scenario::all().len());
}

#[test]
fn a_secret_never_reaches_the_socket_of_another_workload() {
    check(laws::NO_FOREIGN_SECRET);
}

#[test]
fn an_expired_credential_is_never_served_while_a_newer_one_could_be_had() {
    // More than that: it is not served at all, and the newest that is held always is.
    check(laws::NEVER_EXPIRED);
    check(laws::ALWAYS_THE_NEWEST);
}

#[test]
fn less_than_ten_minutes_of_life_are_served_only_while_renewal_fails() {
    check(laws::SERVED_LONG);
}

#[test]
fn at_most_one_sts_call_is_in_flight_for_a_workload_and_role() {
    check(laws::ONE_CALL_IN_FLIGHT);
}

#[test]
fn at_most_one_sts_call_is_made_per_lease_and_renewal() {
    check(laws::ONE_CALL_PER_RENEWAL);
}

#[test]
fn an_outage_of_45_minutes_gives_zero_client_errors() {
    let outage = Scenario::outage();
    let [(begins, Act::OutageBegins), (ends, Act::OutageEnds)] = outage.script[..] else {
        panic!("{:?}", outage.script);
    };
    assert_eq!((ends - begins, outage.lives), (Duration::from_secs(45 * 60), [60].as_slice()));
    for report in REPORTS.iter().filter(|report| report.scenario == outage.name) {
        assert_eq!(report.refused, 0, "{report}");
        assert!(report.served > 1000 && report.calls > report.issued + 100, "{report}");
    }
    check(laws::NO_CLIENT_ERROR);
}

#[test]
fn a_wall_clock_that_is_a_day_off_gives_zero_client_errors() {
    for report in REPORTS.iter().filter(|report| report.scenario == Scenario::clock().name) {
        assert_eq!((report.refused, report.jumps), (0, 4), "{report}");
        assert!(report.served > 1000 && report.calls > report.issued, "{report}");
    }
    check(laws::NO_CLIENT_ERROR);
}

#[test]
fn credentials_belong_to_the_role_that_was_in_force_when_the_request_was_decided() {
    check(laws::ROLE_IN_FORCE);
}

#[test]
fn no_answer_is_an_empty_success() {
    check(laws::NO_EMPTY_SUCCESS);
}

#[test]
fn after_everything_heals_every_workload_is_served_in_bounded_time() {
    check(laws::EVERYBODY_IS_SERVED);
}

#[test]
fn tables_stay_small_whoever_comes_and_goes() {
    check(laws::MEMORY_IS_BOUNDED);
}

#[test]
fn sts_is_asked_in_the_name_of_the_workload_that_the_credentials_are_for() {
    check(laws::ASKED_IN_ITS_NAME);
}

#[test]
fn nobody_is_told_of_a_refusal_that_sts_did_not_make() {
    check(laws::NOBODY_IS_BLAMED);
}

#[test]
fn a_broken_file_changes_nothing() {
    check(laws::BROKEN_FILES_ARE_REFUSED);
}

#[test]
fn runs_are_full_of_what_they_are_about() {
    for report in &*REPORTS {
        let Report { served, issued, attacks, restarts, broken_reloads, .. } = *report;
        assert!(served > 100 && issued > 10 && report.waited > 0, "{report}");
        match report.scenario {
            "chaos" => {
                let changes = [report.came, report.went, report.jumps, report.reloads, restarts];
                assert!(changes.iter().all(|changes| *changes > 0), "{report}");
                assert!(attacks > 50 && report.refused > 20, "{report}");
            }
            "reloads" => assert!(report.reloads > 200 && broken_reloads > 100, "{report}"),
            "restarts" => assert!(restarts > 50 && attacks > 20, "{report}"),
            "throttling" => assert!(report.calls > 2 * issued && attacks > 50, "{report}"),
            "crowd" => assert!(report.leases_max > 200 && report.went > 100, "{report}"),
            _ => assert!(attacks > 50, "{report}"),
        }
    }
}
