//! What SDKs do with the agent's answers: their arithmetic, as read in their source.

use std::time::Duration;

use agent::engine::Caller;
use metadata::Door;

use crate::random::Random;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Whose habits a client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sdk {
    /// botocore, for boto3 and the AWS CLI.
    Python,
    Rust,
    JavaScript,
    Go,
    Java,
    Ruby,
    /// No SDK: asks all the time, to see what an SDK could see.
    Poller(Duration),
}

pub(crate) const SDKS: [Sdk; 6] =
    [Sdk::Python, Sdk::Rust, Sdk::JavaScript, Sdk::Go, Sdk::Java, Sdk::Ruby];

/// One client of a workload.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The place of its workload.
    pub(crate) place: usize,
    pub(crate) sdk: Sdk,
    pub(crate) door: Door,
    /// Its connection, while that is kept alive.
    pub(crate) caller: Option<Caller>,
    /// Its session token, and when it asks for another.
    pub(crate) token: Option<(String, Duration)>,
    /// The name of the role that it was told.
    pub(crate) role_name: String,
    /// The credentials that it uses.
    pub(crate) holds: Option<usize>,
    pub(crate) tries_left: u32,
    /// Counts what it was told to do next, so that what was planned before is void.
    pub(crate) turn: u64,
}

impl Client {
    pub(crate) fn new(place: usize, sdk: Sdk, door: Door) -> Self {
        Self {
            place,
            sdk,
            door,
            caller: None,
            token: None,
            role_name: String::new(),
            holds: None,
            tries_left: 0,
            turn: 0,
        }
    }

    /// The process starts anew.
    pub(crate) fn forget(&mut self) {
        (self.caller, self.token, self.holds) = (None, None, None);
        self.turn += 1;
    }
}

impl Sdk {
    /// How often it tries before it gives up, within one wish for credentials.
    pub(crate) const fn tries(self, door: Door) -> u32 {
        match (self, door) {
            (Self::Rust, _) | (Self::JavaScript, Door::Container | Door::PodIdentity) => 4,
            (Self::Go, _) | (Self::Python, Door::Container | Door::PodIdentity) => 3,
            _ => 1,
        }
    }

    /// The life of the session tokens that it asks for, in seconds.
    pub(crate) const fn token_life(self) -> u64 {
        match self {
            Self::Go => 300,
            _ => 21_600,
        }
    }

    /// How long before its end it takes a session token for too old; those that do not keep
    /// tokens ask every time.
    pub(crate) const fn keeps_token(self) -> Option<Duration> {
        match self {
            Self::Rust | Self::Poller(_) => Some(Duration::from_secs(120)),
            Self::Go => Some(Duration::from_secs(10)),
            Self::Python | Self::JavaScript | Self::Java | Self::Ruby => None,
        }
    }

    /// When it asks again, having been given credentials with `left` until their printed end by
    /// the host's wall clock. Nothing left means that they look expired: static stability.
    pub(crate) fn asks_again(self, left: Duration, random: &mut Random) -> Duration {
        let minutes = |random: &mut Random, from: u64, to: u64| {
            Duration::from_secs(random.within((from * 60, to * 60)))
        };
        match self {
            Self::Poller(every) => every,
            Self::Python => {
                let jitter = minutes(random, 2, 10);
                if left < 15 * MINUTE + jitter { jitter } else { left - 15 * MINUTE }
            }
            Self::Rust if left.is_zero() => minutes(random, 10, 15),
            Self::Rust => left.saturating_sub(10 * SECOND),
            Self::JavaScript if left < 5 * MINUTE => minutes(random, 5, 10),
            Self::Go if left < 5 * MINUTE => minutes(random, 5, 15),
            Self::Go => left.min(60 * MINUTE) - 5 * MINUTE,
            Self::Java if left < 15 * MINUTE => 5 * MINUTE,
            Self::Java => left - 15 * MINUTE,
            Self::Ruby if left < 5 * MINUTE => minutes(random, 5, 6),
            Self::JavaScript | Self::Ruby => left - 5 * MINUTE,
        }
        .max(SECOND)
    }

    /// When it asks again, having been refused to the end of its tries while it `holds`
    /// credentials, or has none at all.
    pub(crate) fn after_failure(self, holds: bool, random: &mut Random) -> Duration {
        match self {
            Self::Poller(every) => every.min(20 * SECOND),
            _ if holds => Duration::from_secs(random.within((5 * 60, 10 * 60))),
            // The program is started again.
            _ => Duration::from_secs(random.within((2, 20))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    #[track_caller]
    fn check(sdk: Sdk, left: u64, (from, to): (u64, u64)) {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        let mut random = Random::new(Seed(1));
        for _ in 0..100 {
            let again = sdk.asks_again(minutes(left), &mut random);
            assert!(again >= minutes(from) && again <= minutes(to), "{sdk:?}: {again:?}");
        }
    }

    #[test]
    fn each_sdk_asks_again_as_its_source_says() {
        check(Sdk::Python, 60, (45, 45));
        check(Sdk::Python, 16, (1, 10));
        check(Sdk::JavaScript, 60, (55, 55));
        check(Sdk::Go, 720, (55, 55));
        check(Sdk::Java, 10, (5, 5));
        check(Sdk::Ruby, 0, (5, 6));
        check(Sdk::Rust, 0, (10, 15));
    }
}
