use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::{
    FetchError, LeaseKey,
    policy::{REPAIR_MAX, RETRY_MAX},
};

/// How fast failures of one kind are tried again: the first wait and the longest, before jitter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    first: Duration,
    longest: Duration,
}

impl Pace {
    pub(crate) const fn of(error: &FetchError) -> Self {
        match error {
            FetchError::Unavailable(_) => UNAVAILABLE,
            FetchError::Throttled | FetchError::Clock(_) => THROTTLED,
            FetchError::Denied { .. }
            | FetchError::HostDenied { .. }
            | FetchError::Refused { .. }
            | FetchError::Misconfigured(_) => REPAIR,
        }
    }

    /// The wait after the `attempts`-th failure in a row: doubled each time up to the longest, then
    /// shortened by up to half, so that leases that failed together do not come back together.
    pub(crate) fn wait(self, attempts: u32, roll: u64) -> Duration {
        // Past 2^10 every pace is at its longest.
        let doubled = self.first.saturating_mul(1 << attempts.saturating_sub(1).min(10));
        let wait = doubled.min(self.longest);
        wait.saturating_sub(share(wait / 2, roll))
    }
}

const UNAVAILABLE: Pace = Pace { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
const THROTTLED: Pace = Pace { first: Duration::from_secs(5), longest: RETRY_MAX };
const REPAIR: Pace = Pace { first: Duration::from_secs(15), longest: REPAIR_MAX };

const _: () = assert!(UNAVAILABLE.longest.as_secs() <= RETRY_MAX.as_secs());
const _: () = assert!(UNAVAILABLE.first.as_secs() < THROTTLED.first.as_secs());
const _: () = assert!(UNAVAILABLE.longest.as_secs() < THROTTLED.longest.as_secs());
const _: () = assert!(RETRY_MAX.as_secs() < REPAIR_MAX.as_secs());
const _: () = assert!(REPAIR.first.as_secs() << 10 >= REPAIR_MAX.as_secs());

/// Between nothing and the whole, in 65,536 steps.
pub(crate) fn share(whole: Duration, roll: u64) -> Duration {
    whole.saturating_mul(u32::from(roll.to_le_bytes()[0]) << 8 | u32::from(roll.to_le_bytes()[1]))
        / 0x1_0000
}

/// A number that looks random and is the same for the same arguments, on every machine and release,
/// so that a run can be repeated from its seed.
pub(crate) fn roll(seed: u64, key: &LeaseKey, generation: u64, attempts: u32) -> u64 {
    let mut digest = Sha256::new();
    digest.update(seed.to_le_bytes());
    digest.update(generation.to_le_bytes());
    digest.update(attempts.to_le_bytes());
    digest.update(key.to_string());
    let digest = digest.finalize();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn denied() -> FetchError {
        FetchError::Denied { code: "AccessDenied".into(), message: String::new() }
    }

    #[track_caller]
    fn check(error: &FetchError, attempts: u32, seconds: u64) {
        let pace = Pace::of(error);
        let (longest, shortest) = (pace.wait(attempts, 0), pace.wait(attempts, u64::MAX));
        assert_eq!(longest, Duration::from_secs(seconds));
        assert!(shortest >= longest / 2 && shortest < longest * 51 / 100, "{shortest:?}");
    }

    #[test]
    fn waits_double_up_to_a_bound() {
        let unavailable = FetchError::Unavailable(String::new());
        for (attempts, seconds) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (u32::MAX, 60)] {
            check(&unavailable, attempts, seconds);
        }
    }

    #[test]
    fn throttling_is_answered_slower_than_silence() {
        for (attempts, seconds) in [(1, 5), (2, 10), (5, 80), (6, 120), (u32::MAX, 120)] {
            check(&FetchError::Throttled, attempts, seconds);
        }
    }

    #[test]
    fn what_a_person_must_repair_is_tried_seldom() {
        for (attempts, seconds) in [(1, 15), (2, 30), (6, 480), (7, 600), (u32::MAX, 600)] {
            check(&denied(), attempts, seconds);
            check(&FetchError::Misconfigured(String::new()), attempts, seconds);
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_never_nothing_and_never_unbounded(attempts: u32, roll: u64) {
            for error in [FetchError::Throttled, FetchError::Unavailable(String::new()), denied()] {
                let wait = Pace::of(&error).wait(attempts, roll);
                prop_assert!(wait >= Duration::from_millis(500) && wait <= REPAIR_MAX);
            }
        }
    }
}
