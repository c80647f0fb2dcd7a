use std::time::Duration;

use jiff::Timestamp;

use crate::KeyRing;

/// When a ring's keys are published, change, and go.
///
/// ```text
/// since          since + rotate_every - lead       since + rotate_every         + retention
///   └── active ────────────┴── next is published ─────────┴── next signs ───────────┴── old is gone
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    rotate_every: Option<Duration>,
    lead: Duration,
    retention: Duration,
}

/// What a schedule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A key that will sign next: make one and [`KeyRing::publish`] it.
    Publish,
    /// The waiting key's turn: [`KeyRing::rotate`].
    Rotate,
    /// The end of retired keys: [`KeyRing::prune`].
    Prune,
}

/// The schedule would lose tokens or never rotate; the operator corrects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// Verifiers would meet keys that they have not read yet.
    #[error("a key must be published for {least:?} at least before it signs: `{0:?}`", least = KeyRing::LEAD)]
    Lead(Duration),
    /// Verifiers would lack keys of tokens that live.
    #[error("a key must stay for {least:?} at least after it signed: `{0:?}`", least = KeyRing::RETENTION)]
    Retention(Duration),
    /// The next key would have to be published before the one that signs.
    #[error(
        "keys must sign for longer than the {lead:?} that the next one is published before: `{every:?}`"
    )]
    Every {
        /// How long a key shall sign.
        every: Duration,
        /// How long the next one is published before.
        lead: Duration,
    },
}

impl Schedule {
    /// How long a key signs unless said otherwise: 30 days.
    pub const ROTATE_EVERY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

    /// A schedule. Without `rotate_every` keys change only when somebody says so, and still go by themselves.
    ///
    /// # Errors
    /// Where a live token could meet a verifier that does not know its key.
    pub fn new(
        rotate_every: Option<Duration>,
        lead: Duration,
        retention: Duration,
    ) -> Result<Self, InvalidSchedule> {
        if lead < KeyRing::LEAD {
            return Err(InvalidSchedule::Lead(lead));
        }
        if retention < KeyRing::RETENTION {
            return Err(InvalidSchedule::Retention(retention));
        }
        match rotate_every {
            Some(every) if every <= lead => Err(InvalidSchedule::Every { every, lead }),
            _ => Ok(Self { rotate_every, lead, retention }),
        }
    }

    /// When a key that signs since then gives way; never, where nobody said how often.
    pub(crate) fn turn(&self, since: Timestamp) -> Option<Timestamp> {
        self.rotate_every.map(|every| later(since, every))
    }

    /// When the key whose turn comes then must be published.
    pub(crate) fn before(&self, turn: Timestamp) -> Timestamp {
        turn.checked_sub(self.lead).unwrap_or(Timestamp::MIN)
    }

    /// When a key that was published then may sign.
    pub(crate) fn ready(&self, published: Timestamp) -> Timestamp {
        later(published, self.lead)
    }

    /// Until when a key that signed last then stays published.
    pub(crate) fn until(&self, signed: Timestamp) -> Timestamp {
        later(signed, self.retention)
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            rotate_every: Some(Self::ROTATE_EVERY),
            lead: KeyRing::LEAD,
            retention: KeyRing::RETENTION,
        }
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

// INVARIANT (TimeToPublish): by default the next key is published while the one before it signs.
const _: () = assert!(Schedule::ROTATE_EVERY.as_secs() > KeyRing::LEAD.as_secs());
