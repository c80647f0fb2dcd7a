//! How often one address may ask what anybody may ask.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The most addresses that are remembered.
const REMEMBERED_MAX: usize = 16_384;
/// The most sessions that are remembered.
const SESSIONS_MAX: usize = 16_384;

/// A bucket for each address: it fills at a rate, and a request takes one out.
#[derive(Debug)]
pub struct Rate {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
    sessions: Mutex<HashSet<String>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rate {
    /// As a mean `per_second`, and `burst` at once.
    #[expect(clippy::cast_precision_loss, reason = "nobody counts requests to the 2^53rd")]
    pub fn new(per_second: u64, burst: u64) -> Self {
        Self {
            per_second: per_second as f64,
            burst: burst as f64,
            buckets: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// Whether an address may ask now.
    ///
    /// # Errors
    /// Where it may not: for how long.
    pub fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED_MAX {
            // Whose bucket is full again need not be remembered. Where all are busy, all begin anew: that
            // lets some ask more often, and lets nobody fill the memory.
            let full = |bucket: &Bucket| self.filled(bucket, now) >= self.burst;
            buckets.retain(|_, bucket| !full(bucket));
            if buckets.len() >= REMEMBERED_MAX {
                buckets.clear();
            }
        }
        let fresh = Bucket { left: self.burst, at: now };
        let bucket = buckets.entry(neighbourhood(address)).or_insert(fresh);
        let left = self.filled(bucket, now);
        if left < 1.0 {
            *bucket = Bucket { left, at: now };
            return Err(Duration::from_secs_f64((1.0 - left) / self.per_second));
        }
        *bucket = Bucket { left: left - 1.0, at: now };
        Ok(())
    }

    /// Whether a session, told by its hash, was good when it was last shown. Whoever shows such a one is somebody,
    /// and may ask however often others at their address do.
    pub(crate) fn knows(&self, session: &str) -> bool {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).contains(session)
    }

    /// A session is good.
    pub(crate) fn remember(&self, session: &str) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.contains(session) {
            return;
        }
        // Each of them costs its address one request more, once.
        if sessions.len() >= SESSIONS_MAX {
            sessions.clear();
        }
        sessions.insert(session.to_owned());
    }

    /// A session is not good, or not any more.
    pub(crate) fn forget(&self, session: &str) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(session);
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        since.mul_add(self.per_second, bucket.left).min(self.burst)
    }
}

/// Whoever has one IPv6 address has the whole network of 64 bits.
pub(super) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rate: &Rate, address: &str, now: Instant, allowed: bool) {
        assert_eq!(rate.take(address.parse().unwrap(), now).is_ok(), allowed, "{address}");
    }

    #[test]
    fn a_burst_passes_and_then_as_many_as_the_rate_lets() {
        let (rate, now) = (Rate::new(2, 3), Instant::now());
        for _ in 0..3 {
            check(&rate, "192.0.2.1", now, true);
        }
        check(&rate, "192.0.2.1", now, false);
        check(&rate, "::ffff:192.0.2.1", now, false);
        check(&rate, "192.0.2.2", now, true);
        let later = now + Duration::from_millis(500);
        check(&rate, "192.0.2.1", later, true);
        check(&rate, "192.0.2.1", later, false);
    }

    #[test]
    fn the_addresses_of_one_network_are_one() {
        let (rate, now) = (Rate::new(1, 1), Instant::now());
        check(&rate, "2001:db8::1", now, true);
        check(&rate, "2001:db8::2", now, false);
        check(&rate, "2001:db8:0:1::1", now, true);
    }

    #[test]
    fn many_addresses_do_not_fill_the_memory() {
        let (rate, now) = (Rate::new(1, 1), Instant::now());
        for number in 0..40_000_u32 {
            let _ = rate.take(IpAddr::V4(number.into()), now);
        }
        assert!(rate.buckets.lock().unwrap().len() <= REMEMBERED_MAX);
    }

    #[test]
    fn many_sessions_do_not_fill_the_memory() {
        let rate = Rate::new(1, 1);
        for number in 0..40_000_u32 {
            rate.remember(&number.to_string());
        }
        assert!(rate.sessions.lock().unwrap().len() <= SESSIONS_MAX);
        assert!(rate.knows("39999") && !rate.knows("0"));
        rate.forget("39999");
        assert!(!rate.knows("39999"));
    }
}
