//! What can be typed: `rolecall-agent` and its commands.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use disk::Folder;
use linux::{Namespace, Process, Redirect as Rules, RedirectStatus};
use serde_json::{Value, json};

use crate::{
    admin::{self, AdminError, Ask},
    calls::shown,
    clock,
    config::{ConfigError, admin_socket},
    control::{
        Identity, IdentityError, Obedience,
        identity::read_orders,
        joining::{self, Join, JoinError},
        told,
    },
    environment::{self, Environment, EnvironmentError},
    explain, report, run,
    settings::Settings,
};

/// Hands each workload on this host the credentials of its own account.
#[derive(Debug, Parser)]
#[command(name = "rolecall-agent", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// The agent's file.
    #[arg(long, global = true, default_value = "/etc/rolecall/agent.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// How answers are printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// What to do; without one the agent runs.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs: one JSON document.
    Json,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent (what happens without a command).
    Run,
    /// Check the file and say what it means; changes nothing.
    Check,
    /// Serve one more network namespace.
    Attach(Attach),
    /// Stop serving a namespace that was attached: its requests are then refused.
    Detach(Detach),
    /// Say what a process would get, and why.
    Explain {
        /// The process.
        #[arg(long)]
        pid: u32,
    },
    /// Print the variables that point a workload at a container door, a line each.
    Environment(Environment),
    /// Print the calls that were recorded here and that no server has yet.
    #[command(after_help = CALLS_EXAMPLES)]
    Calls(Calls),
    /// Say what is served, which leases are held and what was refused.
    Status,
    /// Read the file again; a broken one is refused and the old one stays.
    Reload,
    /// Let this host join a server, which then says which application gets which role.
    Join(Join),
    /// Forget the server that this host joined.
    Leave,
    /// Look after the redirect of the host's own namespace.
    #[command(subcommand)]
    Redirect(Redirect),
}

/// Which namespace to serve.
#[derive(Debug, Args)]
pub struct Attach {
    /// The name that `match = { netns = … }` sees.
    pub name: String,
    /// Where it is.
    #[command(flatten)]
    pub place: NamespacePlace,
}

/// Which namespace to serve no longer.
#[derive(Debug, Args)]
pub struct Detach {
    /// The name it was attached under.
    pub name: String,
    /// Take the metadata addresses off its loopback as well. This opens the way that they close:
    /// programs that still run there may then reach the host's own metadata, and with it the
    /// host's role.
    #[arg(long)]
    pub remove_addresses: bool,
}

/// Where a namespace is found: a group of its own, since all fields of a group exclude each other.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct NamespacePlace {
    /// The namespace's file, such as `/run/netns/orders`.
    #[arg(long, value_name = "PATH")]
    pub netns: Option<PathBuf>,
    /// A process in the namespace. Only its cgroup, or one below, is then served there.
    #[arg(long)]
    pub pid: Option<u32>,
}

/// Which calls to print.
#[derive(Clone, Copy, Debug, Args)]
pub struct Calls {
    /// Go on with what comes, until interrupted.
    #[arg(short, long)]
    pub follow: bool,
    /// Begin with this frame of the spool in place of the oldest.
    #[arg(long, value_name = "NUMBER")]
    pub from: Option<u64>,
}

const CALLS_EXAMPLES: &str = "\
Examples:
  rolecall-agent calls                    what is in the spool, a line each
  rolecall-agent calls --follow           and what comes
  rolecall-agent calls -o json | jq .     a JSON object in each line

With -o json each line is one object; `entry` says what it tells of: calls, leased, heard or covered.";

/// What to do with the redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Redirect {
    /// Say whether it is installed.
    Status,
    /// Install it before the agent is there, so that nobody is ahead of it after a boot.
    Install,
    /// Take it away: processes and containers of the host reach the host's own role again.
    Remove,
}

/// Why a command failed, and with that its exit code.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Start(#[from] run::StartError),
    #[error(transparent)]
    Namespace(#[from] linux::NamespaceError),
    #[error(transparent)]
    Process(#[from] linux::ProcessError),
    #[error(transparent)]
    Look(#[from] explain::LookError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Redirect(#[from] linux::RedirectError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Disk(#[from] disk::DiskError),
    #[error("{0}")]
    Other(String),
}

/// Does what was typed. Exit codes: 0 done, 1 refused or failed, 2 a broken file.
pub fn execute(arguments: &Arguments) -> ExitCode {
    let done = match &arguments.command {
        None | Some(Command::Run) => run_agent(&arguments.config).map(|()| None),
        Some(Command::Calls(calls)) => {
            calls.print(&arguments.config, arguments.output).map(|()| None)
        }
        Some(command) => command.execute(&arguments.config).map(Some),
    };
    match done {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(answer)) => {
            print(&match (arguments.output, &arguments.command) {
                (Output::Json, _) => format!("{answer:#}\n"),
                // These lines are read by programs as well.
                (Output::Text, Some(Command::Environment(_))) => environment::lines(&answer),
                (Output::Text, _) => {
                    let mut text = String::new();
                    lines(&mut text, 0, &answer);
                    text
                }
            });
            ExitCode::SUCCESS
        }
        Err(failure) => {
            report(&failure.to_string());
            match failure {
                Failure::Config(_) | Failure::Start(run::StartError::Config(_)) => {
                    ExitCode::from(2)
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run_agent(config: &Path) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Other(format!("cannot start: {error}")))?;
    let writer = runtime.block_on(run::run(config))?;
    runtime.shutdown_timeout(Duration::from_secs(2));
    writer.join();
    Ok(())
}

impl Command {
    fn execute(&self, config: &Path) -> Result<Value, Failure> {
        let socket = || admin_socket(config);
        match self {
            Self::Run => Ok(Value::Null),
            Self::Check => {
                let (settings, server) = with_orders(Settings::read(config, 0)?)?;
                Ok(check(&settings, server))
            }
            Self::Attach(attach) => attach.execute(&socket()?),
            Self::Detach(Detach { name, remove_addresses }) => {
                let ask = Ask::Detach { name: name.clone(), remove_addresses: *remove_addresses };
                Ok(admin::ask(&socket()?, &ask, None)?)
            }
            Self::Explain { pid } => explain_process(config, *pid),
            Self::Environment(environment) => Ok(environment.execute(&socket()?)?),
            // It prints as it goes.
            Self::Calls(_) => Ok(Value::Null),
            Self::Status => Ok(admin::ask(&socket()?, &Ask::Status, None)?),
            Self::Reload => Ok(admin::ask(&socket()?, &Ask::Reload, None)?),
            Self::Join(join) => join_server(join, config),
            Self::Leave => {
                Ok(joining::leave(&Folder::open(&Settings::read(config, 0)?.config.data)?)?)
            }
            Self::Redirect(redirect) => redirect.execute(config),
        }
    }
}

/// How often what comes is asked for.
const FOLLOW: Duration = Duration::from_millis(500);

impl Calls {
    fn print(self, config: &Path, output: Output) -> Result<(), Failure> {
        let socket = admin_socket(config)?;
        let mut from = self.from;
        loop {
            let answer: Answered = admin::ask(&socket, &Ask::Calls { from }, None)?;
            for entry in &answer.entries {
                match output {
                    Output::Json => print(&format!("{entry}\n")),
                    Output::Text => print(&format!("{}\n", shown::line(entry))),
                }
            }
            from = Some(answer.next);
            match (answer.entries.is_empty(), self.follow) {
                (true, false) => return Ok(()),
                (true, true) => std::thread::sleep(FOLLOW),
                (false, _) => {}
            }
        }
    }
}

/// What the agent has of calls.
#[derive(serde::Deserialize)]
struct Answered {
    next: u64,
    entries: Vec<Value>,
}

impl Attach {
    fn execute(&self, socket: &Path) -> Result<Value, Failure> {
        let (namespace, pinned) = match (&self.place.netns, self.place.pid) {
            (Some(path), _) => (Namespace::open(path)?, None),
            (None, Some(pid)) => {
                let process = Process::open(pid)?;
                (process.namespace()?, explain::pin(&process)?)
            }
            (None, None) => return Err(Failure::Other("name --netns or --pid".to_owned())),
        };
        let ask = Ask::Attach { name: self.name.clone(), pinned };
        Ok(admin::ask(socket, &ask, Some(&namespace))?)
    }
}

impl Redirect {
    fn execute(self, config: &Path) -> Result<Value, Failure> {
        let rules = Settings::read(config, 0)?.config.metadata.rules();
        let Some(rules) = rules.filter(|_| self != Self::Remove) else {
            return match self {
                Self::Remove => Rules::remove().map(|()| json!({ "redirect": "removed" })),
                Self::Status | Self::Install => Ok(json!({ "redirect": "not configured" })),
            }
            .map_err(Failure::from);
        };
        if self == Self::Install {
            rules.install()?;
        }
        Ok(match rules.status()? {
            RedirectStatus::Absent => json!({ "redirect": "absent" }),
            RedirectStatus::Installed => json!({ "redirect": "installed" }),
            RedirectStatus::Different { listing } => {
                json!({ "redirect": "different from the file's", "listing": listing })
            }
        })
    }
}

/// Asks the running agent, which knows attached namespaces; without one, says what the file means.
fn explain_process(config: &Path, pid: u32) -> Result<Value, Failure> {
    match admin::ask(&admin_socket(config)?, &Ask::Explain { pid }, None) {
        Err(AdminError::NoAgent { .. }) => {}
        answer => return Ok(answer?),
    }
    let (settings, _) = with_orders(Settings::read(config, 0)?)?;
    let folder = settings.config.metadata.watched().map(Path::to_owned);
    let seen = explain::look_at(pid, |inode| named(folder.as_deref()?, inode))?;
    let mut answer = explain::explain(&settings, &seen);
    if let Value::Object(answer) = &mut answer {
        answer.insert("agent".to_owned(), json!("not running: this is what the file means"));
    }
    Ok(answer)
}

/// The file in the watched folder that is this namespace.
fn named(folder: &Path, inode: u64) -> Option<workload::Namespace> {
    let mut files = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let file = files.find(|f| Namespace::open(f.path()).is_ok_and(|n| n.inode() == inode))?;
    let name = file.file_name().to_string_lossy().into_owned();
    Some(workload::Namespace { name, inode, pinned: None })
}

fn join_server(join: &Join, config: &Path) -> Result<Value, Failure> {
    let config = Settings::read(config, 0)?.config;
    let named = config.server.as_ref().map(|section| section.get_ref().addresses.as_slice());
    let folder = Folder::open(&config.data)?;
    let mark = config.metadata.redirect.as_ref().map(|_| linux::Mark::AGENT.0);
    let sts = run::sts_settings(&config, mark)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Other(format!("cannot start: {error}")))?;
    Ok(runtime.block_on(join.execute(&folder, named.unwrap_or_default(), &sts))?)
}

/// The file with the orders that are on the disk, and what is known there of the server. Without a server
/// the file alone.
fn with_orders(settings: Settings) -> Result<(Settings, Option<Value>), Failure> {
    if settings.config.server.is_none() {
        return Ok((settings, None));
    }
    let folder = Folder::open(&settings.config.data)?;
    let Some(identity) = Identity::read(&folder)? else {
        let joined = json!({ "joined": false, "next": IdentityError::NotJoined.to_string() });
        return Ok((settings, Some(joined)));
    };
    let now = clock::now();
    let mut obedience = Obedience::new(identity.joined.host.clone(), identity.orders_keys()?);
    let orders = match read_orders(&folder)? {
        None => json!("none came yet"),
        Some(signed) => match obedience.judge(&signed) {
            Ok(judged) => {
                obedience.obey(now, judged);
                json!(null)
            }
            Err(error) => json!(format!("not obeyed: {error}")),
        },
    };
    let mut server = json!({
        "joined": true,
        "identity": told::identity(&identity.joined, now.wall),
        "orders": orders,
    });
    let Some((orders, at)) = obedience.look(now) else { return Ok((settings, Some(server))) };
    if let Value::Object(server) = &mut server {
        let age_s = told::seconds(orders.issued, now.wall);
        let told = json!({ "revision": orders.revision, "issued": orders.issued.to_string(), "age_s": age_s });
        server.insert("orders".to_owned(), told);
    }
    Ok((settings.obeying(&orders, at, settings.generation), Some(server)))
}

fn check(settings: &Settings, server: Option<Value>) -> Value {
    let bindings: Vec<Value> = settings
        .bound()
        .map(|bound| {
            // With a server the switch is one of each workload, not of the binding.
            let switch = settings.standing.is_none().then(|| bound.binding.switch.as_str());
            json!({
                "application": bound.binding.application.as_str(),
                "environment": bound.binding.environment.as_str(),
                "role": bound.role_text,
                "switch": switch.unwrap_or("by positions, for each workload"),
                "imdsv1": bound.binding.imds_v1,
            })
        })
        .collect();
    let mut answer =
        json!({ "file": "right", "bindings": bindings, "cgroups": explain::has_cgroups() });
    if let (Value::Object(answer), Some(server)) = (&mut answer, server) {
        answer.insert("server".to_owned(), server);
    }
    answer
}

/// Prints an answer. What the operator asked to see may hold a container secret: it goes to
/// standard output and nowhere else.
#[expect(clippy::print_stdout, reason = "this is what standard output is for")]
fn print(text: &str) {
    print!("{text}");
}

fn lines(text: &mut String, depth: usize, value: &Value) {
    let pad = "  ".repeat(depth);
    let scalar = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.replace('\n', &format!("\n{pad}  ")),
        other => other.to_string(),
    };
    // Writing to a String cannot fail.
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if value.is_object() || value.is_array() {
                    let _ = writeln!(text, "{pad}{key}:");
                    lines(text, depth + 1, value);
                } else {
                    let _ = writeln!(text, "{pad}{key}: {}", scalar(value));
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                if item.is_object() {
                    lines(text, depth, item);
                    text.push('\n');
                } else {
                    let _ = writeln!(text, "{pad}{}", scalar(item));
                }
            }
        }
        other => {
            let _ = writeln!(text, "{pad}{}", scalar(other));
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  rolecall-agent --config agent.toml              run
  rolecall-agent --config agent.toml check        is the file right?
  rolecall-agent attach orders-1 --pid 4242       serve the namespace of process 4242
  rolecall-agent explain --pid 4242               what would process 4242 get, and why?
  rolecall-agent environment --pid 4242           AWS_CONTAINER_… for process 4242
  rolecall-agent environment --development --door pod-identity --token-file token > orders.env
  rolecall-agent status -o json
  rolecall-agent join --server https://rolecall.example.com:8443 --token-file token

Exit codes: 0 done, 1 refused or failed, 2 wrong usage or a broken file.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[track_caller]
    fn check(line: &str, accepted: bool) {
        let words = std::iter::once("rolecall-agent").chain(line.split(' '));
        let parsed = Arguments::try_parse_from(words);
        assert_eq!(parsed.is_ok(), accepted, "{line}: {:?}", parsed.err());
    }

    #[test]
    fn a_namespace_is_attached_by_one_place() {
        check("attach orders-1 --pid 42", true);
        check("attach orders-1 --netns /run/netns/orders-1", true);
        check("attach orders-1", false);
        check("attach orders-1 --pid 42 --netns /run/netns/orders-1", false);
    }

    #[test]
    fn a_host_joins_by_one_thing() {
        let fingerprint = format!("--fingerprint sha256:{}", "0".repeat(64));
        check("join --token rcj_x", true);
        check(
            "join --server https://one.example:8443 --server https://two.example --token-file t",
            true,
        );
        check(&format!("join --aws {fingerprint}"), true);
        check("join", false);
        check("join --aws", false);
        check("join --token rcj_x --token-file t", false);
        check(&format!("join --token rcj_x {fingerprint}"), false);
        check("join --server http://one.example --token rcj_x", false);
    }

    #[test]
    fn variables_are_those_of_a_process_or_of_development() {
        check("environment --pid 42 --door ecs", true);
        check("environment --development --door pod-identity --token-file t", true);
        check("environment --door ecs", false);
        check("environment --pid 42 --development", false);
    }
}
