use std::io;

use crate::{
    disk::{Disk, FileName},
    error::SpoolError,
    frame::Frame,
    number::{Position, Seq},
    pressure::Stage,
    segment::{SEGMENT_HEADER_LEN, Segment},
    spool::Spool,
    walk::Walk,
};

/// What was read of a segment.
enum Part {
    /// There is room for more.
    All,
    /// The next frame did not fit.
    Full,
}

impl<D: Disk> Spool<D> {
    /// Durable frames from number `from` on, in order: at least one where there is one, and then as many as have
    /// `bytes_max` bytes of payload together. None is from before the watermark.
    ///
    /// A number that is left out was damaged, and is counted in [`Spool::tally`]; it never comes later.
    ///
    /// # Errors
    /// When the disk cannot be read. Nothing is counted as lost then; asking again may help.
    pub fn read(&mut self, from: Seq, bytes_max: usize) -> Result<Vec<Frame>, SpoolError> {
        let from = from.max(self.marks.watermark.seq);
        let segments: Vec<Segment> =
            self.segments.iter().copied().filter(|segment| segment.end.seq > from).collect();
        let mut frames = Vec::new();
        for segment in segments {
            let part = self.read_segment(segment, from, bytes_max, &mut frames);
            let name = FileName::Segment(segment.name);
            if let Part::Full = part.map_err(|source| self.failed("read", name, source))? {
                break;
            }
        }
        Ok(frames)
    }

    /// Takes note that everything up to and with frame `up_to` is safely stored elsewhere, durably, and then
    /// deletes the segments that hold nothing else. Says where the watermark is.
    ///
    /// # Errors
    /// [`SpoolError::Ahead`] for a frame that was never durable here, and [`SpoolError::Disk`]; where
    /// [`Spool::watermark`] has moved in spite of it, only a deletion is late, and is tried again the next time.
    pub fn acknowledge(&mut self, up_to: Seq) -> Result<Position, SpoolError> {
        let (next, durable) = (Seq(up_to.0.saturating_add(1)), self.durable());
        if next > durable.seq {
            let last = Seq(durable.seq.0.saturating_sub(1));
            return Err(SpoolError::Ahead { asked: up_to, last });
        }
        if next > self.marks.watermark.seq {
            let target = self.place_of(next)?;
            let mut gaps = self.gaps.clone();
            let mut marks = self.marks;
            marks.lost.damaged += gaps.pass(target);
            (marks.watermark, marks.end) = (target, durable);
            // Before anything is deleted: a segment that is not there and should be is a loss.
            self.write_marks(marks, self.next_generation())?;
            self.gaps = gaps;
        }
        self.delete_segments()?;
        Ok(self.marks.watermark)
    }

    fn read_segment(
        &mut self,
        segment: Segment,
        from: Seq,
        bytes_max: usize,
        frames: &mut Vec<Frame>,
    ) -> io::Result<Part> {
        let mut walk = self.walk(segment, self.read_from, from);
        let mut bytes: usize = frames.iter().map(|frame| frame.payload.len()).sum();
        loop {
            let behind = walk.position();
            let Some(header) = walk.next(&mut self.disk)? else {
                self.gap(behind, segment.end);
                return Ok(Part::All);
            };
            self.gap(behind, header.at);
            if header.at.seq < from || self.gaps.around(header.at.seq).is_some() {
                continue;
            }
            bytes += header.len;
            if !frames.is_empty() && bytes > bytes_max {
                return Ok(Part::Full);
            }
            let (at, calls, payload) = (header.at, header.calls, walk.payload(&header));
            frames.push(Frame { at, calls, payload });
            self.read_from = Some((walk.name(), walk.good_len(), header.end));
        }
    }

    /// The place before frame `next`, or behind the gap that it is in.
    fn place_of(&mut self, next: Seq) -> Result<Position, SpoolError> {
        let segment = self.segments.iter().copied().find(|segment| segment.end.seq >= next);
        if let Some(segment) = segment.filter(|segment| segment.start.seq < next) {
            let walked = self.walk_to(segment, next);
            let name = FileName::Segment(segment.name);
            let place = walked.map_err(|source| self.failed("read", name, source))?;
            return Ok(self.gaps.around(place.seq).unwrap_or(place));
        }
        let start = segment.map_or(self.durable(), |segment| segment.start);
        let around = self.gaps.around(next);
        Ok(around.unwrap_or(start))
    }

    fn walk_to(&mut self, segment: Segment, next: Seq) -> io::Result<Position> {
        if segment.end.seq == next {
            return Ok(segment.end);
        }
        let mut walk = self.walk(segment, self.acknowledged_to, next);
        let mut place = walk.position();
        while place.seq < next {
            let behind = place;
            let found = walk.next(&mut self.disk)?;
            let at = found.map_or(segment.end, |header| header.at);
            self.gap(behind, at);
            place = match found {
                Some(header) if at.seq < next => header.end,
                _ => at,
            };
        }
        if place == walk.position() {
            self.acknowledged_to = Some((walk.name(), walk.good_len(), place));
        }
        Ok(place)
    }

    /// A walk that comes by frame `to`, from a place that is known where that is not behind it.
    fn walk(&self, segment: Segment, known: Option<(Seq, u64, Position)>, to: Seq) -> Walk {
        let known = known.filter(|(name, _, at)| *name == segment.name && at.seq <= to);
        let start = (SEGMENT_HEADER_LEN as u64, segment.start);
        let from = known.map_or(start, |(_, offset, at)| (offset, at));
        Walk::new(self.epoch, segment.name, from, segment.len)
    }

    fn gap(&mut self, from: Position, to: Position) {
        let watermark = self.marks.watermark;
        self.gaps.add(from.max(watermark), to.max(watermark));
    }

    /// Deletes segments before the watermark. The last one is replaced by an empty one if it is what
    /// takes the room.
    fn delete_segments(&mut self) -> Result<(), SpoolError> {
        self.delete_sealed()?;
        let all = self.durable().seq <= self.marks.watermark.seq;
        if !all || !self.is_settled() || self.stage() == Stage::Normal {
            return Ok(());
        }
        let Some(active) = self.segments.back_mut().filter(|active| active.end != active.start)
        else {
            return Ok(());
        };
        // First, so that a full disk has room for the next one.
        let (name, len) = (FileName::Segment(active.name), SEGMENT_HEADER_LEN as u64);
        match self.disk.cut(name, len) {
            Ok(()) => active.len = len,
            Err(source) => return Err(self.failed("cut", name, source)),
        }
        self.roll()?;
        self.delete_sealed()
    }

    fn delete_sealed(&mut self) -> Result<(), SpoolError> {
        while let Some(oldest) = self.segments.front().copied() {
            if self.segments.len() < 2 || oldest.end.seq > self.marks.watermark.seq {
                break;
            }
            let name = FileName::Segment(oldest.name);
            match self.disk.remove(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|source| self.failed("delete", name, source))?,
            }
            self.segments.pop_front();
        }
        self.weigh();
        Ok(())
    }
}
