//! The truth about who is who: applications, their bindings and their workloads. The agent is told
//! of it by a file and by what the kernel would show; the laws ask here.

use std::collections::BTreeMap;

use workload::{Container, Evidence, Namespace, Workload};

use crate::random::Random;

/// The issuer's address.
pub(crate) const ISSUER: &str = "https://oidc.example.com/sim";
/// The audience of its tokens.
pub(crate) const AUDIENCE: &str = "sts.amazonaws.com";

/// An application and its binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Application {
    pub(crate) name: String,
    pub(crate) shows: Shows,
    number: u64,
    /// Which of its roles it is bound to.
    role: u64,
    web_identity: bool,
    minutes: u64,
    tags: u64,
    v1: bool,
    on: bool,
    /// Whether there is a binding at all.
    bound: bool,
}

/// How the kernel tells its workloads apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    Namespace,
    Unit,
    Label,
}

/// One workload.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) workload: Workload,
    pub(crate) id: String,
    /// The place of its application.
    pub(crate) application: usize,
    pub(crate) evidence: Evidence,
    pub(crate) alive: bool,
}

impl Application {
    pub(crate) fn new(number: u64, lives: &[u64], random: &mut Random) -> Self {
        let shows = match number % 3 {
            0 => Shows::Namespace,
            1 => Shows::Unit,
            _ => Shows::Label,
        };
        Self {
            name: format!("app{number}"),
            shows,
            number,
            role: 0,
            web_identity: random.chance(500),
            minutes: random.pick(lives).copied().unwrap_or(60),
            tags: 0,
            v1: false,
            on: true,
            bound: true,
        }
    }

    /// The role's name.
    pub(crate) fn role_name(&self) -> String {
        format!("{}-r{}", self.name, self.role)
    }

    /// The role's ARN.
    pub(crate) fn role_arn(&self) -> String {
        format!("arn:aws:iam::{:012}:role/{}", 100_000_000_000 + self.number, self.role_name())
    }

    /// The role that its workloads must be given, if any.
    pub(crate) fn role_in_force(&self) -> Option<String> {
        (self.bound && self.on).then(|| self.role_arn())
    }

    /// Whether its file names it at all.
    pub(crate) const fn is_bound(&self) -> bool {
        self.bound
    }

    /// Whether its workloads have the same role.
    pub(crate) fn has_role_of(&self, other: &Self) -> bool {
        self.role_in_force() == other.role_in_force()
    }

    /// Whether STS is asked for it in the same words.
    pub(crate) fn asks_like(&self, other: &Self) -> bool {
        (self.web_identity, self.minutes, self.tags)
            == (other.web_identity, other.minutes, other.tags)
    }

    /// The operator changes one thing.
    pub(crate) fn change(&mut self, lives: &[u64], random: &mut Random) -> &'static str {
        match random.below(8) {
            0 | 1 => {
                // Back to an older one as well: its lease must not come back with it.
                self.role = random.below(3);
                "role"
            }
            2 => {
                self.on = !self.on;
                "switch"
            }
            3 => {
                self.tags += 1;
                "tags"
            }
            4 => {
                self.minutes = random.pick(lives).copied().unwrap_or(60);
                "duration"
            }
            5 => {
                self.v1 = !self.v1;
                "v1"
            }
            6 => {
                self.web_identity = !self.web_identity;
                "source"
            }
            _ => {
                self.bound = !self.bound;
                "binding"
            }
        }
    }

    /// The operator makes everything work: bound and on.
    pub(crate) fn mend(&mut self) {
        (self.bound, self.on) = (true, true);
    }

    fn section(&self) -> String {
        let Self { name, minutes, tags, v1, .. } = self;
        let matches = match self.shows {
            Shows::Namespace => format!("netns = \"{name}-*\""),
            Shows::Unit => format!("unit = \"{name}@*.service\""),
            Shows::Label => format!("labels = {{ app = \"{name}\" }}"),
        };
        let source = if self.web_identity { "web-identity" } else { "assume-role" };
        let switch = if self.on { "on" } else { "off" };
        format!(
            "\n[[binding]]\napplication = \"{name}\"\nenvironment = \"prod\"\n\
             match = {{ {matches} }}\nrole = \"{}\"\nsource = \"{source}\"\n\
             duration_minutes = {minutes}\ntags = {{ edition = \"{tags}\" }}\n\
             imdsv1 = {v1}\nswitch = \"{switch}\"\n",
            self.role_arn(),
        )
    }
}

/// The agent's file.
pub(crate) fn file(applications: &[Application]) -> String {
    let mut text = format!(
        "region = \"eu-central-1\"\n\n[issuer]\nurl = \"{ISSUER}\"\n\n[host]\n\
         instance_id = \"i-0123456789abcdef0\"\n\n[docker]\nsocket = \"/run/docker.sock\"\n"
    );
    let bound = applications.iter().filter(|application| application.bound);
    bound.for_each(|application| text += &application.section());
    text
}

/// The file with a mistake in it.
pub(crate) fn broken_file(applications: &[Application], random: &mut Random) -> String {
    let text = file(applications);
    let mistakes = [
        "\n[[binding]]\napplication = \"app\"\n",
        "\n[metadata]\nimds_v1 = true\n",
        "\n[[binding]\n",
        "\n[[binding]]\napplication = \"a\"\nenvironment = \"b\"\nmatch = { netns = \"a\" }\n\
         role = \"not-an-arn\"\nsource = \"assume-role\"\n",
    ];
    text + random.pick(&mistakes).copied().unwrap_or_default()
}

impl Place {
    /// The workload with this number, as the kernel shows it. `None` if the names do not fit.
    pub(crate) fn new(of: &Application, application: usize, number: u64) -> Option<Self> {
        let name = &of.name;
        let mut evidence = Evidence::default();
        let instance = match of.shows {
            Shows::Namespace => {
                let name = format!("{name}-{number}");
                let inode = 4_026_532_000 + number;
                evidence.namespace = Some(Namespace { name: name.clone(), inode, pinned: None });
                name
            }
            Shows::Unit => {
                let unit = format!("{name}@{number}.service");
                evidence.cgroup = format!("/system.slice/{unit}").parse().ok();
                unit
            }
            Shows::Label => {
                let short = format!("{:012x}", number + 0xabc_0000_0000);
                let id = format!("{short}{:052x}", number);
                evidence.cgroup = format!("/system.slice/docker-{id}.scope").parse().ok();
                let labels = BTreeMap::from([("app".to_owned(), name.clone())]);
                let id = id.parse().ok()?;
                evidence.container = Some(Container { id, name: format!("{name}-c"), labels });
                short
            }
        };
        let workload: Workload = format!("{name}/prod/{instance}").parse().ok()?;
        let id = workload.to_string();
        Some(Self { workload, id, application, evidence, alive: true })
    }
}
