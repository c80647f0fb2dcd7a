//! rolecall: what people type.
//!
//! This crate wires: it reads arguments and files, opens sockets, and prints. What it prints is
//! decided by the crates that it calls.

mod issue;
mod judge;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Every workload acts in its own account.
#[derive(Debug, Parser)]
#[command(name = "rolecall", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// How answers are printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs: one JSON document.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The issuer of web identity tokens: its keys and its public documents.
    Issuer(issue::Arguments),
    /// Run the conformance kit against any implementation.
    #[command(subcommand)]
    Conformance(judge::Conformance),
}

/// What a command came to.
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
}

/// Does what was typed. Exit codes: 0 done or holds, 1 failed or does not hold, 2 wrong input.
#[expect(clippy::print_stderr, reason = "this is what standard error is for")]
pub fn execute(arguments: &Arguments) -> ExitCode {
    let done = match &arguments.command {
        Command::Issuer(issuer) => issuer.execute(arguments.output),
        Command::Conformance(conformance) => conformance.execute(arguments.output),
    };
    match done {
        Ok(Done::Yes) => ExitCode::SUCCESS,
        Ok(Done::No) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("rolecall: {failure}");
            ExitCode::from(match failure {
                Failure::Input(_) => 2,
                Failure::World(_) => 1,
            })
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is what standard output is for")]
fn print(text: &str) {
    println!("{}", text.trim_end());
}

const EXAMPLES: &str = "\
Examples:
  rolecall issuer export --config agent.toml --out public/
  rolecall issuer trust --config agent.toml --role arn:aws:iam::111122223333:role/orders \\
      --application orders --environment prod
  rolecall conformance metadata http://127.0.0.1:1338

Exit codes: 0 done or holds, 1 failed or does not hold, 2 wrong input.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
