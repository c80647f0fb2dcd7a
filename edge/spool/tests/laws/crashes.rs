//! A process or a machine that dies at any instant, and a disk that fails.

use std::time::Duration;

use spool::{Appended, FileName, Life, NextSync, Reason, Seq};

use crate::{
    kept::{Kept, open, small},
    memory::{Failing, Memory},
};

/// A bit of everything; goes on whatever fails.
fn load(kept: &mut Kept) {
    for index in 0..12_u8 {
        kept.append(&[index; 60], 3);
        if index % 3 == 1 {
            kept.sync();
        }
        if index % 5 == 4 {
            let reached = kept.durable() - 1;
            kept.acknowledge(reached.saturating_sub(1));
        }
    }
    kept.sync();
}

/// How many changes the load makes on a disk that works.
fn changes() -> u64 {
    let mut kept = Kept::new(small());
    kept.disk.fail(Failing::None);
    load(&mut kept);
    kept.disk.changes()
}

#[test]
fn a_crash_at_any_byte_of_what_was_not_synced_keeps_what_was() {
    let whole = |keep_to: u64| {
        let mut kept = Kept::new(small());
        kept.append(b"acknowledged", 5);
        assert!(kept.sync());
        // Over the limit of what is held in memory, so that it is given to the disk.
        kept.append(&[1; 40], 2);
        kept.append(&[2; 40], 2);
        let active = kept.disk.segments()[0];
        let unsynced = kept.disk.unsynced(active);
        let recovery = kept.crash(|total| keep_to.min(total));
        assert_eq!(recovery.life, Life::Continued);
        // Whole frames are found, and the rest is cut.
        let frames = keep_to / 76;
        assert_eq!(kept.durable(), 2 + frames);
        assert_eq!(recovery.torn_bytes, keep_to - frames * 76);
        assert_eq!((recovery.damaged_frames, kept.spool.tally().stored), (0, 5 + 2 * frames));
        kept.append(b"goes on", 1);
        assert!(kept.sync());
        kept.verify();
        unsynced
    };
    let unsynced = whole(0);
    assert_eq!(unsynced, 152);
    for keep_to in 1..=unsynced {
        whole(keep_to);
    }
}

#[test]
fn power_lost_at_any_instant_keeps_what_was_acknowledged() {
    for number in 0..=changes() {
        for share in 0..4 {
            let mut kept = Kept::new(small());
            kept.disk.fail(Failing::From(number));
            load(&mut kept);
            kept.disk.fail(Failing::None);
            kept.crash(|total| total * share / 3);
            load(&mut kept);
            kept.verify();
        }
    }
}

#[test]
fn a_process_killed_at_any_instant_keeps_what_was_acknowledged() {
    for number in 0..=changes() {
        let mut kept = Kept::new(small());
        kept.disk.fail(Failing::From(number));
        load(&mut kept);
        kept.disk.fail(Failing::None);
        kept.reopen();
        load(&mut kept);
        // What the next process took over is durable.
        kept.crash(|_| 0);
    }
}

#[test]
fn whichever_change_the_disk_refuses_every_call_is_accounted_for() {
    for number in 0..=changes() {
        let mut kept = Kept::new(small());
        kept.disk.fail(Failing::Once(number));
        load(&mut kept);
        kept.disk.fail(Failing::None);
        kept.verify();
        assert!(kept.sync());
        kept.crash(|_| 0);
        kept.verify();
    }
}

#[test]
fn whichever_change_the_disk_refuses_the_folder_opens_the_next_time() {
    let before = {
        let mut kept = Kept::new(small());
        load(&mut kept);
        kept.append(&[9; 80], 1);
        kept.disk
    };
    let mut number = 0;
    loop {
        let disk = before.copy();
        disk.fail(Failing::From(number));
        let opened = spool::Spool::open_on(disk.clone(), crate::kept::EPOCH, small());
        disk.fail(Failing::None);
        disk.crash(|total| total / 2);
        let (spool, recovery) = open(&disk, small());
        assert_eq!(recovery.life, Life::Continued);
        assert_eq!(spool.tally().stored, 37);
        if opened.is_ok() {
            break;
        }
        number += 1;
    }
    assert!(number > 3);
}

#[test]
fn whichever_change_fails_at_the_first_start_the_next_start_works() {
    for number in 0..8 {
        for share in 0..3 {
            let disk = Memory::default();
            disk.fail(Failing::From(number));
            let _ = spool::Spool::open_on(disk.clone(), crate::kept::EPOCH, small());
            disk.fail(Failing::None);
            disk.crash(|total| total * share / 2);
            let (mut spool, _) = open(&disk, small());
            spool.append(b"first", 1, Duration::ZERO).unwrap();
            assert_eq!(spool.sync().unwrap().seq, Seq(2));
        }
    }
}

#[test]
fn a_full_disk_loses_what_waits_counts_it_and_takes_more_when_there_is_room() {
    let mut kept = Kept::new(small());
    kept.append(&[1; 40], 7);
    assert!(kept.sync());
    let used: usize = kept.disk.segments().iter().map(|name| kept.disk.bytes(*name).len()).sum();
    kept.disk.set_room(Some(8192 + used + 50));
    kept.append(&[2; 40], 11);
    assert!(!kept.sync(), "there is no room for this frame");
    let tally = kept.spool.tally();
    assert_eq!((tally.stored, tally.waiting, tally.lost.disk_refused), (7, 0, 11));
    kept.append(&[], 2);
    assert!(kept.sync(), "there is room for a small one");
    kept.disk.set_room(None);
    kept.append(&[3; 40], 13);
    assert!(kept.sync());
    kept.crash(|_| 0);
    let tally = kept.spool.tally();
    assert_eq!((tally.taken, tally.stored, tally.lost.disk_refused), (33, 22, 11));
}

#[test]
fn a_full_disk_is_emptied_by_an_acknowledgment() {
    let mut kept = Kept::new(small());
    kept.append(&[1; 150], 1);
    assert!(kept.sync());
    kept.set_budget(400);
    let used: usize = kept.disk.segments().iter().map(|name| kept.disk.bytes(*name).len()).sum();
    kept.disk.set_room(Some(8192 + used));
    assert_eq!(kept.append(&[2; 150], 1), Some(Appended::Dropped(Reason::SpoolFull)));
    let last = kept.durable() - 1;
    assert!(kept.acknowledge(last));
    kept.append(&[3; 40], 1);
    assert!(kept.sync());
    kept.reopen();
}

#[test]
fn a_disk_that_cannot_even_cut_leaves_calls_waiting_until_it_can() {
    let mut kept = Kept::new(small());
    kept.append(&[1; 40], 7);
    kept.disk.fail(Failing::From(0));
    assert!(!kept.sync());
    let tally = kept.spool.tally();
    assert_eq!((tally.waiting, tally.lost.total()), (7, 0), "whether they are kept is open");
    assert_eq!(kept.append(&[2; 40], 2), Some(Appended::Dropped(Reason::DiskRefused)));
    kept.disk.fail(Failing::None);
    assert!(kept.sync());
    let tally = kept.spool.tally();
    assert_eq!((tally.waiting, tally.stored, tally.lost.disk_refused), (0, 0, 9));
}

#[test]
fn a_clock_that_jumps_back_changes_no_number_and_delays_no_sync() {
    let disk = Memory::default();
    let (mut spool, _) = open(&disk, small());
    let at = Duration::from_secs;
    assert_eq!(spool.append(b"a", 1, at(1_000_000)).unwrap(), Appended::Waiting(Seq(1)));
    assert_eq!(spool.append(b"b", 1, at(5)).unwrap(), Appended::Waiting(Seq(2)));
    assert_eq!(spool.next_sync(at(5)), NextSync::Now);
    spool.sync().unwrap();
    assert_eq!(spool.next_sync(at(5)), NextSync::Idle);
    let (mut spool, _) = open(&disk, small());
    assert_eq!(spool.append(b"c", 1, at(0)).unwrap(), Appended::Waiting(Seq(3)));
    assert_eq!(spool.next_sync(at(0)), NextSync::In(Duration::from_millis(50)));
}

#[test]
fn a_segment_that_was_only_begun_is_begun_again() {
    let disk = Memory::default();
    let (mut spool, _) = open(&disk, small());
    spool.append(&[1; 250], 4, Duration::ZERO).unwrap();
    let begun = FileName::Segment(Seq(2));
    assert_eq!(disk.segments(), [FileName::Segment(Seq(1)), begun]);
    drop(spool);
    for len in 0..48 {
        let disk = disk.copy();
        disk.damage(begun, |bytes| bytes.truncate(len));
        let (spool, recovery) = open(&disk, small());
        assert_eq!((spool.tally().stored, recovery.torn_bytes), (4, len as u64));
        assert_eq!(disk.segments(), [FileName::Segment(Seq(1)), begun]);
    }
}
