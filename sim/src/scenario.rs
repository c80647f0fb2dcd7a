use std::time::Duration;

use jiff::SignedDuration;

use crate::Flaw;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What the world does to the agent, apart from what the seed decides.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What people call it.
    pub name: &'static str,
    /// How long it is stormy, in simulated time. A calm follows in which everything must heal.
    pub length: Duration,
    /// How many applications there are, each with a role of its own.
    pub applications: u32,
    /// How many workloads there are at first.
    pub workloads: u32,
    /// The most workloads there are at one time.
    pub workloads_max: u32,
    /// How many clients each workload has.
    pub clients: u32,
    /// The lives that bindings ask for, in minutes.
    pub lives: &'static [u64],
    /// How STS behaves while it is stormy.
    pub sts: Weather,
    /// How often the rest of the world changes while it is stormy.
    pub often: Often,
    /// What happens at a set time.
    pub script: Vec<(Duration, Act)>,
    /// From this time on no honest client may be refused or made to wait in vain.
    pub flawless_from: Option<Duration>,
    /// Clients that ask all the time, beside those that ask as their SDK does: every so often.
    pub pollers: Option<Duration>,
    /// What is broken in the agent on purpose, to see that the laws notice.
    pub flaw: Option<Flaw>,
}

/// How STS behaves, in cases of a thousand.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// How long an answer takes, in milliseconds.
    pub latency: (u64, u64),
    /// It asks us to slow down.
    pub throttled: u64,
    /// It says no.
    pub denied: u64,
    /// It issues, but the answer gets lost.
    pub lost: u64,
    /// Nothing comes, and not even the edge notices.
    pub silent: u64,
    /// The answer takes up to 30 seconds: often longer than it is waited for.
    pub late: u64,
    /// The result is reported twice.
    pub doubled: u64,
    /// The answer lacks a part.
    pub hollow: u64,
    /// The printed end is wrong by up to a day, either way.
    pub misdated: u64,
    /// It grants only 15 minutes, whatever was asked.
    pub short: u64,
}

impl Weather {
    /// Nothing goes wrong.
    pub const FAIR: Self = Self {
        latency: (40, 300),
        throttled: 0,
        denied: 0,
        lost: 0,
        silent: 0,
        late: 0,
        doubled: 0,
        hollow: 0,
        misdated: 0,
        short: 0,
    };

    /// A little of everything goes wrong.
    pub const FOUL: Self = Self {
        latency: (20, 2_500),
        throttled: 60,
        denied: 30,
        lost: 30,
        silent: 20,
        late: 60,
        doubled: 50,
        hollow: 20,
        misdated: 40,
        short: 40,
    };
}

/// How much time passes between two changes of a kind, on average. `None` is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Often {
    /// STS is down for a while, up to 20 minutes.
    pub outage: Option<Duration>,
    /// The file is read again, sometimes a broken one.
    pub reload: Option<Duration>,
    /// The agent is restarted.
    pub restart: Option<Duration>,
    /// The machine is restarted.
    pub reboot: Option<Duration>,
    /// A workload comes or goes.
    pub churn: Option<Duration>,
    /// The wall clock jumps, up to two days either way.
    pub jump: Option<Duration>,
    /// The machine sleeps for a while, up to three hours.
    pub sleep: Option<Duration>,
    /// Somebody tries to get what is not theirs.
    pub attack: Option<Duration>,
}

/// One change of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// STS is not to be reached from now on.
    OutageBegins,
    /// STS is there again.
    OutageEnds,
    /// The wall clock is set so far off the right time.
    ClockSet(SignedDuration),
    /// The file is read again with one binding changed.
    Reload,
    /// A broken file is read.
    BrokenReload,
    /// The agent is restarted: same key, same boot.
    Restart,
    /// The machine is restarted: same key, another boot.
    Reboot,
    /// The machine sleeps for so long: time passes, and nothing runs on it.
    Sleep(Duration),
    /// A workload comes.
    Join,
    /// A workload goes.
    Leave,
    /// Somebody tries to get what is not theirs.
    Attack,
    /// From now on nothing goes wrong any more.
    Heal,
}

impl Scenario {
    /// Everything at once, for six hours.
    pub fn chaos() -> Self {
        Self {
            name: "chaos",
            length: 6 * HOUR,
            workloads: 12,
            sts: Weather::FOUL,
            often: Often {
                outage: Some(90 * MINUTE),
                reload: Some(12 * MINUTE),
                restart: Some(50 * MINUTE),
                reboot: Some(3 * HOUR),
                churn: Some(6 * MINUTE),
                jump: Some(40 * MINUTE),
                sleep: Some(3 * HOUR),
                attack: Some(MINUTE),
            },
            pollers: Some(5 * MINUTE),
            ..Self::calm()
        }
    }

    /// Nothing goes wrong for three hours; somebody attacks.
    pub fn calm() -> Self {
        Self {
            name: "calm",
            length: 3 * HOUR,
            applications: 5,
            workloads: 10,
            workloads_max: 16,
            clients: 2,
            lives: &[15, 60, 60, 60, 720],
            sts: Weather::FAIR,
            often: Often { attack: Some(2 * MINUTE), ..Often::default() },
            script: Vec::new(),
            flawless_from: None,
            pollers: None,
            flaw: None,
        }
    }

    /// STS is down for 45 minutes while leases of one hour are held.
    pub fn outage() -> Self {
        let begins = 70 * MINUTE;
        Self {
            name: "outage",
            length: 150 * MINUTE,
            lives: &[60],
            script: vec![
                (begins, Act::OutageBegins),
                (begins + credentials::policy::OUTAGE_SURVIVED, Act::OutageEnds),
            ],
            flawless_from: Some(2 * MINUTE),
            pollers: Some(20 * SECOND),
            ..Self::calm()
        }
    }

    /// The wall clock is a day ahead for twenty minutes, then a day behind, then right again.
    pub fn clock() -> Self {
        let day = SignedDuration::from_hours(24);
        Self {
            name: "clock",
            lives: &[60],
            script: vec![
                (70 * MINUTE, Act::ClockSet(day)),
                (90 * MINUTE, Act::ClockSet(SignedDuration::ZERO)),
                (120 * MINUTE, Act::ClockSet(-day)),
                (140 * MINUTE, Act::ClockSet(SignedDuration::ZERO)),
            ],
            flawless_from: Some(2 * MINUTE),
            pollers: Some(MINUTE),
            ..Self::calm()
        }
    }

    /// The file is read again every other second, one in three times a broken one.
    pub fn reloads() -> Self {
        Self {
            name: "reloads",
            length: 30 * MINUTE,
            often: Often { reload: Some(2 * SECOND), attack: Some(MINUTE), ..Often::default() },
            sts: Weather { latency: (100, 2_000), late: 100, ..Weather::FAIR },
            pollers: Some(20 * SECOND),
            ..Self::calm()
        }
    }

    /// The agent is restarted every half a minute, the machine every ten.
    pub fn restarts() -> Self {
        Self {
            name: "restarts",
            length: HOUR,
            often: Often {
                restart: Some(30 * SECOND),
                reboot: Some(10 * MINUTE),
                attack: Some(MINUTE),
                ..Often::default()
            },
            pollers: Some(30 * SECOND),
            ..Self::calm()
        }
    }

    /// STS throttles four calls in five for two hours.
    pub fn throttling() -> Self {
        Self {
            name: "throttling",
            sts: Weather { throttled: 800, ..Weather::FAIR },
            length: 2 * HOUR,
            pollers: Some(2 * MINUTE),
            ..Self::calm()
        }
    }

    /// Two hundred workloads that come and go.
    pub fn crowd() -> Self {
        Self {
            name: "crowd",
            length: 90 * MINUTE,
            applications: 40,
            workloads: 200,
            workloads_max: 220,
            clients: 1,
            sts: Weather { throttled: 50, ..Weather::FAIR },
            often: Often { churn: Some(10 * SECOND), ..Often::default() },
            ..Self::calm()
        }
    }

    /// All of the above.
    pub fn all() -> Vec<Self> {
        vec![
            Self::chaos(),
            Self::calm(),
            Self::outage(),
            Self::clock(),
            Self::reloads(),
            Self::restarts(),
            Self::throttling(),
            Self::crowd(),
        ]
    }

    /// The same with something broken in the agent.
    pub fn with_flaw(self, flaw: Flaw) -> Self {
        Self { flaw: Some(flaw), ..self }
    }
}
