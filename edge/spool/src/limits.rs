use std::time::Duration;

use crate::{frame::FRAME_HEADER_LEN, segment::SEGMENT_HEADER_LEN};

/// What the spool may use, and when what waits is due.
///
/// ```
/// let limits = spool::Limits { budget_bytes: 256 << 20, ..Default::default() };
/// assert_eq!(limits.commit_bytes, 256 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long all segments may be together, in bytes. The marks come on top, with 8 KiB.
    pub budget_bytes: u64,
    /// How long a segment may get before the next is begun, in bytes; one frame always fits. It is at
    /// most an eighth of the budget, because only whole segments are deleted.
    pub segment_bytes: u64,
    /// How many bytes may wait for a sync before it is due. As many are held in memory at most, and
    /// a frame.
    pub commit_bytes: usize,
    /// How long a frame may wait for a sync before it is due.
    pub commit_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            budget_bytes: 1 << 30,
            segment_bytes: 64 << 20,
            commit_bytes: 256 * 1024,
            commit_wait: Duration::from_millis(50),
        }
    }
}

impl Limits {
    /// How long a segment gets in fact, in bytes.
    pub(crate) fn segment_len(&self) -> u64 {
        let least = (SEGMENT_HEADER_LEN + FRAME_HEADER_LEN) as u64;
        self.segment_bytes.min(self.budget_bytes / 8).max(least)
    }
}

/// When the next sync is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextSync {
    /// Nothing waits for one.
    Idle,
    /// Now.
    Now,
    /// After so long, unless more is appended.
    In(Duration),
}

impl NextSync {
    /// With `bytes` waiting, the first since `since`. A clock that went back makes it due: waiting until the clock
    /// is where it was could take for ever.
    pub(crate) fn of(limits: &Limits, bytes: u64, since: Option<Duration>, now: Duration) -> Self {
        let Some(since) = since else { return Self::Idle };
        let waited = now.checked_sub(since).unwrap_or(limits.commit_wait);
        let left = limits.commit_wait.saturating_sub(waited);
        if left.is_zero() || bytes >= limits.commit_bytes as u64 {
            Self::Now
        } else {
            Self::In(left)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[track_caller]
    fn check(bytes: u64, since: Option<u64>, now: u64, next: NextSync) {
        assert_eq!(NextSync::of(&Limits::default(), bytes, since.map(MS), MS(now)), next);
    }

    #[test]
    fn a_sync_is_due_after_50_ms_or_256_kib() {
        check(0, None, 9, NextSync::Idle);
        check(1, Some(100), 100, NextSync::In(MS(50)));
        check(1, Some(100), 149, NextSync::In(MS(1)));
        check(1, Some(100), 150, NextSync::Now);
        check(256 * 1024, Some(100), 100, NextSync::Now);
    }

    #[test]
    fn a_clock_that_jumps_back_makes_a_sync_due_and_does_not_put_it_off() {
        check(1, Some(100), 99, NextSync::Now);
    }

    #[test]
    fn a_segment_is_at_most_an_eighth_of_the_budget() {
        let len = |budget_bytes, segment_bytes| {
            Limits { budget_bytes, segment_bytes, ..Limits::default() }.segment_len()
        };
        assert_eq!(len(1 << 30, 64 << 20), 64 << 20);
        assert_eq!(len(80 << 20, 64 << 20), 10 << 20);
        assert_eq!(len(0, 0), 84);
    }
}
