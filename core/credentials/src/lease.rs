use std::{mem, time::Duration};

use jiff::Timestamp;

use crate::{
    Credentials, FetchError, FetchId, Held, LeaseId, LeaseKey,
    backoff::{Pace, roll, share},
    policy::{FETCH_MAX, FETCH_SPACING_MIN, IDLE_MIN, RENEWAL_GRACE, SERVE_MIN, renewal_window},
};

/// One lease: who may have it and where it stands.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) id: LeaseId,
    pub(crate) key: LeaseKey,
    seed: u64,
    /// When somebody last asked for it.
    asked: Duration,
    /// Counts the credentials that were held under this id.
    generation: u64,
    state: State,
}

/// Where a lease stands. Each state carries its own facts, so a lease without credentials has none
/// to serve, and only a lease in flight can receive a result.
#[derive(Debug)]
enum State {
    /// Wanted for the first time, or again after a quiet end.
    Vacant(Next),
    /// Nothing to serve, and a fetch is in flight.
    Fetching { flight: Flight, trouble: Option<Trouble> },
    /// Served; the next fetch is a renewal.
    Held { held: Held, next: Next, trouble: Option<Trouble> },
    /// Served, and a fetch is in flight.
    Renewing { held: Held, flight: Flight, trouble: Option<Trouble> },
    /// Nothing to serve, and the last fetch failed.
    Failed { trouble: Trouble, next: Next },
    /// Stopped or no longer bound while a fetch was in flight. Its result goes nowhere, but until
    /// it is back no other may start.
    Discarding { flight: Flight, wanted: bool },
}

/// When the next fetch starts.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// At this time.
    At(Duration),
    /// That time has come; it waits for its turn, and the earliest deadline goes first.
    Queued { deadline: Duration },
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    fetch: FetchId,
    started: Duration,
    /// The binding changed after it started, so what it brings is to be renewed at once.
    outdated: bool,
}

/// Failures in a row.
#[derive(Debug)]
struct Trouble {
    error: FetchError,
    attempts: u32,
}

/// What the table must know of a lease to find it when something is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agenda {
    /// When [`Lease::due`] is to be called.
    pub(crate) timer: Option<Duration>,
    /// Its place among those who wait for a fetch.
    pub(crate) deadline: Option<Duration>,
    /// Its fetch in flight.
    pub(crate) fetch: Option<FetchId>,
}

/// What there is for somebody who asks.
pub(crate) enum Serving<'a> {
    Held(&'a Held),
    Wait,
    Failing { error: &'a FetchError, retry_at: Duration },
}

/// Whether a lease stays in the table.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Keep,
    Forget,
}

/// A lease whose fetches fail, as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing<'a> {
    /// Whom and what it is for.
    pub key: &'a LeaseKey,
    /// Why the last fetch failed, and who must act.
    pub error: &'a FetchError,
    /// How many failed in a row.
    pub attempts: u32,
    /// When it is tried again, in time since boot; past while it is being tried or waits for its turn.
    pub retry_at: Duration,
    /// When what is served meanwhile ends, in time since boot; `None` where nothing is.
    pub served_until: Option<Duration>,
}

/// What became of a result.
pub(crate) enum Landing {
    Held,
    Failed { retry_at: Duration },
    Discarded(Fate),
}

/// Where a lease stands, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Vacant,
    Fetching,
    Held { strained: bool },
    Renewing { strained: bool },
    Failing,
    Discarding,
}

impl Lease {
    pub(crate) fn wanted(id: LeaseId, key: LeaseKey, seed: u64, boot: Duration) -> Self {
        let state = State::Vacant(Next::At(boot));
        Self { id, key, seed, asked: boot, generation: 0, state }
    }

    /// Somebody asks. Credentials that have ended are dropped here if nobody polled in time.
    pub(crate) fn asked(&mut self, boot: Duration) {
        self.asked = self.asked.max(boot);
        if self.held().is_some_and(|held| boot >= held.end()) {
            // Somebody just asked, so it is not idle and cannot be forgotten.
            let _kept = self.lapse();
        }
        if let State::Discarding { wanted, .. } = &mut self.state {
            *wanted = true;
        }
    }

    /// What there is to serve, after [`Self::asked`] at the same time.
    pub(crate) fn serving(&self, boot: Duration) -> Serving<'_> {
        match &self.state {
            State::Held { held, .. } | State::Renewing { held, .. } => Serving::Held(held),
            State::Failed { trouble, next: Next::At(retry_at) } if *retry_at > boot => {
                Serving::Failing { error: &trouble.error, retry_at: *retry_at }
            }
            State::Vacant(_)
            | State::Fetching { .. }
            | State::Failed { .. }
            | State::Discarding { .. } => Serving::Wait,
        }
    }

    /// The time that [`Self::agenda`] named has come.
    pub(crate) fn due(&mut self, boot: Duration) -> Fate {
        if self.held().is_some_and(|held| boot >= held.end()) {
            return self.lapse();
        }
        if self.flight().is_some_and(|flight| boot >= flight.given_up_at()) {
            return self.give_up(boot);
        }
        let (asked, queued) = (self.asked, |deadline| Next::Queued { deadline });
        match &mut self.state {
            State::Vacant(next @ Next::At(_)) => *next = queued(next.time()),
            State::Failed { next: Next::At(at), .. } if *at > asked.saturating_add(IDLE_MIN) => {
                return Fate::Forget;
            }
            State::Failed { next: next @ Next::At(_), .. } => *next = queued(next.time()),
            State::Held { held, next: next @ Next::At(_), .. } => {
                let grace = next.time().saturating_add(RENEWAL_GRACE);
                *next = queued(grace.min(held.end().saturating_sub(SERVE_MIN)));
            }
            State::Vacant(Next::Queued { .. })
            | State::Failed { next: Next::Queued { .. }, .. }
            | State::Held { next: Next::Queued { .. }, .. }
            | State::Fetching { .. }
            | State::Renewing { .. }
            | State::Discarding { .. } => {}
        }
        Fate::Keep
    }

    /// Its turn has come: the fetch starts. Says which attempt it is.
    pub(crate) fn start(&mut self, fetch: FetchId, boot: Duration) -> u32 {
        let flight = Flight { fetch, started: boot, outdated: false };
        self.state = match mem::take(&mut self.state) {
            State::Vacant(_) => State::Fetching { flight, trouble: None },
            State::Failed { trouble, .. } => State::Fetching { flight, trouble: Some(trouble) },
            State::Held { held, trouble, .. } => State::Renewing { held, flight, trouble },
            state
            @ (State::Fetching { .. } | State::Renewing { .. } | State::Discarding { .. }) => state,
        };
        self.attempts().saturating_add(1)
    }

    /// The result of the fetch in flight is here.
    pub(crate) fn fetched(
        &mut self,
        boot: Duration,
        wall: Timestamp,
        result: Result<Credentials, FetchError>,
    ) -> Landing {
        let flight = match self.state {
            State::Fetching { flight, .. } | State::Renewing { flight, .. } => flight,
            State::Discarding { wanted, .. } => {
                return Landing::Discarded(self.discarded(wanted, boot));
            }
            State::Vacant(_) | State::Held { .. } | State::Failed { .. } => {
                return Landing::Discarded(Fate::Keep);
            }
        };
        let error = match result {
            Err(error) => error,
            Ok(credentials) if credentials.is_empty() => {
                FetchError::Unavailable("the answer lacks a key or the token".to_owned())
            }
            Ok(credentials) => {
                let name = (self.id, self.generation.saturating_add(1));
                let held = Held::new(credentials, name, flight.started, wall);
                if held.end() > boot {
                    self.hold(held, flight, boot);
                    return Landing::Held;
                }
                FetchError::Unavailable(
                    "the answer came after its credentials had ended".to_owned(),
                )
            }
        };
        Landing::Failed { retry_at: self.fail(error, boot) }
    }

    /// Serves what it has, but fetches anew as soon as possible, whatever failed before: the
    /// binding changed.
    pub(crate) fn outdate(&mut self, boot: Duration) {
        let now = Next::At(boot);
        match &mut self.state {
            State::Held { next: next @ Next::At(_), trouble, .. } => {
                *next = now;
                *trouble = None;
            }
            State::Failed { next: Next::At(_), .. } => self.state = State::Vacant(now),
            State::Fetching { flight, .. } | State::Renewing { flight, .. } => {
                flight.outdated = true;
            }
            State::Held { .. }
            | State::Failed { .. }
            | State::Vacant(_)
            | State::Discarding { .. } => {}
        }
    }

    /// Drops the credentials now. It must stay for as long as a fetch is in flight.
    pub(crate) fn discard(&mut self) -> Fate {
        match self.flight() {
            None => Fate::Forget,
            Some(flight) => {
                self.state = State::Discarding { flight, wanted: false };
                Fate::Keep
            }
        }
    }

    pub(crate) fn agenda(&self) -> Agenda {
        let (mut timer, mut deadline) = (None, None);
        let mut next = |next: Next| match next {
            Next::At(at) => timer = Some(at),
            Next::Queued { deadline: turn } => deadline = Some(turn),
        };
        match &self.state {
            State::Vacant(at) | State::Failed { next: at, .. } => next(*at),
            State::Held { held, next: at, .. } => {
                next(*at);
                let idle = at.time() > self.asked.saturating_add(held.life().max(IDLE_MIN));
                let at = timer.filter(|_| !idle).unwrap_or(Duration::MAX);
                timer = Some(at.min(held.end()));
            }
            State::Fetching { flight, .. } | State::Discarding { flight, .. } => {
                timer = Some(flight.given_up_at());
            }
            State::Renewing { held, flight, .. } => {
                timer = Some(flight.given_up_at().min(held.end()));
            }
        }
        Agenda { timer, deadline, fetch: self.flight().map(|flight| flight.fetch) }
    }

    pub(crate) fn standing(&self) -> Standing {
        let strained = self.attempts() > 0;
        match self.state {
            State::Vacant(_) => Standing::Vacant,
            State::Fetching { .. } => Standing::Fetching,
            State::Held { .. } => Standing::Held { strained },
            State::Renewing { .. } => Standing::Renewing { strained },
            State::Failed { .. } => Standing::Failing,
            State::Discarding { .. } => Standing::Discarding,
        }
    }

    /// What its operator must know of it, if its last fetch failed.
    pub(crate) fn failing(&self) -> Option<Failing<'_>> {
        let (trouble, retry_at) = match &self.state {
            State::Failed { trouble, next } => (trouble, next.time()),
            State::Held { trouble: Some(trouble), next, .. } => (trouble, next.time()),
            State::Fetching { trouble: Some(trouble), flight }
            | State::Renewing { trouble: Some(trouble), flight, .. } => (trouble, flight.started),
            State::Vacant(_)
            | State::Held { trouble: None, .. }
            | State::Fetching { trouble: None, .. }
            | State::Renewing { trouble: None, .. }
            | State::Discarding { .. } => return None,
        };
        Some(Failing {
            key: &self.key,
            error: &trouble.error,
            attempts: trouble.attempts,
            retry_at,
            served_until: self.held().map(Held::end),
        })
    }

    pub(crate) const fn held(&self) -> Option<&Held> {
        match &self.state {
            State::Held { held, .. } | State::Renewing { held, .. } => Some(held),
            State::Vacant(_)
            | State::Fetching { .. }
            | State::Failed { .. }
            | State::Discarding { .. } => None,
        }
    }

    fn hold(&mut self, held: Held, flight: Flight, boot: Duration) {
        self.generation = held.generation();
        let (from, by) = renewal_window(held.life());
        let age = from + share(by.saturating_sub(from), self.roll(0));
        let at = held.started().saturating_add(age.max(FETCH_SPACING_MIN));
        let next = Next::At(if flight.outdated { boot } else { at });
        self.state = State::Held { held, next, trouble: None };
    }

    fn fail(&mut self, error: FetchError, boot: Duration) -> Duration {
        let attempts = self.attempts().saturating_add(1);
        let wait = Pace::of(&error).wait(attempts, self.roll(attempts));
        let outdated = self.flight().is_some_and(|flight| flight.outdated);
        let retry_at = if outdated { boot } else { boot.saturating_add(wait) };
        let (trouble, next) = (Trouble { error, attempts }, Next::At(retry_at));
        self.state = match mem::take(&mut self.state) {
            State::Renewing { held, .. } => State::Held { held, next, trouble: Some(trouble) },
            State::Fetching { .. }
            | State::Vacant(_)
            | State::Held { .. }
            | State::Failed { .. }
            | State::Discarding { .. } => State::Failed { trouble, next },
        };
        retry_at
    }

    fn give_up(&mut self, boot: Duration) -> Fate {
        if let State::Discarding { wanted, .. } = self.state {
            return self.discarded(wanted, boot);
        }
        let silence = format!("no answer within {} s", FETCH_MAX.as_secs());
        self.fail(FetchError::Unavailable(silence), boot);
        Fate::Keep
    }

    /// The credentials have ended: they are dropped, and fetched again if anybody still asks for
    /// them.
    fn lapse(&mut self) -> Fate {
        let asked = self.asked;
        let idle = |held: &Held| held.end() > asked.saturating_add(held.life().max(IDLE_MIN));
        self.state = match mem::take(&mut self.state) {
            State::Held { held, .. } if idle(&held) => return Fate::Forget,
            State::Held { trouble: Some(trouble), next, .. } => State::Failed { trouble, next },
            State::Held { held, trouble: None, .. } => {
                let spaced = held.started().saturating_add(FETCH_SPACING_MIN);
                State::Vacant(Next::At(held.end().max(spaced)))
            }
            State::Renewing { flight, trouble, .. } => State::Fetching { flight, trouble },
            state @ (State::Vacant(_)
            | State::Fetching { .. }
            | State::Failed { .. }
            | State::Discarding { .. }) => state,
        };
        Fate::Keep
    }

    fn discarded(&mut self, wanted: bool, boot: Duration) -> Fate {
        self.state = State::Vacant(Next::At(boot));
        if wanted { Fate::Keep } else { Fate::Forget }
    }

    const fn flight(&self) -> Option<Flight> {
        match self.state {
            State::Fetching { flight, .. }
            | State::Renewing { flight, .. }
            | State::Discarding { flight, .. } => Some(flight),
            State::Vacant(_) | State::Held { .. } | State::Failed { .. } => None,
        }
    }

    fn attempts(&self) -> u32 {
        self.failing().map_or(0, |failing| failing.attempts)
    }

    fn roll(&self, attempts: u32) -> u64 {
        roll(self.seed, &self.key, self.generation, attempts)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Vacant(Next::At(Duration::ZERO))
    }
}

impl Next {
    const fn time(self) -> Duration {
        match self {
            Self::At(time) | Self::Queued { deadline: time } => time,
        }
    }
}

impl Flight {
    const fn given_up_at(self) -> Duration {
        self.started.saturating_add(FETCH_MAX)
    }
}
