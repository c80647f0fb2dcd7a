use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use secret::SecretText;

use crate::{LeaseId, policy::SKEW_NOTED};

/// What a source answered.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Starts with `ASIA`; not a secret, and the name by which every call made with it is known.
    pub access_key_id: String,
    /// Signs.
    pub secret_access_key: SecretText,
    /// Goes with every request.
    pub session_token: SecretText,
    /// How long a life was asked for (`DurationSeconds`).
    pub requested: Duration,
    /// When STS says that they end, on STS's clock. Printed, never used to decide.
    pub expiration: Timestamp,
    /// When they were fetched, on the host's clock. Printed, never used to decide.
    pub fetched: Timestamp,
}

impl Credentials {
    /// Whether a part is missing. An SDK takes such an answer for a success and then signs with
    /// nothing, so it must never be held.
    pub(crate) fn is_empty(&self) -> bool {
        self.access_key_id.is_empty()
            || self.secret_access_key.expose().is_empty()
            || self.session_token.expose().is_empty()
    }

    /// How long they live, counted from the start of the fetch.
    ///
    /// What was asked for, unless the printed end comes earlier. A wall clock that runs behind
    /// makes the printed end look later: ignored. One so far ahead that the end seems past: ignored
    /// too.
    pub(crate) fn life(&self, wall: Timestamp) -> Duration {
        match Duration::try_from(self.expiration.duration_since(wall)) {
            Ok(left) if !left.is_zero() => left.min(self.requested),
            _ => self.requested,
        }
    }

    pub(crate) fn skew(&self, wall: Timestamp) -> Option<ClockSkew> {
        let requested = SignedDuration::try_from(self.requested).unwrap_or(SignedDuration::MAX);
        let behind = self.expiration.duration_since(wall).saturating_sub(requested);
        (behind.unsigned_abs() >= SKEW_NOTED).then_some(ClockSkew { behind })
    }
}

/// The printed end and the life that was asked for do not agree.
///
/// The host's wall clock is wrong, or the source granted less than was asked. Leases do not suffer,
/// but an SDK on this host compares the printed end with the same clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSkew {
    /// How far the host's clock is behind the source's; negative if it is ahead.
    pub behind: SignedDuration,
}

/// Credentials with a life: what is served.
///
/// Cheap to clone: the secrets are shared, and wiped when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Held {
    credentials: Arc<Credentials>,
    lease: LeaseId,
    generation: u64,
    started: Duration,
    life: Duration,
    skew: Option<ClockSkew>,
}

impl Held {
    pub(crate) fn new(
        credentials: Credentials,
        (lease, generation): (LeaseId, u64),
        started: Duration,
        wall: Timestamp,
    ) -> Self {
        let (life, skew) = (credentials.life(wall), credentials.skew(wall));
        Self { credentials: Arc::new(credentials), lease, generation, started, life, skew }
    }

    /// The credentials.
    pub const fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    /// Which lease. With [`Self::generation`] it names these credentials for good, so a rendered
    /// body may be kept under the two.
    pub const fn lease(&self) -> LeaseId {
        self.lease
    }

    /// One for a lease's first credentials, and one more for each renewal.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// How long ago their fetch started.
    pub const fn age(&self, boot: Duration) -> Duration {
        boot.saturating_sub(self.started)
    }

    /// How much life is left; zero at the end. The table never lends out a lease with none.
    pub const fn left(&self, boot: Duration) -> Duration {
        self.end().saturating_sub(boot)
    }

    /// When they end, on the boot clock.
    pub const fn end(&self) -> Duration {
        self.started.saturating_add(self.life)
    }

    /// The whole life.
    pub const fn life(&self) -> Duration {
        self.life
    }

    /// Whether the wall clock was found wrong when they were fetched.
    pub const fn skew(&self) -> Option<ClockSkew> {
        self.skew
    }

    pub(crate) const fn started(&self) -> Duration {
        self.started
    }
}
