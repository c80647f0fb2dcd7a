//! What operators, machines and workloads do.

use std::time::Duration;

use agent::{
    engine::{Engine, Standing},
    settings::Settings,
};
use jiff::SignedDuration;
use metadata::TokenKey;
use secret::SecretKey;

use crate::{
    Act, Law, Often, laws,
    town::{self, Application, Shows},
};

use super::{Event, World};

/// What happens again and again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Outage,
    Reload,
    Restart,
    Reboot,
    Churn,
    Jump,
    Sleep,
    Attack,
}

impl World<'_> {
    /// Plans what the scenario says.
    pub(super) fn plan_acts(&mut self) {
        for (time, act) in &self.scenario.script {
            self.plan(*time, Event::Act(*act));
        }
        let Often { outage, reload, restart, reboot, churn, jump, sleep, attack } =
            self.scenario.often;
        for (kind, every) in [
            (Kind::Outage, outage),
            (Kind::Reload, reload),
            (Kind::Restart, restart),
            (Kind::Reboot, reboot),
            (Kind::Churn, churn),
            (Kind::Jump, jump),
            (Kind::Sleep, sleep),
            (Kind::Attack, attack),
        ] {
            if let Some(every) = every {
                self.plan_again(kind, every);
            }
        }
        self.plan(self.scenario.length, Event::Act(Act::Heal));
    }

    fn plan_again(&mut self, kind: Kind, every: Duration) {
        let twice = u64::try_from(every.as_millis() * 2).unwrap_or(u64::MAX);
        let after = self.random.wait((1, twice));
        self.plan(after, Event::Again(kind, every));
    }

    pub(super) fn again(&mut self, kind: Kind, every: Duration) {
        if self.healed.is_some() {
            return;
        }
        let act = match kind {
            Kind::Outage => {
                let lasts = self.random.wait((60_000, 1_200_000));
                self.plan(lasts, Event::Act(Act::OutageEnds));
                Act::OutageBegins
            }
            Kind::Reload if self.random.chance(333) => Act::BrokenReload,
            Kind::Reload => Act::Reload,
            Kind::Restart => Act::Restart,
            Kind::Reboot => Act::Reboot,
            Kind::Churn if self.random.chance(500) => Act::Join,
            Kind::Churn => Act::Leave,
            Kind::Jump if self.random.chance(400) => Act::ClockSet(SignedDuration::ZERO),
            Kind::Jump => {
                // Seconds as often as days.
                let most = *self.random.pick(&[90, 1_800, 7_200, 172_800]).unwrap_or(&90);
                let ahead = i64::try_from(self.random.below(2 * most + 1)).unwrap_or_default();
                let most = i64::try_from(most).unwrap_or_default();
                Act::ClockSet(SignedDuration::from_secs(ahead - most))
            }
            Kind::Sleep => {
                let most = *self.random.pick(&[20_000, 600_000, 10_800_000]).unwrap_or(&0);
                Act::Sleep(self.random.wait((1_000, most)))
            }
            Kind::Attack => Act::Attack,
        };
        self.act(act);
        self.plan_again(kind, every);
    }

    pub(super) fn act(&mut self, act: Act) {
        if self.healed.is_some() {
            return;
        }
        self.judge.step(self.now, || format!("{act:?}"));
        match act {
            Act::OutageBegins => self.sts.down = true,
            Act::OutageEnds => self.sts.down = false,
            Act::ClockSet(offset) => {
                self.host.offset = offset;
                self.counts.jumps += 1;
            }
            Act::Reload => self.change_one_binding(),
            Act::BrokenReload => self.read_broken_file(),
            Act::Restart => self.restart(),
            Act::Reboot => self.reboot(),
            Act::Sleep(time) => {
                // What was planned in between happens late.
                self.now += time;
                self.counts.sleeps += 1;
                self.judge.woke(self.now);
            }
            Act::Join => self.come(),
            Act::Leave => self.leave(),
            Act::Attack => self.attack(),
            Act::Heal => self.heal(),
        }
    }

    fn change_one_binding(&mut self) {
        let before = self.applications.clone();
        // Half of the time one of which somebody waits for credentials, where there is any.
        let waiting: Vec<usize> = self.waits.values().filter_map(|wait| wait.place).collect();
        let waiting = self.random.pick(&waiting).copied().filter(|_| self.random.chance(500));
        let waiting = waiting.and_then(|at| self.places.get(at)).map(|place| place.application);
        let Some(any) = self.random.place(before.len()) else { return };
        if let Some(application) = self.applications.get_mut(waiting.unwrap_or(any)) {
            let what = application.change(self.scenario.lives, &mut self.random);
            let name = &application.name;
            self.judge.step(self.now, || format!("the {what} of {name} changes"));
        }
        self.read_file(&before);
    }

    /// The agent reads its file, which tells it of all that changed since `before`.
    pub(super) fn read_file(&mut self, before: &[Application]) {
        self.host.generation += 1;
        self.counts.reloads += 1;
        let (now, text) = (self.clocks(), town::file(&self.applications));
        if let Err(error) = self.host.agent.reload(now, &text, self.host.generation) {
            self.judge.broken(laws::ROLE_IN_FORCE, format!("a good file is refused: {error}"));
        }
        let (places, applications) = (&self.places, &self.applications);
        let of = |id: &str| {
            let at = places.iter().find(|place| place.id == id)?.application;
            applications.get(at).zip(before.get(at))
        };
        let taken = |id: &str| of(id).is_some_and(|(new, old)| !new.has_role_of(old));
        self.judge.ended(taken);
        self.judge.outdated(self.now, |id| of(id).is_some_and(|(new, old)| !new.asks_like(old)));
        self.check_verdicts(laws::ROLE_IN_FORCE);
        self.nudge();
    }

    fn read_broken_file(&mut self) {
        self.host.generation += 1;
        self.counts.broken_reloads += 1;
        let now = self.clocks();
        let text = town::broken_file(&self.applications, &mut self.random);
        if self.host.agent.reload(now, &text, self.host.generation).is_ok() {
            self.judge.broken(laws::BROKEN_FILES_ARE_REFUSED, "it was taken for a good one");
        }
        self.check_verdicts(laws::BROKEN_FILES_ARE_REFUSED);
    }

    /// Everybody is who they are and has the role that the last good file says.
    fn check_verdicts(&mut self, law: Law) {
        for (at, place) in self.places.iter().enumerate().filter(|(_, place)| place.alive) {
            let standing = self.host.agent.engine().identify(place.evidence.clone()).standing;
            let verdict = match &standing {
                Standing::Known(known) if known.id != place.id => Some(known.id.clone()),
                Standing::Known(known) => {
                    let on = known.switch == credentials::Switch::On;
                    on.then(|| known.bound.role_text.clone())
                }
                Standing::Refused(_) => None,
            };
            let right = self.role_of(at);
            if verdict != right {
                let what = format!("{} has {right:?}, the agent says {verdict:?}", place.id);
                self.judge.broken(law, what);
            }
        }
    }

    /// The agent's process starts anew, with the file and the keys that lie on the disk.
    #[expect(clippy::expect_used, reason = "it has read this very file before")]
    fn restart(&mut self) {
        self.counts.restarts += 1;
        self.host.generation += 1;
        let text = town::file(&self.applications);
        let settings = Settings::parse("sim.toml", &text, self.host.generation);
        let tokens = TokenKey::new(&SecretKey::new(self.host.key), self.host.boot_id);
        let seed = self.random.number();
        let engine = Engine::new(settings.expect("the town's file"), tokens, seed);
        self.host.agent = crate::flaw::Driven::new(engine, self.scenario.flaw);
        self.host.runs += 1;
        self.judge.restarted();
        for client in &mut self.clients {
            client.caller = None;
        }
        // Whoever waits sees the connection break, and tries again.
        for wait in std::mem::take(&mut self.waits).into_values() {
            if let Some((client, turn)) = wait.client {
                let after = self.random.wait((200, 3_000));
                self.plan(after, Event::Client(client, turn));
            }
        }
        for place in self.alive() {
            self.prefetch(place);
        }
        self.nudge();
    }

    /// The machine starts anew, and every process on it.
    fn reboot(&mut self) {
        self.host.booted = self.now;
        self.host.boot_id = self.random.bytes();
        self.waits.clear();
        self.restart();
        for client in 0..self.clients.len() {
            let after = self.random.wait((100, 30_000));
            self.restart_client(client, after);
        }
    }

    /// A workload comes: a new one, or one that was here before.
    fn come(&mut self) {
        if self.alive().len() >= usize::try_from(self.scenario.workloads_max).unwrap_or_default() {
            return;
        }
        self.counts.came += 1;
        let gone = self.places.iter().enumerate().filter(|(_, place)| !place.alive);
        let gone: Vec<usize> = gone.map(|(at, _)| at).collect();
        match self.random.pick(&gone).copied().filter(|_| self.random.chance(300)) {
            Some(at) => {
                if let Some(place) = self.places.get_mut(at) {
                    place.alive = true;
                }
                self.move_in(at);
            }
            None => self.join(),
        }
    }

    /// A workload goes, with all its processes. The agent notices where it served a namespace.
    fn leave(&mut self) {
        let alive = self.alive();
        let Some(at) = self.random.pick(&alive).copied().filter(|_| alive.len() > 2) else {
            return;
        };
        self.counts.went += 1;
        self.waits.retain(|_, wait| wait.place != Some(at));
        for client in self.clients.iter_mut().filter(|client| client.place == at) {
            client.forget();
        }
        let Some(place) = self.places.get_mut(at) else { return };
        place.alive = false;
        let shows = self.applications.get(place.application).map(|of| of.shows);
        if shows == Some(Shows::Namespace) {
            self.host.agent.gone(&place.workload);
            self.judge.ended(|id| id == place.id);
        }
    }

    /// The places whose workloads live.
    pub(super) fn alive(&self) -> Vec<usize> {
        let alive = self.places.iter().enumerate().filter(|(_, place)| place.alive);
        alive.map(|(at, _)| at).collect()
    }
}
