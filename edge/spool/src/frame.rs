use crate::{
    bytes::{Fields, crc32c},
    number::{Epoch, Position},
};

/// The longest payload of a frame, in bytes.
pub const PAYLOAD_MAX: usize = 1024 * 1024;
/// What stands before a payload, in bytes: magic, length, calls, sequence number, calls before, check sum of
/// the payload, check sum of all this.
pub const FRAME_HEADER_LEN: usize = 36;
/// The longest frame, in bytes.
pub(crate) const FRAME_MAX: usize = FRAME_HEADER_LEN + PAYLOAD_MAX;

/// How a frame begins. Where bytes are damaged, the next one is looked for.
pub(crate) const MAGIC: [u8; 4] = *b"\xf5RCF";

/// What the header of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Where it belongs.
    pub(crate) at: Position,
    /// Behind it.
    pub(crate) end: Position,
    /// How many calls it stands for.
    pub(crate) calls: u32,
    /// The length of its payload in bytes, at most [`PAYLOAD_MAX`].
    pub(crate) len: usize,
    crc: u32,
}

impl FrameHeader {
    /// The length of the frame in bytes.
    pub(crate) fn frame_len(&self) -> usize {
        FRAME_HEADER_LEN + self.len
    }

    /// Reads a header off the front. Its own check sum is verified before its length is believed, and covers the
    /// epoch, so that what a workload puts into a payload is never taken for a frame.
    pub(crate) fn parse(epoch: Epoch, bytes: &[u8]) -> Option<Self> {
        let header: &[u8; FRAME_HEADER_LEN] = bytes.first_chunk()?;
        let (summed, sum) = header.split_last_chunk::<4>()?;
        if !summed.starts_with(&MAGIC) || crc32c(&[&epoch.0, summed]) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut fields = Fields(summed);
        let _magic = fields.u32()?;
        let len = usize::try_from(fields.u32()?).ok().filter(|len| *len <= PAYLOAD_MAX)?;
        let calls = fields.u32()?;
        let at = Position { seq: crate::Seq(fields.u64()?), calls: fields.u64()? };
        Some(Self { at, end: at.after(calls)?, calls, len, crc: fields.u32()? })
    }

    /// Whether this is the payload that belongs to it.
    pub(crate) fn covers(&self, payload: &[u8]) -> bool {
        payload.len() == self.len && crc32c(&[payload]) == self.crc
    }
}

/// Appends a frame to `out`. The caller has checked that the payload is no longer than [`PAYLOAD_MAX`].
pub(crate) fn write(epoch: Epoch, at: Position, calls: u32, payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.reserve(FRAME_HEADER_LEN + payload.len());
    out.extend(MAGIC);
    out.extend(len.to_le_bytes());
    out.extend(calls.to_le_bytes());
    out.extend(at.seq.0.to_le_bytes());
    out.extend(at.calls.to_le_bytes());
    out.extend(crc32c(&[payload]).to_le_bytes());
    let sum = crc32c(&[&epoch.0, out.get(start..).unwrap_or_default()]);
    out.extend(sum.to_le_bytes());
    out.extend(payload);
}

/// A frame as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its number, and the calls of all frames before it.
    pub at: Position,
    /// How many calls it stands for; none where it only tells something.
    pub calls: u32,
    /// What was appended.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The frame in the form that it has on disk, for a receiver who shall check it again.
    ///
    /// ```
    /// use spool::{Epoch, Frame, Piece, Position, Scan};
    ///
    /// let epoch = Epoch([1; 16]);
    /// let frame = Frame { at: Position::START, calls: 3, payload: b"three calls".to_vec() };
    /// let sent = frame.to_bytes(epoch);
    /// let got: Vec<Piece> = Scan::new(epoch, Position::START, &sent).collect();
    /// assert_eq!(got, [Piece::Frame(frame)]);
    /// ```
    pub fn to_bytes(&self, epoch: Epoch) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(epoch, self.at, self.calls, &self.payload, &mut bytes);
        bytes
    }

    /// Behind it.
    pub fn end(&self) -> Option<Position> {
        self.at.after(self.calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch([7; 16]);

    #[test]
    fn a_frame_with_any_bit_flipped_is_not_that_frame() {
        let mut bytes = Vec::new();
        write(EPOCH, Position::START, 2, b"payload", &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let header = FrameHeader::parse(EPOCH, &flipped);
            let good = header.is_some_and(|header| header.covers(&flipped[FRAME_HEADER_LEN..]));
            assert!(!good, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_epoch_is_none() {
        let mut bytes = Vec::new();
        write(EPOCH, Position::START, 2, b"payload", &mut bytes);
        assert!(FrameHeader::parse(EPOCH, &bytes).is_some());
        assert!(FrameHeader::parse(Epoch([8; 16]), &bytes).is_none());
    }
}
