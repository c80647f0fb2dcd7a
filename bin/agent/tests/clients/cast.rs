//! Who plays: workloads on a stage, and clients that go to the agent by one way or another.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use practice::agent::about;
use practice::clients::{Answer, Client, ClientError, Errand};
use practice::cloud::{ApplicationAccount, StsCall};
use practice::host::{Visit, Workload, within};
use practice::program::{Invocation, Running};
use practice::stage::{Scene, Stage};
use practice::tools::{Missing, Tools};
use serde_json::Value;

/// How long one client may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// How long a whole test may take.
const TEST: Duration = Duration::from_secs(300);
/// How long the agent may take until it has served a namespace and fetched its lease.
const SERVED: Duration = Duration::from_secs(20);

/// How a client gets to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Instance metadata at 169.254.169.254: nothing is set at all.
    Instance,
    /// Instance metadata at fd00:ec2::254.
    InstanceIpv6,
    /// The ECS endpoint, by a relative address and a token.
    Ecs,
    /// The ECS endpoint, by its full address and a token file.
    EcsFull,
    /// Pod Identity at 169.254.170.23, with a token file.
    PodIdentity,
    /// Pod Identity at fd00:ec2::23, with a token file.
    PodIdentityIpv6,
}

impl Way {
    pub(crate) const ALL: [Self; 6] = [
        Self::Instance,
        Self::Ecs,
        Self::PodIdentity,
        Self::EcsFull,
        Self::InstanceIpv6,
        Self::PodIdentityIpv6,
    ];

    /// Whether it goes by IPv6; in [`Way::ALL`] those come last.
    pub(crate) fn is_ipv6(self) -> bool {
        matches!(self, Self::InstanceIpv6 | Self::PodIdentityIpv6)
    }

    /// What the agent's access log calls the door.
    pub(crate) fn door(self) -> &'static str {
        match self {
            Self::Instance | Self::InstanceIpv6 => "instance",
            Self::Ecs | Self::EcsFull => "container",
            Self::PodIdentity | Self::PodIdentityIpv6 => "pod-identity",
        }
    }
}

/// The whole name of the test that this is written in.
macro_rules! name {
    () => {{
        fn here() {}
        let whole = std::any::type_name_of_val(&here);
        let (_, test) = whole.split_once("::").unwrap();
        test.strip_suffix("::here").unwrap()
    }};
}
pub(crate) use name;

/// Runs `body` on a stage of its own, unless that cannot be had here or something is missing, be it
/// one of `clients`.
#[track_caller]
pub(crate) fn on_stage(name: &str, clients: &[Client], scene: &Scene, body: impl FnOnce(Stage)) {
    let tools = Tools::find();
    let stage = [tools.moto(), tools.ip(), tools.unshare(), tools.nsenter()].into_iter();
    let clients = clients.iter().flat_map(|client| needs(*client, &tools));
    if let Some(missing) = stage.chain(clients).find_map(Result::err) {
        println!("skipped: {missing}");
        return;
    }
    match within(name, TEST, || body(Stage::set(scene).unwrap())).unwrap() {
        Visit::Done => {}
        Visit::Skipped { why } => println!("skipped: {why}"),
    }
}

fn needs(client: Client, tools: &Tools) -> Vec<Result<PathBuf, Missing>> {
    match client {
        Client::Python => vec![tools.python()],
        Client::Cli => vec![tools.aws()],
        Client::Java => vec![tools.java(), tools.java_client().map(PathBuf::from)],
        Client::Js => vec![tools.node(), tools.js_client()],
        Client::Go => vec![tools.go_client()],
        Client::Rust => vec![tools.rust_client()],
    }
}

/// A workload, and a process that lives in it for as long.
pub(crate) struct Actor {
    pub(crate) workload: Workload,
    resident: Running,
}

impl Actor {
    /// A workload that the agent knows by its namespace; whether it has a lease is another matter.
    pub(crate) fn known(stage: &Stage, name: &str) -> Self {
        let workload = stage.workload(name).unwrap();
        // It has entered the workload for good when it speaks.
        let resident = Invocation::new("sh").args(["-c", "echo here; exec cat"]);
        let mut resident = workload.start(resident).unwrap();
        resident.line(SERVED, |line| line == "here").unwrap();
        until(|| served(&stage.agent.command(&["status"]).unwrap(), name));
        Self { workload, resident }
    }

    /// A workload whose lease has come.
    pub(crate) fn leased(stage: &Stage, name: &str) -> Self {
        let held = held(stage);
        let actor = Self::known(stage, name);
        until(|| self::held(stage) > held);
        actor
    }

    /// The application's account: workloads are called `APPLICATION-…`.
    pub(crate) fn account<'a>(&self, stage: &'a Stage) -> &'a ApplicationAccount {
        let application = self.workload.name().split('-').next().unwrap();
        stage.cloud.application(application).unwrap()
    }

    /// A process in it.
    pub(crate) fn pid(&self) -> u32 {
        self.resident.id()
    }

    /// Whom its calls are of: session name and source identity alike.
    pub(crate) fn session(&self, stage: &Stage) -> String {
        let application = &self.account(stage).name;
        format!("{application},practice,{}", self.workload.name())
    }

    /// What it tells a client, which is nothing but the variables of the way.
    pub(crate) fn errand(&self, stage: &Stage, way: Way) -> Errand {
        let errand = stage.errand(&format!("{}-{way:?}", self.workload.name())).unwrap();
        let errand = errand.bucket(&self.account(stage).bucket);
        let with = |errand: Errand, variables: &Value| {
            let variables = variables.as_object().unwrap().iter();
            variables
                .fold(errand, |errand, (name, value)| errand.env(name, value.as_str().unwrap()))
        };
        match way {
            Way::Instance => errand,
            Way::InstanceIpv6 => errand.env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6"),
            Way::Ecs => with(errand, &self.variables(stage, &["--door", "ecs"])),
            Way::EcsFull => {
                let relative = self.with_file(stage, "ecs");
                let path = relative["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"].as_str().unwrap();
                let file = relative["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"].as_str().unwrap();
                errand
                    .env(
                        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                        &format!("http://169.254.170.2{path}"),
                    )
                    .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)
            }
            Way::PodIdentity => with(errand, &self.with_file(stage, "pod-identity")),
            Way::PodIdentityIpv6 => with(errand, &self.with_file(stage, "pod-identity-ipv6")),
        }
    }

    fn with_file(&self, stage: &Stage, door: &str) -> Value {
        let file = format!("{}-{door}.token", self.workload.name());
        let file = stage.workspace.folder().join(file);
        self.variables(stage, &["--door", door, "--token-file", file.to_str().unwrap()])
    }

    /// What `rolecall-agent environment` says for it.
    pub(crate) fn variables(&self, stage: &Stage, options: &[&str]) -> Value {
        let pid = self.pid().to_string();
        let words = [&["environment", "--pid", &pid], options].concat();
        stage.agent.command(&words).unwrap()
    }

    /// Runs a client in it once.
    pub(crate) fn run(
        &self,
        stage: &Stage,
        client: Client,
        way: Way,
    ) -> Result<Answer, ClientError> {
        let place = |invocation| self.workload.place(invocation);
        client.run(&stage.tools, &self.errand(stage, way), &place, LIMIT)
    }

    /// A client in it, which is who it should be.
    #[track_caller]
    pub(crate) fn check(&self, stage: &Stage, client: Client, way: Way) {
        match self.run(stage, client, way) {
            Ok(answer) => self.check_answer(stage, client, &answer),
            Err(error) => panic!("{client} by {way:?} in {}: {error}", self.workload.name()),
        }
    }

    /// What a client in it must find out: its own account, its own name, its own bucket.
    #[track_caller]
    pub(crate) fn check_answer(&self, stage: &Stage, client: Client, answer: &Answer) {
        let ApplicationAccount { account, role_arn, lent_role_arn, bucket, .. } =
            self.account(stage);
        assert_eq!((answer.client.as_str(), &answer.account), (client.name(), account));
        let session = self.session(stage);
        let arns = [role_arn.as_ref(), Some(lent_role_arn)].into_iter().flatten().map(|role| {
            let name = role.rsplit('/').next().unwrap();
            format!("arn:aws:sts::{account}:assumed-role/{name}/{session}")
        });
        assert!(arns.into_iter().any(|arn| arn == answer.arn), "{answer:?}");
        // The Rust client stores nothing.
        let stored = (client != Client::Rust).then_some(bucket);
        assert_eq!(answer.bucket.as_ref(), stored, "{answer:?}");
        assert_eq!(answer.object.is_some(), client != Client::Rust, "{answer:?}");
    }

    /// Takes the doors' IPv4 addresses away from it, so that only the IPv6 ones are left.
    #[track_caller]
    pub(crate) fn leave_ipv6(&self, stage: &Stage) {
        let doors = ["dev", "lo", "to", "169.254.0.0/16"];
        let ip = |what: &str| {
            let ip = Invocation::new(stage.tools.ip().unwrap()).args(["-4", "addr", what]);
            self.workload.run(ip.args(doors), LIMIT).unwrap().success().unwrap().stdout
        };
        assert!(!ip("show").is_empty());
        ip("flush");
        assert_eq!(ip("show"), "");
    }

    /// The doors at which it was served credentials, from the access log.
    pub(crate) fn served_at(&self, stage: &Stage) -> Vec<String> {
        let lines = stage.agent.access().unwrap();
        let lines = about(&lines, self.workload.name()).into_iter();
        let served = lines.filter(|line| line["lease"].is_u64() && line["status"] == 200);
        served.map(|line| line["door"].as_str().unwrap().to_owned()).collect()
    }

    /// What STS was asked for this workload, whatever it answered.
    pub(crate) fn sts_calls(&self, stage: &Stage) -> Vec<StsCall> {
        let session = self.session(stage);
        let mut calls = stage.cloud.sts_calls().unwrap();
        calls.retain(|call| call.action != "GetCallerIdentity" && call.session_name == session);
        calls
    }
}

/// How many leases the agent holds.
pub(crate) fn held(stage: &Stage) -> u64 {
    stage.agent.command(&["status"]).unwrap()["leases"]["held"].as_u64().unwrap()
}

fn served(status: &Value, name: &str) -> bool {
    let namespaces = status["namespaces"].as_array().unwrap();
    namespaces.iter().any(|namespace| namespace["name"] == name)
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + SERVED;
    while !condition() {
        assert!(Instant::now() < end, "it did not come true within {SERVED:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
