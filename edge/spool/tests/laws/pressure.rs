//! A spool that fills up.

use std::time::Duration;

use spool::{Appended, Limits, NextSync, Reason, Seq, SpoolError, Stage};

use crate::{
    kept::{ALL, Kept, open, small},
    memory::Memory,
};

#[test]
fn a_sender_that_is_away_for_a_day_costs_what_is_over_the_budget_and_that_is_counted() {
    let limits = Limits { budget_bytes: 64 * 1024, segment_bytes: 64 * 1024, ..small() };
    let mut kept = Kept::new(limits);
    let (mut stages, mut dropped) = (vec![Stage::Normal], 0);
    for minute in 0..24 * 60_u32 {
        let calls = minute % 7;
        match kept.append(&[7; 100], calls).unwrap() {
            Appended::Waiting(_) => assert_eq!(dropped, 0, "order would be lost"),
            Appended::Dropped(reason) => {
                assert_eq!(reason, Reason::SpoolFull);
                dropped += u64::from(calls);
            }
        }
        kept.sync();
        if stages.last() != Some(&kept.spool.stage()) {
            stages.push(kept.spool.stage());
        }
    }
    assert_eq!(stages, [Stage::Normal, Stage::FoldReads, Stage::FoldAll, Stage::Drop]);
    let lost = kept.spool.tally().lost;
    assert!(dropped > 0);
    assert_eq!((lost.spool_full, lost.total()), (dropped, dropped));
    kept.reopen();
    assert_eq!((kept.spool.tally().lost.spool_full, kept.spool.stage()), (dropped, Stage::Drop));

    // It comes back, takes some at a time, and then there is room again.
    while kept.watermark() < kept.durable() {
        let from = kept.watermark();
        let last = kept.read(from, 5000).last().unwrap().at.seq.0;
        assert!(kept.acknowledge(last));
    }
    assert_eq!(kept.spool.stage(), Stage::Normal);
    assert!(kept.spool.used() < 64 * 1024 / 8);
    assert!(matches!(kept.append(&[7; 100], 1), Some(Appended::Waiting(_))));
    kept.reopen();
}

#[test]
fn only_whole_segments_are_deleted_and_only_when_all_of_one_is_acknowledged() {
    let mut kept = Kept::new(small());
    for _ in 0..8 {
        kept.append(&[1; 60], 1);
    }
    assert!(kept.sync());
    // Three frames of 96 bytes behind a header fill one.
    let count = |kept: &Kept| kept.disk.segments().len();
    assert_eq!(count(&kept), 3);
    for (seq, left) in [(1, 3), (2, 3), (3, 2), (5, 2), (6, 1), (8, 1)] {
        assert!(kept.acknowledge(seq));
        assert_eq!(count(&kept), left, "after {seq}");
    }
}

#[test]
fn one_frame_that_does_not_fit_keeps_no_other_out() {
    let mut kept = Kept::new(Limits { budget_bytes: 1000, ..small() });
    assert_eq!(kept.append(&[1; 990], 5), Some(Appended::Dropped(Reason::SpoolFull)));
    assert!(matches!(kept.append(&[1; 50], 5), Some(Appended::Waiting(_))));
    assert_eq!(kept.spool.stage(), Stage::Normal);
}

#[test]
fn a_smaller_budget_deletes_nothing_and_a_larger_one_takes_more() {
    let mut kept = Kept::new(small());
    for _ in 0..4 {
        kept.append(&[1; 60], 1);
    }
    assert!(kept.sync());
    kept.set_budget(100);
    assert_eq!(kept.spool.stage(), Stage::Drop);
    assert_eq!(kept.append(&[1; 60], 1), Some(Appended::Dropped(Reason::SpoolFull)));
    kept.verify();
    kept.set_budget(8192);
    assert!(matches!(kept.append(&[1; 60], 1), Some(Appended::Waiting(_))));
}

#[test]
fn frames_wait_until_they_are_many_or_old() {
    let (mut spool, _) = open(&Memory::default(), Limits::default());
    let now = Duration::from_secs(9);
    assert_eq!(spool.next_sync(now), NextSync::Idle);
    spool.append(&[0; 1000], 1, now).unwrap();
    assert_eq!(spool.next_sync(now), NextSync::In(Duration::from_millis(50)));
    assert_eq!(spool.next_sync(now + Duration::from_millis(50)), NextSync::Now);
    spool.append(&[0; 256 * 1024], 1, now).unwrap();
    assert_eq!(spool.next_sync(now), NextSync::Now);
    assert!(spool.read(Seq(1), ALL).unwrap().is_empty(), "nothing is durable yet");
}

#[test]
fn a_payload_of_a_mebibyte_is_taken_and_a_longer_one_is_the_callers_mistake() {
    let (mut spool, _) = open(&Memory::default(), Limits::default());
    let longest = vec![7; spool::PAYLOAD_MAX];
    spool.append(&longest, 1, Duration::ZERO).unwrap();
    let longer = vec![7; spool::PAYLOAD_MAX + 1];
    let error = spool.append(&longer, 1, Duration::ZERO).unwrap_err();
    assert!(matches!(error, SpoolError::TooLong(1_048_577)), "{error}");
    assert_eq!(spool.tally().taken, 1);
    spool.sync().unwrap();
    assert_eq!(spool.read(Seq(1), 1).unwrap()[0].payload, longest);
}

#[test]
fn a_frame_that_stands_for_no_call_has_a_number_too() {
    let mut kept = Kept::new(small());
    kept.append(b"only tells something", 0);
    kept.append(b"", 0);
    assert!(kept.sync());
    assert_eq!((kept.durable(), kept.spool.tally().stored), (3, 0));
    kept.verify();
}
