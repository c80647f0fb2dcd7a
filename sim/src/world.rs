//! The event loop: simulated time, and everything that happens in it.

mod acts;
mod asking;
mod attacks;
mod fetches;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::RwLock,
    time::Duration,
};

use agent::{
    engine::{Engine, Now},
    fetch::Signer,
    settings::Settings,
};
use issuer::{Algorithm, KeyRing, SigningKey};
use jiff::{SignedDuration, Timestamp};
use metadata::{Door, TokenKey};
use secret::SecretKey;

use crate::{
    Act, Report, Scenario, Seed, Weather,
    client::{Client, SDKS, Sdk},
    flaw::Driven,
    judge::Judge,
    laws::{self, HEALED_WITHIN},
    random::{KeyDice, Random},
    sts::Sts,
    town::{self, Application, ISSUER, Place, Shows},
};

use self::{acts::Kind, asking::Wait, fetches::Call};

/// When the simulated world begins: 2026-01-01.
const BEGINNING: Timestamp = Timestamp::constant(1_767_225_600, 0);
/// How long the machine takes from its boot to the agent's start.
const BOOT: Duration = Duration::from_secs(30);
/// The longest that the agent sleeps, as in [`agent::fetch`].
const SLEEP_MAX: Duration = Duration::from_secs(15);
/// How often a client asks that waits for the world to heal.
const HEALING: Duration = Duration::from_secs(20);

/// Something that will happen.
#[derive(Debug)]
enum Event {
    /// The agent looks whether anything is to be fetched.
    Poll,
    /// The edge reports a call, if the agent that made it still runs.
    Told(u64, Box<Call>),
    /// A client asks, unless it was told to do something else since.
    Client(usize, u64),
    /// Somebody has waited long enough.
    WaitOver(u64),
    /// Something on the script.
    Act(Act),
    /// Something that happens again and again, so often.
    Again(Kind, Duration),
    /// Everything must have healed.
    Judged,
}

/// The machine and its agent.
#[derive(Debug)]
struct Host {
    agent: Driven,
    signer: Signer,
    key: [u8; 32],
    boot_id: [u8; 16],
    /// When the machine was started, in simulated time.
    booted: Duration,
    /// How far its wall clock is ahead of the right time.
    offset: SignedDuration,
    /// How often the agent was started.
    runs: u64,
    /// How often its file was read.
    generation: u64,
    /// When it looks next whether anything is to be fetched.
    wakes: Duration,
}

/// What is counted on the way.
#[derive(Debug, Default)]
struct Counts {
    requests: u64,
    served: u64,
    refused: u64,
    waited: u64,
    attacks: u64,
    used_expired: u64,
    restarts: u64,
    reloads: u64,
    broken_reloads: u64,
    came: u64,
    went: u64,
    jumps: u64,
    sleeps: u64,
}

/// The whole simulated world.
#[derive(Debug)]
pub(crate) struct World<'a> {
    scenario: &'a Scenario,
    seed: Seed,
    weather: Weather,
    random: Random,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    planned: u64,
    applications: Vec<Application>,
    places: Vec<Place>,
    clients: Vec<Client>,
    waits: BTreeMap<u64, Wait>,
    host: Host,
    sts: Sts,
    judge: Judge,
    counts: Counts,
    /// The places that were served since everything healed; `None` before.
    healed: Option<BTreeSet<usize>>,
    over: bool,
}

impl<'a> World<'a> {
    pub(crate) fn new(seed: Seed, scenario: &'a Scenario) -> Self {
        let mut random = Random::new(seed);
        let numbers = 0..u64::from(scenario.applications);
        let applications: Vec<_> =
            numbers.map(|n| Application::new(n, scenario.lives, &mut random)).collect();
        let host = Host::new(&applications, scenario, &mut random);
        let jwks = {
            let keys = host.signer.keys.read();
            keys.map(|keys| issuer::jwks(&keys)).unwrap_or_default()
        };
        let mut world = Self {
            scenario,
            seed,
            weather: scenario.sts,
            random,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            planned: 0,
            applications,
            places: Vec::new(),
            clients: Vec::new(),
            waits: BTreeMap::new(),
            host,
            sts: Sts::new(&jwks),
            judge: Judge::new(seed, scenario),
            counts: Counts::default(),
            healed: None,
            over: false,
        };
        (0..scenario.workloads).for_each(|_| world.join());
        world.plan_acts();
        world.plan(Duration::ZERO, Event::Poll);
        world
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> Report {
        while !self.over
            && let Some(((time, _), event)) = self.events.pop_first()
        {
            self.now = self.now.max(time);
            self.happen(event);
        }
        let Counts { requests, served, refused, waited, attacks, used_expired, .. } = self.counts;
        let Counts { restarts, reloads, broken_reloads, came, went, jumps, sleeps, .. } =
            self.counts;
        Report {
            scenario: self.scenario.name,
            seed: self.seed,
            steps: self.judge.steps,
            simulated: self.now,
            requests,
            served,
            refused,
            waited,
            attacks,
            calls: self.sts.calls,
            issued: self.sts.count(),
            used_expired,
            restarts,
            reloads,
            broken_reloads,
            came,
            went,
            jumps,
            sleeps,
            leases_max: self.judge.leases_max,
            violations: self.judge.violations,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Poll if self.now < self.host.wakes => {}
            Event::Poll => self.poll(),
            Event::Told(run, call) => self.told(run, &call),
            Event::Client(client, turn) => self.wish(client, turn),
            Event::WaitOver(wait) => self.wait_over(wait),
            Event::Act(act) => self.act(act),
            Event::Again(kind, every) => self.again(kind, every),
            Event::Judged => self.judge_healing(),
        }
    }

    fn plan(&mut self, after: Duration, event: Event) {
        self.planned += 1;
        self.events.insert((self.now + after, self.planned), event);
    }

    /// Both clocks of the host.
    fn clocks(&self) -> Now {
        let boot = BOOT + self.now.saturating_sub(self.host.booted);
        let wall = self.right_time();
        Now { boot, wall: wall.checked_add(self.host.offset).unwrap_or(wall) }
    }

    /// The wall clock of everybody else.
    fn right_time(&self) -> Timestamp {
        BEGINNING.checked_add(self.now).unwrap_or(BEGINNING)
    }

    /// The role that a place must be given.
    fn role_of(&self, place: usize) -> Option<String> {
        let application = self.places.get(place)?.application;
        self.applications.get(application)?.role_in_force()
    }

    /// One more workload.
    fn join(&mut self) {
        let number = u64::try_from(self.places.len()).unwrap_or_default();
        let Some(application) = self.random.place(self.applications.len()) else { return };
        let of = self.applications.get(application);
        let Some(place) = of.and_then(|of| Place::new(of, application, number)) else { return };
        self.places.push(place);
        self.move_in(self.places.len() - 1);
    }

    /// The processes of a workload start.
    fn move_in(&mut self, place: usize) {
        self.prefetch(place);
        if self.clients.iter().all(|client| client.place != place) {
            for _ in 0..self.scenario.clients {
                let sdk = self.random.pick(&SDKS).copied().unwrap_or(Sdk::Python);
                let doors = [Door::Instance, Door::Instance, Door::Container, Door::PodIdentity];
                let door = self.random.pick(&doors).copied().unwrap_or(Door::Instance);
                self.clients.push(Client::new(place, sdk, door));
            }
            if let Some(every) = self.scenario.pollers {
                self.clients.push(Client::new(place, Sdk::Poller(every), Door::Instance));
            }
        }
        for client in 0..self.clients.len() {
            if self.clients.get(client).is_some_and(|client| client.place == place) {
                let after = self.random.wait((0, 20_000));
                self.restart_client(client, after);
            }
        }
    }

    /// The agent fetches for the namespaces that it serves before anybody asks.
    fn prefetch(&mut self, place: usize) {
        let now = self.clocks();
        let (Some(role), Some(of)) = (self.role_of(place), self.places.get(place)) else { return };
        if self.applications.get(of.application).is_some_and(|of| of.shows == Shows::Namespace) {
            self.host.agent.prefetch(now, &of.evidence);
            self.judge.asked(self.now, &of.id, &role);
            self.nudge();
        }
    }

    /// From now on nothing goes wrong any more, and everybody asks.
    fn heal(&mut self) {
        self.weather = Weather::FAIR;
        (self.sts.down, self.host.offset) = (false, SignedDuration::ZERO);
        self.healed = Some(BTreeSet::new());
        let before = self.applications.clone();
        self.applications.iter_mut().for_each(Application::mend);
        self.read_file(&before);
        for client in 0..self.clients.len() {
            let after = self.random.wait((0, 20_000));
            if let Some(client) = self.clients.get_mut(client) {
                client.sdk = Sdk::Poller(HEALING);
            }
            self.restart_client(client, after);
        }
        self.plan(HEALED_WITHIN, Event::Judged);
    }

    fn judge_healing(&mut self) {
        let served = self.healed.take().unwrap_or_default();
        for (place, of) in self.places.iter().enumerate() {
            if of.alive && !served.contains(&place) {
                let what = format!("{} is not served after {HEALED_WITHIN:?}", of.id);
                self.judge.broken(laws::EVERYBODY_IS_SERVED, what);
            }
        }
        self.over = true;
    }
}

impl Host {
    #[expect(
        clippy::expect_used,
        reason = "dice that never fail make a key, and the town's file is right: else this crate is wrong"
    )]
    fn new(applications: &[Application], scenario: &Scenario, random: &mut Random) -> Self {
        let key = SigningKey::generate(Algorithm::Es256, &mut KeyDice(random));
        let keys = KeyRing::new(key.expect("a key from dice"), BEGINNING);
        let issuer = ISSUER.parse().expect("the issuer's address");
        let settings = Settings::parse("sim.toml", &town::file(applications), 1);
        let (key, boot_id) = (random.bytes(), random.bytes());
        let tokens = TokenKey::new(&SecretKey::new(key), boot_id);
        let engine = Engine::new(settings.expect("the town's file"), tokens, random.number());
        Self {
            agent: Driven::new(engine, scenario.flaw),
            signer: Signer { issuer, keys: RwLock::new(keys) },
            key,
            boot_id,
            booted: Duration::ZERO,
            offset: SignedDuration::ZERO,
            runs: 1,
            generation: 1,
            wakes: Duration::ZERO,
        }
    }
}
