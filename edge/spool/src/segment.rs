use crate::{
    bytes::{Fields, crc32c},
    number::{Epoch, Position, Seq},
};

/// What a segment begins with, in bytes: magic, version, epoch, the place of its first frame, check sum.
pub const SEGMENT_HEADER_LEN: usize = 48;
/// The first version of the format. A higher one is refused, so that an older program never cuts what it
/// cannot read.
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"rc-spool";

/// What the first bytes of a segment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentHeader {
    /// The header of a segment in this epoch that begins there.
    Good(Epoch, Position),
    /// No header: a torn or damaged one.
    Damaged,
    /// The whole header of a later version.
    Newer(u32),
}

impl SegmentHeader {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        Self::read(bytes).unwrap_or(Self::Damaged)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; SEGMENT_HEADER_LEN] = bytes.first_chunk()?;
        let (summed, sum) = header.split_last_chunk::<4>()?;
        if !summed.starts_with(&MAGIC) || crc32c(&[summed]) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut fields = Fields(summed);
        let _magic = fields.u64()?;
        let version = fields.u32()?;
        if version != VERSION {
            return Some(Self::Newer(version));
        }
        let epoch = Epoch(fields.bytes()?);
        let start = Position { seq: Seq(fields.u64()?), calls: fields.u64()? };
        Some(Self::Good(epoch, start))
    }

    /// The header of a segment that begins at `start`.
    pub(crate) fn bytes(epoch: Epoch, start: Position) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_LEN);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(epoch.0);
        bytes.extend(start.seq.0.to_le_bytes());
        bytes.extend(start.calls.to_le_bytes());
        let sum = crc32c(&[&bytes]);
        bytes.extend(sum.to_le_bytes());
        bytes
    }
}

/// A segment that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The number in its file's name.
    pub(crate) name: Seq,
    /// Before its first frame.
    pub(crate) start: Position,
    /// Behind its last durable frame.
    pub(crate) end: Position,
    /// How many of its bytes are durable.
    pub(crate) len: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch([7; 16]);
    const START: Position = Position { seq: Seq(12), calls: 99 };

    #[test]
    fn a_header_is_read_back_and_a_cut_one_is_damage() {
        let bytes = SegmentHeader::bytes(EPOCH, START);
        assert_eq!(bytes.len(), SEGMENT_HEADER_LEN);
        assert_eq!(SegmentHeader::parse(&bytes), SegmentHeader::Good(EPOCH, START));
        for len in 0..bytes.len() {
            assert_eq!(SegmentHeader::parse(&bytes[..len]), SegmentHeader::Damaged);
        }
    }

    #[test]
    fn a_header_of_a_later_version_is_told_from_damage() {
        let mut bytes = SegmentHeader::bytes(EPOCH, START);
        bytes[8] = 2;
        assert_eq!(SegmentHeader::parse(&bytes), SegmentHeader::Damaged);
        let sum = crc32c(&[&bytes[..SEGMENT_HEADER_LEN - 4]]);
        bytes[SEGMENT_HEADER_LEN - 4..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(SegmentHeader::parse(&bytes), SegmentHeader::Newer(2));
    }
}
