use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    ClockSkew, Credentials, Fetch, FetchError, FetchId, Held, LeaseId, LeaseKey, Policy,
    lease::{Agenda, Failing, Fate, Landing, Lease, Serving, Standing},
    policy::FETCH_MAX,
};

/// All leases of one host.
///
/// `boot` is the time since boot. It may stand still, and a time before one that was seen already
/// counts as that one. After every call that takes `&mut self`, look at [`Self::next_wake`] and
/// poll then: asking for an idle lease, say, makes its renewal due. A call costs the logarithm of
/// the number of leases.
#[derive(Debug)]
pub struct Leases {
    policy: Policy,
    leases: BTreeMap<LeaseId, Lease>,
    ids: BTreeMap<LeaseKey, LeaseId>,
    timers: BTreeSet<(Duration, LeaseId)>,
    queue: BTreeSet<(Duration, LeaseId)>,
    flights: BTreeMap<FetchId, LeaseId>,
    stopped: BTreeSet<LeaseKey>,
    leases_made: u64,
    fetches_made: u64,
    seen: Duration,
}

/// What there is for a workload that asks for its credentials.
#[derive(Debug)]
pub enum Ask<'a> {
    /// These, with life left.
    Held(&'a Held),
    /// Nothing yet: a fetch is in flight or about to start. Wait a little, then answer "not ready".
    Wait,
    /// Nothing: the last fetch failed, and the next one starts at `retry_at` (time since boot).
    Failing {
        /// Why, and who must act.
        error: &'a FetchError,
        /// When it will be tried again.
        retry_at: Duration,
    },
    /// Nothing, until [`Leases::resume`].
    Stopped,
    /// Nothing: the host holds as many leases as it may, and this would be one more.
    Full {
        /// How many that is.
        leases_max: usize,
    },
}

/// What became of the result of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// It is served from now on.
    Held {
        /// Which lease.
        lease: LeaseId,
        /// Which of its credentials.
        generation: u64,
        /// The host's wall clock and the source's do not agree.
        skew: Option<ClockSkew>,
    },
    /// It failed. What was held before is served to its end.
    Failed {
        /// Which lease.
        lease: LeaseId,
        /// When it is tried again, in time since boot.
        retry_at: Duration,
    },
    /// The lease was stopped, or its workload or binding went, in the meantime.
    Discarded,
    /// No such fetch is in flight: it was given up, or its result came twice.
    Unknown,
}

/// How many leases stood where at the last poll. Each lease is counted in one of the first six.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Wanted, and about to be fetched for the first time or anew.
    pub vacant: usize,
    /// Nothing to serve, and a fetch is in flight.
    pub fetching: usize,
    /// Served.
    pub held: usize,
    /// Served, and a fetch is in flight.
    pub renewing: usize,
    /// Nothing to serve, and the last fetch failed.
    pub failing: usize,
    /// Gone, but for a fetch in flight whose result will be discarded.
    pub discarding: usize,
    /// Of those served, how many could not be renewed when it was last tried.
    pub strained: usize,
    /// Keys for which leasing is stopped.
    pub stopped: usize,
    /// Fetches in flight.
    pub in_flight: usize,
    /// Leases that wait for their turn to be fetched.
    pub queued: usize,
    /// When the first of the leases that are served ends, in time since boot.
    pub first_end: Option<Duration>,
}

impl Leases {
    /// A table without leases.
    pub const fn new(policy: Policy) -> Self {
        Self {
            policy,
            leases: BTreeMap::new(),
            ids: BTreeMap::new(),
            timers: BTreeSet::new(),
            queue: BTreeSet::new(),
            flights: BTreeMap::new(),
            stopped: BTreeSet::new(),
            leases_made: 0,
            fetches_made: 0,
            seen: Duration::ZERO,
        }
    }

    /// A workload asks for its credentials. What is not there yet becomes wanted.
    pub fn ask(&mut self, boot: Duration, key: &LeaseKey) -> Ask<'_> {
        let boot = self.saw(boot);
        if self.stopped.contains(key) {
            return Ask::Stopped;
        }
        let leases_max = self.policy.leases_max;
        let id = match self.ids.get(key) {
            Some(id) => *id,
            None if self.leases.len() >= leases_max => return Ask::Full { leases_max },
            None => self.want(boot, key),
        };
        self.change(id, |lease| {
            lease.asked(boot);
            (Fate::Keep, ())
        });
        match self.leases.get(&id).map(|lease| lease.serving(boot)) {
            Some(Serving::Held(held)) => Ask::Held(held),
            Some(Serving::Failing { error, retry_at }) => Ask::Failing { error, retry_at },
            Some(Serving::Wait) | None => Ask::Wait,
        }
    }

    /// Does what has come due and says which fetches to start now: those with the earliest
    /// deadline, as many as may be in flight. Credentials that have ended are wiped, silent fetches
    /// given up.
    pub fn poll(&mut self, boot: Duration) -> Vec<Fetch> {
        let boot = self.saw(boot);
        // Ends: every change either moves the lease's timer past `boot`, queues the lease, or
        // forgets it.
        while let Some(&(_, id)) = self.timers.first().filter(|(at, _)| *at <= boot) {
            self.change(id, |lease| (lease.due(boot), ()));
        }
        let mut fetches = Vec::new();
        while self.flights.len() < self.policy.fetches_max
            && let Some(&(_, id)) = self.queue.first()
        {
            self.fetches_made += 1;
            let fetch = FetchId(self.fetches_made);
            let started = self
                .change(id, |lease| (Fate::Keep, (lease.key.clone(), lease.start(fetch, boot))));
            fetches.extend(started.map(|(key, attempt)| {
                let timeout = FETCH_MAX;
                Fetch { id: fetch, lease: id, key, attempt, timeout }
            }));
        }
        fetches
    }

    /// The result of a fetch is here. `wall` is the wall time at which it came.
    ///
    /// A result that nobody waits for any more does nothing, so it is safe to report all of them.
    pub fn fetched(
        &mut self,
        boot: Duration,
        wall: Timestamp,
        fetch: FetchId,
        result: Result<Credentials, FetchError>,
    ) -> Outcome {
        let boot = self.saw(boot);
        let Some(&id) = self.flights.get(&fetch) else { return Outcome::Unknown };
        let landed = self.change(id, |lease| match lease.fetched(boot, wall, result) {
            Landing::Discarded(fate) => (fate, Outcome::Discarded),
            Landing::Failed { retry_at } => (Fate::Keep, Outcome::Failed { lease: id, retry_at }),
            Landing::Held => {
                let (generation, skew) =
                    lease.held().map_or((0, None), |held| (held.generation(), held.skew()));
                (Fate::Keep, Outcome::Held { lease: id, generation, skew })
            }
        });
        landed.unwrap_or(Outcome::Unknown)
    }

    /// When to poll next, in time since boot; a time that is past means at once. Polling earlier
    /// does nothing.
    pub fn next_wake(&self) -> Option<Duration> {
        if self.flights.len() < self.policy.fetches_max && !self.queue.is_empty() {
            return Some(self.seen);
        }
        self.timers.first().map(|(at, _)| *at)
    }

    /// Stops leasing to a key, whether or not it has a lease: its credentials are dropped now, the
    /// result of a fetch in flight will be, and whoever asks is told. Lasts until [`Self::resume`],
    /// even if [`Self::retain`] forgets the lease: a stop is somebody's decision, so the table
    /// keeps them all.
    ///
    /// Clones of [`Held`] and bodies rendered from it are the caller's to drop.
    pub fn stop(&mut self, key: &LeaseKey) {
        self.stopped.insert(key.clone());
        if let Some(id) = self.ids.get(key) {
            self.change(*id, |lease| (lease.discard(), ()));
        }
    }

    /// Lets a stopped key have leases again. It becomes wanted when somebody asks.
    pub fn resume(&mut self, key: &LeaseKey) {
        self.stopped.remove(key);
    }

    /// Forgets the leases whose workload has gone or that are no longer bound, as [`Self::stop`]
    /// does but without a tombstone.
    pub fn retain(&mut self, mut keep: impl FnMut(&LeaseKey) -> bool) {
        let gone: Vec<_> =
            self.ids.iter().filter(|(key, _)| !keep(key)).map(|(_, id)| *id).collect();
        for id in gone {
            self.change(id, |lease| (lease.discard(), ()));
        }
    }

    /// Fetches a lease anew as soon as possible and serves the old one until then: its binding
    /// changed in what is asked of the source, or what failed has been repaired.
    pub fn renew(&mut self, boot: Duration, key: &LeaseKey) {
        let boot = self.saw(boot);
        if let Some(id) = self.ids.get(key) {
            self.change(*id, |lease| (Fate::Keep, lease.outdate(boot)));
        }
    }

    /// The keys of all leases, in order.
    pub fn keys(&self) -> impl Iterator<Item = &LeaseKey> {
        self.ids.keys()
    }

    /// Whether this generation of a lease is what is served now. What was made of another one can
    /// go.
    pub fn holds(&self, lease: LeaseId, generation: u64) -> bool {
        let held = self.leases.get(&lease).and_then(Lease::held);
        held.is_some_and(|held| held.generation() == generation)
    }

    /// The leases whose last fetch failed, in the order of their keys: those that have nothing to
    /// serve, and those that are served to their end.
    pub fn failing(&self) -> impl Iterator<Item = Failing<'_>> {
        self.ids.values().filter_map(|id| self.leases.get(id)?.failing())
    }

    /// Counts the leases; costs a pass over all of them.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally {
            stopped: self.stopped.len(),
            in_flight: self.flights.len(),
            queued: self.queue.len(),
            first_end: self.leases.values().filter_map(Lease::held).map(Held::end).min(),
            ..Tally::default()
        };
        for lease in self.leases.values() {
            match lease.standing() {
                Standing::Vacant => tally.vacant += 1,
                Standing::Fetching => tally.fetching += 1,
                Standing::Held { strained } => {
                    tally.held += 1;
                    tally.strained += usize::from(strained);
                }
                Standing::Renewing { strained } => {
                    tally.renewing += 1;
                    tally.strained += usize::from(strained);
                }
                Standing::Failing => tally.failing += 1,
                Standing::Discarding => tally.discarding += 1,
            }
        }
        tally
    }

    fn saw(&mut self, boot: Duration) -> Duration {
        self.seen = self.seen.max(boot);
        self.seen
    }

    fn want(&mut self, boot: Duration, key: &LeaseKey) -> LeaseId {
        self.leases_made += 1;
        let id = LeaseId(self.leases_made);
        let lease = Lease::wanted(id, key.clone(), self.policy.seed, boot);
        self.reindex(id, Agenda::default(), lease.agenda());
        self.leases.insert(id, lease);
        self.ids.insert(key.clone(), id);
        id
    }

    /// The only door to a lease that changes it, so that the indices always agree with the leases.
    fn change<T>(&mut self, id: LeaseId, act: impl FnOnce(&mut Lease) -> (Fate, T)) -> Option<T> {
        let lease = self.leases.get_mut(&id)?;
        let before = lease.agenda();
        let (fate, value) = act(lease);
        let after = match fate {
            Fate::Keep => lease.agenda(),
            Fate::Forget => {
                self.ids.remove(&lease.key);
                self.leases.remove(&id);
                Agenda::default()
            }
        };
        self.reindex(id, before, after);
        Some(value)
    }

    fn reindex(&mut self, id: LeaseId, before: Agenda, after: Agenda) {
        // Nearly every ask changes nothing, so compare before touching the indices.
        if before == after {
            return;
        }
        for (index, before, after) in [
            (&mut self.timers, before.timer, after.timer),
            (&mut self.queue, before.deadline, after.deadline),
        ] {
            before.map(|at| index.remove(&(at, id)));
            after.map(|at| index.insert((at, id)));
        }
        before.fetch.map(|fetch| self.flights.remove(&fetch));
        after.fetch.map(|fetch| self.flights.insert(fetch, id));
    }
}
