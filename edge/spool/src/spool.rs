use std::{collections::VecDeque, io, path::Path, time::Duration};

use crate::{
    disk::{Disk, FileName},
    error::SpoolError,
    folder::Folder,
    frame::{FRAME_HEADER_LEN, PAYLOAD_MAX, write},
    limits::{Limits, NextSync},
    marks::Marks,
    number::{Epoch, Position, Seq},
    pressure::Stage,
    recovery::{self, Recovery},
    segment::{SEGMENT_HEADER_LEN, Segment, SegmentHeader},
    tally::{Gaps, Losses, Reason, Tally},
};

/// The queue. One process has it, and one thread at a time; see the crate's documentation.
#[derive(Debug)]
pub struct Spool<D = Folder> {
    pub(crate) disk: D,
    limits: Limits,
    pub(crate) epoch: Epoch,
    /// The oldest first. The last one is written to, and there always is one.
    pub(crate) segments: VecDeque<Segment>,
    /// Behind the last frame that was appended.
    end: Position,
    /// Frames that were not given to the disk yet.
    pending: Vec<u8>,
    /// How many bytes behind the durable ones were given to the disk.
    written: u64,
    /// When the first of what waits was appended.
    since: Option<Duration>,
    tail: Tail,
    taken: u64,
    pub(crate) gaps: Gaps,
    pub(crate) marks: Marks,
    generation: u64,
    /// What the marks on disk do not say yet.
    unmarked: bool,
    stage: Stage,
    /// Where a frame begins that is likely to be read next: segment, byte, place.
    pub(crate) read_from: Option<(Seq, u64, Position)>,
    pub(crate) acknowledged_to: Option<(Seq, u64, Position)>,
}

/// What may be behind the durable bytes of the last segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    /// What was written, and nothing else.
    Known,
    /// The disk failed, and then could not cut them off. They are neither stored nor lost until it can.
    Doubtful,
    /// What was written; but the disk could not begin the next segment, and may have half of it. So nothing more
    /// may come behind.
    Closed,
}

/// What came of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It has this number, and waits for a sync.
    Waiting(Seq),
    /// It was counted and dropped.
    Dropped(Reason),
}

impl Spool<Folder> {
    /// Opens the spool in a folder of its own, and finds what was acknowledged there. It reads all that is not yet
    /// acknowledged by the receiver. `epoch` must be random; it is used where the folder is empty.
    ///
    /// # Errors
    /// When the folder cannot be used; it says who must act.
    pub fn open(path: &Path, epoch: Epoch, limits: Limits) -> Result<(Self, Recovery), SpoolError> {
        Self::open_on(Folder::open(path)?, epoch, limits)
    }
}

impl<D: Disk> Spool<D> {
    /// The same on any disk.
    ///
    /// # Errors
    /// When the disk cannot be read or written, or what is on it is not ours.
    pub fn open_on(
        mut disk: D,
        epoch: Epoch,
        limits: Limits,
    ) -> Result<(Self, Recovery), SpoolError> {
        let found = recovery::recover(&mut disk, epoch)?;
        let end = found.end;
        let lost = found.marks.lost;
        let mut spool = Self {
            disk,
            limits,
            epoch: found.marks.epoch,
            segments: found.segments,
            end,
            pending: Vec::new(),
            written: 0,
            since: None,
            tail: Tail::Known,
            taken: end.calls + lost.spool_full + lost.disk_refused,
            gaps: found.gaps,
            marks: found.marks,
            generation: found.generation,
            unmarked: true,
            stage: Stage::Normal,
            read_from: None,
            acknowledged_to: None,
        };
        if !found.appendable {
            spool.roll()?;
        }
        spool.mark()?;
        spool.weigh();
        Ok((spool, found.report))
    }

    /// Appends a frame that stands for `calls` calls; `now` is the time on a clock of the caller's choice. It is
    /// kept only when [`Spool::sync`] has returned.
    ///
    /// # Errors
    /// [`SpoolError::TooLong`], and then nothing happened; [`SpoolError::Disk`] where the disk does not take what
    /// waits, and then all of that is lost, and counted.
    pub fn append(
        &mut self,
        payload: &[u8],
        calls: u32,
        now: Duration,
    ) -> Result<Appended, SpoolError> {
        if payload.len() > PAYLOAD_MAX {
            return Err(SpoolError::TooLong(payload.len()));
        }
        let end = self.end.after(calls).ok_or(SpoolError::UsedUp)?;
        self.taken += u64::from(calls);
        let frame_len = (FRAME_HEADER_LEN + payload.len()) as u64;
        self.weigh();
        if self.tail != Tail::Known {
            return Ok(self.lose(calls, Reason::DiskRefused));
        }
        if !self.has_room(frame_len) {
            return Ok(self.lose(calls, Reason::SpoolFull));
        }
        let at = self.end;
        self.since.get_or_insert(now);
        write(self.epoch, at, calls, payload, &mut self.pending);
        self.end = end;
        self.weigh();
        if self.pending.len() > self.limits.commit_bytes {
            self.attempt(Self::give)?;
        }
        if self.unsynced() > 0 && self.active_len() >= self.limits.segment_len() {
            self.attempt(|spool| spool.settle().and_then(|()| spool.roll()))?;
        }
        Ok(Appended::Waiting(at.seq))
    }

    /// Makes durable all that waits, and what was counted. Says behind which frame everything is.
    ///
    /// # Errors
    /// [`SpoolError::Disk`]. What [`Spool::durable`] does not reach is lost then, and counted.
    pub fn sync(&mut self) -> Result<Position, SpoolError> {
        self.repair()?;
        self.attempt(Self::settle)?;
        if self.unmarked {
            self.mark()?;
        }
        Ok(self.durable())
    }

    /// When [`Spool::sync`] is due. Nothing else depends on the clock, which may jump.
    pub fn next_sync(&self, now: Duration) -> NextSync {
        NextSync::of(&self.limits, self.unsynced(), self.since, now)
    }

    /// Sets the budget, in bytes. Nothing is deleted where more is used already.
    pub fn set_budget(&mut self, bytes: u64) {
        self.limits.budget_bytes = bytes;
        self.weigh();
    }

    /// What the caller shall do because of how full the spool is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// How long all segments are together, in bytes, with what waits.
    pub fn used(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum::<u64>() + self.unsynced()
    }

    /// The epoch that all numbers belong to.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Behind the last frame that was appended: the number of the next one.
    pub fn end(&self) -> Position {
        self.end
    }

    /// Behind the last durable frame.
    pub fn durable(&self) -> Position {
        self.segments.back().map_or(self.end, |segment| segment.end)
    }

    /// Everything before it is safely stored elsewhere, or counted as lost.
    pub fn watermark(&self) -> Position {
        self.marks.watermark
    }

    /// Where all calls are. What was said at the last sync is still so after a crash.
    pub fn tally(&self) -> Tally {
        let mut lost = self.marks.lost;
        lost.damaged += self.gaps.calls();
        let durable = self.durable().calls;
        let (stored, waiting) = (durable - lost.damaged, self.end.calls - durable);
        Tally { taken: self.taken, stored, waiting, lost }
    }

    fn lose(&mut self, calls: u32, reason: Reason) -> Appended {
        let Losses { spool_full, disk_refused, damaged } = &mut self.marks.lost;
        *match reason {
            Reason::SpoolFull => spool_full,
            Reason::DiskRefused => disk_refused,
            Reason::Damaged => damaged,
        } += u64::from(calls);
        self.unmarked = true;
        Appended::Dropped(reason)
    }

    fn has_room(&mut self, frame_len: u64) -> bool {
        let fits = self.used() + frame_len + SEGMENT_HEADER_LEN as u64 <= self.limits.budget_bytes;
        if !fits {
            self.stage = Stage::Drop;
        }
        self.stage < Stage::Drop
    }

    pub(crate) fn weigh(&mut self) {
        self.stage = self.stage.after(self.used(), self.limits.budget_bytes);
    }

    fn unsynced(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// The length of the last segment with what waits, in bytes.
    fn active_len(&self) -> u64 {
        self.segments.back().map_or(0, |segment| segment.len) + self.unsynced()
    }

    /// Does something with the disk. Where that fails, all that waits is lost: whether a failed write or
    /// sync left anything cannot be known, and asking again is answered wrongly.
    fn attempt(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<(), SpoolError>,
    ) -> Result<(), SpoolError> {
        let done = act(self);
        if done.is_err() {
            self.pending.clear();
            if self.end != self.durable() || self.written > 0 {
                self.tail = Tail::Doubtful;
            }
            // A disk that cannot even cut is asked again at the next sync.
            let _ = self.repair();
        }
        done
    }

    /// Makes the tail known again.
    fn repair(&mut self) -> Result<(), SpoolError> {
        match self.tail {
            Tail::Known => Ok(()),
            Tail::Doubtful => self.cut(),
            Tail::Closed => self.roll(),
        }
    }

    /// Cuts off what is behind the durable bytes, and counts it as lost.
    fn cut(&mut self) -> Result<(), SpoolError> {
        let Some(active) = self.segments.back().copied() else { return Ok(()) };
        let name = FileName::Segment(active.name);
        let cut = self.disk.cut(name, active.len).and_then(|()| self.disk.sync(name));
        cut.map_err(|source| self.failed("cut", name, source))?;
        self.marks.lost.disk_refused += self.end.calls - active.end.calls;
        self.unmarked = true;
        (self.end, self.written, self.since) = (active.end, 0, None);
        self.tail = Tail::Known;
        self.weigh();
        Ok(())
    }

    /// Gives to the disk what is pending.
    fn give(&mut self) -> Result<(), SpoolError> {
        let Some(active) = self.segments.back() else { return Ok(()) };
        if self.pending.is_empty() {
            return Ok(());
        }
        let (name, offset) = (FileName::Segment(active.name), active.len + self.written);
        let given = self.disk.write(name, offset, &self.pending);
        given.map_err(|source| self.failed("write", name, source))?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Makes all that waits durable.
    fn settle(&mut self) -> Result<(), SpoolError> {
        self.give()?;
        let Some(active) = self.segments.back() else { return Ok(()) };
        if self.written == 0 {
            return Ok(());
        }
        let name = FileName::Segment(active.name);
        self.disk.sync(name).map_err(|source| self.failed("sync", name, source))?;
        if let Some(active) = self.segments.back_mut() {
            active.len += self.written;
            active.end = self.end;
        }
        (self.written, self.since) = (0, None);
        Ok(())
    }

    /// Begins a new segment; nothing waits. It is durable before a frame is in it.
    pub(crate) fn roll(&mut self) -> Result<(), SpoolError> {
        let (start, name) = (self.end, FileName::Segment(self.end.seq));
        let header = SegmentHeader::bytes(self.epoch, start);
        let disk = &mut self.disk;
        let made = (|| {
            disk.create(name)?;
            disk.write(name, 0, &header)?;
            disk.sync(name)?;
            disk.sync_names()
        })();
        self.tail = if made.is_ok() { Tail::Known } else { Tail::Closed };
        made.map_err(|source| self.failed("begin", name, source))?;
        let len = header.len() as u64;
        self.segments.push_back(Segment { name: start.seq, start, end: start, len });
        Ok(())
    }

    /// Writes the marks.
    pub(crate) fn mark(&mut self) -> Result<(), SpoolError> {
        let (end, next) = (self.durable(), self.generation + 1);
        self.write_marks(Marks { end, ..self.marks }, next)
    }

    /// Writes these marks in place of those before, which stand until they are durable.
    pub(crate) fn write_marks(&mut self, marks: Marks, next: u64) -> Result<(), SpoolError> {
        let (bytes, disk) = (marks.bytes(next), &mut self.disk);
        let written = disk
            .write(FileName::Marks, Marks::offset(next), &bytes)
            .and_then(|()| disk.sync(FileName::Marks));
        written.map_err(|source| self.failed("write", FileName::Marks, source))?;
        (self.marks, self.generation, self.unmarked) = (marks, next, false);
        Ok(())
    }

    /// The generation that the next marks have.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generation + 1
    }

    /// Whether nothing waits.
    pub(crate) fn is_settled(&self) -> bool {
        self.unsynced() == 0 && self.tail == Tail::Known
    }

    pub(crate) fn failed(
        &self,
        act: &'static str,
        name: FileName,
        source: io::Error,
    ) -> SpoolError {
        SpoolError::Disk { act, place: self.disk.place(name), source }
    }
}
