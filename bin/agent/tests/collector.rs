//! The collector, without sockets and disks: everything that comes has an end, whatever happens around it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use agent::{
    calls::collector::{Collector, Frame, Limits, Shared, Source},
    engine::Now,
};
use calls::{
    AccessKeyId, End, Entry, Leased, Loss, Names, Needs, Objects, Record, Signer, Trust, Why,
    read_batch,
};
use jiff::Timestamp;
use proptest::prelude::*;
use spool::Stage;

const WALL: &str = "2026-11-25T10:00:00Z";
const KEY: &str = "ASIAY34FZKBOKMUTVV7A";
const LIMITS: Limits = Limits {
    table_bytes: 64 << 10,
    count: Duration::from_secs(60),
    objects: Objects::FirstSegment,
};

fn wall() -> Timestamp {
    WALL.parse().unwrap()
}

fn at(second: u64) -> Now {
    let boot = Duration::from_secs(second);
    Now { boot, wall: wall() + boot }
}

fn source(instance: &str) -> Source {
    let workload = Some(format!("orders/prod/{instance}").parse().unwrap());
    Source { workload, trust: Trust::Shim }
}

fn line(operation: &str, bucket: &str, key: &str, more: &str) -> String {
    let time = wall().as_millisecond();
    format!(
        r#"{{"Version":2,"Type":"ApiCall","Service":"S3","Api":"{operation}","Region":"eu-west-1","Timestamp":{time},
        "AccessKey":"{key}","Parameters":{{"Bucket":["{bucket}"],"Key":["a/b"]}}{more}}}"#
    )
}

fn collector() -> (Collector, Shared) {
    (Collector::new(LIMITS, b"", false), Shared::new(wall()))
}

/// Everything that is on its way to the disk.
fn entries(collector: &mut Collector) -> Vec<Entry> {
    let frames = collector.frames(true);
    frames.iter().flat_map(|frame| read_batch(&frame.payload).unwrap()).collect()
}

fn records(entries: &[Entry]) -> Vec<&Record> {
    let calls = entries.iter().filter_map(|entry| match entry {
        Entry::Calls(record) => Some(record),
        _ => None,
    });
    calls.collect()
}

fn lease(instance: &str) -> Leased {
    Leased {
        access_key: AccessKeyId::parse(KEY).unwrap(),
        workload: format!("orders/prod/{instance}").parse().unwrap(),
        role: "arn:aws:iam::222222222222:role/orders".parse().unwrap(),
        from: wall(),
        until: wall() + Duration::from_secs(3600),
    }
}

#[test]
fn a_call_with_a_lease_is_of_its_workload_and_role_and_named() {
    let (mut collector, _) = collector();
    collector.leased(lease("1"), at(0));
    collector.line(&source("1"), line("GetObject", "reports", KEY, "").as_bytes(), at(1));
    let entries = entries(&mut collector);
    assert!(matches!(&entries[0], Entry::Leased(leased) if leased.access_key.as_str() == KEY));
    let [record] = records(&entries)[..] else { panic!("{entries:?}") };
    let Signer::Leased { role, to } = &record.key.signer else { panic!("{record:?}") };
    assert_eq!((role.name(), to.to_string().as_str()), ("orders", "orders/prod/1"));
    let Needs::These(needs) = &record.key.named.needs else { panic!("{record:?}") };
    assert_eq!(needs["s3:GetObject"], Names::These(["arn:aws:s3:::reports/a/*".to_owned()].into()));
    assert_eq!((record.why, record.sighting.count), (Why::First, 1));
    let noticed = collector.noticed();
    assert_eq!((noticed.foreign, noticed.passed_on), (0, 0));
}

#[test]
fn a_lease_used_by_another_workload_and_a_key_that_was_never_leased_are_noticed() {
    let (mut collector, _) = collector();
    collector.leased(lease("1"), at(0));
    collector.line(&source("2"), line("GetObject", "reports", KEY, "").as_bytes(), at(1));
    let other = "AKIAIOSFODNN7EXAMPLE";
    collector.line(&source("1"), line("GetObject", "reports", other, "").as_bytes(), at(1));
    let entries = entries(&mut collector);
    let [passed_on, foreign] = records(&entries)[..] else { panic!("{entries:?}") };
    let Signer::Leased { to, .. } = &passed_on.key.signer else { panic!("{passed_on:?}") };
    assert_eq!(to.to_string(), "orders/prod/1");
    assert_eq!(passed_on.key.workload.as_ref().unwrap().to_string(), "orders/prod/2");
    assert_eq!(foreign.key.signer, Signer::Foreign);
    let noticed = collector.noticed();
    assert_eq!((noticed.foreign, noticed.passed_on), (1, 1));
}

#[test]
fn a_key_that_an_earlier_run_leased_is_not_foreign() {
    let (mut before, _) = collector();
    before.leased(lease("1"), at(0));
    let file = before.keys_changed(wall()).unwrap();
    let mut collector = Collector::new(LIMITS, &file, false);
    collector.line(&source("1"), line("GetObject", "reports", KEY, "").as_bytes(), at(1));
    let entries = entries(&mut collector);
    assert!(matches!(records(&entries)[0].key.signer, Signer::Leased { .. }));
}

#[test]
fn repeats_wait_for_their_time_and_a_clock_that_jumps_back_does_not_make_them_wait_for_ever() {
    let (mut collector, ledger) = collector();
    collector.count(at(1000), &ledger);
    for _ in 0..3 {
        collector.line(&source("1"), line("GetObject", "reports", KEY, "").as_bytes(), at(1000));
    }
    assert_eq!(records(&entries(&mut collector)).len(), 1);
    collector.count(at(1059), &ledger);
    assert!(entries(&mut collector).is_empty());
    collector.count(at(1060), &ledger);
    let told = entries(&mut collector);
    assert_eq!(records(&told)[0].sighting.count, 2);
    collector.line(&source("1"), line("GetObject", "reports", KEY, "").as_bytes(), at(2));
    collector.count(at(2), &ledger);
    assert_eq!(records(&entries(&mut collector)).len(), 1);
}

#[test]
fn what_is_told_of_coverage_adds_up_over_all_that_is_told() {
    let (mut collector, mut ledger) = collector();
    collector.line(&source("1"), b"{", at(0));
    collector.dropped_by_kernel(3);
    collector.cut_off();
    collector.line(
        &source("1"),
        line("GetObject", "reports", KEY, r#","Count":7"#).as_bytes(),
        at(0),
    );
    let mut sums = (0, 0, 0);
    for second in [60, 120, 180] {
        collector.tell_all(at(second), &ledger);
        for frame in collector.frames(true) {
            for entry in read_batch(&frame.payload).unwrap() {
                if let Entry::Covered(covered) = entry {
                    sums.0 += covered.coverage.sent_in_all();
                    sums.1 += covered.coverage.lost_in_all();
                    sums.2 += covered.cut_off + covered.refusals.total();
                }
            }
            if let Some(reported) = frame.reports {
                ledger.reported = *reported;
            }
        }
    }
    assert_eq!(sums, (11, 4, 2));
}

#[test]
fn an_agent_that_was_killed_is_told_of_once_by_the_next() {
    let mut ledger = Shared::new(wall());
    let mut collector = Collector::new(LIMITS, b"", true);
    let mut crashes = Vec::new();
    for second in [60, 120] {
        collector.tell_all(at(second), &ledger);
        for frame in collector.frames(true) {
            let entries = read_batch(&frame.payload).unwrap();
            crashes.extend(entries.iter().filter_map(|entry| match entry {
                Entry::Covered(covered) => Some(covered.crashes),
                _ => None,
            }));
            ledger.reported = frame.reports.map(|reported| *reported).unwrap_or_default();
        }
    }
    assert_eq!(crashes, [1, 0]);
}

#[track_caller]
fn check_stage(stage: Stage, told: [bool; 3]) {
    let (mut collector, _) = collector();
    collector.set_stage(stage);
    let denied = r#","FinalHttpStatusCode":403"#;
    let lines = [
        line("GetObject", "reports", KEY, ""),
        line("PutObject", "reports", KEY, ""),
        line("GetObject", "reports", KEY, denied),
    ];
    for (line, told) in lines.iter().zip(told) {
        collector.line(&source("1"), line.as_bytes(), at(1));
        assert_eq!(records(&entries(&mut collector)).len() == 1, told, "{stage:?}: {line}");
    }
    let ledger = Shared::new(wall());
    assert_eq!(collector.coverage(&ledger).0.sent_in_all(), 3);
    collector.set_stage(Stage::Normal);
    collector.tell_all(at(2), &ledger);
    let waited = told.iter().filter(|told| !**told).count();
    assert_eq!(records(&entries(&mut collector)).len(), waited, "{stage:?}");
}

#[test]
fn the_fuller_the_spool_the_more_waits_and_a_denial_waits_last() {
    check_stage(Stage::Normal, [true, true, true]);
    check_stage(Stage::FoldReads, [false, true, true]);
    check_stage(Stage::FoldAll, [false, false, true]);
    check_stage(Stage::Drop, [false, false, false]);
}

#[test]
fn a_time_that_cannot_be_is_taken_to_be_now() {
    let (mut collector, _) = collector();
    for (bucket, time) in [("old", 1), ("coming", 32_503_680_000_000_i64)] {
        let line = line("GetObject", bucket, KEY, "");
        let line = line.replace(&wall().as_millisecond().to_string(), &time.to_string());
        collector.line(&source("1"), line.as_bytes(), at(5));
    }
    let entries = entries(&mut collector);
    for record in records(&entries) {
        assert_eq!((record.sighting.first, record.sighting.last), (at(5).wall, at(5).wall));
    }
    assert_eq!(collector.noticed().retimed, 2);
}

#[derive(Clone, Debug)]
enum Step {
    Line {
        instance: u8,
        bucket: u16,
        count: u64,
        trust: bool,
    },
    Broken,
    Drops(u64),
    Stage(Stage),
    Count,
    /// The disk takes what there is; it may lose it.
    Store {
        lost: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let line = (0..3_u8, 0..200_u16, 1..1_000_000_000_u64, any::<bool>());
    let stage =
        prop::sample::select(vec![Stage::Normal, Stage::FoldReads, Stage::FoldAll, Stage::Drop]);
    prop_oneof![
        30 => line.prop_map(|(instance, bucket, count, trust)| {
            Step::Line { instance, bucket, count, trust }
        }),
        2 => Just(Step::Broken),
        2 => (1..1000_u64).prop_map(Step::Drops),
        2 => stage.prop_map(Step::Stage),
        3 => Just(Step::Count),
        3 => any::<bool>().prop_map(|lost| Step::Store { lost }),
    ]
}

/// What the disk does with frames, as the ledger of the store tells it.
fn store(ledger: &mut Shared, frames: Vec<Frame>, lost: bool) -> Vec<Entry> {
    let mut stored = Vec::new();
    for frame in frames {
        let calls = u64::from(frame.calls);
        if lost {
            ledger.stored.ended(End::Lost(Loss::SpoolFull), calls);
        } else {
            ledger.stored.ended(End::Stored, frame.records);
            ledger.stored.ended(End::Folded, calls - frame.records);
            stored.extend(read_batch(&frame.payload).unwrap());
        }
    }
    stored
}

proptest! {
    #[test]
    fn every_call_is_stored_folded_lost_for_a_reason_or_held_at_every_moment(
        steps in prop::collection::vec((step(), 0..40_u64), 1..200),
    ) {
        let (mut collector, mut ledger) = collector();
        let (mut second, mut in_records) = (0, 0);
        for (step, later) in steps {
            second += later;
            let now = at(second);
            match step {
                Step::Line { instance, bucket, count, trust } => {
                    let mut source = source(&instance.to_string());
                    source.trust = if trust { Trust::Shim } else { Trust::Monitoring };
                    let more = format!(r#","Count":{count}"#);
                    let line = line("GetObject", &format!("b{bucket}"), KEY, &more);
                    collector.line(&source, line.as_bytes(), now);
                }
                Step::Broken => collector.line(&source("1"), b"{", now),
                Step::Drops(count) => collector.dropped_by_kernel(count),
                Step::Stage(stage) => collector.set_stage(stage),
                Step::Count => collector.count(now, &ledger),
                Step::Store { lost } => {
                    let frames = collector.frames(true);
                    let stored = store(&mut ledger, frames, lost);
                    in_records += records(&stored).iter().map(|one| one.sighting.count).sum::<u64>();
                }
            }
            let (coverage, held) = collector.coverage(&ledger);
            prop_assert_eq!(coverage.balance(held), Ok(()));
        }
        collector.tell_all(at(second), &ledger);
        let frames = collector.frames(true);
        let stored = store(&mut ledger, frames, false);
        in_records += records(&stored).iter().map(|one| one.sighting.count).sum::<u64>();
        let (coverage, held) = collector.coverage(&ledger);
        prop_assert_eq!((coverage.balance(0), held), (Ok(()), 0));
        prop_assert_eq!(in_records, coverage.of(End::Stored) + coverage.of(End::Folded));
    }
}
