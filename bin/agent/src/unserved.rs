//! Namespaces that should be served and cannot be yet.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use linux::Found;
use serde::Serialize;

/// How long to wait after a first failure.
const FIRST: Duration = Duration::from_secs(1);
/// How long to wait after many.
const LONGEST: Duration = Duration::from_secs(30);

/// How long to wait before something is tried again: longer each time, and never very long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The wait after one more failure.
    pub fn wait(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST);
        wait
    }
}

/// Namespaces of the watched folder that cannot be served, each with the time of its next trial.
#[derive(Debug, Default)]
pub struct Unserved(BTreeMap<String, Waiting>);

#[derive(Debug)]
struct Waiting {
    found: Found,
    reason: String,
    backoff: Backoff,
    due: Instant,
}

/// What is said of a namespace that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnservedSummary {
    /// The name that rules would see.
    pub name: String,
    /// What is in the way.
    pub reason: String,
}

impl Unserved {
    /// It could not be served. Says whether that is news: the first failure, or another reason.
    pub fn failed(&mut self, found: Found, reason: String, now: Instant) -> bool {
        let before = self.0.remove(&found.name).filter(|before| before.found == found);
        let news = before.as_ref().is_none_or(|before| before.reason != reason);
        let mut backoff = before.map(|before| before.backoff).unwrap_or_default();
        let due = now + backoff.wait();
        self.0.insert(found.name.clone(), Waiting { found, reason, backoff, due });
        news
    }

    /// It is served or gone. Says whether it was waiting.
    pub fn forget(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// Those to try again now.
    pub fn due(&self, now: Instant) -> Vec<Found> {
        let due = self.0.values().filter(|waiting| waiting.due <= now);
        due.map(|waiting| waiting.found.clone()).collect()
    }

    /// When the next is to be tried again.
    pub fn next_due(&self) -> Option<Instant> {
        self.0.values().map(|waiting| waiting.due).min()
    }

    /// All of them.
    pub fn summaries(&self) -> Vec<UnservedSummary> {
        let summary = |(name, waiting): (&String, &Waiting)| UnservedSummary {
            name: name.clone(),
            reason: waiting.reason.clone(),
        };
        self.0.iter().map(summary).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, inode: u64) -> Found {
        Found { name: name.to_owned(), path: format!("/run/netns/{name}").into(), inode }
    }

    #[test]
    fn the_wait_doubles_from_one_second_to_thirty() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..7).map(|_| backoff.wait().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_namespace_is_tried_again_when_its_wait_is_over_and_not_before() {
        let (mut unserved, start) = (Unserved::default(), Instant::now());
        assert_eq!(unserved.next_due(), None);
        let (web, mut now) = (found("web", 1), start);
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            unserved.failed(web.clone(), "port 80".to_owned(), now);
            let due = now + Duration::from_secs(wait);
            assert_eq!(unserved.next_due(), Some(due));
            assert_eq!(unserved.due(due - Duration::from_millis(1)), []);
            assert_eq!(unserved.due(due), std::slice::from_ref(&web));
            now = due;
        }
    }

    #[test]
    fn the_same_failure_is_news_once() {
        let (mut unserved, now) = (Unserved::default(), Instant::now());
        let mut failed = |inode, reason: &str| {
            let news = unserved.failed(found("web", inode), reason.to_owned(), now);
            (news, unserved.next_due().unwrap() - now)
        };
        assert_eq!(failed(1, "port 80"), (true, Duration::from_secs(1)));
        assert_eq!(failed(1, "port 80"), (false, Duration::from_secs(2)));
        assert_eq!(failed(1, "no memory"), (true, Duration::from_secs(4)));
        // Another namespace took the name: it begins anew.
        assert_eq!(failed(2, "no memory"), (true, Duration::from_secs(1)));
    }

    #[test]
    fn what_is_served_or_gone_waits_no_longer() {
        let (mut unserved, now) = (Unserved::default(), Instant::now());
        unserved.failed(found("web", 1), "port 80".to_owned(), now);
        unserved.failed(found("api", 2), "no memory".to_owned(), now);
        assert!(unserved.forget("web"));
        assert!(!unserved.forget("web"));
        let left = UnservedSummary { name: "api".to_owned(), reason: "no memory".to_owned() };
        assert_eq!(unserved.summaries(), [left]);
        assert_eq!(unserved.due(now + LONGEST), [found("api", 2)]);
    }
}
