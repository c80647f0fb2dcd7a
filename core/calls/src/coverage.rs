use std::fmt;

use crate::{Losses, ShimLoss};

/// Why calls that were told of, or should have been, are in no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// The kernel had no room for a datagram.
    KernelDrop,
    /// The line could not be read: see [`Refused`](crate::Refused).
    Malformed,
    /// Its sender had used up what it may send.
    OverQuota,
    /// The spool was full.
    SpoolFull,
    /// The disk did not take it: it was full, or failed.
    DiskRefused,
    /// The spool had been written and could not be read any more.
    SpoolDamaged,
    /// A shim says so itself.
    Shim(ShimLoss),
}

impl Loss {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 11] = [
        Self::KernelDrop,
        Self::Malformed,
        Self::OverQuota,
        Self::SpoolFull,
        Self::DiskRefused,
        Self::SpoolDamaged,
        Self::Shim(ShimLoss::Full),
        Self::Shim(ShimLoss::Long),
        Self::Shim(ShimLoss::Error),
        Self::Shim(ShimLoss::Off),
        Self::Shim(ShimLoss::Other),
    ];

    /// The reason of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|loss| loss.as_str() == name)
    }

    /// Its name in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KernelDrop => "kernel-drop",
            Self::Malformed => "malformed",
            Self::OverQuota => "over-quota",
            Self::SpoolFull => "spool-full",
            Self::DiskRefused => "disk-refused",
            Self::SpoolDamaged => "spool-damaged",
            Self::Shim(ShimLoss::Full) => "shim-full",
            Self::Shim(ShimLoss::Long) => "shim-long",
            Self::Shim(ShimLoss::Error) => "shim-error",
            Self::Shim(ShimLoss::Off) => "shim-off",
            Self::Shim(ShimLoss::Other) => "shim-other",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::KernelDrop => 0,
            Self::Malformed => 1,
            Self::OverQuota => 2,
            Self::SpoolFull => 3,
            Self::DiskRefused => 4,
            Self::SpoolDamaged => 5,
            Self::Shim(loss) => 6 + loss as usize,
        }
    }
}

/// What became of something that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A record of its own was stored: a first sight.
    Stored,
    /// It is in the count of a record that was stored.
    Folded,
    /// It was an attempt of a call, which is told of on its own.
    Attempt,
    /// It is in no record.
    Lost(Loss),
}

/// The coverage ledger: what was sent, and what became of it, to the unit.
///
/// A unit is one call, or one attempt, that was told of or should have been. A line that cannot be read, and a
/// datagram that never arrived, is one, for nobody knows better. So every number is at least this large, and the
/// equation holds exactly: *sent = stored + folded + attempts + each loss + what is still held*.
///
/// ```
/// use calls::{Coverage, End, Loss};
///
/// let mut coverage = Coverage::default();
/// coverage.sent(10);
/// coverage.ended(End::Stored, 1);
/// coverage.ended(End::Folded, 6);
/// coverage.ended(End::Lost(Loss::SpoolFull), 1);
/// assert!(coverage.balance(2).is_ok());
/// assert_eq!(coverage.balance(0).unwrap_err().accounted, 8);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    sent: u64,
    stored: u64,
    folded: u64,
    attempts: u64,
    lost: [u64; Loss::ALL.len()],
}

/// What was sent is not what became of it: a mistake of ours, never of whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("coverage does not add up: {sent} were sent, and {accounted} are accounted for")]
pub struct Imbalance {
    /// What was sent.
    pub sent: u64,
    /// The sum of what became of it.
    pub accounted: u64,
}

impl Coverage {
    /// So many were sent, as far as we know of them.
    pub fn sent(&mut self, count: u64) {
        add(&mut self.sent, count);
    }

    /// This became of so many of those that were sent.
    pub fn ended(&mut self, end: End, count: u64) {
        match end {
            End::Stored => add(&mut self.stored, count),
            End::Folded => add(&mut self.folded, count),
            End::Attempt => add(&mut self.attempts, count),
            End::Lost(loss) => {
                if let Some(counter) = self.lost.get_mut(loss.index()) {
                    add(counter, count);
                }
            }
        }
    }

    /// So many never came: they were sent and lost at once. Kernel drops are told of in this way.
    pub fn never_came(&mut self, loss: Loss, count: u64) {
        self.sent(count);
        self.ended(End::Lost(loss), count);
    }

    /// A shim told of its own losses.
    pub fn told(&mut self, losses: &Losses) {
        for loss in ShimLoss::ALL {
            self.never_came(Loss::Shim(loss), losses.of(loss));
        }
    }

    /// Takes in what another ledger has, such as another sender's or an earlier run's.
    pub fn merge(&mut self, other: &Self) {
        self.sent(other.sent);
        for (end, count) in other.ends() {
            self.ended(end, count);
        }
    }

    /// What came since an earlier state of the same ledger.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = Self::default();
        since.sent(self.sent.saturating_sub(earlier.sent));
        for ((end, now), (_, before)) in self.ends().zip(earlier.ends()) {
            since.ended(end, now.saturating_sub(before));
        }
        since
    }

    /// Whether it adds up, with so many that are held and have no end yet.
    ///
    /// # Errors
    /// When it does not.
    pub fn balance(&self, held: u64) -> Result<(), Imbalance> {
        // Counters stop at their bound, a sum that went on beyond it would differ from it for no reason.
        let accounted = self.ends().fold(held, |sum, (_, count)| sum.saturating_add(count));
        let sent = self.sent;
        if sent == accounted { Ok(()) } else { Err(Imbalance { sent, accounted }) }
    }

    /// How many were sent.
    pub fn sent_in_all(&self) -> u64 {
        self.sent
    }

    /// How many ended in this way.
    pub fn of(&self, end: End) -> u64 {
        match end {
            End::Stored => self.stored,
            End::Folded => self.folded,
            End::Attempt => self.attempts,
            End::Lost(loss) => self.lost.get(loss.index()).copied().unwrap_or_default(),
        }
    }

    /// Every end with its count, in a fixed order.
    pub fn ends(&self) -> impl Iterator<Item = (End, u64)> {
        let plain = [End::Stored, End::Folded, End::Attempt].into_iter();
        plain.chain(Loss::ALL.into_iter().map(End::Lost)).map(|end| (end, self.of(end)))
    }

    /// How many are in no record.
    pub fn lost_in_all(&self) -> u64 {
        self.lost.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

fn add(counter: &mut u64, count: u64) {
    *counter = counter.saturating_add(count);
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
