//! What happens again and again, and is recorded once in a while: whoever asks in vain must not fill the ledger.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

/// How often the same refusal is recorded.
pub const EVERY: Duration = Duration::from_secs(60);

/// How many refusals of one host are told apart; all others of it are one.
const OF_HOST_MAX: usize = 16;

/// How many hosts are remembered before those are forgotten whose refusals are over.
const HOSTS_MAX: usize = 4096;

/// One thing that repeats.
#[derive(Debug, Default)]
pub struct Repeated {
    since: Option<Timestamp>,
    unsaid: u64,
}

impl Repeated {
    /// Counts one more. If it is to be recorded, answers how often it came since the last one that was.
    pub fn take(&mut self, now: Timestamp) -> Option<u64> {
        if self.is_fresh(now) {
            self.unsaid = self.unsaid.saturating_add(1);
            return None;
        }
        self.since = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        self.since.is_some_and(|since| now.duration_since(since).unsigned_abs() < EVERY)
    }
}

/// The refusals of every host. No host uses up what another one needs.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<String, OfHost>);

#[derive(Debug, Default)]
struct OfHost {
    told: BTreeMap<(String, &'static str), Repeated>,
    others: Repeated,
}

/// A refusal that is to be recorded.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// Whether it stands for all those of its host that are not told apart.
    pub others: bool,
    /// How often it came since the last one that was recorded.
    pub unsaid: u64,
}

impl Refusals {
    /// Counts that a host was refused something, and why.
    pub fn take(
        &mut self,
        host: &str,
        what: &str,
        why: &'static str,
        now: Timestamp,
    ) -> Option<Told> {
        if self.0.len() >= HOSTS_MAX && !self.0.contains_key(host) {
            self.0.retain(|_, of| {
                of.others.is_fresh(now) || of.told.values().any(|told| told.is_fresh(now))
            });
        }
        let of = self.0.entry(host.to_owned()).or_default();
        let key = (what.to_owned(), why);
        if of.told.len() >= OF_HOST_MAX && !of.told.contains_key(&key) {
            of.told.retain(|_, told| told.is_fresh(now));
        }
        let others = of.told.len() >= OF_HOST_MAX && !of.told.contains_key(&key);
        let repeated = if others { &mut of.others } else { of.told.entry(key).or_default() };
        repeated.take(now).map(|unsaid| Told { others, unsaid })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn the_first_is_told_and_the_rest_are_counted() {
        let mut repeated = Repeated::default();
        let told: Vec<_> = [0, 1, 59, 60, 61, 200].map(|now| repeated.take(at(now))).into();
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn a_clock_that_jumps_back_silences_nothing_for_long() {
        let mut repeated = Repeated::default();
        assert_eq!(repeated.take(at(100_000)), Some(0));
        assert_eq!(repeated.take(at(5)), Some(0));
    }

    #[test]
    fn a_host_that_invents_names_is_told_of_once_and_hides_no_other_host() {
        let mut refusals = Refusals::default();
        let told = |refusals: &mut Refusals, host: &str, name: usize| {
            refusals.take(host, &format!("orders/prod/{name}"), "not-running", at(1))
        };
        let mut recorded = 0;
        for name in 0..5000 {
            recorded += usize::from(told(&mut refusals, "h-thief", name).is_some());
        }
        assert_eq!(recorded, OF_HOST_MAX + 1);
        assert_eq!(told(&mut refusals, "h-other", 1), Some(Told { others: false, unsaid: 0 }));
        let later = refusals.take("h-thief", "orders/prod/9", "not-running", at(62));
        assert_eq!(later, Some(Told { others: false, unsaid: 0 }));
    }

    #[test]
    fn hosts_that_ask_in_vain_no_more_are_forgotten() {
        let mut refusals = Refusals::default();
        for host in 0..HOSTS_MAX {
            refusals.take(&format!("h-{host}"), "orders/prod/1", "not-running", at(0));
        }
        refusals.take("h-new", "orders/prod/1", "not-running", at(100));
        assert_eq!(refusals.0.len(), 1);
    }
}
