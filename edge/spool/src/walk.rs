use std::io;

use crate::{
    disk::{Disk, FileName},
    frame::{FRAME_HEADER_LEN, FRAME_MAX, FrameHeader},
    number::{Epoch, Position, Seq},
    scan::{Step, step},
};

/// How many bytes are read at once, unless a frame is longer.
const CHUNK: usize = 64 * 1024;

/// Reads the frames of one segment in order, in memory bounded by the longest frame.
#[derive(Debug)]
pub(crate) struct Walk {
    epoch: Epoch,
    name: Seq,
    /// Where the next frame should begin, in bytes.
    offset: u64,
    /// How far the file may be read, in bytes.
    limit: u64,
    /// Behind the last frame.
    expected: Position,
    /// Behind the last frame, in bytes.
    good: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl Walk {
    /// Walks the segment `name` up to `limit` bytes, from a frame at `expected` on that begins at `offset`.
    pub(crate) fn new(epoch: Epoch, name: Seq, from: (u64, Position), limit: u64) -> Self {
        let (offset, expected) = (from.0.min(limit), from.1);
        let window = Vec::new();
        Self { epoch, name, offset, limit, expected, good: offset, window, window_at: offset }
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next(&mut self, disk: &mut impl Disk) -> io::Result<Option<FrameHeader>> {
        let mut wanted = FRAME_HEADER_LEN;
        loop {
            self.fill(disk, wanted)?;
            let whole = self.window_at + self.window.len() as u64 >= self.limit;
            match step(self.epoch, self.expected, self.ahead(), whole) {
                Step::More(len) => wanted = len.min(FRAME_MAX),
                Step::End => return Ok(None),
                Step::Bad(len) => {
                    self.offset = (self.offset + len as u64).min(self.limit);
                    wanted = FRAME_HEADER_LEN;
                }
                Step::Frame(header) => {
                    self.offset += header.frame_len() as u64;
                    (self.good, self.expected) = (self.offset, header.end);
                    return Ok(Some(header));
                }
            }
        }
    }

    /// The payload of the frame that came last.
    pub(crate) fn payload(&self, header: &FrameHeader) -> Vec<u8> {
        let end = usize::try_from(self.offset - self.window_at).unwrap_or(usize::MAX);
        let payload = end.checked_sub(header.len).and_then(|start| self.window.get(start..end));
        payload.unwrap_or_default().to_vec()
    }

    /// Behind the last frame.
    pub(crate) fn position(&self) -> Position {
        self.expected
    }

    /// Behind the last frame, in bytes.
    pub(crate) fn good_len(&self) -> u64 {
        self.good
    }

    /// Which segment it walks.
    pub(crate) fn name(&self) -> Seq {
        self.name
    }

    fn ahead(&self) -> &[u8] {
        let start = usize::try_from(self.offset - self.window_at).unwrap_or(usize::MAX);
        self.window.get(start..).unwrap_or_default()
    }

    /// Sees to it that `wanted` bytes are ahead, as far as the file goes.
    fn fill(&mut self, disk: &mut impl Disk, wanted: usize) -> io::Result<()> {
        let left = self.limit - self.offset;
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
        if self.ahead().len() >= wanted {
            return Ok(());
        }
        let passed = usize::try_from(self.offset - self.window_at).unwrap_or(usize::MAX);
        self.window.drain(..passed.min(self.window.len()));
        self.window_at = self.offset;
        let held = self.window.len();
        let size = wanted.max(CHUNK).min(usize::try_from(left).unwrap_or(usize::MAX));
        self.window.resize(size.max(held), 0);
        let room = self.window.get_mut(held..).unwrap_or_default();
        let name = FileName::Segment(self.name);
        let count = disk.read(name, self.offset + held as u64, room)?;
        self.window.truncate(held + count);
        if count == 0 {
            // The file is shorter than it was: what is missing is damage.
            self.limit = self.offset + held as u64;
        }
        Ok(())
    }
}
