//! rolecall: what people type.
//!
//! This crate wires: it reads arguments and files, opens sockets, and prints. What it prints is
//! decided by the crates that it calls.

mod apps;
mod bind;
mod book;
mod check;
mod doctor;
mod host;
mod hosts;
mod issue;
mod issuer;
mod judge;
mod keyring;
mod line;
mod paper;
mod people;
mod policies;
mod sign_in;
mod switch;
mod trust;
mod workloads;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    line::{Line, Place},
    paper::{Output, note},
};

/// Every workload acts in its own account.
#[derive(Debug, Parser)]
#[command(name = "rolecall", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// How answers are printed.
    #[arg(short, long, global = true, display_order = 900, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sign in at a server, in a browser or with a one-time token.
    #[command(after_help = LOGIN)]
    Login(sign_in::Login),
    /// End the session.
    Logout,
    /// Tell who is signed in, and what they may do.
    Whoami,
    /// Applications: who owns them and where they run.
    #[command(subcommand)]
    Apps(apps::Apps),
    /// AWS accounts, and what lives in each.
    #[command(subcommand)]
    Accounts(apps::Accounts),
    /// Bindings: who gets which role, proposed by one person and approved by another.
    #[command(subcommand)]
    Bind(bind::Bind),
    /// The switch: whether credentials come from a binding or from the host.
    #[command(subcommand)]
    Switch(switch::Switch),
    /// List the workloads that hosts reported.
    Workloads(workloads::Workloads),
    /// Tokens: why a workload gets one, or does not.
    #[command(subcommand)]
    Token(workloads::Token),
    /// Hosts: which there are, how they join, and what each may run.
    #[command(subcommand)]
    Hosts(hosts::Hosts),
    /// The issuer of web identity tokens: its keys, and what accounts need to trust it.
    Issuer(issuer::Arguments),
    /// The record of everything that the server did.
    #[command(subcommand)]
    Ledger(book::Ledger),
    /// Policies: what people may do.
    #[command(subcommand)]
    Policies(policies::Policies),
    /// People, and the groups that they are in.
    #[command(subcommand)]
    People(people::People),
    /// Look whether all is well here, and tell what to do where it is not. Exit code 1 if something fails.
    Doctor(doctor::Doctor),
    /// Run the conformance kit against any implementation.
    #[command(subcommand)]
    Conformance(judge::Conformance),
    /// Print what a shell needs to complete commands.
    #[command(after_help = "Examples:
  rolecall completions bash > /etc/bash_completion.d/rolecall")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// It did what was asked, or what was asked about holds.
    Yes,
    /// What was asked about does not hold.
    No,
}

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The arguments or a file are wrong: exit code 2.
    #[error("{0}")]
    Input(String),
    /// The world did not play along: exit code 1.
    #[error("{0}")]
    World(String),
    /// Nobody is signed in, or whoever is may not do this: exit code 3.
    #[error("{0}")]
    Access(String),
}

impl Failure {
    #[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
    fn input(error: impl ToString) -> Self {
        Self::Input(error.to_string())
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
    fn world(error: impl ToString) -> Self {
        Self::World(error.to_string())
    }

    /// The exit code.
    const fn code(&self) -> u8 {
        match self {
            Self::World(_) => 1,
            Self::Input(_) => 2,
            Self::Access(_) => 3,
        }
    }
}

/// Does what was typed. Exit codes: 0 done or holds, 1 failed or does not hold, 2 wrong input, 3 not signed in
/// or not allowed.
pub fn execute(arguments: &Arguments) -> ExitCode {
    let output = arguments.output;
    let done = match &arguments.command {
        Command::Conformance(conformance) => conformance.execute(output),
        Command::Issuer(issuer) if !issuer.asks_server() => issuer.standalone(output),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(*shell, &mut command, "rolecall", &mut std::io::stdout());
            Ok(Done::Yes)
        }
        command => wait(ask(command, &arguments.place, output)),
    };
    match done {
        Ok(Done::Yes) => ExitCode::SUCCESS,
        Ok(Done::No) => ExitCode::FAILURE,
        Err(failure) => {
            note(&format!("rolecall: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}

/// Does what waits for others.
fn wait(work: impl Future<Output = Result<Done, Failure>>) -> Result<Done, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::world)?.block_on(work)
}

/// Does what needs a server.
async fn ask(command: &Command, place: &Place, output: Output) -> Result<Done, Failure> {
    let line = || -> Result<Line, Failure> { place.connect(output) };
    match command {
        Command::Login(login) => login.execute(place, output).await,
        Command::Logout => sign_in::logout(place, output).await,
        Command::Whoami => sign_in::whoami(place, output).await,
        Command::Apps(apps) => apps.execute(&line()?).await,
        Command::Accounts(accounts) => accounts.execute(&line()?).await,
        Command::Bind(bind) => bind.execute(&line()?).await,
        Command::Switch(switch) => switch.execute(&line()?).await,
        Command::Workloads(workloads) => workloads.execute(&line()?).await,
        Command::Token(token) => token.execute(&line()?).await,
        Command::Hosts(hosts) => hosts.execute(&line()?).await,
        Command::Issuer(issuer) => issuer.with_server(place, output).await,
        Command::Ledger(ledger) => ledger.execute(place, output).await,
        Command::Policies(policies) => policies.execute(&line()?).await,
        Command::People(people) => people.execute(&line()?).await,
        Command::Doctor(doctor) => doctor.execute(place, output).await,
        // These need none, and `execute` has carried them out.
        Command::Conformance(_) | Command::Completions { .. } => Ok(Done::Yes),
    }
}

const EXAMPLES: &str = "\
Examples:
  rolecall login --server https://rolecall.example.com:8443 --fingerprint sha256:…
  rolecall bind propose --app orders --env prod --role arn:aws:iam::111122223333:role/orders \\
      --match-unit 'orders-*.service' --reason 'CHG-17'
  rolecall switch on --app orders --env prod --percent 10 --reason 'CHG-17' --wait
  rolecall token explain orders/prod/orders-1
  rolecall conformance metadata http://127.0.0.1:1338

Sessions are kept in ~/.config/rolecall, or in the folder that ROLECALL_CONFIG_DIR names.

Exit codes: 0 done or holds, 1 failed or does not hold, 2 wrong input, 3 not signed in or not allowed.";

const LOGIN: &str = "\
Examples:
  rolecall login --server https://rolecall.example.com:8443 --fingerprint sha256:… --token rca_…
  rolecall login --server https://a.example:8443,https://b.example:8443 --ca authority.pem
  rolecall login

The server prints the fingerprint of its authority when it starts first. It is needed once.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_key_whose_name_begins_with_a_hyphen_can_be_named() {
        for line in ["withdraw -M0HAu --config a.toml", "retire -M0HAu --reason why"] {
            let words = ["rolecall", "issuer"].into_iter().chain(line.split(' '));
            let parsed = Arguments::try_parse_from(words);
            assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
        }
    }
}
