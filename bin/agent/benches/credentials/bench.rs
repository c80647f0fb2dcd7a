//! The measures, in the order in which they disturb each other least.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use linux::Namespace;
use practice::{
    agent::Agent,
    measure::{Goal, Measure, median, step, tell},
};
use serde_json::Value;

use crate::{
    Outcome,
    client::{Answer, Line, Sample},
    ground::{Ground, Told, enter, resident, worked},
    load::{Borne, Came, Order},
};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How often the agent is started.
    starts: usize,
    /// How many workloads there are.
    workloads: usize,
    /// How many connections are judged.
    verdicts: usize,
    /// How often agent and peer take turns under a load.
    rounds: usize,
    /// How long each turn lasts.
    milliseconds: u64,
}

impl Size {
    /// What is promised is measured with this.
    pub(crate) const FULL: Self =
        Self { starts: 15, workloads: 200, verdicts: 3000, rounds: 15, milliseconds: 1000 };
    /// For a look while something is changed.
    pub(crate) const QUICK: Self =
        Self { starts: 3, workloads: 200, verdicts: 500, rounds: 3, milliseconds: 500 };
}

/// How many connections bear the load.
const CONNECTIONS: [usize; 2] = [32, 256];
/// How long is waited for leases and log lines.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures all, prints it and writes it down. The exit code of whoever did it.
pub(crate) fn run(size: &Size) -> Outcome<u8> {
    if let Some(code) = enter()? {
        return Ok(u8::try_from(code).unwrap_or(1));
    }
    let mut ground = Ground::new()?;
    step(&format!("{}; STS is a stand-in on loopback", ground.describe()));
    ground.populate(1)?;
    let mut asker = ground.start("load")?;
    let mut measures = vec![starts(&ground, &mut asker, size)?];

    let workloads = if ground.has_namespaces() { size.workloads } else { 1 };
    step(&format!("making {workloads} workloads"));
    ground.populate(workloads)?;
    let mut agent = ground.agent("agent", workloads)?.start()?;
    asker.tell(&Order::First { at: ground.door() })?;
    let Came { sample, .. } = asker.hear()?;
    if ground.has_namespaces() {
        measures.push(memory(&ground, &agent, workloads)?);
        measures.push(verdicts(&ground, &agent, &mut asker, &sample, size)?);
    } else {
        step("memory with many workloads and verdicts need namespaces: not measured");
    }
    let mut floor = ground.start("floor")?;
    floor.tell(&sample.answer)?;
    let at: SocketAddr = floor.hear()?;
    same_bytes(&mut asker, at, &sample)?;
    for connections in CONNECTIONS {
        let duel = Duel { ground: &ground, agent: &agent, floor: &floor, at, sample: &sample };
        measures.extend(duel.fight(&mut asker, connections, size)?);
    }
    let most = CONNECTIONS.into_iter().max().unwrap_or_default();
    let what = format!("resident memory after a load of {most} connections at once");
    measures.push(Measure::told(what, "MiB", resident(&agent)?));
    agent.stop()?;
    tell(env!("CARGO_TARGET_TMPDIR"), "credentials", &measures)?;
    Ok(0)
}

/// From the start of the process to the first credentials, without what STS took.
fn starts(ground: &Ground, asker: &mut Told, size: &Size) -> Outcome<Measure> {
    step(&format!("starting the agent {} times, each time on a fresh host", size.starts));
    let mut took = Vec::new();
    for number in 0..size.starts {
        let plan = ground.agent(&format!("start-{number}"), 1)?;
        ground.sts.took();
        asker.tell(&Order::First { at: ground.door() })?;
        let began = linux::clock::boot();
        let mut agent = plan.start()?;
        let Came { at, .. } = asker.hear()?;
        let (_, sts) = ground.sts.took();
        took.push((at.saturating_sub(began).as_secs_f64() - sts) * 1e3);
        agent.stop()?;
    }
    step(&format!("  {}", spread(&took, "ms")));
    let what = "first start to first credentials, without STS (p50)";
    Ok(Measure::at_most(what, "ms", median(took), 100.0))
}

/// What is in memory once every workload holds its lease and has had an answer.
fn memory(ground: &Ground, agent: &Agent, workloads: usize) -> Outcome<Measure> {
    for namespace in ground.namespaces().skip(1) {
        let namespace = Namespace::open(namespace)?;
        let door = ground.door();
        until("every namespace is served", || {
            let line = namespace.run(|| TcpStream::connect(door).and_then(Line::new));
            Ok(line?.and_then(|mut line| line.credentials()).is_ok())
        })?;
    }
    let status = agent.command(&["status"])?;
    let held = status.pointer("/leases/held").and_then(Value::as_u64);
    if held != u64::try_from(workloads).ok() {
        return Err(format!("{workloads} leases should be held: {status}").into());
    }
    let what = format!("resident memory with {workloads} workloads and leases");
    Ok(Measure::at_most(what, "MiB", resident(agent)?, 25.0))
}

/// What the agent itself says that verdicts took: each on a connection that was just accepted.
fn verdicts(
    ground: &Ground,
    agent: &Agent,
    asker: &mut Told,
    sample: &Sample,
    size: &Size,
) -> Outcome<Measure> {
    step(&format!("judging {} new connections", size.verdicts));
    let before = agent.access()?.len();
    let (times, request) = (size.verdicts, sample.request.clone());
    asker.tell(&Order::Connect { at: ground.door(), times, request })?;
    let Came { .. } = asker.hear()?;
    let mut lines = Vec::new();
    until("every verdict is in the log", || {
        lines = agent.access()?.split_off(before);
        Ok(lines.len() == times)
    })?;
    let took: Vec<f64> = lines.iter().filter_map(|line| line.get("verdict_us")?.as_f64()).collect();
    let attested =
        lines.iter().filter(|line| line.get("verdict") == Some(&"attested".into())).count();
    if (took.len(), attested) != (times, times) {
        return Err(format!("{attested} of {times} connections were attested").into());
    }
    step(&format!("  {}", spread(&took, "us")));
    let kernel = "socket looked up twice, cgroup path, rules";
    let what = format!("verdict on a new connection ({kernel}; p50)");
    Ok(Measure::at_most(what, "us", median(took), 25.0))
}

/// Agent and peer, under the same load in turns.
struct Duel<'a> {
    ground: &'a Ground,
    agent: &'a Agent,
    floor: &'a Told,
    at: SocketAddr,
    sample: &'a Sample,
}

/// What one turn came to.
struct Turn {
    all: u32,
    rate: f64,
    p99_us: f64,
    /// Processor time of the server for each request, in microseconds.
    work_us: f64,
}

impl Duel<'_> {
    fn fight(&self, asker: &mut Told, connections: usize, size: &Size) -> Outcome<[Measure; 3]> {
        step(&format!("{connections} connections, {} rounds of agent and peer", size.rounds));
        let agent = self.agent.id().ok_or("the agent has ended")?;
        let mut rounds = Vec::new();
        for _ in 0..size.rounds {
            let other = self.turn(asker, (self.at, self.floor.id()), connections, size)?;
            let ours = self.turn(asker, (self.ground.door(), agent), connections, size)?;
            self.check_log(ours.all)?;
            rounds.push([ours, other]);
        }
        let beside = |what: &str, unit, goal, part: fn(&Turn) -> f64| {
            let rounds: Vec<_> = rounds.iter().map(|pair| pair.each_ref().map(part)).collect();
            let ratios: Vec<f64> = rounds.iter().map(|[ours, other]| ours / other).collect();
            step(&format!("  {what}, ratio by round: {}", spread(&ratios, "")));
            let measure = format!("{what}, {connections} keep-alive connections");
            Measure::beside(measure, unit, &rounds, &goal)
        };
        Ok([
            beside("cached credentials", "1/s", Goal::AtLeast(0.7), |turn| turn.rate),
            beside("p99 of cached credentials", "us", Goal::AtMost(2.0), |turn| turn.p99_us),
            // A client that is slow itself does not hide this one.
            beside("processor time by request", "us", Goal::None, |turn| turn.work_us),
        ])
    }

    fn turn(
        &self,
        asker: &mut Told,
        (at, server): (SocketAddr, u32),
        connections: usize,
        size: &Size,
    ) -> Outcome<Turn> {
        let (milliseconds, sample) = (size.milliseconds, self.sample.clone());
        let before = worked(server)?;
        asker.tell(&Order::Load { at, connections, milliseconds, sample })?;
        let Borne { all, requests, seconds, p99_us } = asker.hear()?;
        let work_us = (worked(server)? - before) / f64::from(all) * 1e6;
        Ok(Turn { all, rate: f64::from(requests) / seconds, p99_us, work_us })
    }

    /// Speed that is bought with lost log lines does not count. The log is emptied: at this rate it
    /// would fill the disk.
    fn check_log(&self, requests: u32) -> Outcome<()> {
        let path = self.agent.plan().access_log();
        until("every request is in the access log", || {
            let (mut lines, mut lost) = (0, false);
            for line in BufReader::new(File::open(&path)?).split(b'\n') {
                lines += 1;
                lost |= line?.starts_with(b"{\"lost\"");
            }
            if lost { Err("the access log lost lines".into()) } else { Ok(lines >= requests) }
        })?;
        Ok(File::options().write(true).open(path)?.set_len(0)?)
    }
}

/// The peer must send what the agent sends, or the comparison means nothing.
fn same_bytes(asker: &mut Told, at: SocketAddr, sample: &Sample) -> Outcome<()> {
    asker.tell(&Order::Connect { at, times: 1, request: sample.request.clone() })?;
    let came: Came = asker.hear()?;
    let [ours, others] = [&sample.answer, &came.sample.answer].map(Answer::lasting);
    if ours == others {
        return Ok(());
    }
    Err(format!("the peer sends something else:\n{ours:?}\n{others:?}").into())
}

fn until(what: &str, mut holds: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let limit = Instant::now() + PATIENCE;
    while !holds()? {
        if Instant::now() > limit {
            return Err(format!("{what}: not within {PATIENCE:?}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// How noisy it was.
fn spread(numbers: &[f64], unit: &str) -> String {
    let (least, most) =
        numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), n| (l.min(*n), m.max(*n)));
    format!(
        "least {least:.2} {unit}, median {:.2} {unit}, most {most:.2} {unit}",
        median(numbers.to_vec())
    )
}
