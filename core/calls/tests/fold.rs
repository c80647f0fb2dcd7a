//! Equal calls become a count, and not one is lost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use calls::{
    AccessKeyId, Fold, Key, Line, Named, Names, Needs, Outcome, Parameters, Record, Sighting,
    Signer, Tell, Told, Trust, Why, decode,
};
use jiff::Timestamp;
use proptest::prelude::*;
use workload::Workload;

fn who(number: u8) -> Option<Workload> {
    (number > 0).then(|| format!("orders/prod/{number}").parse().unwrap())
}

fn on(resources: Names) -> Named {
    let needs = Needs::These(BTreeMap::from([("s3:GetObject".to_owned(), resources)]));
    Named { needs, ..Named::default() }
}

fn key(workload: u8, resource: u16, outcome: Outcome) -> Key {
    let arn = format!("arn:aws:s3:::reports/{resource}");
    Key {
        workload: who(workload),
        access_key: None,
        signer: Signer::Unknown,
        trust: Trust::Shim,
        service: "S3".into(),
        operation: "GetObject".into(),
        region: None,
        unnamed: Parameters::new(),
        named: on(Names::These(BTreeSet::from([arn]))),
        outcome,
    }
}

fn seen(count: u64, second: i64) -> Sighting {
    let first = Timestamp::from_second(second).unwrap();
    let request_id = Some(format!("R{second}"));
    Sighting {
        count,
        first,
        last: first,
        request_id,
        exception: None,
        user_agent: None,
        host: None,
        longest: None,
    }
}

fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

/// What is told, as (count, why).
#[track_caller]
fn check<'a>(told: impl IntoIterator<Item = &'a Record>, expected: &[(u64, Why)]) {
    let told: Vec<_> = told.into_iter().map(|record| (record.sighting.count, record.why)).collect();
    assert_eq!(told, expected);
}

fn all(told: &Told) -> impl Iterator<Item = &Record> {
    told.first.iter().chain(&told.evicted)
}

#[test]
fn a_first_sight_is_told_at_once_and_repeats_are_counted() {
    let mut fold = Fold::new(1 << 20);
    check(
        all(&fold.take(key(1, 1, Outcome::Done), seen(1, 50), Tell::AtOnce, at(1))),
        &[(1, Why::First)],
    );
    for second in [70, 60, 80] {
        check(all(&fold.take(key(1, 1, Outcome::Done), seen(2, second), Tell::AtOnce, at(2))), &[]);
    }
    assert_eq!(fold.held(), 6);
    let records = fold.drain(at(10));
    check(&records, &[(6, Why::Repeats)]);
    let Sighting { first, last, request_id, .. } = &records[0].sighting;
    assert_eq!((first.as_second(), last.as_second()), (60, 80));
    assert_eq!(request_id.as_deref(), Some("R70"), "an example of those in the record");
    check(&fold.drain(at(20)), &[]);
    check(all(&fold.take(key(1, 1, Outcome::Done), seen(1, 90), Tell::AtOnce, at(21))), &[]);
    check(&fold.drain(at(30)), &[(1, Why::Repeats)]);
}

#[test]
fn a_first_denial_is_told_at_once_although_the_same_was_allowed_before() {
    let mut fold = Fold::new(1 << 20);
    fold.take(key(1, 1, Outcome::Done), seen(1, 1), Tell::AtOnce, at(1));
    let told = fold.take(key(1, 1, Outcome::Denied), seen(1, 2), Tell::AtOnce, at(2));
    check(all(&told), &[(1, Why::First)]);
    assert!(told.first.unwrap().is_first_denial());
    check(all(&fold.take(key(1, 1, Outcome::Denied), seen(1, 3), Tell::AtOnce, at(3))), &[]);
}

#[test]
fn what_anybody_can_forge_is_not_counted_with_what_a_shim_says() {
    let mut fold = Fold::new(1 << 20);
    fold.take(key(1, 1, Outcome::Done), seen(1, 1), Tell::AtOnce, at(1));
    let forged = Key { trust: Trust::Monitoring, ..key(1, 1, Outcome::Done) };
    check(all(&fold.take(forged, seen(1, 2), Tell::AtOnce, at(2))), &[(1, Why::First)]);
}

#[test]
fn an_attempt_is_not_one_more_call() {
    let line = |kind| {
        format!(r#"{{"Type":"{kind}","Service":"S3","Api":"GetObject","Timestamp":1,"Version":1}}"#)
    };
    for (kind, count) in [("ApiCall", Some(1)), ("ApiCallAttempt", None)] {
        let line = line(kind);
        let Ok(Line::Event(event)) = decode(line.as_bytes()).map(|decoded| decoded.line) else {
            unreachable!("{line}")
        };
        assert_eq!(Sighting::of(&event).map(|sighting| sighting.count), count);
    }
}

#[test]
fn every_key_that_we_never_leased_is_told_of_apart() {
    let mut fold = Fold::new(1 << 20);
    for id in ["AKIAIOSFODNN7EXAMPLE", "ASIAY34FZKBOKMUTVV7A"] {
        let (signer, access_key) = (Signer::Foreign, AccessKeyId::parse(id));
        let foreign = Key { signer, access_key, ..key(1, 1, Outcome::Done) };
        let told = fold.take(foreign, seen(1, 1), Tell::AtOnce, at(1));
        check(all(&told), &[(1, Why::First)]);
    }
}

#[test]
fn a_call_that_is_not_named_is_not_one_without_a_resource() {
    let not_named = Key { named: Named::default(), ..key(1, 1, Outcome::Done) };
    let nothing = on(Names::These(BTreeSet::new()));
    let mut fold = Fold::new(1 << 20);
    fold.take(not_named.clone(), seen(1, 1), Tell::AtOnce, at(1));
    let told = fold.take(Key { named: nothing, ..not_named }, seen(1, 1), Tell::AtOnce, at(1));
    check(all(&told), &[(1, Why::First)]);
}

#[test]
fn what_was_not_seen_for_an_hour_is_forgotten_and_new_again() {
    let mut fold = Fold::new(1 << 20);
    fold.take(key(1, 1, Outcome::Done), seen(1, 1), Tell::AtOnce, at(0));
    fold.drain(at(3599));
    assert_eq!(fold.keys(), 1);
    fold.drain(at(3600));
    assert_eq!((fold.keys(), fold.bytes()), (0, 0));
    check(
        all(&fold.take(key(1, 1, Outcome::Done), seen(1, 2), Tell::AtOnce, at(3601))),
        &[(1, Why::First)],
    );
    // A clock that goes back forgets nothing.
    fold.drain(at(0));
    assert_eq!(fold.keys(), 1);
}

#[test]
fn what_is_used_again_and_again_stays_and_is_forgotten_in_the_end() {
    let mut fold = Fold::new(3 * 1300);
    for round in 0..10_u16 {
        let now = at(u64::from(round));
        fold.take(key(1, 1, Outcome::Done), seen(1, 1), Tell::AtOnce, now);
        fold.take(key(1, 100 + round, Outcome::Done), seen(1, 1), Tell::AtOnce, now);
    }
    check(all(&fold.take(key(1, 1, Outcome::Done), seen(1, 2), Tell::AtOnce, at(11))), &[]);
    check(&fold.drain(at(12)), &[(10, Why::Repeats)]);
    fold.drain(at(11 + 3600));
    assert_eq!((fold.keys(), fold.bytes()), (0, 0));
}

#[test]
fn what_is_evicted_is_told_with_its_count() {
    let mut fold = Fold::new(3 * 1300);
    for resource in 1..=3 {
        fold.take(key(1, resource, Outcome::Done), seen(1, 1), Tell::AtOnce, at(1));
    }
    assert_eq!(fold.keys(), 3);
    fold.take(key(1, 2, Outcome::Done), seen(5, 2), Tell::AtOnce, at(2));
    fold.take(key(1, 1, Outcome::Done), seen(7, 3), Tell::AtOnce, at(3));
    // 3 was used least recently, and all of it was told; 2 comes next.
    check(
        all(&fold.take(key(1, 4, Outcome::Done), seen(1, 4), Tell::AtOnce, at(4))),
        &[(1, Why::First)],
    );
    let told = fold.take(key(1, 5, Outcome::Done), seen(1, 5), Tell::AtOnce, at(5));
    check(all(&told), &[(1, Why::First), (5, Why::Evicted)]);
    assert_eq!((fold.evictions().keys, fold.evictions().calls, fold.held()), (2, 5, 7));
}

#[test]
fn a_flood_of_one_workload_takes_nothing_from_another() {
    let mut fold = Fold::new(100 * 1200);
    for resource in 0..10 {
        fold.take(key(2, resource, Outcome::Done), seen(1, 1), Tell::AtOnce, at(1));
    }
    for resource in 0..5000 {
        fold.take(key(1, resource, Outcome::Done), seen(1, 2), Tell::AtOnce, at(2));
    }
    assert_eq!(fold.keys_of(&who(2)), 10);
    assert!(fold.keys_of(&who(1)) > 80 && fold.bytes() <= 100 * 1200);
}

#[test]
fn a_key_that_is_larger_than_the_table_is_told_and_not_remembered() {
    let mut fold = Fold::new(2000);
    let long = BTreeSet::from(["a".repeat(2000)]);
    let named = on(Names::These(long));
    let large = Key { named, ..key(1, 1, Outcome::Done) };
    for _ in 0..2 {
        check(all(&fold.take(large.clone(), seen(1, 1), Tell::AtOnce, at(1))), &[(1, Why::First)]);
    }
    assert_eq!((fold.keys(), fold.held()), (0, 0));
    let told = Fold::new(0).take(large, seen(1, 1), Tell::Later, at(1));
    check(all(&told), &[(1, Why::First)]);
}

#[test]
fn a_first_sight_that_has_to_wait_is_told_with_its_repeats_and_as_the_first() {
    let mut fold = Fold::new(1 << 20);
    for second in 1..4 {
        let told = fold.take(key(1, 1, Outcome::Done), seen(2, second), Tell::Later, at(1));
        check(all(&told), &[]);
    }
    assert_eq!(fold.held(), 6);
    check(&fold.drain(at(2)), &[(6, Why::First)]);
    fold.take(key(1, 1, Outcome::Done), seen(1, 5), Tell::Later, at(3));
    check(&fold.drain(at(4)), &[(1, Why::Repeats)]);
}

#[derive(Clone, Debug)]
enum Step {
    Take { workload: u8, resource: u16, denied: bool, count: u64, second: i64, later: bool },
    Drain,
}

fn any_step() -> impl Strategy<Value = Step> {
    let take = (0..5_u8, 0..40_u16, any::<bool>(), 1..1_000_000_u64, 0..100_000_i64, any::<bool>());
    prop_oneof![
        20 => take.prop_map(|(workload, resource, denied, count, second, later)| {
            Step::Take { workload, resource, denied, count, second, later }
        }),
        1 => Just(Step::Drain),
    ]
}

proptest! {
    #[test]
    fn counts_in_are_counts_told_and_counts_held_to_the_unit(
        bytes_max in 0..40_000_usize,
        steps in prop::collection::vec((any_step(), 0..600_u64), 0..300),
    ) {
        let mut fold = Fold::new(bytes_max);
        let (mut sent, mut told, mut evicted, mut now) = (0, 0, 0, 0);
        let mut known = BTreeSet::new();
        for (step, later) in steps {
            now += later;
            let records: Vec<Record> = match step {
                Step::Take { workload, resource, denied, count, second, later } => {
                    let tell = if later { Tell::Later } else { Tell::AtOnce };
                    let outcome = if denied { Outcome::Denied } else { Outcome::Done };
                    sent += count;
                    let key = key(workload, resource, outcome);
                    let answer = fold.take(key.clone(), seen(count, second), tell, at(now));
                    if known.insert(key) && !later {
                        prop_assert!(answer.first.is_some(), "a first sight is told at once");
                    }
                    let counts = answer.evicted.iter().map(|record| record.sighting.count);
                    evicted += counts.sum::<u64>();
                    answer.first.into_iter().chain(answer.evicted).collect()
                }
                Step::Drain => fold.drain(at(now)),
            };
            for record in &records {
                told += record.sighting.count;
                prop_assert!(record.sighting.count > 0);
                prop_assert!(record.sighting.first <= record.sighting.last);
            }
            prop_assert_eq!(sent, told + fold.held());
            prop_assert_eq!(evicted, fold.evictions().calls);
            prop_assert!(fold.bytes() <= bytes_max);
        }
        told += fold.drain(at(now)).iter().map(|record| record.sighting.count).sum::<u64>();
        prop_assert_eq!((sent, 0), (told, fold.held()));
    }

    #[test]
    fn a_workload_keeps_what_it_holds_while_another_holds_more(
        mine in 1..20_u16, others in prop::collection::vec((2..4_u8, 0..1000_u16), 0..400),
    ) {
        // Ten workloads of this size would fit.
        let mut fold = Fold::new(200 * 1200);
        for resource in 0..mine {
            fold.take(key(1, resource, Outcome::Done), seen(1, 1), Tell::AtOnce, at(1));
        }
        for (workload, resource) in others {
            fold.take(key(workload, resource, Outcome::Done), seen(1, 1), Tell::AtOnce, at(1));
        }
        prop_assert_eq!(fold.keys_of(&who(1)), usize::from(mine));
    }
}
