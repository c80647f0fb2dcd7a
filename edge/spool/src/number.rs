use std::fmt;

/// One life of a folder: 128 random bits that its opener gives when the folder is empty. Together with a
/// [`Seq`] it names a frame among those of all folders and all times.
///
/// ```
/// assert_eq!(spool::Epoch([0xab; 16]).to_string(), "ab".repeat(16));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub [u8; 16]);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The number of a frame in its epoch. The first is 1, and none is left out.
///
/// ```
/// assert_eq!(spool::Seq(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place between two frames. Because it counts calls as well, the distance of two places is exact even
/// where the frames between them can no longer be read.
///
/// ```
/// use spool::{Position, Seq};
/// let third = Position { seq: Seq(3), calls: 40 };
/// assert_eq!(third.after(2), Some(Position { seq: Seq(4), calls: 42 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The frame that comes next.
    pub seq: Seq,
    /// The calls of all frames before it.
    pub calls: u64,
}

impl Position {
    /// Before the first frame.
    pub const START: Self = Self { seq: Seq(1), calls: 0 };

    /// Behind one more frame; `None` where no number is left.
    pub fn after(self, calls: u32) -> Option<Self> {
        let seq = Seq(self.seq.0.checked_add(1)?);
        Some(Self { seq, calls: self.calls.checked_add(u64::from(calls))? })
    }

    /// Whether a frame that begins at `next` can follow: this is the very place, or frames are missing between.
    pub(crate) fn leads_to(self, next: Self) -> bool {
        self == next || (self.seq < next.seq && self.calls <= next.calls)
    }
}
