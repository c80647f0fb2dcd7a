//! Each promise as a sentence.

use std::time::Duration;

use credentials::{
    Actor, ClockSkew, Fetch, FetchError, Outcome, Policy, Tally,
    policy::{FETCH_MAX, IDLE_MIN, LIFE_MAX, LIFE_MIN, REPAIR_MAX, RETRY_MAX, SERVE_MIN},
};
use jiff::SignedDuration;

use crate::host::{HOUR, Host, MINUTE, SECOND, Seen, credentials, denied, key, unavailable};

#[track_caller]
fn check(seen: Seen, access_key: u64, generation: u64) {
    match seen {
        Seen::Held { key, generation: g, .. } => {
            assert_eq!((key, g), (format!("ASIA{access_key}"), generation));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_to_ask_starts_the_fetch_and_is_served_when_it_is_back() {
    let mut host = Host::new();
    assert!(host.poll().is_empty());
    assert_eq!(host.leases.next_wake(), None);
    assert_eq!(host.ask(0), Seen::Wait);
    assert_eq!(host.leases.next_wake(), Some(host.boot));
    let fetch = host.fetch();
    assert_eq!((&fetch.key, fetch.attempt, fetch.timeout), (&key(0), 1, FETCH_MAX));
    assert_eq!(host.ask(0), Seen::Wait);
    let lease = fetch.lease;
    assert_eq!(host.brings(&fetch, HOUR), Outcome::Held { lease, generation: 1, skew: None });
    check(host.ask(0), 1, 1);
}

#[test]
fn a_thousand_askers_cost_one_fetch_per_workload_and_role() {
    let mut host = Host::new();
    for _ in 0..1000 {
        assert_eq!(host.ask(0), Seen::Wait);
        assert_eq!(host.ask(1), Seen::Wait);
    }
    assert_eq!(host.poll().len(), 2);
    for _ in 0..1000 {
        assert_eq!(host.ask(0), Seen::Wait);
    }
    assert!(host.poll().is_empty());
}

#[test]
fn two_workloads_with_one_role_have_leases_of_their_own() {
    let mut host = Host::new();
    host.ask(0);
    host.ask(1);
    let fetches = host.poll();
    assert_ne!(fetches[0].lease, fetches[1].lease);
    let _ = host.brings(&fetches[0], HOUR);
    assert_eq!(host.ask(1), Seen::Wait);
}

#[test]
fn a_lease_of_one_hour_is_renewed_with_at_least_thirty_minutes_left() {
    let mut host = Host::holding(HOUR);
    let fetch = host.next_fetch();
    assert!(host.left(0) >= 30 * MINUTE, "{:?}", host.left(0));
    check(host.ask(0), 1, 1);
    let _ = host.brings(&fetch, HOUR);
    check(host.ask(0), 2, 2);
}

#[test]
fn a_renewal_costs_one_call() {
    let mut host = Host::holding(HOUR);
    let fetch = host.next_fetch();
    for _ in 0..14 {
        host.pass(SECOND);
        host.ask(0);
        assert!(host.poll().is_empty());
    }
    let _ = host.brings(&fetch, HOUR);
    assert!(host.poll().is_empty());
}

#[test]
fn renewals_of_leases_fetched_together_are_spread_by_jitter() {
    let mut host = Host::with(Policy { fetches_max: 200, ..Policy::new(7) });
    (0..200).for_each(|n| drop(host.ask(n)));
    for fetch in host.poll() {
        let _ = host.brings(&fetch, HOUR);
    }
    let mut busiest = 0;
    for _ in 0..200 {
        host.pass(10 * SECOND);
        let fetches = host.poll();
        busiest = busiest.max(fetches.len());
        for fetch in fetches {
            let _ = host.brings(&fetch, HOUR);
        }
    }
    // Two minutes of jitter are twelve steps of ten seconds: some 17 in each.
    assert!((1..40).contains(&busiest), "{busiest}");
}

#[test]
fn less_than_ten_minutes_are_never_served_while_renewal_works() {
    for life in [LIFE_MIN, 30 * MINUTE, HOUR, LIFE_MAX] {
        let mut host = Host::holding(life);
        for _ in 0..20 {
            let fetch = host.next_fetch();
            // As slow as a fetch can be that still counts as working.
            host.pass(FETCH_MAX - SECOND);
            assert!(host.left(0) >= SERVE_MIN, "{life:?}: {:?}", host.left(0));
            let _ = host.brings(&fetch, life);
        }
    }
}

#[test]
fn a_fresh_lease_is_never_born_due() {
    for life in [LIFE_MIN, HOUR, LIFE_MAX] {
        let mut host = Host::new();
        host.ask(0);
        let fetch = host.fetch();
        host.pass(FETCH_MAX - SECOND);
        let _ = host.brings(&fetch, life);
        assert!(host.leases.next_wake().unwrap() > host.boot + MINUTE);
    }
}

#[test]
fn while_renewal_fails_the_old_lease_is_served_to_its_end() {
    for error in [unavailable(), FetchError::Throttled, denied()] {
        let mut host = Host::holding(HOUR);
        let end = host.boot + HOUR;
        while host.leases.next_wake().unwrap() < end {
            let fetch = host.next_fetch();
            check(host.ask(0), 1, 1);
            let failed = host.fails(&fetch, error.clone());
            assert!(matches!(failed, Outcome::Failed { .. }));
            check(host.ask(0), 1, 1);
        }
        host.pass_to(end - Duration::from_nanos(1));
        check(host.ask(0), 1, 1);
    }
}

#[test]
fn after_its_end_a_lease_is_not_served_whether_or_not_anybody_polled() {
    let mut host = Host::holding(HOUR);
    let fetch = host.next_fetch();
    let _ = host.fails(&fetch, denied());
    host.pass(HOUR);
    assert!(matches!(host.ask(0), Seen::Failing { .. } | Seen::Wait));

    let mut host = Host::holding(HOUR);
    host.pass(HOUR);
    assert_eq!(host.ask(0), Seen::Wait);
    assert_eq!(host.leases.tally(), Tally { vacant: 1, ..Tally::default() });
}

#[test]
fn a_lease_that_ended_while_failing_says_why_and_when_it_is_tried_again() {
    let mut host = Host::new();
    host.ask(0);
    let fetch = host.fetch();
    let Outcome::Failed { retry_at, .. } = host.fails(&fetch, denied()) else { panic!() };
    assert_eq!(host.ask(0), Seen::Failing { error: denied(), retry_at });
    assert_eq!(denied().actor(), Actor::RoleOwner);
    assert_eq!(host.leases.next_wake(), Some(retry_at));
    host.pass_to(retry_at);
    assert_eq!(host.ask(0), Seen::Wait);
    assert_eq!(host.fetch().attempt, 2);
}

#[test]
fn failures_are_tried_again_slower_and_slower_within_a_bound() {
    for (error, longest) in
        [(unavailable(), MINUTE), (FetchError::Throttled, RETRY_MAX), (denied(), REPAIR_MAX)]
    {
        let mut host = Host::new();
        let mut waits = Vec::new();
        for _ in 0..20 {
            host.ask(0);
            let fetch = host.next_fetch();
            let Outcome::Failed { retry_at, .. } = host.fails(&fetch, error.clone()) else {
                panic!()
            };
            waits.push(retry_at - host.boot);
        }
        assert!(waits.iter().all(|wait| *wait <= longest), "{waits:?}");
        assert!(waits[10..].iter().all(|wait| *wait >= longest / 2), "{waits:?}");
        assert!(waits[0] < longest / 4, "{waits:?}");
    }
}

#[test]
fn throttling_is_answered_with_longer_waits_than_silence() {
    let wait = |error: FetchError| {
        let mut host = Host::new();
        host.ask(0);
        let fetch = host.fetch();
        let Outcome::Failed { retry_at, .. } = host.fails(&fetch, error) else { panic!() };
        retry_at - host.boot
    };
    assert!(wait(unavailable()) * 2 < wait(FetchError::Throttled));
    assert!(wait(FetchError::Throttled) < wait(denied()));
}

#[test]
fn a_success_forgives_all_failures() {
    let mut host = Host::new();
    host.ask(0);
    for _ in 0..5 {
        let fetch = host.next_fetch();
        let _ = host.fails(&fetch, unavailable());
    }
    let fetch = host.next_fetch();
    assert_eq!(fetch.attempt, 6);
    let _ = host.brings(&fetch, HOUR);
    assert_eq!(host.next_fetch().attempt, 1);
}

#[test]
fn a_client_that_hangs_up_does_not_cancel_the_fetch() {
    let mut host = Host::new();
    host.ask(0);
    let fetch = host.fetch();
    // Nobody asks any more; there is nothing that could tell the table so.
    host.pass(10 * SECOND);
    assert!(matches!(host.brings(&fetch, HOUR), Outcome::Held { .. }));
    check(host.ask(0), 1, 1);
}

#[test]
fn a_slow_source_makes_clients_wait_and_its_answer_is_kept() {
    let mut host = Host::new();
    host.ask(0);
    let fetch = host.fetch();
    for _ in 0..14 {
        host.pass(SECOND);
        assert_eq!(host.ask(0), Seen::Wait);
    }
    let _ = host.brings(&fetch, HOUR);
    // Its life counts from the start of the fetch, because that is when STS may have begun to
    // count.
    assert_eq!(host.left(0), HOUR - 14 * SECOND);
}

#[test]
fn a_fetch_that_never_returns_is_given_up_and_its_late_result_ignored() {
    let mut host = Host::new();
    host.ask(0);
    let silent = host.fetch();
    host.pass(FETCH_MAX - Duration::from_nanos(1));
    assert!(host.poll().is_empty());
    assert_eq!(host.ask(0), Seen::Wait);
    host.pass(Duration::from_nanos(1));
    assert!(host.poll().is_empty());
    let Seen::Failing { error, .. } = host.ask(0) else { panic!() };
    assert_eq!(error.to_string(), "the credential source is unavailable: no answer within 15 s");
    let second = host.next_fetch();
    assert_eq!(host.brings(&silent, HOUR), Outcome::Unknown);
    assert_eq!(host.ask(0), Seen::Wait);
    assert!(matches!(host.brings(&second, HOUR), Outcome::Held { .. }));
    assert_eq!(host.brings(&second, HOUR), Outcome::Unknown);
    check(host.ask(0), 2, 1);
}

#[test]
fn an_answer_without_a_key_or_a_token_is_a_failure() {
    for part in 0..3 {
        let mut host = Host::holding(HOUR);
        let fetch = host.next_fetch();
        let mut empty = credentials(&fetch, HOUR, host.wall);
        match part {
            0 => empty.access_key_id = String::new(),
            1 => empty.secret_access_key = String::new().into(),
            _ => empty.session_token = String::new().into(),
        }
        let landed = host.leases.fetched(host.boot, host.wall, fetch.id, Ok(empty));
        assert!(matches!(landed, Outcome::Failed { .. }));
        check(host.ask(0), 1, 1);
    }
}

#[test]
fn a_wrong_wall_clock_neither_kills_nor_prolongs_a_lease() {
    let hours = SignedDuration::from_hours;
    for (behind, life) in [
        (SignedDuration::ZERO, HOUR),
        (SignedDuration::from_secs(59), HOUR),
        (hours(1), HOUR),
        (hours(24 * 365 * 20), HOUR),
        (-hours(1), HOUR),
        (-hours(24 * 365 * 20), HOUR),
        // Not to be told from a source that grants less than was asked, so the shorter one holds.
        (-SignedDuration::from_mins(20), 40 * MINUTE),
    ] {
        let mut host = Host::new();
        host.ask(0);
        let fetch = host.fetch();
        let honest = credentials(&fetch, HOUR, host.wall);
        let landed = host.leases.fetched(host.boot, host.wall - behind, fetch.id, Ok(honest));
        let Outcome::Held { skew, .. } = landed else { panic!("{landed:?}") };
        let noted = (behind.unsigned_abs() >= MINUTE).then_some(ClockSkew { behind });
        assert_eq!((host.left(0), skew), (life, noted));
        let wake = host.leases.next_wake().unwrap() - host.boot;
        assert!(wake >= life / 6 && wake <= life / 5);
    }
}

#[test]
fn a_lease_lives_on_the_boot_clock_whatever_the_wall_clock_does_meanwhile() {
    let mut host = Host::holding(HOUR);
    host.wall += SignedDuration::from_hours(10_000);
    host.pass(9 * MINUTE);
    assert_eq!(host.left(0), 51 * MINUTE);
}

#[test]
fn a_clock_just_short_of_the_end_costs_calls_but_not_many() {
    let mut host = Host::new();
    host.ask(0);
    let mut calls = 0;
    let end = host.boot + HOUR;
    while host.boot < end {
        host.ask(0);
        let fetch = host.next_fetch();
        let honest = credentials(&fetch, HOUR, host.wall - (HOUR - SECOND));
        let _ = host.leases.fetched(host.boot, host.wall, fetch.id, Ok(honest));
        calls += 1;
    }
    assert!(calls <= 3600 / 5 + 1, "{calls}");
}

#[test]
fn a_lease_that_nobody_asks_for_is_not_renewed_and_is_forgotten_at_its_end() {
    let mut host = Host::holding(HOUR);
    let mut calls = 1;
    while let Some(wake) = host.leases.next_wake() {
        host.pass_to(wake);
        for fetch in host.poll() {
            calls += 1;
            let _ = host.brings(&fetch, HOUR);
        }
    }
    assert_eq!(host.leases.keys().count(), 0);
    assert!(host.boot <= 24 * HOUR + IDLE_MIN + HOUR);
    assert!(calls <= 7, "{calls}");
}

#[test]
fn asking_for_an_idle_lease_makes_it_due_at_once() {
    let mut host = Host::holding(HOUR);
    while host.leases.next_wake().unwrap() < 25 * HOUR {
        let fetch = host.next_fetch();
        let _ = host.brings(&fetch, HOUR);
    }
    host.pass(30 * MINUTE);
    assert!(host.poll().is_empty());
    assert!(host.left(0) > 20 * MINUTE);
    assert!(host.leases.next_wake().unwrap() <= host.boot);
    assert_eq!(host.poll().len(), 1);
}

#[test]
fn a_client_that_asks_once_in_the_life_of_its_lease_is_never_forgotten() {
    for life in [LIFE_MIN, HOUR, LIFE_MAX] {
        let mut host = Host::holding(life);
        for _ in 0..5 {
            let asks_again = host.boot + host.left(0) - SECOND;
            while host.leases.next_wake().is_some_and(|wake| wake <= asks_again) {
                let fetch = host.next_fetch();
                let _ = host.brings(&fetch, life);
            }
            host.pass_to(asks_again);
            assert!(host.left(0) >= SERVE_MIN);
        }
    }
}

#[test]
fn a_failing_lease_that_nobody_asks_for_is_forgotten() {
    let mut host = Host::new();
    host.ask(0);
    while let Some(wake) = host.leases.next_wake() {
        host.pass_to(wake);
        for fetch in host.poll() {
            let _ = host.fails(&fetch, denied());
        }
    }
    assert_eq!(host.leases.keys().count(), 0);
    assert!(host.boot <= 24 * HOUR + IDLE_MIN + REPAIR_MAX);
}

#[test]
fn a_host_that_holds_all_the_leases_it_may_refuses_one_more_and_serves_the_others() {
    let mut host = Host::with(Policy { leases_max: 2, ..Policy::new(7) });
    assert_eq!((host.ask(0), host.ask(1)), (Seen::Wait, Seen::Wait));
    assert_eq!(host.ask(2), Seen::Full);
    let fetch = host.poll().remove(0);
    let _ = host.brings(&fetch, HOUR);
    assert_eq!(host.left(0), HOUR);
    host.leases.retain(|kept| *kept != key(0));
    assert_eq!(host.ask(2), Seen::Wait);
}

#[test]
fn fetches_in_flight_are_bounded_and_first_comes_first() {
    let mut host = Host::with(Policy { fetches_max: 2, ..Policy::new(7) });
    for n in [3, 1, 2, 0] {
        host.ask(n);
        host.pass(SECOND);
    }
    let keys = |fetches: &[Fetch]| fetches.iter().map(|f| f.key.clone()).collect::<Vec<_>>();
    let first = host.poll();
    assert_eq!(keys(&first), [key(3), key(1)]);
    assert!(host.poll().is_empty());
    // Nothing to be done until one comes back, however many wait.
    assert_eq!(host.leases.next_wake(), Some(host.boot + FETCH_MAX));
    let _ = host.brings(&first[0], HOUR);
    assert_eq!(host.leases.next_wake(), Some(host.boot));
    assert_eq!(keys(&host.poll()), [key(2)]);
    let _ = host.fails(&first[1], unavailable());
    assert_eq!(keys(&host.poll()), [key(0)]);
}

#[test]
fn a_renewal_waits_for_first_fetches_but_not_when_its_lease_is_about_to_end() {
    let mut host = Host::with(Policy { fetches_max: 1, ..Policy::new(7) });
    host.ask(0);
    let fetch = host.fetch();
    let _ = host.brings(&fetch, HOUR);
    // The only fetch is taken when the renewal comes due, and others ask after it.
    host.pass(9 * MINUTE);
    host.ask(1);
    let mut slow = host.fetch();
    let mut before_it = 0;
    for n in 2..200 {
        host.ask(n);
        host.pass(5 * SECOND);
        let _ = host.brings(&slow, HOUR);
        slow = host.fetch();
        if slow.key == key(0) {
            break;
        }
        before_it += 1;
    }
    assert!(before_it > 0 && host.left(0) > 40 * MINUTE, "{before_it} {:?}", host.left(0));
}

#[test]
fn a_stopped_lease_is_dropped_and_its_fetch_brings_nothing() {
    let mut host = Host::holding(HOUR);
    let fetch = host.next_fetch();
    host.leases.stop(&key(0));
    assert_eq!(host.ask(0), Seen::Stopped);
    assert_eq!(host.brings(&fetch, HOUR), Outcome::Discarded);
    assert_eq!(host.ask(0), Seen::Stopped);
    assert_eq!(host.leases.next_wake(), None);
    assert_eq!(host.leases.tally(), Tally { stopped: 1, ..Tally::default() });
    host.leases.resume(&key(0));
    assert_eq!(host.ask(0), Seen::Wait);
    let fetch = host.fetch();
    let _ = host.brings(&fetch, HOUR);
    check(host.ask(0), 3, 1);
}

#[test]
fn a_stop_outlives_the_lease_and_needs_none() {
    let mut host = Host::new();
    host.leases.stop(&key(0));
    host.leases.retain(|_| false);
    assert_eq!(host.ask(0), Seen::Stopped);
}

#[test]
fn resuming_does_not_start_a_second_fetch_beside_the_first() {
    let mut host = Host::new();
    host.ask(0);
    let before = host.fetch();
    host.leases.stop(&key(0));
    host.leases.resume(&key(0));
    assert_eq!(host.ask(0), Seen::Wait);
    assert!(host.poll().is_empty());
    // What was fetched before the stop is not served after it.
    assert_eq!(host.brings(&before, HOUR), Outcome::Discarded);
    assert_eq!(host.ask(0), Seen::Wait);
    let after = host.fetch();
    let _ = host.brings(&after, HOUR);
    check(host.ask(0), 2, 1);
}

#[test]
fn the_leases_of_workloads_that_have_gone_are_forgotten() {
    let mut host = Host::new();
    (0..4).for_each(|n| drop(host.ask(n)));
    let fetches = host.poll();
    let _ = host.brings(&fetches[0], HOUR);
    let _ = host.brings(&fetches[1], HOUR);
    host.leases.retain(|kept| *kept == key(1));
    assert_eq!(host.left(1), HOUR);
    assert_eq!(host.brings(&fetches[2], HOUR), Outcome::Discarded);
    let _ = host.fails(&fetches[3], unavailable());
    assert_eq!(host.leases.keys().collect::<Vec<_>>(), [&key(1)]);
}

#[test]
fn a_changed_binding_is_fetched_anew_while_the_old_lease_is_served() {
    let mut host = Host::holding(HOUR);
    host.pass(MINUTE);
    host.leases.renew(host.boot, &key(0));
    let fetch = host.fetch();
    check(host.ask(0), 1, 1);
    // Changed once more while that fetch is in flight: what it brings is outdated.
    host.leases.renew(host.boot, &key(0));
    let _ = host.brings(&fetch, HOUR);
    check(host.ask(0), 2, 2);
    let fetch = host.fetch();
    let _ = host.brings(&fetch, HOUR);
    assert!(host.poll().is_empty());
    check(host.ask(0), 3, 3);
}

#[test]
fn what_was_rendered_from_an_older_generation_can_be_told_from_the_current_one() {
    let mut host = Host::holding(HOUR);
    let fetch = host.next_fetch();
    let (lease, holds) = (fetch.lease, |host: &Host, n| host.leases.holds(fetch.lease, n));
    assert_eq!((holds(&host, 1), holds(&host, 2)), (true, false));
    let _ = host.brings(&fetch, HOUR);
    assert_eq!((holds(&host, 1), holds(&host, 2)), (false, true));
    host.leases.stop(&key(0));
    assert!(!host.leases.holds(lease, 2));
}

#[test]
fn a_repaired_binding_is_tried_at_once() {
    let mut host = Host::new();
    host.ask(0);
    for _ in 0..8 {
        let fetch = host.next_fetch();
        let _ = host.fails(&fetch, denied());
    }
    host.leases.renew(host.boot, &key(0));
    assert_eq!(host.fetch().attempt, 1);
}

#[test]
fn the_tally_counts_every_lease_where_it_stands() {
    let mut host = Host::new();
    (0..4).for_each(|n| drop(host.ask(n)));
    let fetches = host.poll();
    let _ = host.brings(&fetches[0], HOUR);
    let _ = host.brings(&fetches[1], HOUR);
    let _ = host.fails(&fetches[2], unavailable());
    host.ask(4);
    let first_end = Some(host.boot + HOUR);
    let mut tally = Tally {
        vacant: 1,
        fetching: 1,
        held: 2,
        failing: 1,
        in_flight: 1,
        first_end,
        ..Tally::default()
    };
    assert_eq!(host.leases.tally(), tally);
    host.leases.renew(host.boot, &key(1));
    let renewal = host.poll().into_iter().find(|fetch| fetch.key == key(1)).unwrap();
    (tally.vacant, tally.fetching, tally.held, tally.renewing, tally.in_flight) = (0, 2, 1, 1, 3);
    assert_eq!(host.leases.tally(), tally);
    let _ = host.fails(&renewal, FetchError::Throttled);
    (tally.held, tally.renewing, tally.in_flight, tally.strained) = (2, 0, 2, 1);
    assert_eq!(host.leases.tally(), tally);
}

#[test]
fn no_secret_is_printed_with_the_table() {
    let host = Host::holding(HOUR);
    let printed = format!("{:#?}", host.leases);
    assert!(printed.contains("ASIA1") && !printed.contains("planted"), "{printed}");
}
