//! The two clocks, read here alone, and how far one of them is from the cloud's.

use std::sync::{Mutex, PoisonError};

use credentials::{Outcome, policy::SKEW_NOTED};
use jiff::{SignedDuration, Timestamp};

use crate::engine::Now;

/// Both clocks, now.
pub fn now() -> Now {
    Now { boot: linux::clock::boot(), wall: Timestamp::now() }
}

/// How far the host's wall clock is from the source's, as fetches show it. Leases do not suffer,
/// but SDKs on this host compare with the same clock.
#[derive(Debug, Default)]
pub struct Skew(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By the last fetch: positive where the host is behind.
    behind: Option<SignedDuration>,
    /// What the operator was told last; nothing at first, which is no skew.
    told: SignedDuration,
}

impl Skew {
    /// Takes in what a fetch showed. Says what the operator is to be told, if it changed.
    pub fn saw(&self, outcome: &Outcome) -> Option<String> {
        let Outcome::Held { skew, .. } = outcome else { return None };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.behind = skew.map(|skew| skew.behind);
        let behind = known.behind.unwrap_or_default();
        // Answers take their time, so that no two fetches show quite the same.
        if behind.saturating_sub(known.told).unsigned_abs() < SKEW_NOTED {
            return None;
        }
        known.told = behind;
        let seconds = behind.unsigned_abs().as_secs();
        Some(if behind.is_zero() {
            "the host's clock agrees with STS's again".to_owned()
        } else if behind.is_positive() {
            format!("the host's clock is {seconds} s behind STS's: look at its time service")
        } else {
            format!(
                "the host's clock is {seconds} s ahead of STS's, or STS grants shorter lives than \
                 asked: look at its time service"
            )
        })
    }

    /// How many seconds the host is behind by the last fetch, negative if it is ahead; `None` where
    /// the two agree within a minute.
    pub fn behind_s(&self) -> Option<i64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.behind.map(|behind| behind.as_secs())
    }
}
