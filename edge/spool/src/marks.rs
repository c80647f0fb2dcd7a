use crate::{
    bytes::{Fields, crc32c},
    number::{Epoch, Position, Seq},
    tally::Losses,
};

/// What must outlive the segments: how far the sender is, and what was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) epoch: Epoch,
    /// Everything before it is safely stored elsewhere, or counted as lost.
    pub(crate) watermark: Position,
    /// Behind what was durable when this was written. What is missing before it was acknowledged once.
    pub(crate) end: Position,
    /// What was lost; of the damaged, those before the watermark.
    pub(crate) lost: Losses,
}

/// Where the two copies begin in their file, in bytes: in blocks of their own, so that writing one
/// cannot tear the other.
const SLOTS: [usize; 2] = [0, 4096];
/// The length of the file in bytes. It never changes, so that a full disk can still take a new copy.
pub(crate) const MARKS_LEN: usize = 8192;
const MAGIC: [u8; 8] = *b"rc-marks";
/// Moves together with that of the segments, by which a later version is refused.
const VERSION: u32 = 1;

impl Marks {
    /// A life that begins.
    pub(crate) fn new(epoch: Epoch) -> Self {
        let (watermark, end) = (Position::START, Position::START);
        Self { epoch, watermark, end, lost: Losses::default() }
    }

    /// One copy; a later one has a higher `generation`.
    pub(crate) fn bytes(&self, generation: u64) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(generation.to_le_bytes());
        bytes.extend(self.epoch.0);
        let Self { watermark, end, lost, .. } = self;
        let numbers = [watermark.seq.0, watermark.calls, end.seq.0, end.calls];
        let losses = [lost.spool_full, lost.disk_refused, lost.damaged];
        for number in numbers.iter().chain(&losses) {
            bytes.extend(number.to_le_bytes());
        }
        let sum = crc32c(&[&bytes]);
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    /// Where the copy of a generation goes: each takes turns, so the one before stays whole.
    pub(crate) fn offset(generation: u64) -> u64 {
        let [first, second] = SLOTS;
        if generation.is_multiple_of(2) { first as u64 } else { second as u64 }
    }

    /// The later of the copies that are whole, and its generation.
    pub(crate) fn latest(file: &[u8]) -> Option<(Self, u64)> {
        let copies = SLOTS.iter().filter_map(|at| Self::parse(file.get(*at..)?));
        copies.max_by_key(|(_, generation)| *generation)
    }

    fn parse(bytes: &[u8]) -> Option<(Self, u64)> {
        const LEN: usize = 8 + 4 + 8 + 16 + 7 * 8;
        let (copy, rest) = bytes.split_first_chunk::<LEN>()?;
        if !copy.starts_with(&MAGIC) || Fields(rest).u32() != Some(crc32c(&[copy])) {
            return None;
        }
        let mut fields = Fields(copy);
        let _magic = fields.u64()?;
        if fields.u32()? != VERSION {
            return None;
        }
        let generation = fields.u64()?;
        let epoch = Epoch(fields.bytes()?);
        let mut position = || Some(Position { seq: Seq(fields.u64()?), calls: fields.u64()? });
        let (watermark, end) = (position()?, position()?);
        let spool_full = fields.u64()?;
        let (disk_refused, damaged) = (fields.u64()?, fields.u64()?);
        let lost = Losses { spool_full, disk_refused, damaged };
        Some((Self { epoch, watermark, end, lost }, generation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(seq: u64) -> Marks {
        let lost = Losses { spool_full: 1, disk_refused: 2, damaged: 3 };
        let watermark = Position { seq: Seq(seq), calls: 4 };
        let end = Position { seq: Seq(seq + 1), calls: 5 };
        Marks { epoch: Epoch([7; 16]), watermark, end, lost }
    }

    fn file(copies: &[(Marks, u64)]) -> Vec<u8> {
        let mut file = vec![0; MARKS_LEN];
        for (marks, generation) in copies {
            let start = usize::try_from(Marks::offset(*generation)).unwrap();
            let bytes = marks.bytes(*generation);
            file[start..start + bytes.len()].copy_from_slice(&bytes);
        }
        file
    }

    #[test]
    fn the_later_copy_counts() {
        assert_eq!(Marks::latest(&file(&[(marks(1), 4), (marks(2), 5)])), Some((marks(2), 5)));
        assert_eq!(Marks::latest(&file(&[(marks(3), 6), (marks(2), 5)])), Some((marks(3), 6)));
        assert_eq!(Marks::latest(&file(&[])), None);
    }

    #[test]
    fn a_copy_torn_at_any_byte_leaves_the_one_before() {
        let new = marks(9).bytes(6);
        for torn in 0..new.len() {
            let mut file = file(&[(marks(1), 4), (marks(2), 5)]);
            file[..torn].copy_from_slice(&new[..torn]);
            file[torn] ^= 1;
            let (latest, generation) = Marks::latest(&file).unwrap();
            assert_eq!((latest, generation), (marks(2), 5), "torn at {torn}");
        }
    }
}
