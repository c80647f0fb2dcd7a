//! Checks the laws after every step, against what the simulated world knows.

use std::{collections::BTreeMap, fmt::Display, time::Duration};

use credentials::{
    FetchId, LeaseKey, Outcome, Tally,
    policy::{FETCH_MAX, IDLE_MIN, REPAIR_MAX, SERVE_MIN, renewal_window},
};
use jiff::Timestamp;
use metadata::Answer;

use crate::{Law, Scenario, Seed, Violation, laws, report::Trace, sts::Issued, sts::Sts};

/// How long a workload whose lease went idle, or whose machine slept, is served what is left of it
/// while a renewal that began with its waking brings more.
const WAKING_MAX: Duration = Duration::from_secs(2 * FETCH_MAX.as_secs());

/// What was seen, and what it must be like.
#[derive(Debug)]
pub(crate) struct Judge {
    scenario: &'static str,
    seed: Seed,
    /// The longest that a lease may stay after it was asked for.
    kept_max: Duration,
    pub(crate) steps: u64,
    pub(crate) leases_max: usize,
    pub(crate) violations: Vec<Violation>,
    trace: Trace,
    /// When the machine woke from its sleep.
    woke: Option<Duration>,
    /// By workload and role: what the agent must know since it was started.
    records: BTreeMap<(String, String), Record>,
    /// The last generation of each lease, by its number.
    generations: BTreeMap<u64, u64>,
}

/// What the agent must know of one workload and role.
#[derive(Debug, Default)]
struct Record {
    /// When anything was asked that may make the agent hold a lease.
    asked: Option<Duration>,
    /// When credentials were last given.
    lent: Option<Duration>,
    /// When they were given for the first time, or after so long a pause that the lease may have
    /// gone idle.
    woken: Option<Duration>,
    newest: Option<Newest>,
    flight: Option<Flight>,
    /// The last attempt failed.
    troubled: bool,
    /// STS refused since the last success.
    denied: bool,
}

/// The credentials that were reported last as a success.
#[derive(Clone, Copy, Debug)]
struct Newest {
    place: usize,
    /// When their renewal may start, by what the agent can know.
    due: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    fetch: FetchId,
    started: Duration,
    /// The role was taken away or the workload went since it started.
    void: bool,
    /// The binding asks in other words since it started: what it brings is to be renewed at once.
    outdated: bool,
}

/// An answer on its way to somebody.
#[derive(Debug)]
pub(crate) struct Heard<'a> {
    /// The workload at the other end, if it is one.
    pub(crate) workload: Option<&'a str>,
    /// The role that was in force for it when its request was decided.
    pub(crate) role: Option<&'a str>,
    /// Whether it asked for what is its own, as it should.
    pub(crate) honest: bool,
    pub(crate) answer: &'a Answer,
}

/// What an edge reported of a fetch.
#[derive(Debug)]
pub(crate) enum Brought<'a> {
    /// Credentials: their place, the life that was asked for and the host's wall clock.
    Issued(usize, &'a Issued, Duration, Timestamp),
    /// STS said no.
    Denied,
    /// Nothing that could be used.
    Nothing,
}

impl Judge {
    pub(crate) fn new(seed: Seed, scenario: &Scenario) -> Self {
        let life = scenario.lives.iter().max().map_or(IDLE_MIN, |m| Duration::from_secs(m * 60));
        Self {
            scenario: scenario.name,
            seed,
            kept_max: life.max(IDLE_MIN) * 2 + REPAIR_MAX,
            steps: 0,
            leases_max: 0,
            violations: Vec::new(),
            trace: Trace::default(),
            woke: None,
            records: BTreeMap::new(),
            generations: BTreeMap::new(),
        }
    }

    /// Remembers a step, for whoever reads a violation.
    pub(crate) fn step(&mut self, now: Duration, what: impl FnOnce() -> String) {
        self.steps += 1;
        self.trace.tell(now, &what());
    }

    /// Keeps the first violation of each law.
    pub(crate) fn broken(&mut self, law: Law, what: impl Display) {
        if self.violations.iter().all(|violation| violation.law != law) {
            let (what, trace) = (what.to_string(), self.trace.lines());
            let Self { scenario, seed, steps: step, .. } = *self;
            self.violations.push(Violation { law, what, step, scenario, seed, trace });
        }
    }

    /// The agent starts anew and knows nothing.
    pub(crate) fn restarted(&mut self) {
        self.records.clear();
        self.generations.clear();
    }

    /// The machine slept, and the agent could do nothing.
    pub(crate) fn woke(&mut self, now: Duration) {
        self.woke = Some(now);
    }

    /// Something was asked that may make the agent hold a lease.
    pub(crate) fn asked(&mut self, now: Duration, workload: &str, role: &str) {
        self.record(workload, role).asked = Some(now);
    }

    /// The bindings of some workloads ask for the same role in other words.
    pub(crate) fn outdated(&mut self, now: Duration, whose: impl Fn(&str) -> bool) {
        for ((workload, _), record) in &mut self.records {
            if whose(workload) {
                record.newest = record.newest.map(|newest| Newest { due: now, ..newest });
                record.flight = record.flight.map(|flight| Flight { outdated: true, ..flight });
            }
        }
    }

    /// Some workloads have another role or none, or they have gone.
    pub(crate) fn ended(&mut self, whose: impl Fn(&str) -> bool) {
        for ((workload, _), record) in &mut self.records {
            if whose(workload) {
                let flight = record.flight.map(|flight| Flight { void: true, ..flight });
                *record = Record { flight, ..Record::default() };
            }
        }
    }

    /// STS is called.
    pub(crate) fn started(&mut self, now: Duration, key: &LeaseKey, fetch: FetchId) {
        let record = self.record(&key.workload.to_string(), &key.role.to_string());
        let flight =
            record.flight.replace(Flight { fetch, started: now, void: false, outdated: false });
        let in_flight = flight.is_some_and(|flight| now < flight.started + FETCH_MAX);
        // A flight that nobody heard of again has failed.
        record.troubled |= flight.is_some_and(|flight| !flight.void);
        let early = record.newest.filter(|newest| !record.troubled && now < newest.due);
        if in_flight {
            self.broken(laws::ONE_CALL_IN_FLIGHT, format!("fetch {fetch} for {key} is the second"));
        }
        if let Some(newest) = early {
            let early = newest.due.saturating_sub(now);
            let what = format!("fetch {fetch} for {key} comes {early:?} before its renewal is due");
            self.broken(laws::ONE_CALL_PER_RENEWAL, what);
        }
    }

    /// The edge reported what a fetch brought, and the agent said what became of it.
    pub(crate) fn brought(
        &mut self,
        now: Duration,
        (key, fetch): (&LeaseKey, FetchId),
        brought: &Brought<'_>,
        outcome: &Outcome,
    ) {
        self.count_generation(key, outcome);
        let record = self.record(&key.workload.to_string(), &key.role.to_string());
        let Some(flight) = record.flight.take_if(|flight| flight.fetch == fetch) else { return };
        // It is given up then, unless the machine slept and nobody was there to do it.
        let late = now > flight.started + FETCH_MAX;
        let unheard = matches!(outcome, Outcome::Discarded | Outcome::Unknown);
        if flight.void || late && unheard {
            return;
        }
        match brought {
            Brought::Issued(place, issued, requested, wall) => {
                let life = known_life(issued.printed, *wall, *requested);
                let end = flight.started + life;
                record.troubled = end <= now;
                if !record.troubled {
                    let due = flight.started + renewal_window(life).0;
                    let due = if flight.outdated { now } else { due };
                    record.newest = Some(Newest { place: *place, due });
                    record.denied = false;
                }
            }
            Brought::Denied => (record.troubled, record.denied) = (true, true),
            Brought::Nothing => record.troubled = true,
        }
    }

    /// Each lease's credentials are counted up by one.
    fn count_generation(&mut self, key: &LeaseKey, outcome: &Outcome) {
        if let Outcome::Held { lease, generation, .. } = outcome {
            let before = self.generations.insert(lease.get(), *generation).unwrap_or(0);
            if *generation != before + 1 {
                let what = format!("{key}: generation {generation} follows {before}");
                self.broken(laws::ONE_CALL_PER_RENEWAL, what);
            }
        }
    }

    /// An answer goes out. Says which credentials are in it.
    pub(crate) fn heard(&mut self, now: Duration, heard: &Heard<'_>, sts: &Sts) -> Option<usize> {
        let body = String::from_utf8_lossy(heard.answer.body.expose());
        if heard.answer.status == 200 && body.is_empty() {
            self.broken(laws::NO_EMPTY_SUCCESS, format!("{:?} hears nothing", heard.workload));
        }
        let headers = heard.answer.headers.iter().flat_map(|(name, value)| [*name, "\n", value]);
        let text: String = headers.chain(["\n", &body]).collect();
        let found = sts.found_in(&text);
        for place in &found {
            match place.and_then(|place| sts.get(place).map(|issued| (place, issued))) {
                Some((place, issued)) => self.lent(now, heard, (place, issued)),
                None => self.broken(laws::NO_FOREIGN_SECRET, "a secret that was never issued"),
            }
        }
        if found.len() > 1 {
            self.broken(laws::NO_FOREIGN_SECRET, "parts of several credentials in one answer");
        }
        if heard.honest {
            self.check_blame(heard, &body);
        }
        found.into_iter().next().flatten()
    }

    fn lent(&mut self, now: Duration, heard: &Heard<'_>, (place, issued): (usize, &Issued)) {
        let who = heard.workload.unwrap_or("somebody unknown");
        let (access_key, whose) = (&issued.access_key_id, &issued.workload);
        if heard.workload != Some(whose) {
            let what = format!("{who} hears {access_key}, which is {whose}'s");
            self.broken(laws::NO_FOREIGN_SECRET, what);
            return;
        }
        if heard.role != Some(&issued.role) {
            let what = format!("{who} has {:?} and is given {}", heard.role, issued.role);
            self.broken(laws::ROLE_IN_FORCE, what);
        }
        if issued.end <= now {
            let what = format!("{who} is given {access_key} {:?} after its end", now - issued.end);
            self.broken(laws::NEVER_EXPIRED, what);
        }
        let waking = self.woke.is_some_and(|woke| now < woke + WAKING_MAX);
        let record = self.record(whose, &issued.role);
        let pause = record.lent.replace(now).map(|lent| now.saturating_sub(lent));
        if pause.is_none_or(|pause| pause > IDLE_MIN) {
            record.woken = Some(now);
        }
        let newest = record.newest.map(|newest| newest.place);
        let excused = waking
            || record.troubled
            || record.woken.is_some_and(|woken| now < woken + WAKING_MAX)
            || record.flight.is_some_and(|flight| now >= flight.started + FETCH_MAX);
        if newest != Some(place) {
            let newest = newest.and_then(|place| u64::try_from(place).ok());
            let what = format!("{who} is given {access_key}, and the newest is {newest:?}");
            self.broken(laws::ALWAYS_THE_NEWEST, what);
        }
        let left = issued.end.saturating_sub(now);
        if left < SERVE_MIN && !excused {
            let what =
                format!("{who} is given {access_key} with {left:?} left, and nothing failed");
            self.broken(laws::SERVED_LONG, what);
        }
    }

    /// Whoever has a role is told that it is refused only if STS did so.
    fn check_blame(&mut self, heard: &Heard<'_>, body: &str) {
        let (Some(workload), Some(role)) = (heard.workload, heard.role) else { return };
        let refused = match heard.answer.status {
            200 => body.contains("AssumeRoleUnauthorizedAccess"),
            status => status == 403,
        };
        if refused && !self.record(workload, role).denied {
            let what = format!("{workload} is told: {}", body.replace('\n', " "));
            self.broken(laws::NOBODY_IS_BLAMED, what);
        }
    }

    /// The agent says how many leases it holds.
    pub(crate) fn counted(&mut self, now: Duration, tally: &Tally) {
        let Tally { vacant, fetching, held, renewing, failing, discarding, .. } = *tally;
        let leases = vacant + fetching + held + renewing + failing + discarding;
        self.leases_max = self.leases_max.max(leases);
        let lives = |record: &&Record| {
            record.asked.is_some_and(|asked| now <= asked + self.kept_max)
                || record.flight.is_some_and(|flight| now <= flight.started + FETCH_MAX)
        };
        let expected = self.records.values().filter(lives).count();
        if leases > expected {
            let what = format!("{leases} leases, but only {expected} may be wanted: {tally:?}");
            self.broken(laws::MEMORY_IS_BOUNDED, what);
        }
    }

    fn record(&mut self, workload: &str, role: &str) -> &mut Record {
        self.records.entry((workload.to_owned(), role.to_owned())).or_default()
    }
}

/// The life that the agent can know of: what was asked for, or less where the printed end comes
/// earlier. An end that seems past says only that the host's clock is wrong.
fn known_life(printed: Timestamp, wall: Timestamp, requested: Duration) -> Duration {
    let left = Duration::try_from(printed.duration_since(wall)).unwrap_or_default();
    if left.is_zero() { requested } else { left.min(requested) }
}
