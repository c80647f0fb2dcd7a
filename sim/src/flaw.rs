use std::{collections::BTreeMap, time::Duration};

use agent::{
    config::ConfigError,
    engine::{Caller, Engine, Now, Progress, Seen, Standing, Wanted},
    settings::Settings,
};
use credentials::{Credentials, Fetch, FetchError, FetchId, LeaseKey, Outcome, Tally};
use metadata::{Answer, Body, Door, Form, Request, Unavailable};
use workload::{Evidence, Workload};

/// Something that is broken in the agent on purpose. Each breaks a law; if no test noticed, the law
/// would be checked in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Every other caller is taken for the one before.
    TakesNeighboursForOne,
    /// The first credentials that a workload was given are given to it for ever.
    KeepsAnswers,
    /// A lease is renewed only when it has ended.
    RenewsAtTheEnd,
    /// Every fetch is made twice.
    FetchesTwice,
    /// Every fourth lease that was fetched is dropped and fetched anew at once.
    FetchesAnew,
    /// "Not yet" is said in an empty 200.
    SaysNothingWell,
    /// "Not yet" is said as if the role were refused.
    Blames,
    /// The results of every third fetch are lost.
    LosesResults,
    /// Workloads that have gone are not forgotten.
    RemembersTheGone,
    /// STS is asked in another workload's name.
    AsksForAnother,
    /// What failed once is not tried again.
    GivesUp,
    /// The file is read and forgotten.
    IgnoresReloads,
    /// Of a broken file all is taken that stands before its first binding.
    TakesBrokenFiles,
}

/// The agent under test: the engine itself, unless it has a flaw.
#[derive(Debug)]
pub(crate) struct Driven {
    engine: Engine,
    flaw: Option<Flaw>,
    before: Option<Evidence>,
    identified: u64,
    callers: BTreeMap<String, Caller>,
    answers: BTreeMap<(String, Form), Answer>,
    ends: BTreeMap<LeaseKey, Duration>,
    fetches: u64,
}

impl Driven {
    pub(crate) fn new(engine: Engine, flaw: Option<Flaw>) -> Self {
        Self {
            engine,
            flaw,
            before: None,
            identified: 0,
            callers: BTreeMap::new(),
            answers: BTreeMap::new(),
            ends: BTreeMap::new(),
            fetches: 0,
        }
    }

    pub(crate) const fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn identify(&mut self, evidence: &Evidence) -> Caller {
        self.identified += 1;
        let before = self.before.replace(evidence.clone());
        let taken_for = before.filter(|_| {
            self.flaw == Some(Flaw::TakesNeighboursForOne) && self.identified.is_multiple_of(2)
        });
        let caller = self.engine.identify(taken_for.unwrap_or_else(|| evidence.clone()));
        if self.flaw.is_some()
            && let Standing::Known(known) = &caller.standing
        {
            self.callers.insert(known.id.clone(), caller.clone());
        }
        caller
    }

    pub(crate) fn request(
        &mut self,
        now: Now,
        caller: &mut Caller,
        (door, request): (Door, &Request<'_>),
        random: [u8; 16],
    ) -> Progress {
        self.engine.refresh(caller);
        let (progress, seen) = self.engine.request(now, caller, door, request, random);
        match (progress, &caller.standing) {
            (Progress::Answer(answer), Standing::Known(known)) => {
                let form = match door {
                    Door::Instance => Form::Instance,
                    Door::Container => Form::Container,
                    Door::PodIdentity => Form::PodIdentity,
                };
                Progress::Answer(self.bend(now, (known.id.clone(), form), answer, &seen))
            }
            (progress, _) => progress,
        }
    }

    pub(crate) fn serve(
        &mut self,
        now: Now,
        wanted: &Wanted,
        id: &str,
        form: Form,
    ) -> Option<Answer> {
        let mut seen = Seen::default();
        let answer = self.engine.serve(now, wanted, &mut seen)?;
        Some(self.bend(now, (id.to_owned(), form), answer, &seen))
    }

    pub(crate) fn not_ready(&mut self, now: Now, wanted: &Wanted, id: &str, form: Form) -> Answer {
        let answer = self.engine.not_ready(now, wanted);
        self.bend(now, (id.to_owned(), form), answer, &Seen::default())
    }

    fn bend(&mut self, now: Now, at: (String, Form), answer: Answer, seen: &Seen) -> Answer {
        match self.flaw {
            Some(Flaw::KeepsAnswers) if seen.lease.is_some() => {
                self.answers.entry(at).or_insert(answer).clone()
            }
            Some(Flaw::SaysNothingWell) if answer.status == 503 => {
                Answer { status: 200, body: Body::Empty, ..answer }
            }
            Some(Flaw::Blames) if answer.status == 503 => {
                let (code, message) = ("AccessDenied".to_owned(), "made up".to_owned());
                metadata::unavailable(at.1, &Unavailable::Denied { code, message }, now.wall)
            }
            _ => answer,
        }
    }

    pub(crate) fn poll(&mut self, now: Now) -> (Vec<Fetch>, Option<Duration>) {
        if self.flaw == Some(Flaw::RemembersTheGone) {
            self.callers.values().for_each(|caller| self.engine.prefetch(now, caller));
        }
        let (mut fetches, wake) = self.engine.poll(now);
        match self.flaw {
            Some(Flaw::FetchesTwice) => fetches.extend(fetches.clone()),
            Some(Flaw::RenewsAtTheEnd) => {
                let ended = |key: &LeaseKey| self.ends.get(key).is_none_or(|end| *end <= now.boot);
                fetches.retain(|fetch| ended(&fetch.key));
            }
            Some(Flaw::GivesUp) => fetches.retain(|fetch| fetch.attempt == 1),
            _ => {}
        }
        (fetches, wake)
    }

    pub(crate) fn fetched(
        &mut self,
        now: Now,
        (fetch, key): (FetchId, &LeaseKey),
        result: Result<Credentials, FetchError>,
    ) -> Outcome {
        self.fetches += 1;
        if self.flaw == Some(Flaw::LosesResults) && self.fetches.is_multiple_of(3) && result.is_ok()
        {
            return Outcome::Unknown;
        }
        let life = result.as_ref().map(|credentials| credentials.requested).unwrap_or_default();
        let outcome = self.engine.fetched(now, fetch, result);
        if matches!(outcome, Outcome::Held { .. }) {
            self.ends.insert(key.clone(), now.boot + life);
            if self.flaw == Some(Flaw::FetchesAnew) && self.fetches.is_multiple_of(4) {
                self.engine.gone(&key.workload);
                if let Some(caller) = self.callers.get(&key.workload.to_string()) {
                    self.engine.prefetch(now, caller);
                }
            }
        }
        outcome
    }

    /// Whom STS is asked for.
    pub(crate) fn asks_for(&self, key: &LeaseKey) -> LeaseKey {
        let mut key = key.clone();
        if self.flaw == Some(Flaw::AsksForAnother)
            && let Ok(instance) = "somebody-else".parse()
        {
            key.workload.instance = instance;
        }
        key
    }

    pub(crate) fn prefetch(&mut self, now: Now, evidence: &Evidence) {
        let caller = self.identify(evidence);
        self.engine.prefetch(now, &caller);
    }

    pub(crate) fn gone(&self, workload: &Workload) {
        if self.flaw != Some(Flaw::RemembersTheGone) {
            self.engine.gone(workload);
        }
    }

    /// Reads a file and puts it in force, unless it is broken.
    pub(crate) fn reload(&self, now: Now, text: &str, generation: u64) -> Result<(), ConfigError> {
        let mut read = Settings::parse("sim.toml", text, generation);
        if self.flaw == Some(Flaw::TakesBrokenFiles) && read.is_err() {
            let head = text.split("\n[[binding]]").next().unwrap_or_default();
            read = Settings::parse("sim.toml", head, generation);
        }
        let settings = read?;
        if self.flaw != Some(Flaw::IgnoresReloads) {
            self.engine.reload(now, settings);
        }
        Ok(())
    }

    pub(crate) fn tally(&self) -> Tally {
        self.engine.tally()
    }
}
