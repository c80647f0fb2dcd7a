//! The agent's calls to STS.

use std::time::Duration;

use agent::fetch::{Question, question};
use credentials::{Credentials, Fetch, FetchError, FetchId, LeaseKey, policy::FETCH_MAX};

use crate::{judge::Brought, laws, sts::Told};

use super::{Event, SLEEP_MAX, World};

/// A call to STS, and what it brought.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    id: FetchId,
    key: LeaseKey,
    /// The life that was asked for.
    requested: Duration,
    started: Duration,
    /// The place of what was issued.
    result: Result<usize, FetchError>,
    /// A part of the answer is missing.
    hollow: bool,
}

impl World<'_> {
    /// The agent is to look at once.
    pub(super) fn nudge(&mut self) {
        self.host.wakes = self.now;
        self.plan(Duration::ZERO, Event::Poll);
    }

    /// The agent looks what is to be fetched, and sleeps.
    pub(super) fn poll(&mut self) {
        let now = self.clocks();
        let (fetches, wake) = self.host.agent.poll(now);
        fetches.into_iter().for_each(|fetch| self.start(fetch));
        let pause = wake.map_or(SLEEP_MAX, |wake| wake.saturating_sub(now.boot).min(SLEEP_MAX));
        // A tick at least, as a timer has.
        let pause = pause.max(Duration::from_millis(1));
        self.host.wakes = self.now + pause;
        self.plan(pause, Event::Poll);
        self.judge.counted(self.now, &self.host.agent.tally());
    }

    /// What `agent::fetch` does of one fetch, with our STS.
    fn start(&mut self, fetch: Fetch) {
        let now = self.clocks();
        let Fetch { id, key, .. } = fetch;
        self.judge.step(self.now, || format!("fetch {id} for {key}, attempt {}", fetch.attempt));
        self.judge.started(self.now, &key, id);
        let asked = self.host.agent.engine().binding_of(&key).map(|bound| {
            let whom = self.host.agent.asks_for(&key);
            (bound.binding.duration, question(&bound, &whom, Some(&self.host.signer), now))
        });
        let (requested, question) = match asked {
            Some((requested, Ok(question))) => (requested, question),
            Some((_, Err(error))) => return self.fail(id, key, error),
            None => {
                let error = "the binding is not in force any more".to_owned();
                return self.fail(id, key, FetchError::Misconfigured(error));
            }
        };
        if let Err(wrong) = self.sts.check_name(&question, &key.workload) {
            self.judge.broken(laws::ASKED_IN_ITS_NAME, format!("{key}: {wrong}"));
        }
        self.call(self.call_of(id, key, requested), &question);
    }

    /// Without any call.
    fn fail(&mut self, id: FetchId, key: LeaseKey, error: FetchError) {
        let call = Call { result: Err(error), ..self.call_of(id, key, Duration::ZERO) };
        self.plan(Duration::ZERO, Event::Told(self.host.runs, Box::new(call)));
    }

    const fn call_of(&self, id: FetchId, key: LeaseKey, requested: Duration) -> Call {
        let result = Err(FetchError::Throttled);
        Call { id, key, requested, started: self.now, result, hollow: false }
    }

    fn call(&mut self, call: Call, question: &Question) {
        let whose = (&*call.key.workload.to_string(), &*call.key.role.to_string(), call.requested);
        let clock = (self.now, self.right_time(), self.host.offset);
        let reply = self.sts.ask(question, whose, clock, &self.weather, &mut self.random);
        let (run, hollow) = (self.host.runs, reply.hollow);
        let mut call = Box::new(Call { result: reply.result, hollow, ..call });
        match reply.told {
            Told::Never => {}
            // Never at the very moment when it is given up, which would be a matter of luck.
            Told::Stubbornly => {
                self.plan(reply.after + Duration::from_micros(1), Event::Told(run, call));
            }
            Told::Once | Told::Twice if reply.after >= FETCH_MAX => {
                call.result = Err(FetchError::Unavailable("no answer in time".to_owned()));
                self.plan(FETCH_MAX, Event::Told(run, call));
            }
            Told::Once => self.plan(reply.after, Event::Told(run, call)),
            Told::Twice => {
                let again = reply.after + self.random.wait((0, 3_000));
                self.plan(reply.after, Event::Told(run, call.clone()));
                self.plan(again, Event::Told(run, call));
            }
        }
    }

    /// The edge reports a call to the agent, if it is still the one that made it.
    pub(super) fn told(&mut self, run: u64, call: &Call) {
        if run != self.host.runs {
            return;
        }
        let now = self.clocks();
        let Call { id, key, requested, result, hollow, .. } = call;
        let issued = result.as_ref().ok().copied();
        if let Some(place) = issued
            && (!self.host.offset.is_zero() || self.now > call.started + FETCH_MAX)
        {
            self.sts.hide_short_life(place);
        }
        let issued = issued.and_then(|place| self.sts.get(place).map(|issued| (place, issued)));
        let (result, brought) = match (issued, result) {
            (Some((place, issued)), _) => {
                let token = if *hollow { "" } else { &issued.session_token };
                let credentials = Credentials {
                    access_key_id: issued.access_key_id.clone(),
                    secret_access_key: issued.secret_access_key.clone().into(),
                    session_token: token.to_owned().into(),
                    requested: *requested,
                    expiration: issued.printed,
                    fetched: now.wall,
                };
                let brought = Brought::Issued(place, issued, *requested, now.wall);
                (Ok(credentials), if *hollow { Brought::Nothing } else { brought })
            }
            (None, Err(error)) => (Err(error.clone()), refusal(error)),
            (None, Ok(_)) => return,
        };
        let said = result.as_ref().map_or_else(ToString::to_string, |c| c.access_key_id.clone());
        let outcome = self.host.agent.fetched(now, (*id, key), result);
        self.judge.step(self.now, || format!("fetch {id} for {key} brings {said}: {outcome:?}"));
        self.judge.brought(self.now, (key, *id), &brought, &outcome);
        self.serve_waiting();
        self.nudge();
    }
}

/// Whether clients may be told that they are refused, or only that there is nothing yet.
const fn refusal(error: &FetchError) -> Brought<'static> {
    match error {
        FetchError::Denied { .. }
        | FetchError::HostDenied { .. }
        | FetchError::Misconfigured(_)
        | FetchError::Refused { .. }
        | FetchError::Clock(_) => Brought::Denied,
        FetchError::Throttled | FetchError::Unavailable(_) => Brought::Nothing,
    }
}
