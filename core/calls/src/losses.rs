/// Why a shim could not tell of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShimLoss {
    /// Its buffer or its table was full: the agent was slow or away. On the wire `full`.
    Full,
    /// The line would have been too long. On the wire `long`.
    Long,
    /// The shim made a mistake, and caught it. On the wire `error`.
    Error,
    /// It had switched itself off after too many of them. On the wire `off`.
    Off,
    /// A reason that a later shim knows, and we do not.
    Other,
}

impl ShimLoss {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 5] = [Self::Full, Self::Long, Self::Error, Self::Off, Self::Other];

    /// The reason of this name on the wire.
    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|loss| loss.as_str() == name).unwrap_or(Self::Other)
    }

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Long => "long",
            Self::Error => "error",
            Self::Off => "off",
            Self::Other => "other",
        }
    }
}

/// How many calls a shim could not tell of, by reason, since it last said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses([u64; ShimLoss::ALL.len()]);

impl Losses {
    /// How many for this reason.
    pub fn of(&self, reason: ShimLoss) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// So many more.
    pub(crate) fn add(&mut self, reason: ShimLoss, count: u64) {
        if let Some(counter) = self.0.get_mut(reason as usize) {
            *counter = counter.saturating_add(count);
        }
    }
}
