//! A spool on a disk in memory, with what it must still have.

use std::{collections::BTreeMap, time::Duration};

use spool::{Appended, Epoch, Frame, Limits, Recovery, Seq, Spool, SpoolError, Tally};

use crate::memory::Memory;

pub(crate) const EPOCH: Epoch = Epoch([7; 16]);
/// More than there is.
pub(crate) const ALL: usize = usize::MAX;

/// Small segments, so that there are many.
pub(crate) fn small() -> Limits {
    Limits {
        budget_bytes: 8192,
        segment_bytes: 256,
        commit_bytes: 96,
        commit_wait: Duration::from_millis(50),
    }
}

pub(crate) fn open(disk: &Memory, limits: Limits) -> (Spool<Memory>, Recovery) {
    let opened = Spool::open_on(disk.clone(), EPOCH, limits);
    opened.unwrap_or_else(|error| panic!("it must open: {error}"))
}

/// The spool and the law beside it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) disk: Memory,
    pub(crate) spool: Spool<Memory>,
    limits: Limits,
    /// Frames by number that were appended, as payload and calls. Those below `durable` must be there.
    frames: BTreeMap<u64, (Vec<u8>, u32)>,
    durable: u64,
    watermark: u64,
    /// Where the watermark may be after an acknowledgment that failed halfway.
    attempted: u64,
    /// Calls that were appended in all lives of the process.
    sent: u64,
    /// Calls that a crash took: what waited, and what was counted after the last sync.
    vanished: u64,
    /// What was counted when the last sync returned.
    synced: Tally,
}

impl Kept {
    pub(crate) fn new(limits: Limits) -> Self {
        let disk = Memory::default();
        let spool = open(&disk, limits).0;
        let synced = spool.tally();
        Self {
            disk,
            spool,
            limits,
            frames: BTreeMap::new(),
            durable: 1,
            watermark: 1,
            attempted: 1,
            sent: 0,
            vanished: 0,
            synced,
        }
    }

    pub(crate) fn append(&mut self, payload: &[u8], calls: u32) -> Option<Appended> {
        let next = self.spool.end().seq.0;
        let appended = self.spool.append(payload, calls, Duration::ZERO);
        self.sent += u64::from(calls);
        match &appended {
            Ok(Appended::Waiting(Seq(seq))) => {
                assert_eq!(*seq, next);
                // What had this number before was cut off.
                self.frames.split_off(&next);
                self.frames.insert(next, (payload.to_vec(), calls));
                assert!(self.spool.used() <= self.limits.budget_bytes.max(1024), "over budget");
            }
            Ok(Appended::Dropped(_)) => {}
            Err(SpoolError::Disk { .. }) => {
                // It may be there all the same.
                self.frames.split_off(&next);
                self.frames.insert(next, (payload.to_vec(), calls));
            }
            Err(error) => panic!("{error}"),
        }
        self.check();
        appended.ok()
    }

    pub(crate) fn sync(&mut self) -> bool {
        let done = self.spool.sync();
        self.check();
        match done {
            Ok(durable) => {
                assert_eq!(self.spool.tally().waiting, 0);
                assert_eq!(durable, self.spool.durable());
                self.synced = self.spool.tally();
                true
            }
            Err(error) => {
                assert!(matches!(error, SpoolError::Disk { .. }), "{error}");
                false
            }
        }
    }

    pub(crate) fn acknowledge(&mut self, seq: u64) -> bool {
        let done = self.spool.acknowledge(Seq(seq));
        let watermark = self.spool.watermark().seq.0;
        assert!(watermark == self.watermark || watermark == seq + 1, "{watermark}");
        assert!(watermark >= self.watermark);
        self.watermark = watermark;
        self.attempted = self.attempted.max(seq + 1);
        self.check();
        done.is_ok()
    }

    /// The process ends, and of what it had not synced so much gets to the disk.
    pub(crate) fn crash(&mut self, keep: impl FnMut(u64) -> u64) -> Recovery {
        self.disk.crash(keep);
        self.reopen()
    }

    /// The process ends, and the disk has all that was given to it.
    pub(crate) fn reopen(&mut self) -> Recovery {
        let before = self.spool.tally();
        let (spool, recovery) = open(&self.disk, self.limits);
        self.spool = spool;
        let watermark = self.spool.watermark().seq.0;
        assert!((self.watermark..=self.attempted).contains(&watermark), "{watermark}");
        (self.watermark, self.attempted) = (watermark, watermark);
        let after = self.spool.tally();
        assert!(after.lost.total() >= self.synced.lost.total(), "a loss was forgotten");
        assert!(after.lost.total() <= before.lost.total(), "a loss was made up");
        assert!(after.stored >= before.stored, "what was acknowledged is lost");
        self.vanished += before.taken - after.taken;
        self.synced = after;
        assert_eq!(after.lost.damaged, 0);
        self.check();
        // Those that were given to no disk.
        self.frames.split_off(&self.durable);
        self.verify();
        recovery
    }

    pub(crate) fn set_budget(&mut self, bytes: u64) {
        self.limits.budget_bytes = bytes;
        self.spool.set_budget(bytes);
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    pub(crate) fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Reads from a number on, and compares.
    pub(crate) fn read(&mut self, from: u64, bytes_max: usize) -> Vec<Frame> {
        let frames = self.spool.read(Seq(from), bytes_max).unwrap();
        let first = from.max(self.watermark);
        assert!(!frames.is_empty() || first >= self.durable, "there is more");
        for (next, frame) in (first..).zip(&frames) {
            assert_eq!(frame.at.seq.0, next, "not in order");
            assert!(next < self.durable, "it was not acknowledged");
            assert_eq!(
                (&frame.payload, frame.calls),
                (&self.frames[&next].0, self.frames[&next].1)
            );
        }
        let bytes: usize = frames.iter().map(|frame| frame.payload.len()).sum();
        assert!(frames.len() < 2 || bytes <= bytes_max);
        frames
    }

    /// All that was acknowledged to us, and that we did not acknowledge, is there.
    #[track_caller]
    pub(crate) fn verify(&mut self) {
        let frames = self.read(0, ALL);
        let wanted = self.durable.saturating_sub(self.watermark);
        assert_eq!(frames.len() as u64, wanted, "what was acknowledged is lost");
    }

    /// The laws that hold at every moment.
    fn check(&mut self) {
        let (tally, durable) = (self.spool.tally(), self.spool.durable());
        assert_eq!(tally.taken, tally.stored + tally.waiting + tally.lost.total(), "{tally:?}");
        assert_eq!(self.sent, tally.taken + self.vanished, "{tally:?}");
        assert!(durable.seq.0 >= self.durable, "what was durable is not");
        self.durable = durable.seq.0;
        let stored: u64 =
            self.frames.range(..self.durable).map(|(_, (_, calls))| u64::from(*calls)).sum();
        assert_eq!((tally.stored, durable.calls), (stored, stored));
    }
}
