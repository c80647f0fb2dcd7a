//! Where the benchmark is played: a practice host with namespaces, or loopback where there are none.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use practice::{
    agent::{Agent, Plan},
    host::{self, Privilege, Workload, Workspace},
    program::{Invocation, Running},
    tools::Tools,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Outcome, sts::Sts};

/// How long a process may take to do what it was told.
const PATIENCE: Duration = Duration::from_secs(60);
/// The region; nobody goes there.
const REGION: &str = "eu-west-1";

/// The ground, with the stand-in for STS on it.
pub(crate) struct Ground {
    pub(crate) sts: Sts,
    workloads: Vec<Workload>,
    place: Place,
}

enum Place {
    Namespaces(Workspace),
    Loopback { folder: PathBuf, port: u16 },
}

/// A process that is told what to do, a line each.
pub(crate) struct Told(Running);

impl Ground {
    /// In the private place that this process has entered, or where it is if there is none.
    pub(crate) fn new() -> Outcome<Self> {
        let place = if host::is_inside() {
            Place::Namespaces(Workspace::new(&Tools::find())?)
        } else {
            let name = format!("bench-{}", std::process::id());
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::create_dir_all(&folder)?;
            // Free now; whoever takes it in between makes the agent fail, which says so.
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            Place::Loopback { folder, port }
        };
        Ok(Self { sts: Sts::start()?, workloads: Vec::new(), place })
    }

    /// What this is, for whoever reads the numbers.
    pub(crate) fn describe(&self) -> String {
        match &self.place {
            Place::Namespaces(workspace) => match workspace.cgroups() {
                Ok(_) => "network namespaces and cgroups".to_owned(),
                Err(why) => format!("network namespaces without cgroups ({why})"),
            },
            Place::Loopback { .. } => "a development listener on loopback".to_owned(),
        }
    }

    /// Whether there can be many workloads.
    pub(crate) fn has_namespaces(&self) -> bool {
        matches!(self.place, Place::Namespaces(_))
    }

    /// Where a workload finds metadata.
    pub(crate) fn door(&self) -> SocketAddr {
        match self.place {
            Place::Namespaces(_) => (Ipv4Addr::new(169, 254, 169, 254), 80).into(),
            Place::Loopback { port, .. } => (Ipv4Addr::LOCALHOST, port).into(),
        }
    }

    /// Makes workloads until there are so many. The first is where the load comes from.
    pub(crate) fn populate(&mut self, count: usize) -> Outcome<()> {
        if let Place::Namespaces(workspace) = &self.place {
            for number in self.workloads.len()..count {
                let plan = host::Plan::new(&name(number)).without_link();
                self.workloads.push(workspace.add(&plan)?);
            }
        }
        Ok(())
    }

    /// The namespaces of all workloads.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &Path> {
        self.workloads.iter().filter_map(Workload::namespace)
    }

    /// An agent with a folder and keys of its own that knows so many applications, each with an
    /// account and a role.
    pub(crate) fn agent(&self, folder: &str, applications: usize) -> Outcome<Plan> {
        let plan = Plan::new(env!("CARGO_BIN_EXE_rolecall-agent"), self.folder().join(folder))?;
        plan.write(REGION, &self.config(applications))?;
        Ok(plan)
    }

    /// Starts this very program as `role` where the first workload is.
    pub(crate) fn start(&self, role: &str) -> Outcome<Told> {
        let invocation = Invocation::new(std::env::current_exe()?).arg(role);
        Ok(Told(match self.workloads.first() {
            Some(workload) => workload.start(invocation)?,
            None => invocation.start()?,
        }))
    }

    fn folder(&self) -> &Path {
        match &self.place {
            Place::Namespaces(workspace) => workspace.folder(),
            Place::Loopback { folder, .. } => folder,
        }
    }

    fn config(&self, applications: usize) -> String {
        let mut text = format!(
            "[sts]\nendpoint = \"http://{}\"\n\n[issuer]\nurl = \"https://issuer.rolecall.example\"\n\n",
            self.sts.address
        );
        for number in 0..applications {
            let (name, account) = (name(number), 100_000_000_000 + number);
            text += &format!(
                "[[binding]]\napplication = {name:?}\nenvironment = \"bench\"\n\
                 role = \"arn:aws:iam::{account}:role/{name}\"\nsource = \"web-identity\"\n\
                 match = {{ netns = {name:?}{} }}\n\n",
                self.wanted_cgroup(number)
            );
        }
        text + &match &self.place {
            Place::Namespaces(workspace) => {
                format!("[metadata]\nnamespaces = {:?}\n", workspace.namespaces())
            }
            Place::Loopback { port, .. } => format!(
                "[metadata]\nlisten = [\"127.0.0.1:{port}\"]\nworkload = \"{}/bench/i-0\"\n",
                name(0)
            ),
        }
    }

    /// The workload that bears the load must be in its own cgroup as well. The others are asked for
    /// by this process, which is in none of theirs.
    fn wanted_cgroup(&self, number: usize) -> String {
        match (self.workloads.get(number).and_then(Workload::cgroup), number) {
            (Some(cgroup), 0) => format!(", cgroup = {cgroup:?}"),
            _ => String::new(),
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Place::Loopback { folder, .. } = &self.place {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

impl Told {
    /// Says what is to be done.
    pub(crate) fn tell(&mut self, order: &impl Serialize) -> Outcome<()> {
        Ok(self.0.say(&serde_json::to_string(order)?)?)
    }

    /// Waits for what came of it.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> Outcome<T> {
        Ok(serde_json::from_str(&self.0.line(PATIENCE, |_| true)?)?)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

/// Enters a private place where there can be one; the code with which that ended.
pub(crate) fn enter() -> Outcome<Option<i32>> {
    if host::is_inside() {
        return Ok(None);
    }
    let tools = Tools::find();
    match host::privilege(&tools) {
        Privilege::None { why } => {
            practice::measure::step(&format!("no network namespaces: {why}"));
            Ok(None)
        }
        way => Ok(host::reenter(&tools, &way)?),
    }
}

/// What of an agent's process is in memory, in MiB.
pub(crate) fn resident(agent: &Agent) -> Outcome<f64> {
    let id = agent.id().ok_or("the agent has ended")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.and_then(|l| l.split_whitespace().next()).ok_or("no VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}

/// How long a process has had a processor, all its threads together, in seconds.
pub(crate) fn worked(id: u32) -> Outcome<f64> {
    let mut nanoseconds = 0.0;
    for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
        // A thread that has just ended has no more to tell.
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
    }
    Ok(nanoseconds / 1e9)
}

fn name(number: usize) -> String {
    format!("app-{number}")
}
