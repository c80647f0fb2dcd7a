//! How long to wait before the server is asked again.

use std::time::Duration;

/// The wait after the first failure.
pub const FIRST: Duration = Duration::from_millis(500);
/// The longest wait: a flip reaches a host so soon after its server is back.
pub const LONGEST: Duration = Duration::from_secs(10);
/// The wait of a host that was revoked: nothing but a person's act can change that.
pub const REVOKED: Duration = Duration::from_secs(300);

/// Waits that double with each failure in a row, each shortened by up to half at random: hosts that lost
/// their server together do not come back together.
#[derive(Clone, Debug)]
pub struct Patience {
    random: u64,
    failures: u32,
    longest: Duration,
}

impl Patience {
    /// Nothing has failed yet. `seed` spreads the hosts; it is no secret.
    pub const fn new(seed: u64, longest: Duration) -> Self {
        Self { random: seed, failures: 0, longest }
    }

    /// It worked.
    pub const fn calm(&mut self) {
        self.failures = 0;
    }

    /// It failed: how long to wait.
    pub fn wait(&mut self) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let wait = doubled.min(self.longest);
        wait - self.part(wait / 2)
    }

    /// A part of a time, by chance.
    pub fn part(&mut self, whole: Duration) -> Duration {
        // SplitMix64: <https://prng.di.unimi.it/splitmix64.c>
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let [high, low, ..] = (z ^ (z >> 31)).to_be_bytes();
        whole.saturating_mul(u32::from(u16::from_be_bytes([high, low]))) / 0x1_0000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut patience = Patience::new(7, LONGEST);
        for doubled in [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            let wait = patience.wait();
            let longest = Duration::from_millis(doubled);
            assert!(wait <= longest && wait >= longest / 2, "{wait:?} of {longest:?}");
        }
        patience.calm();
        assert!(patience.wait() <= FIRST);
    }

    #[test]
    fn hosts_that_failed_together_do_not_come_back_together() {
        let wait = |seed| Patience::new(seed, LONGEST).wait();
        let waits: std::collections::BTreeSet<_> = (0..100).map(wait).collect();
        assert!(waits.len() > 90, "{}", waits.len());
    }
}
