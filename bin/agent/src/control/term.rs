//! When the host's certificate is renewed.
//!
//! The server's times are by its own clock, from which the host's may be hours away. So what the host's clock says
//! is believed only as far as no wrong clock can do harm: time since boot decides beside it.

use std::time::Duration;

use api::agents::Joined;
use jiff::Timestamp;

use crate::engine::Now;

/// How long a certificate is held at least that came from the server. Each one is an entry in the server's ledger
/// for good, so no clock may make a loop of renewals; and a life of a day does without the few minutes.
const LEAST: Duration = Duration::from_secs(600);

/// Since when a certificate is held, and what the server said of its life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    renew_after: Timestamp,
    expires: Timestamp,
    /// When it came or, from the disk, when it was read.
    came: Now,
    origin: Origin,
}

/// Where a certificate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// From the server, so that it was new when it came.
    Server,
    /// From the disk, at any age.
    Disk,
}

impl Term {
    pub(super) const fn of(joined: &Joined, came: Now, origin: Origin) -> Self {
        let Joined { renew_after, expires, .. } = joined;
        Self { renew_after: *renew_after, expires: *expires, came, origin }
    }

    /// Whether the certificate should be renewed. `issued` is when the server issued the orders in force, and
    /// `spread` is this host's part of the time over which hosts spread.
    pub(super) fn is_due(&self, now: Now, issued: Option<Timestamp>, spread: Duration) -> bool {
        let held = now.boot.saturating_sub(self.came.boot);
        // The server has certificates renewed halfway. What is left after that is never longer than a whole life,
        // so that whoever renews after so long is in time.
        let enough = self.rest().saturating_sub(spread).max(LEAST);
        match self.origin {
            // How far the clock went counts, and not where it stands: time since boot stands still while a
            // virtual machine is put aside.
            Origin::Server => {
                let went = length(self.came.wall, now.wall);
                held >= LEAST && held.max(went) >= enough
            }
            Origin::Disk => {
                let at_least = issued.map_or(now.wall, |issued| issued.max(now.wall));
                let from = self.renew_after.checked_add(spread).unwrap_or(self.renew_after);
                // Not at once: a host that has just booted may not have asked for the time yet.
                let behind = held >= LEAST && self.is_ahead_of(now.wall);
                held >= enough || at_least >= from.min(self.expires) || behind
            }
        }
    }

    /// Whether the certificate was made in the future, so that the clock is wrong and says nothing of its age.
    fn is_ahead_of(&self, wall: Timestamp) -> bool {
        let made = self.renew_after.checked_sub(self.rest());
        // A few minutes are no reason to take a certificate that came a moment ago for an old one.
        let wall = wall.checked_add(LEAST);
        matches!((made, wall), (Ok(made), Ok(wall)) if wall < made)
    }

    /// From when it should be renewed to its end.
    fn rest(&self) -> Duration {
        length(self.renew_after, self.expires)
    }
}

/// From one time to another; nothing where that one is earlier.
fn length(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    /// What the clocks say when the host has run for so many minutes.
    fn now(boot: u32, wall: i64) -> Now {
        Now { boot: Duration::from_secs(60 * u64::from(boot)), wall: at(wall) }
    }

    /// A certificate that was made at 0, for a day, and that came when the clock said `wall`.
    fn term(origin: Origin, wall: i64) -> Term {
        let (renew_after, expires) = (at(12 * 60), at(24 * 60));
        Term { renew_after, expires, came: now(0, wall), origin }
    }

    /// Within two days, how many minutes such a certificate is held until it is due.
    fn held(origin: Origin, wall: i64) -> Option<u32> {
        let term = term(origin, wall);
        let due =
            |boot: &u32| term.is_due(now(*boot, wall + i64::from(*boot)), None, Duration::ZERO);
        (0..48 * 60).find(due)
    }

    #[test]
    fn a_new_certificate_is_renewed_halfway_wherever_the_clock_stands() {
        for hours in [-1_000, -24, -12, -1, 0, 1, 11, 12, 24, 1_000] {
            assert_eq!(held(Origin::Server, hours * 60), Some(12 * 60), "{hours} h ahead");
        }
    }

    #[test]
    fn a_clock_that_leaps_makes_no_loop_of_renewals() {
        let term = term(Origin::Server, 0);
        let least = u32::try_from(LEAST.as_secs() / 60).unwrap();
        assert!(!term.is_due(now(least - 1, 10_000), None, Duration::ZERO));
        // It may have slept for so long, which only the one clock saw.
        assert!(term.is_due(now(least, 10_000), None, Duration::ZERO));
        assert!(!term.is_due(now(least, -10_000), None, Duration::ZERO));
    }

    #[test]
    fn a_certificate_from_the_disk_is_renewed_when_the_clock_says_so() {
        assert_eq!(held(Origin::Disk, 0), Some(12 * 60));
        assert_eq!(held(Origin::Disk, 11 * 60), Some(60));
        assert_eq!(held(Origin::Disk, 13 * 60), Some(0));
        assert_eq!(held(Origin::Disk, 30 * 60), Some(0));
    }

    #[test]
    fn a_certificate_from_the_disk_is_renewed_in_time_by_a_clock_that_is_behind() {
        // So little that nobody can know: the other half of its life is left for it.
        assert_eq!(held(Origin::Disk, -5), Some(12 * 60));
        // It says that the certificate is yet to be made.
        for hours in [-1, -13, -1_000] {
            assert_eq!(held(Origin::Disk, hours * 60), Some(10), "{hours} h");
        }
        // The orders tell how late it is at least.
        let term = term(Origin::Disk, 60);
        assert!(term.is_due(now(0, 60), Some(at(13 * 60)), Duration::ZERO));
        assert!(!term.is_due(now(0, 60), Some(at(11 * 60)), Duration::ZERO));
    }

    #[test]
    fn hosts_that_joined_together_do_not_renew_together() {
        let spread = Duration::from_secs(60);
        let new = term(Origin::Server, 0);
        assert!(!new.is_due(now(718, 718), None, spread));
        assert!(new.is_due(now(719, 719), None, spread));
        let read = term(Origin::Disk, 60);
        assert!(!read.is_due(now(0, 720), None, spread));
        assert!(read.is_due(now(0, 721), None, spread));
    }

    #[test]
    fn a_life_that_means_nothing_makes_no_loop_either() {
        let mut term = term(Origin::Server, 0);
        (term.renew_after, term.expires) = (at(24 * 60), at(12 * 60));
        assert!(!term.is_due(now(9, 9), None, Duration::from_secs(300)));
        assert!(term.is_due(now(10, 10), None, Duration::from_secs(300)));
    }
}
