use crate::number::{Position, Seq};

/// Why calls are not in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The budget was used up.
    SpoolFull,
    /// The disk did not take them: it was full, or failed.
    DiskRefused,
    /// They were stored, and what is read back is not what was written, or is not there.
    Damaged,
}

impl Reason {
    /// The word for it in records.
    ///
    /// ```
    /// assert_eq!(spool::Reason::SpoolFull.as_str(), "spool_full");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SpoolFull => "spool_full",
            Self::DiskRefused => "disk_refused",
            Self::Damaged => "damaged",
        }
    }
}

/// How many calls were lost in this epoch, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// See [`Reason::SpoolFull`].
    pub spool_full: u64,
    /// See [`Reason::DiskRefused`].
    pub disk_refused: u64,
    /// See [`Reason::Damaged`].
    pub damaged: u64,
}

impl Losses {
    /// Of each kind together.
    pub fn total(&self) -> u64 {
        self.spool_full + self.disk_refused + self.damaged
    }
}

/// Where the calls are that were ever appended in this epoch.
///
/// INVARIANT (Tally): `taken = stored + waiting + lost.total()`, to the unit, at every moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Appended, whatever came of it.
    pub taken: u64,
    /// Durable and readable, or safely stored elsewhere and deleted here.
    pub stored: u64,
    /// Not durable yet.
    pub waiting: u64,
    /// Lost.
    pub lost: Losses,
}

/// Frames that cannot be read any more, ahead of the watermark. What is once in a gap is lost and is
/// never delivered, even if a second look would find it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gaps(Vec<(Position, Position)>);

/// How many gaps are remembered. On a disk with more of them, neighbours are joined, with the frames between.
const GAPS_MAX: usize = 4096;

impl Gaps {
    /// Adds everything from `from` to `to`.
    pub(crate) fn add(&mut self, from: Position, to: Position) {
        if from.seq >= to.seq {
            return;
        }
        let first = self.0.partition_point(|(_, end)| end.seq < from.seq);
        let behind = self.0.partition_point(|(start, _)| start.seq <= to.seq);
        let mut joined = (from, to);
        for (start, end) in self.0.drain(first..behind.max(first)) {
            joined = (joined.0.min(start), joined.1.max(end));
        }
        self.0.insert(first, joined);
        if self.0.len() > GAPS_MAX
            && let Some((_, end)) = self.0.pop()
            && let Some(last) = self.0.last_mut()
        {
            last.1 = end;
        }
    }

    /// Forgets what is before `watermark`, and says how many calls that were.
    pub(crate) fn pass(&mut self, watermark: Position) -> u64 {
        let mut calls = 0;
        for gap in &mut self.0 {
            let end = gap.1.min(watermark);
            if gap.0.seq < end.seq {
                calls += end.calls.saturating_sub(gap.0.calls);
                gap.0 = end;
            }
        }
        self.0.retain(|(from, to)| from.seq < to.seq);
        calls
    }

    /// The end of the gap that the frame is in.
    pub(crate) fn around(&self, seq: Seq) -> Option<Position> {
        let index = self.0.partition_point(|(_, end)| end.seq <= seq);
        self.0.get(index).filter(|(start, _)| start.seq <= seq).map(|(_, end)| *end)
    }

    /// How many calls are in gaps.
    pub(crate) fn calls(&self) -> u64 {
        self.0.iter().map(|(from, to)| to.calls.saturating_sub(from.calls)).sum()
    }

    /// How many frames are in gaps.
    pub(crate) fn frames(&self) -> u64 {
        self.0.iter().map(|(from, to)| to.seq.0.saturating_sub(from.seq.0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames stand for ten calls each.
    fn at(seq: u64) -> Position {
        Position { seq: Seq(seq), calls: (seq - 1) * 10 }
    }

    #[track_caller]
    fn check(added: &[(u64, u64)], wanted: &[(u64, u64)]) {
        let mut gaps = Gaps::default();
        added.iter().for_each(|(from, to)| gaps.add(at(*from), at(*to)));
        let wanted: Vec<_> = wanted.iter().map(|(from, to)| (at(*from), at(*to))).collect();
        assert_eq!(gaps.0, wanted);
    }

    #[test]
    fn gaps_that_touch_are_one_and_a_gap_seen_twice_counts_once() {
        check(&[(1, 3), (5, 6), (1, 3)], &[(1, 3), (5, 6)]);
        check(&[(1, 3), (5, 6), (3, 5)], &[(1, 6)]);
        check(&[(5, 6), (1, 9)], &[(1, 9)]);
        check(&[(5, 6), (1, 2), (7, 8)], &[(1, 2), (5, 6), (7, 8)]);
        check(&[(2, 2), (3, 1)], &[]);
    }

    #[test]
    fn a_watermark_in_a_gap_passes_the_part_before_it() {
        let mut gaps = Gaps::default();
        gaps.add(at(2), at(6));
        gaps.add(at(8), at(9));
        assert_eq!((gaps.calls(), gaps.frames()), (50, 5));
        assert_eq!(gaps.around(Seq(5)), Some(at(6)));
        assert_eq!(gaps.around(Seq(6)), None);
        assert_eq!(gaps.pass(at(4)), 20);
        assert_eq!(gaps.pass(at(4)), 0);
        assert_eq!(gaps.pass(at(20)), 30);
        assert_eq!(gaps.calls(), 0);
    }

    #[test]
    fn too_many_gaps_are_joined_with_what_is_between() {
        let mut gaps = Gaps::default();
        for seq in 1..=5000 {
            gaps.add(at(seq * 2), at(seq * 2 + 1));
        }
        assert_eq!(gaps.0.len(), GAPS_MAX);
        assert_eq!(gaps.around(Seq(9999)), Some(at(10_001)));
    }
}
