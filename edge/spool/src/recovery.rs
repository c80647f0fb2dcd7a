use std::{collections::VecDeque, io};

use crate::{
    disk::{Disk, FileName},
    error::SpoolError,
    marks::{MARKS_LEN, Marks},
    number::{Epoch, Position, Seq},
    segment::{SEGMENT_HEADER_LEN, Segment, SegmentHeader},
    tally::Gaps,
    walk::Walk,
};

/// What was found when the spool was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the numbers go on.
    pub life: Life,
    /// Bytes at the end that made no frame, and were cut off. Nobody was told that they were kept.
    pub torn_bytes: u64,
    /// Frames ahead of the watermark that were stored and cannot be read any more.
    pub damaged_frames: u64,
    /// The calls that they stood for; of a life that is over, at least so many.
    pub damaged_calls: u64,
    /// Whether the marks could not be read. The watermark is then the oldest frame that is there, and what was
    /// lost before is not known any more.
    pub marks_lost: bool,
}

/// Whether the numbers go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// No segment could be read: a new epoch begins with frame 1.
    New,
    /// The epoch that was there goes on.
    Continued,
}

/// What a spool goes on from.
pub(crate) struct Found {
    pub(crate) marks: Marks,
    pub(crate) generation: u64,
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) end: Position,
    pub(crate) gaps: Gaps,
    /// Whether the last segment can be written to.
    pub(crate) appendable: bool,
    pub(crate) report: Recovery,
}

/// A segment's file as it lies there.
struct Lying {
    name: Seq,
    len: u64,
    header: SegmentHeader,
}

/// Finds what was kept. `epoch` is for a new life.
pub(crate) fn recover(disk: &mut impl Disk, epoch: Epoch) -> Result<Found, SpoolError> {
    let names = disk.names();
    let names = names.map_err(|source| failed(disk, "list", FileName::Marks, source))?;
    let read = read_marks(disk, &names)?;
    let lying = lying(disk, &names)?;
    let good = lying.iter().find_map(|file| match file.header {
        SegmentHeader::Good(epoch, start) => Some((epoch, start)),
        SegmentHeader::Damaged | SegmentHeader::Newer(_) => None,
    });
    let from_header =
        good.map(|(epoch, start)| (Marks { watermark: start, end: start, ..Marks::new(epoch) }, 0));
    let Some((marks, generation)) = read.or(from_header) else {
        return begin(disk, epoch, &lying, None);
    };
    refuse_strangers(disk, &lying, marks.epoch)?;
    let report = Recovery {
        life: Life::Continued,
        torn_bytes: 0,
        damaged_frames: 0,
        damaged_calls: 0,
        marks_lost: read.is_none(),
    };
    if report.marks_lost {
        make_marks(disk, marks)?;
    }
    let (segments, gaps, end) = (VecDeque::new(), Gaps::default(), marks.watermark);
    let mut found = Found { marks, generation, segments, end, gaps, appendable: false, report };
    for (index, file) in lying.iter().enumerate() {
        found.take(disk, file, lying.get(index + 1))?;
    }
    if found.segments.is_empty() {
        return begin(disk, epoch, &lying, read.map(|(marks, _)| marks));
    }
    let synced = disk.sync_names();
    synced.map_err(|source| failed(disk, "list", FileName::Marks, source))?;
    found.finish();
    Ok(found)
}

impl Found {
    /// Takes one more segment; `next` is the file behind it.
    fn take(
        &mut self,
        disk: &mut impl Disk,
        file: &Lying,
        next: Option<&Lying>,
    ) -> Result<(), SpoolError> {
        let name = FileName::Segment(file.name);
        if next.is_some_and(|next| self.is_below(next)) {
            // Deleting it was not durable.
            return remove(disk, name);
        }
        let start = self.start(file);
        let walked = self.walk(disk, file, start);
        let Walked { end, good_len, known_len } =
            walked.map_err(|source| failed(disk, "read", name, source))?;
        let header_holds = matches!(file.header, SegmentHeader::Good(..));
        if !header_holds && end == start {
            // It was being begun, or nothing in it can be read. What is missing shows between its neighbours.
            self.report.torn_bytes += file.len;
            return remove(disk, name);
        }
        let mut len = file.len;
        if next.is_none() {
            let kept = rewrite(disk, name, known_len, good_len)
                .and_then(|()| disk.cut(name, good_len))
                .and_then(|()| disk.sync(name));
            kept.map_err(|source| failed(disk, "keep", name, source))?;
            self.report.torn_bytes += len.saturating_sub(good_len);
            (len, self.appendable) = (good_len, header_holds);
        }
        self.segments.push_back(Segment { name: file.name, start, end, len });
        self.end = end;
        Ok(())
    }

    /// Whether a file begins at or before the watermark.
    fn is_below(&self, file: &Lying) -> bool {
        match file.header {
            SegmentHeader::Good(_, start) => start.seq <= self.marks.watermark.seq,
            SegmentHeader::Damaged | SegmentHeader::Newer(_) => false,
        }
    }

    /// Where a segment begins: as its header says, and where the one before ended if that cannot be.
    fn start(&mut self, file: &Lying) -> Position {
        let SegmentHeader::Good(_, said) = file.header else { return self.end };
        // The oldest one may begin before the watermark.
        if self.segments.is_empty() && said < self.end {
            return said;
        }
        if !self.end.leads_to(said) {
            return self.end;
        }
        self.gap(self.end, said);
        said
    }

    fn walk(&mut self, disk: &mut impl Disk, file: &Lying, start: Position) -> io::Result<Walked> {
        let from = (SEGMENT_HEADER_LEN as u64, start);
        let mut walk = Walk::new(self.marks.epoch, file.name, from, file.len);
        let (mut end, mut known_len) = (start, 0);
        while let Some(header) = walk.next(disk)? {
            self.gap(end, header.at);
            end = header.end;
            if end <= self.marks.end {
                known_len = walk.good_len();
            }
        }
        Ok(Walked { end, good_len: walk.good_len(), known_len })
    }

    fn gap(&mut self, from: Position, to: Position) {
        let watermark = self.marks.watermark;
        self.gaps.add(from.max(watermark), to.max(watermark));
    }

    /// What the marks saw at the end and is not there any more was acknowledged once: its numbers are not
    /// given again.
    fn finish(&mut self) {
        let seen = self.marks.end.max(self.marks.watermark);
        if seen.seq > self.end.seq {
            let to = Position { seq: seen.seq, calls: seen.calls.max(self.end.calls) };
            self.gap(self.end, to);
            (self.end, self.appendable) = (to, false);
        }
        self.report.damaged_frames = self.gaps.frames();
        self.report.damaged_calls = self.gaps.calls();
    }
}

/// What a walk through a segment found.
struct Walked {
    /// Behind its last frame.
    end: Position,
    /// The same, in bytes.
    good_len: u64,
    /// How many of its bytes were durable when the marks were written.
    known_len: u64,
}

/// Writes bytes again that are there. After a sync that failed, the kernel may show bytes that the disk does not
/// have, and take them for synced; a process that comes after cannot tell.
fn rewrite(disk: &mut impl Disk, name: FileName, from: u64, to: u64) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    let mut offset = from;
    while offset < to {
        let left = usize::try_from(to - offset).unwrap_or(usize::MAX).min(bytes.len());
        let part = bytes.get_mut(..left).unwrap_or_default();
        if disk.read(name, offset, part)? < left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        disk.write(name, offset, part)?;
        offset += left as u64;
    }
    Ok(())
}

fn read_marks(
    disk: &mut impl Disk,
    names: &[FileName],
) -> Result<Option<(Marks, u64)>, SpoolError> {
    if !names.contains(&FileName::Marks) {
        return Ok(None);
    }
    let mut bytes = vec![0; MARKS_LEN];
    let read = disk.read(FileName::Marks, 0, &mut bytes);
    read.map_err(|source| failed(disk, "read", FileName::Marks, source))?;
    Ok(Marks::latest(&bytes))
}

/// The segments that are there, the oldest first.
fn lying(disk: &mut impl Disk, names: &[FileName]) -> Result<Vec<Lying>, SpoolError> {
    let mut files = Vec::new();
    for name in names {
        let FileName::Segment(seq) = *name else { continue };
        let mut bytes = vec![0; SEGMENT_HEADER_LEN];
        let read = disk.read(*name, 0, &mut bytes);
        let count = read.map_err(|source| failed(disk, "read", *name, source))?;
        bytes.truncate(count);
        let len = disk.len(*name).map_err(|source| failed(disk, "measure", *name, source))?;
        files.push(Lying { name: seq, len, header: SegmentHeader::parse(&bytes) });
    }
    files.sort_by_key(|file| file.name);
    Ok(files)
}

fn refuse_strangers(disk: &impl Disk, lying: &[Lying], epoch: Epoch) -> Result<(), SpoolError> {
    for file in lying {
        let place = disk.place(FileName::Segment(file.name));
        match file.header {
            SegmentHeader::Newer(version) => return Err(SpoolError::Newer { place, version }),
            SegmentHeader::Good(other, _) if other != epoch => {
                return Err(SpoolError::OtherEpoch(place));
            }
            SegmentHeader::Good(..) | SegmentHeader::Damaged => {}
        }
    }
    Ok(())
}

/// Begins a new life. What lies there cannot be read; `before` are the marks of the life that is over.
fn begin(
    disk: &mut impl Disk,
    epoch: Epoch,
    lying: &[Lying],
    before: Option<Marks>,
) -> Result<Found, SpoolError> {
    refuse_strangers(disk, lying, epoch)?;
    let names = disk.names().map_err(|source| failed(disk, "list", FileName::Marks, source))?;
    for name in names.into_iter().filter(|name| *name != FileName::Marks) {
        remove(disk, name)?;
    }
    let marks = Marks::new(epoch);
    make_marks(disk, marks)?;
    let kept = before.map_or((0, 0), |marks| {
        let frames = marks.end.seq.0.saturating_sub(marks.watermark.seq.0);
        (frames, marks.end.calls.saturating_sub(marks.watermark.calls))
    });
    let report = Recovery {
        life: Life::New,
        torn_bytes: lying.iter().map(|file| file.len).sum(),
        damaged_frames: kept.0,
        damaged_calls: kept.1,
        marks_lost: false,
    };
    Ok(Found {
        marks,
        generation: 0,
        segments: VecDeque::new(),
        end: Position::START,
        gaps: Gaps::default(),
        appendable: false,
        report,
    })
}

/// Makes the file of the marks, in its full length.
fn make_marks(disk: &mut impl Disk, marks: Marks) -> Result<(), SpoolError> {
    let mut bytes = marks.bytes(0);
    bytes.resize(MARKS_LEN, 0);
    let made = (|| {
        disk.create(FileName::Marks)?;
        disk.write(FileName::Marks, 0, &bytes)?;
        disk.sync(FileName::Marks)?;
        disk.sync_names()
    })();
    made.map_err(|source| failed(disk, "make", FileName::Marks, source))
}

fn remove(disk: &mut impl Disk, name: FileName) -> Result<(), SpoolError> {
    match disk.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| failed(disk, "remove", name, source)),
    }
}

fn failed(disk: &impl Disk, act: &'static str, name: FileName, source: io::Error) -> SpoolError {
    SpoolError::Disk { act, place: disk.place(name), source }
}
