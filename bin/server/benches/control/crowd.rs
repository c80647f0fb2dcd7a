//! A thousand hosts at one replica: memory, CPU, and how soon a flip is with all of them.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use api::{agents::Asked, switch::Scope};
use practice::{
    measure::{Measure, step},
    server::{Plan, Server},
};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{Size, host::Host, operator::Operator};

/// The role that everything is bound to.
pub(crate) const ROLE: &str = "arn:aws:iam::222222222222:role/orders";
/// How often an agent reports.
const REPORT_EVERY: Duration = Duration::from_secs(15);
/// How long the server is watched while nothing happens but reports.
const QUIET: Duration = Duration::from_secs(30);
/// In what `/proc` tells CPU time, on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;
/// How soon a flip must be with every host.
const FLIP_GOAL_MS: f64 = 2000.0;

/// A server and the hosts that have joined, each with a workload that is bound and on.
pub(crate) struct Ground {
    pub(crate) server: Server,
    pub(crate) hosts: Vec<Arc<Host>>,
    admin: Operator,
    _folder: TempDir,
}

impl Ground {
    pub(crate) async fn prepare(hosts: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let binary = practice::agent::built("rolecall-server").unwrap();
        let plan = Plan::new(binary, folder.path().join("server")).unwrap();
        // All hosts of this crowd come from one address.
        let limits = "[limits]\nopen_per_s = 100000\nopen_burst = 100000\n";
        plan.write("http://issuer.rolecall.example", limits).unwrap();
        let server = plan.start().unwrap();
        let admin = Operator::first(&server).await;
        let reviewer = Operator::another(&server, "reviewer").await;
        admin.let_all_run().await;
        admin.bind(&reviewer, "orders", ROLE).await;
        admin.flip(Scope::default(), Asked::On).await;
        let token = admin.join_token(hosts).await;
        let mut joined = Vec::new();
        for number in 0..hosts {
            let host = Host::join(&[&server], &token).await;
            host.report(1, &[workload(number)]).await.unwrap();
            joined.push(Arc::new(host));
        }
        Self { server, hosts: joined, admin, _folder: folder }
    }
}

/// The workload that a host runs.
pub(crate) fn workload(host: u32) -> String {
    format!("orders/prod/{host}")
}

/// A host has orders that hold a position.
struct Heard {
    position: u64,
    at: Instant,
}

pub(crate) async fn measure(size: Size) -> Vec<Measure> {
    let count = size.hosts;
    let ground = Ground::prepare(count).await;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let mut following = JoinSet::new();
    for (number, host) in ground.hosts.iter().enumerate() {
        let number = u32::try_from(number).unwrap();
        following.spawn(follow(Arc::clone(host), sender.clone()));
        following.spawn(report(Arc::clone(host), number, count));
    }
    drop(sender);
    // Everybody has their first orders, and waits for others.
    for _ in 0..count {
        heard.recv().await.unwrap();
    }
    step("quiet");
    let (began, cpu) = (Instant::now(), cpu_of(&ground.server));
    tokio::time::sleep(if count < 100 { Duration::from_secs(2) } else { QUIET }).await;
    let busy = (cpu_of(&ground.server) - cpu) / began.elapsed().as_secs_f64() * 100.0;
    let memory = resident_mib(&ground.server);
    step("flips");
    let mut took = Vec::new();
    for flip in 0..size.flips {
        let position = if flip % 2 == 0 { Asked::Off } else { Asked::On };
        let began = Instant::now();
        let set = ground.admin.flip(Scope::default(), position).await;
        let mut missing = count;
        while missing > 0 {
            let Heard { position, at } = heard.recv().await.unwrap();
            if position == set.id {
                took.push(at.duration_since(began).as_secs_f64() * 1000.0);
                missing -= 1;
            }
        }
    }
    following.shutdown().await;
    took.sort_by(f64::total_cmp);
    let p = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    vec![
        Measure::at_most(
            format!("a flip is in the orders of {count} hosts, p99"),
            "ms",
            p(99),
            FLIP_GOAL_MS,
        ),
        Measure::told(format!("a flip is in the orders of {count} hosts, p50"), "ms", p(50)),
        Measure::told(format!("resident memory with {count} hosts connected"), "MiB", memory),
        Measure::told(
            format!("CPU with {count} hosts that wait, and report every 15 s"),
            "%",
            busy,
        ),
    ]
}

/// Takes orders as they come, and tells which position is the latest in them.
async fn follow(host: Arc<Host>, heard: mpsc::UnboundedSender<Heard>) {
    let mut after = None;
    loop {
        let Some(orders) = host.orders(after).await.unwrap() else { continue };
        after = Some(orders.revision);
        let position = orders.positions.iter().map(|position| position.id).max();
        let heard = heard.send(Heard { position: position.unwrap_or(0), at: Instant::now() });
        if heard.is_err() {
            return;
        }
    }
}

/// Reports as an agent does, not all at once.
async fn report(host: Arc<Host>, number: u32, count: u32) {
    tokio::time::sleep(REPORT_EVERY * number / count).await;
    for sequence in 2.. {
        host.report(sequence, &[workload(number)]).await.unwrap();
        tokio::time::sleep(REPORT_EVERY).await;
    }
}

/// The CPU time that a server has used, in seconds.
pub(crate) fn cpu_of(server: &Server) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.id().unwrap())).unwrap();
    // The name may hold blanks; what follows its closing bracket does not.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    ticks / TICKS_PER_SECOND
}

/// What of a server is in memory.
fn resident_mib(server: &Server) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
