//! Everything at once: a practice host, a practice cloud, and an agent between them.
//!
//! The issuer's documents that the cloud's gate checks tokens against are those that
//! `rolecall issuer export` writes: a token that they do not vouch for is refused.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::{self, Agent, AgentError};
use crate::clients::Errand;
use crate::cloud::{Application, ApplicationAccount, Cloud, CloudError, Layout};
use crate::control::{Control, ControlError, Hear};
use crate::host::{HostError, Workload, Workspace};
use crate::program::{Invocation, ProgramError};
use crate::tools::Tools;

/// The issuer of a stage's tokens.
pub const ISSUER: &str = "https://issuer.rolecall.example";
/// The environment of every workload on a stage.
pub const ENVIRONMENT: &str = "practice";
/// How long a command of ours may take.
const COMMAND: Duration = Duration::from_secs(30);

/// A host, a cloud and an agent. Dropped, all of it is gone.
#[derive(Debug)]
pub struct Stage {
    /// The agent. Dropped first, so that nothing is served from a host that goes.
    pub agent: Agent,
    /// The server that the agent has joined, where the scene has one.
    pub control: Option<Control>,
    /// The cloud.
    pub cloud: Cloud,
    /// The host.
    pub workspace: Workspace,
    /// The programs.
    pub tools: Tools,
}

/// What a stage shall look like.
#[derive(Clone, Debug)]
pub struct Scene {
    applications: Vec<String>,
    source: Source,
    algorithm: &'static str,
    by_cgroup: bool,
    binding: String,
    rest: String,
    calls: Option<String>,
    sts: Option<String>,
}

/// How the agent asks for roles.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// With tokens of a server, which the agent has joined. What people type is told.
    Server(Hear),
    /// With tokens of its own issuer.
    WebIdentity,
    /// With the host's own key.
    AssumeRole,
}

/// The stage could not be set.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The cloud.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// A program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The server.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A file.
    #[error("cannot prepare the stage: {0}")]
    Files(#[from] io::Error),
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            applications: vec!["orders".to_owned(), "billing".to_owned()],
            source: Source::WebIdentity,
            algorithm: "ES256",
            by_cgroup: false,
            binding: String::new(),
            rest: String::new(),
            calls: None,
            sts: None,
        }
    }
}

impl Scene {
    /// Other applications than `orders` and `billing`; each has an account, a role and a bucket.
    #[must_use]
    pub fn applications<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.applications = names.into_iter().map(Into::into).collect();
        self
    }

    /// Asks for roles in another way than with tokens.
    #[must_use]
    pub fn source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// Signs tokens with `RS256` or `ES256`.
    #[must_use]
    pub fn algorithm(mut self, algorithm: &'static str) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Wants the cgroup to be called like the application as well, where the host has cgroups.
    #[must_use]
    pub fn by_cgroup(mut self) -> Self {
        self.by_cgroup = true;
        self
    }

    /// Adds lines to every binding, such as `imdsv1 = true`.
    #[must_use]
    pub fn binding(mut self, lines: &str) -> Self {
        self.binding += lines;
        self.binding += "\n";
        self
    }

    /// Adds tables to the agent's file, or `[metadata]` keys before the first table.
    #[must_use]
    pub fn rest(mut self, lines: &str) -> Self {
        self.rest += lines;
        self.rest += "\n";
        self
    }

    /// Records calls, with these lines of `[calls]` besides the socket.
    #[must_use]
    pub fn calls(mut self, lines: &str) -> Self {
        self.calls = Some(lines.to_owned());
        self
    }

    /// Asks STS at another address than the cloud's, such as a [proxy](crate::proxy)'s.
    #[must_use]
    pub fn sts(mut self, endpoint: impl Into<String>) -> Self {
        self.sts = Some(endpoint.into());
        self
    }

    /// The agent's file, for namespaces that are called like their application.
    ///
    /// `[metadata]` is left open at the end of the common part, so that `rest` may add keys to it.
    pub fn config(
        &self,
        cloud: &Cloud,
        workspace: &Workspace,
        key: &Path,
        control: Option<&Control>,
    ) -> String {
        let namespaces = workspace.namespaces();
        let by_cgroup = self.by_cgroup && workspace.cgroups().is_ok();
        let endpoint = self.sts.as_deref().unwrap_or(cloud.endpoint());
        let mut text = format!("[sts]\nendpoint = {endpoint:?}\nhost_key_file = {key:?}\n\n");
        if let Some(control) = control {
            // Who is who and what is whose are for the server to say.
            text += &format!("[server]\naddresses = [{:?}]\n\n", control.server.plan().url());
        } else {
            text += &format!("[issuer]\nurl = {ISSUER:?}\nalgorithm = {:?}\n\n", self.algorithm);
            for application in cloud.applications() {
                text += &self.bound(application, by_cgroup);
            }
        }
        text += &format!("[metadata]\nnamespaces = {namespaces:?}\n{}", self.rest);
        if let Some(lines) = &self.calls {
            text += &format!("\n[calls]\nsocket = {:?}\n{lines}\n", calls_socket(workspace));
        }
        text
    }

    /// One binding: namespaces `NAME` and `NAME-…` are the application `NAME`.
    fn bound(&self, application: &ApplicationAccount, by_cgroup: bool) -> String {
        let ApplicationAccount { name, role_arn, lent_role_arn, external_id, .. } = application;
        let (role, how) = match (self.source, role_arn) {
            (Source::WebIdentity, Some(role)) => (role, "source = \"web-identity\"".to_owned()),
            _ => {
                (lent_role_arn, format!("source = \"assume-role\"\nexternal_id = {external_id:?}"))
            }
        };
        let cgroup = match by_cgroup {
            true => format!(", cgroup = \"{}\"", cgroup_of(name)),
            false => String::new(),
        };
        format!(
            "[[binding]]\napplication = {name:?}\nenvironment = {ENVIRONMENT:?}\nrole = {role:?}\n{how}\n\
             match = {{ netns = \"{name}{{,-*}}\"{cgroup} }}\n{}\n",
            self.binding
        )
    }
}

impl Stage {
    /// Sets the stage, in the private place that this process has entered.
    ///
    /// # Errors
    /// [`StageError`], with what the part that failed said.
    pub fn set(scene: &Scene) -> Result<Self, StageError> {
        let tools = Tools::find();
        let workspace = Workspace::new(&tools)?;
        let control = match scene.source {
            Source::Server(hear) => {
                Some(Control::start(&workspace.folder().join("control"), ISSUER, hear)?)
            }
            Source::WebIdentity | Source::AssumeRole => None,
        };
        let cloud = Self::cloud(&tools, &workspace, scene, control.as_ref())?;
        let plan =
            agent::Plan::new(agent::built("rolecall-agent")?, workspace.folder().join("agent"))?;
        let key = workspace.folder().join("host.key");
        let host = cloud.host();
        std::fs::write(&key, format!("{}\n{}\n", host.access_key_id, host.secret_access_key))?;
        plan.write(REGION, &scene.config(&cloud, &workspace, &key, control.as_ref()))?;
        match &control {
            Some(control) => {
                let by_cgroup = scene.by_cgroup && workspace.cgroups().is_ok();
                steer(control, &cloud, by_cgroup, &plan.config())?;
            }
            None => export(&plan.config(), &documents(&workspace))?,
        }
        let agent = plan.start()?;
        Ok(Self { agent, control, cloud, workspace, tools })
    }

    fn cloud(
        tools: &Tools,
        workspace: &Workspace,
        scene: &Scene,
        control: Option<&Control>,
    ) -> Result<Cloud, StageError> {
        let mut layout = Layout::new(workspace.cloud_address(), workspace.folder().join("cloud"))
            .issuer(ISSUER, &documents(workspace));
        if let (Some(control), Some(issuer)) = (control, &mut layout.issuer) {
            issuer.documents = control.server.plan().issuer_url();
        }
        layout.region = REGION.to_owned();
        let applications = scene.applications.iter().enumerate();
        layout.applications = applications
            .map(|(index, name)| Application {
                // Exactly what `rolecall issuer trust` puts into a trust policy.
                subject: format!("application:{name}:environment:{ENVIRONMENT}:instance:*"),
                ..Application::new(name, &account(index))
            })
            .collect();
        Ok(Cloud::start(tools, &layout)?)
    }

    /// A workload: its namespace's name says which application it is.
    ///
    /// # Errors
    /// As [`Workspace::workload`].
    pub fn workload(&self, name: &str) -> Result<Workload, HostError> {
        self.workspace.workload(name)
    }

    /// What a client is told: where the cloud is, and nothing about credentials.
    ///
    /// # Errors
    /// Where its home folder cannot be made.
    pub fn errand(&self, name: &str) -> io::Result<Errand> {
        Errand::new(self.cloud.endpoint(), REGION, &self.workspace.folder().join(name))
    }

    /// Where shims tell of calls, in a scene that records them.
    pub fn calls_socket(&self) -> PathBuf {
        calls_socket(&self.workspace)
    }

    /// Where the issuer's documents are.
    pub fn documents(&self) -> PathBuf {
        documents(&self.workspace)
    }
}

/// What two people type before a host may have anything: bindings, the switch, and the host itself.
fn steer(
    control: &Control,
    cloud: &Cloud,
    by_cgroup: bool,
    config: &Path,
) -> Result<(), ControlError> {
    control.bind(cloud.applications(), ENVIRONMENT, |name| {
        let mut shows = vec!["--match-netns".to_owned(), format!("{name}{{,-*}}")];
        if by_cgroup {
            shows.extend(["--match-cgroup".to_owned(), cgroup_of(name)]);
        }
        shows
    })?;
    control.switch("on", "the first host")?;
    control.join(config)
}

/// The cgroups of an application's workloads, as a pattern.
fn cgroup_of(application: &str) -> String {
    format!("/rolecall-practice-*/{application}{{,-*}}")
}

/// The first accounts are easy to tell apart: 222222222222, 333333333333 and so on.
fn account(index: usize) -> String {
    match index {
        0..8 => (index + 2).to_string().repeat(12),
        _ => format!("{:012}", 100_000_000_000_u64 + index as u64),
    }
}

/// The region of every stage.
pub const REGION: &str = "eu-west-1";

fn calls_socket(workspace: &Workspace) -> PathBuf {
    workspace.folder().join("calls").join("calls.sock")
}

fn documents(workspace: &Workspace) -> PathBuf {
    workspace.folder().join("issuer")
}

/// Writes the issuer's public documents, as an operator does.
fn export(config: &Path, out: &Path) -> Result<(), StageError> {
    let rolecall = Invocation::new(agent::built("rolecall")?);
    let export = rolecall.args(["issuer", "export"]).arg("--config").arg(config);
    export.arg("--out").arg(out).run(COMMAND)?.success()?;
    Ok(())
}
