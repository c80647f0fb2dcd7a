use crate::{
    frame::{FRAME_HEADER_LEN, Frame, FrameHeader, MAGIC},
    number::{Epoch, Position},
};

/// What the front of some bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A whole frame.
    Frame(FrameHeader),
    /// So many bytes, one at least, that belong to no frame.
    Bad(usize),
    /// Not to be told before so many bytes are there; never more than a frame has.
    More(usize),
    /// There are no more bytes.
    End,
}

/// Looks at the front of `window`, where a frame at or behind `expected` should begin. `whole` says that nothing
/// follows the window.
///
/// A frame whose header holds and whose payload does not is passed over by its length. Where the header
/// does not hold either, the next frame that fits is looked for: one that was acknowledged is not
/// given up because of a neighbour. Time is linear in the bytes, because a header holds only with
/// a check sum over the epoch, which the makers of payloads do not know.
pub(crate) fn step(epoch: Epoch, expected: Position, window: &[u8], whole: bool) -> Step {
    if window.is_empty() && whole {
        return Step::End;
    }
    if window.len() < FRAME_HEADER_LEN && !whole {
        return Step::More(FRAME_HEADER_LEN);
    }
    let header = FrameHeader::parse(epoch, window);
    let Some(header) = header.filter(|header| expected.leads_to(header.at)) else {
        return Step::Bad(next_start(window, whole));
    };
    match window.get(FRAME_HEADER_LEN..header.frame_len()) {
        Some(payload) if header.covers(payload) => Step::Frame(header),
        Some(_) => Step::Bad(header.frame_len()),
        None if whole => Step::Bad(next_start(window, whole)),
        None => Step::More(header.frame_len()),
    }
}

/// How many bytes there are before the next ones that could begin a frame.
fn next_start(window: &[u8], whole: bool) -> usize {
    let later = window.get(1..).unwrap_or_default();
    let found = later.windows(MAGIC.len()).position(|bytes| bytes == MAGIC);
    // The last bytes may be the first half of a beginning.
    let none = if whole { window.len() } else { window.len().saturating_sub(MAGIC.len() - 1) };
    found.map_or(none, |at| at + 1).max(1)
}

/// Frames in bytes that may be damaged, in order: what a receiver of frames sees.
///
/// Nothing in it panics, takes longer than linear time, or holds more than one frame.
///
/// ```
/// use spool::{Epoch, Frame, Piece, Position, Scan, Seq};
///
/// let epoch = Epoch([1; 16]);
/// let second = Position { seq: Seq(2), calls: 1 };
/// let mut bytes = Frame { at: Position::START, calls: 1, payload: vec![0; 9] }.to_bytes(epoch);
/// bytes[40] ^= 1;
/// bytes.extend(Frame { at: second, calls: 1, payload: vec![] }.to_bytes(epoch));
/// let pieces: Vec<Piece> = Scan::new(epoch, Position::START, &bytes).collect();
/// assert_eq!(pieces[0], Piece::Bad { offset: 0, len: 45 });
/// assert!(matches!(&pieces[1], Piece::Frame(frame) if frame.at == second));
/// ```
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    epoch: Epoch,
    expected: Position,
    offset: usize,
    rest: &'a [u8],
}

/// A part of what was scanned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole frame. Where its place is not right behind the one before, those between are missing.
    Frame(Frame),
    /// Bytes that belong to no frame.
    Bad {
        /// From the beginning, in bytes.
        offset: usize,
        /// How many.
        len: usize,
    },
}

impl<'a> Scan<'a> {
    /// Scans `bytes` for frames at or behind `expected`. A segment's header is not part of them: see
    /// [`SEGMENT_HEADER_LEN`](crate::SEGMENT_HEADER_LEN).
    pub fn new(epoch: Epoch, expected: Position, bytes: &'a [u8]) -> Self {
        Self { epoch, expected, offset: 0, rest: bytes }
    }

    fn skip(&mut self, len: usize) {
        self.offset += len;
        self.rest = self.rest.get(len..).unwrap_or_default();
    }
}

impl Iterator for Scan<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let offset = self.offset;
        loop {
            match step(self.epoch, self.expected, self.rest, true) {
                Step::Bad(len) => self.skip(len),
                // Told once for all bad bytes in a row.
                _ if self.offset > offset => {
                    return Some(Piece::Bad { offset, len: self.offset - offset });
                }
                Step::Frame(header) => {
                    let payload = self.rest.get(FRAME_HEADER_LEN..header.frame_len())?.to_vec();
                    self.expected = header.end;
                    self.skip(header.frame_len());
                    return Some(Piece::Frame(Frame {
                        at: header.at,
                        calls: header.calls,
                        payload,
                    }));
                }
                Step::More(_) | Step::End => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch([7; 16]);

    /// Frames that stand for 1, 2, 3 … calls.
    fn frames(count: u32) -> Vec<Frame> {
        let mut at = Position::START;
        let make = |calls: u32| {
            let payload = vec![0xf5; usize::try_from(calls).unwrap() * 3];
            let frame = Frame { at, calls, payload };
            at = frame.end().unwrap();
            frame
        };
        (1..=count).map(make).collect()
    }

    fn found(bytes: &[u8]) -> Vec<Frame> {
        let frame = |piece| match piece {
            Piece::Frame(frame) => Some(frame),
            Piece::Bad { .. } => None,
        };
        Scan::new(EPOCH, Position::START, bytes).filter_map(frame).collect()
    }

    fn bytes(frames: &[Frame]) -> Vec<u8> {
        frames.iter().flat_map(|frame| frame.to_bytes(EPOCH)).collect()
    }

    /// Damages bytes; those frames are found.
    #[track_caller]
    fn check(damage: impl Fn(&mut Vec<u8>), wanted: &[usize]) {
        let all = frames(4);
        let mut bytes = bytes(&all);
        damage(&mut bytes);
        let wanted: Vec<Frame> = wanted.iter().map(|index| all[*index].clone()).collect();
        assert_eq!(found(&bytes), wanted);
    }

    #[test]
    fn a_flipped_bit_costs_the_frame_that_it_is_in_and_no_other() {
        let all = frames(4);
        let whole = bytes(&all);
        let mut start = 0;
        for (index, frame) in all.iter().enumerate() {
            let end = start + frame.to_bytes(EPOCH).len();
            for bit in start * 8..end * 8 {
                let wanted: Vec<usize> = (0..4).filter(|other| *other != index).collect();
                check(|bytes| bytes[bit / 8] ^= 1 << (bit % 8), &wanted);
            }
            start = end;
        }
        assert_eq!(start, whole.len());
    }

    #[test]
    fn bytes_cut_anywhere_leave_the_frames_before() {
        let all = frames(4);
        let ends: Vec<usize> = (0..=4).map(|count| bytes(&all[..count]).len()).collect();
        for len in 0..=ends[4] {
            let whole: Vec<usize> = (0..4).filter(|index| ends[index + 1] <= len).collect();
            check(|bytes| bytes.truncate(len), &whole);
        }
    }

    #[test]
    fn bytes_in_between_and_zeroes_behind_are_passed_over() {
        check(|bytes| bytes.splice(0..0, *b"\xf5RC\xf5RCF").for_each(drop), &[0, 1, 2, 3]);
        check(|bytes| bytes.extend([0; 9000]), &[0, 1, 2, 3]);
    }

    #[test]
    fn a_frame_that_comes_again_is_none() {
        check(|bytes| bytes.extend(frames(2)[1].to_bytes(EPOCH)), &[0, 1, 2, 3]);
    }

    #[test]
    fn a_window_is_filled_up_before_it_is_judged() {
        let bytes = bytes(&frames(1));
        assert_eq!(step(EPOCH, Position::START, &bytes[..9], false), Step::More(FRAME_HEADER_LEN));
        let but_one = &bytes[..bytes.len() - 1];
        assert_eq!(step(EPOCH, Position::START, but_one, false), Step::More(bytes.len()));
        assert!(matches!(step(EPOCH, Position::START, but_one, true), Step::Bad(_)));
        assert_eq!(step(EPOCH, Position::START, b"", true), Step::End);
    }
}
