//! What is read back is not what was written.

use std::time::Duration;

use proptest::prelude::*;
use spool::{Epoch, FileName, Life, Recovery, Seq, Spool, SpoolError};

use crate::{
    kept::{ALL, EPOCH, open, small},
    memory::Memory,
};

/// Eight frames in three segments; number n stands for n calls.
fn eight() -> Memory {
    let disk = Memory::default();
    let (mut spool, _) = open(&disk, small());
    for calls in 1..=8_u8 {
        spool.append(&[calls; 60], u32::from(calls), Duration::ZERO).unwrap();
    }
    spool.sync().unwrap();
    drop(spool);
    // The marks know the end from now on.
    drop(open(&disk, small()));
    disk
}

/// Opens what was damaged: those frames are missing, they are counted, and all goes on.
#[track_caller]
fn check(disk: &Memory, missing: &[u64]) -> Recovery {
    let (mut spool, recovery) = open(disk, small());
    let numbers = |spool: &mut Spool<Memory>| -> Vec<u64> {
        let frames = spool.read(Seq(0), ALL).unwrap();
        assert!(frames.iter().all(|frame| u64::from(frame.payload[0]) == frame.at.seq.0));
        frames.iter().map(|frame| frame.at.seq.0).collect()
    };
    let wanted: Vec<u64> = (1..=8).filter(|seq| !missing.contains(seq)).collect();
    assert_eq!(numbers(&mut spool), wanted);
    let calls: u64 = missing.iter().sum();
    assert_eq!((recovery.damaged_frames, recovery.damaged_calls), (missing.len() as u64, calls));
    let tally = spool.tally();
    assert_eq!((tally.taken, tally.stored, tally.lost.damaged), (36, 36 - calls, calls));
    // Opened again, or acknowledged, it is counted once.
    let (mut spool, _) = open(disk, small());
    assert_eq!(spool.tally(), tally);
    spool.append(&[9; 60], 9, Duration::ZERO).unwrap();
    spool.sync().unwrap();
    assert_eq!(numbers(&mut spool).last(), Some(&9), "no number is given twice");
    spool.acknowledge(Seq(9)).unwrap();
    let after = spool.tally();
    assert_eq!((after.taken, after.stored, after.lost.damaged), (45, 45 - calls, calls));
    assert_eq!(open(disk, small()).0.tally(), after);
    recovery
}

fn segment(index: usize, disk: &Memory) -> FileName {
    disk.segments()[index]
}

#[test]
fn a_flipped_bit_costs_its_frame_and_is_counted_to_the_call() {
    let whole = eight();
    let first = segment(0, &whole);
    for byte in 0..whole.bytes(first).len() {
        let disk = whole.copy();
        disk.damage(first, |bytes| bytes[byte] ^= 1 << (byte % 8));
        // The header of a segment costs nothing: where it begins is known from the marks and the frames.
        let missing: Vec<u64> =
            byte.checked_sub(48).map(|at| at as u64 / 96 + 1).into_iter().collect();
        check(&disk, &missing);
    }
}

#[test]
fn a_flipped_bit_in_the_last_segment_costs_its_frame_as_well() {
    let whole = eight();
    let last = segment(2, &whole);
    for byte in 48..whole.bytes(last).len() {
        let disk = whole.copy();
        disk.damage(last, |bytes| bytes[byte] ^= 1 << (byte % 8));
        check(&disk, &[(byte as u64 - 48) / 96 + 7]);
    }
}

#[test]
fn frames_that_were_acknowledged_and_are_cut_off_are_counted_and_their_numbers_not_given_again() {
    let whole = eight();
    let last = segment(2, &whole);
    for len in 48..whole.bytes(last).len() {
        let disk = whole.copy();
        disk.damage(last, |bytes| bytes.truncate(len));
        let missing: &[u64] = if len < 48 + 96 { &[7, 8] } else { &[8] };
        check(&disk, missing);
    }
}

#[test]
fn a_segment_that_is_not_there_is_counted() {
    for (index, missing) in [(0, [1, 2, 3].as_slice()), (1, &[4, 5, 6]), (2, &[7, 8])] {
        let disk = eight();
        let name = segment(index, &disk);
        spool::Disk::remove(&mut disk.clone(), name).unwrap();
        check(&disk, missing);
    }
}

#[test]
fn damage_behind_the_watermark_costs_nothing() {
    let disk = eight();
    let (mut spool, _) = open(&disk, small());
    spool.acknowledge(Seq(2)).unwrap();
    disk.damage(segment(0, &disk), |bytes| bytes[60] ^= 1);
    let (mut spool, recovery) = open(&disk, small());
    assert_eq!((recovery.damaged_frames, spool.tally().stored), (0, 36));
    assert_eq!(spool.read(Seq(1), 1).unwrap()[0].at.seq, Seq(3));
}

#[test]
fn damage_that_shows_only_when_it_is_read_is_counted_then_and_passed_by_the_watermark() {
    let disk = eight();
    let (mut spool, _) = open(&disk, small());
    disk.damage(segment(0, &disk), |bytes| bytes[48 + 96 + 40] ^= 1);
    assert_eq!(spool.tally().lost.damaged, 0);
    assert_eq!(spool.read(Seq(1), ALL).unwrap().len(), 7);
    assert_eq!(spool.tally().lost.damaged, 2);
    // It is lost for good, even where a second look would find it.
    disk.damage(segment(0, &disk), |bytes| bytes[48 + 96 + 40] ^= 1);
    assert_eq!(spool.read(Seq(1), ALL).unwrap().len(), 7);
    assert_eq!(spool.acknowledge(Seq(1)).unwrap().seq, Seq(3));
    assert_eq!((spool.tally().lost.damaged, spool.tally().stored), (2, 34));
}

#[test]
fn without_its_marks_a_spool_gives_all_that_is_there() {
    let disk = eight();
    let (mut spool, _) = open(&disk, small());
    spool.acknowledge(Seq(4)).unwrap();
    disk.damage(FileName::Marks, |bytes| bytes.fill(0));
    let (mut spool, recovery) = open(&disk, small());
    assert!(recovery.marks_lost);
    assert_eq!(recovery.life, Life::Continued);
    assert_eq!(spool.read(Seq(0), ALL).unwrap().len(), 5, "the oldest segment begins with 4");
    assert!(!open(&disk, small()).1.marks_lost);
}

#[test]
fn a_folder_without_anything_readable_begins_a_new_life() {
    let disk = eight();
    for name in disk.segments() {
        disk.damage(name, |bytes| bytes.fill(0x55));
    }
    let other = Epoch([8; 16]);
    let (mut spool, recovery) = Spool::open_on(disk, other, small()).unwrap();
    assert_eq!((recovery.life, spool.epoch()), (Life::New, other));
    assert_eq!((recovery.damaged_frames, recovery.damaged_calls), (8, 36));
    spool.append(b"first", 1, Duration::ZERO).unwrap();
    assert_eq!(spool.sync().unwrap().seq, Seq(2));
}

#[test]
fn an_acknowledgment_of_what_was_never_here_is_refused() {
    let disk = eight();
    let (mut spool, _) = open(&disk, small());
    let error = spool.acknowledge(Seq(9)).unwrap_err();
    assert!(matches!(error, SpoolError::Ahead { asked: Seq(9), last: Seq(8) }), "{error}");
    assert_eq!(spool.watermark().seq, Seq(1));
}

#[test]
fn a_segment_of_another_spool_is_refused_by_name() {
    let disk = eight();
    let (_, foreign) = {
        let disk = Memory::default();
        let opened = Spool::open_on(disk.clone(), Epoch([8; 16]), small()).unwrap();
        (opened, disk.bytes(FileName::Segment(Seq(1))))
    };
    disk.damage(segment(1, &disk), |bytes| *bytes = foreign);
    let error = Spool::open_on(disk, EPOCH, small()).unwrap_err();
    assert!(error.to_string().contains("0000000000000004.segment"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn damage_anywhere_gives_only_true_frames_in_order_and_counts_the_others(
        hits in proptest::collection::vec((0..3_usize, any::<u16>(), any::<u8>()), 1..12),
    ) {
        let disk = eight();
        for (index, at, value) in hits {
            disk.damage(segment(index, &disk), |bytes| {
                let at = usize::from(at) % bytes.len();
                bytes[at] = value;
            });
        }
        let (mut spool, recovery) = open(&disk, small());
        let frames = spool.read(Seq(0), ALL).unwrap();
        for frame in &frames {
            let number = frame.at.seq.0;
            prop_assert!(frame.payload == [u8::try_from(number).unwrap(); 60]);
        }
        prop_assert!(frames.is_sorted_by_key(|frame| frame.at));
        let stored: u64 = frames.iter().map(|frame| u64::from(frame.calls)).sum();
        let tally = spool.tally();
        if recovery.life == Life::Continued {
            prop_assert_eq!((tally.taken, tally.stored, tally.lost.damaged), (36, stored, 36 - stored));
        } else {
            prop_assert_eq!((stored, recovery.damaged_calls), (0, 36));
        }
    }
}
