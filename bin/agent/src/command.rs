//! What can be typed: `rolecall-agent` and its commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Stop serving a namespace that was attached.
    Detach {
        /// The name it was attached under.
        name: String,
    },
    /// Say what a process would get, and why.
    Explain {
        /// The process.
        #[arg(long)]
        pid: u32,
    },
    /// Print the variables that point a workload at the container doors.
    Environment {
        /// The process.
        #[arg(long)]
        pid: u32,
        /// Which door the variables are for.
        #[arg(long, value_enum, default_value_t = ContainerDoor::Ecs)]
        door: ContainerDoor,
    },
    /// Say what is served, which leases are held and what was refused.
    Status,
    /// Read the file again; a broken one is refused and the old one stays.
    Reload,
    /// Look after the redirect of the host's own namespace.
    #[command(subcommand)]
    Redirect(Redirect),
}

/// Which namespace to serve.
#[derive(Debug, Args)]
#[group(id = "namespace", required = true, multiple = false, args = ["netns", "pid"])]
pub struct Attach {
    /// The name that `match = { netns = … }` sees.
    pub name: String,
    /// The namespace's file, such as `/run/netns/orders`.
    #[arg(long, value_name = "PATH")]
    pub netns: Option<PathBuf>,
    /// A process in the namespace. Only its cgroup, or one below, is then served there.
    #[arg(long)]
    pub pid: Option<u32>,
}

/// A door for containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ContainerDoor {
    /// The ECS container endpoint: a relative address and an authorization token.
    Ecs,
    /// The EKS Pod Identity endpoint: a full address and a token file.
    PodIdentity,
}

/// What to do with the redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Redirect {
    /// Say whether it is installed.
    Status,
    /// Take it away: processes of the host reach the host's own role again.
    Remove,
}

const EXAMPLES: &str = "\
Examples:
  rolecall-agent --config agent.toml              run
  rolecall-agent --config agent.toml check        is the file right?
  rolecall-agent attach orders-1 --pid 4242       serve the namespace of process 4242
  rolecall-agent explain --pid 4242               what would process 4242 get, and why?
  rolecall-agent environment --pid 4242           AWS_CONTAINER_… for process 4242
  rolecall-agent status -o json

Exit codes: 0 done, 1 refused or failed, 2 wrong usage or a broken file.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
