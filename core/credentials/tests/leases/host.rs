//! A host whose time stands still until a test lets it pass.

use std::time::Duration;

use credentials::{
    Ask, Credentials, Fetch, FetchError, LeaseKey, Leases, Outcome, Policy, policy::LIFE_DEFAULT,
};
use jiff::Timestamp;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = LIFE_DEFAULT;

/// What a workload saw when it asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Held { key: String, generation: u64, left: Duration },
    Wait,
    Failing { error: FetchError, retry_at: Duration },
    Stopped,
    Full,
}

pub(crate) struct Host {
    pub(crate) leases: Leases,
    pub(crate) boot: Duration,
    pub(crate) wall: Timestamp,
}

pub(crate) fn key(n: u64) -> LeaseKey {
    LeaseKey {
        workload: format!("application/prod/{n:04}").parse().unwrap(),
        role: "arn:aws:iam::111122223333:role/application".parse().unwrap(),
    }
}

/// Credentials that say in their access key which fetch brought them.
pub(crate) fn credentials(fetch: &Fetch, requested: Duration, wall: Timestamp) -> Credentials {
    Credentials {
        access_key_id: format!("ASIA{}", fetch.id),
        secret_access_key: "planted-secret".to_owned().into(),
        session_token: "planted-token".to_owned().into(),
        requested,
        expiration: wall + requested,
        fetched: wall,
    }
}

pub(crate) fn unavailable() -> FetchError {
    FetchError::Unavailable("connection refused".into())
}

pub(crate) fn denied() -> FetchError {
    FetchError::Denied { code: "AccessDenied".into(), message: "no".into() }
}

pub(crate) fn see(leases: &mut Leases, boot: Duration, key: &LeaseKey) -> Seen {
    match leases.ask(boot, key) {
        Ask::Held(held) => Seen::Held {
            key: held.credentials().access_key_id.clone(),
            generation: held.generation(),
            left: held.left(boot),
        },
        Ask::Wait => Seen::Wait,
        Ask::Failing { error, retry_at } => Seen::Failing { error: error.clone(), retry_at },
        Ask::Stopped => Seen::Stopped,
        Ask::Full { .. } => Seen::Full,
    }
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(Policy::new(7))
    }

    pub(crate) fn with(policy: Policy) -> Self {
        // A host that has been up for a day, on some day.
        let wall = "2026-03-01T00:00:00Z".parse().unwrap();
        Self { leases: Leases::new(policy), boot: 24 * HOUR, wall }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.boot += time;
        self.wall += time;
    }

    pub(crate) fn pass_to(&mut self, boot: Duration) {
        self.pass(boot.saturating_sub(self.boot));
    }

    pub(crate) fn ask(&mut self, n: u64) -> Seen {
        see(&mut self.leases, self.boot, &key(n))
    }

    #[track_caller]
    pub(crate) fn left(&mut self, n: u64) -> Duration {
        match self.ask(n) {
            Seen::Held { left, .. } => left,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn poll(&mut self) -> Vec<Fetch> {
        self.leases.poll(self.boot)
    }

    /// The one fetch that is due now.
    #[track_caller]
    pub(crate) fn fetch(&mut self) -> Fetch {
        let mut fetches = self.poll();
        assert_eq!(fetches.len(), 1, "{fetches:?}");
        fetches.remove(0)
    }

    /// Lets time pass until the next fetch is due.
    #[track_caller]
    pub(crate) fn next_fetch(&mut self) -> Fetch {
        loop {
            self.pass_to(self.leases.next_wake().unwrap());
            if let Some(fetch) = self.poll().pop() {
                return fetch;
            }
        }
    }

    pub(crate) fn brings(&mut self, fetch: &Fetch, life: Duration) -> Outcome {
        let credentials = credentials(fetch, life, self.wall);
        self.leases.fetched(self.boot, self.wall, fetch.id, Ok(credentials))
    }

    pub(crate) fn fails(&mut self, fetch: &Fetch, error: FetchError) -> Outcome {
        self.leases.fetched(self.boot, self.wall, fetch.id, Err(error))
    }

    /// A host on which workload 0 holds a lease that was fetched just now.
    pub(crate) fn holding(life: Duration) -> Self {
        let mut host = Self::new();
        assert_eq!(host.ask(0), Seen::Wait);
        let fetch = host.fetch();
        assert!(matches!(host.brings(&fetch, life), Outcome::Held { .. }));
        host
    }
}
