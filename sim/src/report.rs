use std::{collections::VecDeque, fmt, time::Duration};

use crate::{Law, Seed};

/// How many of the last steps a violation tells.
const TRACE_MAX: usize = 40;

/// What was seen in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The seed.
    pub seed: Seed,
    /// How many steps the world made.
    pub steps: u64,
    /// How much time passed in it.
    pub simulated: Duration,
    /// How many requests the agent decided.
    pub requests: u64,
    /// How often honest clients were given credentials.
    pub served: u64,
    /// How often honest clients with a role were not.
    pub refused: u64,
    /// How often somebody had to wait for credentials.
    pub waited: u64,
    /// How often somebody tried to get what is not theirs.
    pub attacks: u64,
    /// How often STS was called.
    pub calls: u64,
    /// How often it issued credentials.
    pub issued: u64,
    /// How often a client, by its own SDK's arithmetic, went on with credentials past their end.
    pub used_expired: u64,
    /// How often the agent was started again, with or without its machine.
    pub restarts: u64,
    /// How often it read its file.
    pub reloads: u64,
    /// How often that file was broken.
    pub broken_reloads: u64,
    /// How many workloads came after the start.
    pub came: u64,
    /// How many went.
    pub went: u64,
    /// How often the wall clock was set.
    pub jumps: u64,
    /// How often the machine slept.
    pub sleeps: u64,
    /// The most leases that were held at once.
    pub leases_max: usize,
    /// The first violation of each law.
    pub violations: Vec<Violation>,
}

/// A law that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// What was seen.
    pub what: String,
    /// In which step.
    pub step: u64,
    /// In which scenario.
    pub scenario: &'static str,
    /// From which seed.
    pub seed: Seed,
    /// The last steps, oldest first.
    pub trace: Vec<String>,
}

impl Report {
    /// Whether every law held.
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// The violation of a law.
    pub fn violation(&self, law: Law) -> Option<&Violation> {
        self.violations.iter().find(|violation| violation.law == law)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, seed, steps, requests, served, refused, waited, attacks, .. } = self;
        let Self { calls, issued, used_expired, restarts, reloads, broken_reloads, .. } = self;
        let Self { came, went, jumps, sleeps, leases_max, .. } = self;
        let minutes = self.simulated.as_secs() / 60;
        let (hours, minutes) = (minutes / 60, minutes % 60);
        write!(
            f,
            "scenario `{scenario}`, seed {seed}: {steps} steps, {hours} h {minutes:02} min, "
        )?;
        write!(f, "{requests} requests, {served} served, {refused} refused, {waited} waited, ")?;
        write!(f, "{attacks} attacks, {calls} calls to STS, {issued} issued, ")?;
        write!(f, "{used_expired} used past their end, {restarts} restarts, {reloads} reloads, ")?;
        write!(
            f,
            "{broken_reloads} broken files, {came} came, {went} went, {jumps} jumps, {sleeps} sleeps, "
        )?;
        writeln!(f, "{leases_max} leases at most")?;
        self.violations.iter().try_for_each(|violation| write!(f, "\n{violation}"))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { law, what, step, scenario, seed, trace } = self;
        writeln!(f, "law broken: {law}")?;
        writeln!(f, "  seen: {what}")?;
        writeln!(f, "  in step {step} of scenario `{scenario}`; the last steps were:")?;
        trace.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        writeln!(f, "  replay: ROLECALL_SIM_SEED={seed} cargo xtask test sim")
    }
}

/// The last steps, as one would tell them.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: VecDeque<String>,
}

impl Trace {
    pub(crate) fn tell(&mut self, time: Duration, line: &str) {
        if self.lines.len() >= TRACE_MAX {
            self.lines.pop_front();
        }
        let (seconds, ms) = (time.as_secs(), time.subsec_millis());
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        self.lines.push_back(format!("{hours:02}:{minutes:02}:{seconds:02}.{ms:03} {line}"));
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}
