//! What honest clients do, request by request.

use std::time::Duration;

use agent::{
    engine::{Caller, Progress, Wanted},
    serve::WAIT_MAX,
};
use metadata::{Answer, Door, Form, Request};

use crate::{
    client::{Client, Sdk},
    judge::Heard,
    laws,
};

use super::{Event, World};

const SESSION_TOKEN: &str = "x-aws-ec2-metadata-token";
const SESSION_LIFE: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const ROLE_NAME: &str = "/latest/meta-data/iam/security-credentials/";

/// A request as it is sent.
#[derive(Debug)]
pub(super) struct Sends<'a> {
    pub(super) door: Door,
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// Whether it asks for what is the sender's own.
    pub(super) honest: bool,
}

/// Somebody who waits for credentials.
#[derive(Debug)]
pub(super) struct Wait {
    /// The client and its turn; attackers have none.
    pub(super) client: Option<(usize, u64)>,
    /// Where the answer goes.
    pub(super) place: Option<usize>,
    /// The role in force when the request was decided.
    role: Option<String>,
    wanted: Wanted,
    form: Form,
    honest: bool,
}

/// What a request comes to.
#[derive(Debug)]
pub(super) enum Got {
    /// This answer, with these credentials in it.
    Answer(Answer, Option<usize>),
    /// One has to wait.
    Wait(u64),
}

impl World<'_> {
    /// Somebody at `place`, or nobody whom the agent should know, sends a request.
    pub(super) fn send(
        &mut self,
        place: Option<usize>,
        caller: &mut Caller,
        sends: &Sends<'_>,
    ) -> Got {
        let Sends { door, method, target, headers, honest } = *sends;
        self.counts.requests += 1;
        let role = place.and_then(|place| self.role_of(place));
        if let (Some(of), Some(role)) = (place.and_then(|at| self.places.get(at)), &role) {
            self.judge.asked(self.now, &of.id, role);
        }
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let request = Request::new(method, target, headers);
        let (now, noise) = (self.clocks(), self.random.bytes());
        let answer = match self.host.agent.request(now, caller, (door, &request), noise) {
            Progress::Answer(answer) => answer,
            Progress::Host(_, left) => {
                // There is no metadata service of the host's own.
                metadata::answer_host(404, None, std::sync::Arc::new(Vec::new().into()), left)
            }
            Progress::Wait(wanted) => {
                let form = match door {
                    Door::Instance => Form::Instance,
                    Door::Container => Form::Container,
                    Door::PodIdentity => Form::PodIdentity,
                };
                let wait = Wait { client: None, place, role, wanted, form, honest };
                self.planned += 1;
                let number = self.planned;
                self.waits.insert(number, wait);
                self.counts.waited += 1;
                self.plan(WAIT_MAX, Event::WaitOver(number));
                self.nudge();
                return Got::Wait(number);
            }
        };
        let found = self.hear(place, role.as_deref(), honest, &answer);
        Got::Answer(answer, found)
    }

    /// An answer goes out.
    fn hear(
        &mut self,
        place: Option<usize>,
        role: Option<&str>,
        honest: bool,
        answer: &Answer,
    ) -> Option<usize> {
        let workload = place.and_then(|place| self.places.get(place)).map(|of| &*of.id);
        let who = workload.unwrap_or("somebody unknown");
        let status = answer.status;
        self.judge.step(self.now, || format!("{who} hears {status}"));
        self.judge.heard(self.now, &Heard { workload, role, honest, answer }, &self.sts)
    }

    /// Leases changed: whoever waits is looked at again.
    pub(super) fn serve_waiting(&mut self) {
        let now = self.clocks();
        for number in self.waits.keys().copied().collect::<Vec<_>>() {
            let Some(wait) = self.waits.get(&number) else { continue };
            let id = self.id_of(wait.place);
            if let Some(role) = &wait.role {
                self.judge.asked(self.now, &id, role);
            }
            let served = self.host.agent.serve(now, &wait.wanted, &id, wait.form);
            if let Some(answer) = served {
                self.end_wait(number, &answer);
            } else {
                self.nudge();
            }
        }
    }

    /// Somebody has waited long enough.
    pub(super) fn wait_over(&mut self, number: u64) {
        if let Some(wait) = self.waits.get(&number) {
            let id = self.id_of(wait.place);
            let answer = self.host.agent.not_ready(self.clocks(), &wait.wanted, &id, wait.form);
            self.end_wait(number, &answer);
        }
    }

    fn id_of(&self, place: Option<usize>) -> String {
        place.and_then(|place| self.places.get(place)).map(|of| of.id.clone()).unwrap_or_default()
    }

    fn end_wait(&mut self, number: u64, answer: &Answer) {
        let Some(wait) = self.waits.remove(&number) else { return };
        let found = self.hear(wait.place, wait.role.as_deref(), wait.honest, answer);
        if let Some((client, turn)) = wait.client
            && let Some(mut of) = self.clients.get(client).cloned()
            && of.turn == turn
        {
            self.settle(client, &mut of, wait.role.as_deref(), (answer.status, found));
            self.put_back(client, of);
        }
    }

    /// A client wants credentials.
    pub(super) fn wish(&mut self, index: usize, turn: u64) {
        let Some(mut client) = self.clients.get(index).filter(|of| of.turn == turn).cloned() else {
            return;
        };
        if !self.places.get(client.place).is_some_and(|place| place.alive) {
            return;
        }
        if client.tries_left == 0 {
            client.tries_left = client.sdk.tries(client.door);
        }
        let held = client.holds.and_then(|holds| self.sts.get(holds));
        if held.is_some_and(|issued| issued.end <= self.now) {
            self.counts.used_expired += 1;
        }
        let role = self.role_of(client.place);
        match self.ask_as_its_sdk_does(&mut client) {
            Some(Got::Answer(answer, found)) => {
                self.settle(index, &mut client, role.as_deref(), (answer.status, found));
            }
            Some(Got::Wait(number)) => {
                if let Some(wait) = self.waits.get_mut(&number) {
                    wait.client = Some((index, client.turn));
                }
            }
            None => self.settle(index, &mut client, role.as_deref(), (0, None)),
        }
        self.put_back(index, client);
    }

    fn put_back(&mut self, index: usize, client: Client) {
        if let Some(of) = self.clients.get_mut(index) {
            *of = client;
        }
    }

    /// The requests of one attempt. `None` if there is nothing to be had at its door.
    fn ask_as_its_sdk_does(&mut self, client: &mut Client) -> Option<Got> {
        let of = self.places.get(client.place)?;
        let (place, door) = (Some(client.place), client.door);
        // Some connections are kept alive, across reloads as well.
        let mut caller = match client.caller.take().filter(|_| self.random.chance(600)) {
            Some(caller) => caller,
            None => self.host.agent.identify(&of.evidence),
        };
        let tokens = self.host.agent.engine().tokens();
        let id = metadata::container_id(tokens, &of.id);
        let bearer = metadata::container_token(tokens, &of.id);
        let got = match door {
            Door::Instance => self.ask_instance(client, &mut caller),
            Door::Container => {
                let target = format!("/v2/credentials/{}", id.expose());
                let headers = [("host", "169.254.170.2")];
                let sends =
                    Sends { door, method: "GET", target: &target, headers: &headers, honest: true };
                Some(self.send(place, &mut caller, &sends))
            }
            Door::PodIdentity => {
                let headers = [("host", "169.254.170.23"), ("authorization", bearer.expose())];
                let target = "/v1/credentials";
                let sends = Sends { door, method: "GET", target, headers: &headers, honest: true };
                Some(self.send(place, &mut caller, &sends))
            }
        };
        client.caller = Some(caller);
        got
    }

    /// A token, the role's name, its credentials.
    fn ask_instance(&mut self, client: &mut Client, caller: &mut Caller) -> Option<Got> {
        let kept = client.token.take().filter(|(_, until)| self.now < *until);
        let was_kept = kept.is_some();
        let (token, until) = match kept {
            Some(kept) => kept,
            None => self.ask_token(client, caller)?,
        };
        if client.role_name.is_empty() {
            let (answer, _) = self.read(client.place, caller, &token, ROLE_NAME)?;
            match answer.status {
                200 => {
                    client.role_name = String::from_utf8_lossy(answer.body.expose()).into_owned();
                }
                // The token died with the machine's last boot: it asks for another.
                401 if was_kept => return self.ask_instance(client, caller),
                _ => return None,
            }
        }
        let target = format!("{ROLE_NAME}{}", client.role_name);
        let got = self.get(client.place, caller, &token, &target);
        let status = if let Got::Answer(answer, _) = &got { answer.status } else { 200 };
        if status == 401 && was_kept {
            return self.ask_instance(client, caller);
        }
        if status != 200 || !matches!(client.sdk, Sdk::Poller(_)) {
            // Another role since, or an SDK that asks for the name every time.
            client.role_name.clear();
        }
        client.token = client.sdk.keeps_token().map(|_| (token, until));
        Some(got)
    }

    fn ask_token(&mut self, client: &Client, caller: &mut Caller) -> Option<(String, Duration)> {
        let life = client.sdk.token_life();
        let text = life.to_string();
        let headers = [("host", "169.254.169.254"), (SESSION_LIFE, &*text)];
        let (door, target) = (Door::Instance, "/latest/api/token");
        let sends = Sends { door, method: "PUT", target, headers: &headers, honest: true };
        match self.send(Some(client.place), caller, &sends) {
            Got::Answer(answer, _) if answer.status == 200 => {
                let early = client.sdk.keeps_token().unwrap_or_default();
                let until = (self.now + Duration::from_secs(life)).saturating_sub(early);
                Some((String::from_utf8_lossy(answer.body.expose()).into_owned(), until))
            }
            _ => None,
        }
    }

    fn read(
        &mut self,
        place: usize,
        caller: &mut Caller,
        token: &str,
        target: &str,
    ) -> Option<(Answer, Option<usize>)> {
        match self.get(place, caller, token, target) {
            Got::Answer(answer, found) => Some((answer, found)),
            Got::Wait(_) => None,
        }
    }

    fn get(&mut self, place: usize, caller: &mut Caller, token: &str, target: &str) -> Got {
        let headers = [("host", "169.254.169.254"), (SESSION_TOKEN, token)];
        let door = Door::Instance;
        let sends = Sends { door, method: "GET", target, headers: &headers, honest: true };
        self.send(Some(place), caller, &sends)
    }

    /// A client has its answer: its status, and the credentials in it.
    fn settle(
        &mut self,
        index: usize,
        client: &mut Client,
        role: Option<&str>,
        (status, found): (u16, Option<usize>),
    ) {
        let after = match found.and_then(|found| self.sts.get(found)) {
            Some(issued) if status == 200 => {
                self.counts.served += 1;
                self.healed.iter_mut().for_each(|served| {
                    served.insert(client.place);
                });
                let left = issued.printed.duration_since(self.clocks().wall);
                (client.holds, client.tries_left) = (found, 0);
                let again = client
                    .sdk
                    .asks_again(Duration::try_from(left).unwrap_or_default(), &mut self.random);
                self.sleeps().unwrap_or(again)
            }
            _ => {
                if role.is_some() {
                    self.refused(client, status);
                }
                client.tries_left = client.tries_left.saturating_sub(1);
                match client.tries_left {
                    0 => client.sdk.after_failure(client.holds.is_some(), &mut self.random),
                    _ => self.random.wait((100, 2_000)),
                }
            }
        };
        client.turn += 1;
        self.plan(after, Event::Client(index, client.turn));
    }

    /// Some programs rest for hours, so that their leases go idle.
    fn sleeps(&mut self) -> Option<Duration> {
        let may = self.scenario.flawless_from.is_none() && self.healed.is_none();
        let sleeps = may && self.random.chance(30);
        sleeps.then(|| self.random.wait((3_600_000, 10_800_000)))
    }

    /// An honest client with a role was given nothing.
    fn refused(&mut self, client: &Client, status: u16) {
        self.counts.refused += 1;
        if self.scenario.flawless_from.is_some_and(|from| self.now >= from) {
            let id = self.places.get(client.place).map_or("", |of| &of.id);
            let what = format!("{id}: {:?} at {:?} hears {status}", client.sdk, client.door);
            self.judge.broken(laws::NO_CLIENT_ERROR, what);
        }
    }

    /// A process starts anew and asks after a while.
    pub(super) fn restart_client(&mut self, index: usize, after: Duration) {
        if let Some(client) = self.clients.get_mut(index) {
            client.forget();
            let turn = client.turn;
            self.plan(after, Event::Client(index, turn));
        }
    }
}
