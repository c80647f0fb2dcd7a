//! What can be typed: `rolecall-server` and its commands.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use api::Name;
use clap::{Parser, Subcommand};
use disk::DiskError;

use crate::{
    clock::Clock,
    config::{Config, ConfigError},
    found::{self, FoundError},
    people::FIRST_ADMIN,
    report, run,
};

/// The control plane: tells agents what to do, signs their tokens, and keeps the ledger.
#[derive(Debug, Parser)]
#[command(name = "rolecall-server", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// The server's file.
    #[arg(long, global = true, default_value = "/etc/rolecall/server.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// What to do; without one the server runs.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server (what happens without a command).
    Run,
    /// Check the file; changes nothing and opens no database.
    Check,
    /// Print the fingerprint by which agents and people know the server.
    Fingerprint,
    /// Make a one-time token for signing in as an admin without a sign-in provider: when nobody else can, or
    /// for the second person that a review needs. The ledger says so.
    AdminToken {
        /// Who signs in with it; they are known as `local:NAME`.
        #[arg(long, value_name = "NAME", default_value = FIRST_ADMIN)]
        person: Name,
    },
    /// Seal all private keys in the database under another key file, which is made if it is not there.
    Reseal {
        /// The new key file. Name it as `key_file` afterwards, and start every replica again.
        #[arg(long, value_name = "FILE")]
        new_key_file: PathBuf,
    },
}

/// Why a command failed, and with that its exit code.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Found(#[from] FoundError),
    #[error(transparent)]
    Start(#[from] run::StartError),
    #[error("{0}")]
    Other(String),
}

/// Does what was typed. Exit codes: 0 done, 1 refused or failed, 2 wrong usage or a broken file.
pub fn execute(arguments: &Arguments) -> ExitCode {
    match attempt(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure.to_string());
            if let Some(line) = as_the_passing_user(&failure, std::env::args().skip(1)) {
                report(&format!(
                    "systemd gave it to the server's unit; as that user, type: {line}"
                ));
            }
            match failure {
                Failure::Config(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn attempt(arguments: &Arguments) -> Result<(), Failure> {
    let config = Config::read(&arguments.config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Other(format!("cannot start: {error}")))?;
    match &arguments.command {
        None | Some(Command::Run) => {
            let writer = runtime.block_on(run::run(config))?;
            runtime.shutdown_timeout(Duration::from_secs(2));
            writer.join();
        }
        Some(Command::Check) => {
            let oidc = config.oidc.as_ref().map(crate::login::Provider::new).transpose()?;
            let people =
                if oidc.is_some() { "a sign-in provider" } else { "one-time tokens alone" };
            print(&format!(
                "the file is right: serves at {}, people sign in by {people}\n",
                config.listen
            ));
        }
        Some(Command::Fingerprint) => {
            let found = runtime.block_on(found::present(&config))?;
            print(&format!("{}\n", found.fingerprint()));
        }
        Some(Command::AdminToken { person }) => {
            let token = runtime.block_on(async {
                let state = found::database(&config).await?;
                let now = Clock::system().now();
                let token = found::admin_token(&state, "operator", person.as_str(), now).await;
                state.close().await;
                token
            })?;
            print(&format!("{}\n", token.expose()));
        }
        Some(Command::Reseal { new_key_file }) => {
            let clock = Clock::system();
            let count = runtime.block_on(found::reseal(&config, new_key_file, &clock))?;
            let file = new_key_file.display();
            print(&format!(
                "{count} keys are sealed under `{file}`: name it as `key_file`, and start every replica again\n"
            ));
        }
    }
    Ok(())
}

/// Where systemd keeps the folders of users that exist only while their unit runs. Nobody else gets in, so
/// becoming the user's number is not enough.
///
/// [systemd.exec(5)](https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#DynamicUser=)
const PASSING: &str = "/var/lib/private/rolecall-server";

/// What to type instead, where the folder belongs to the user of the server's unit.
fn as_the_passing_user(failure: &Failure, words: impl Iterator<Item = String>) -> Option<String> {
    let Failure::Found(FoundError::Disk(DiskError::Foreign { path, .. })) = failure else {
        return None;
    };
    path.starts_with(PASSING).then(|| {
        let words: Vec<String> = words.collect();
        format!(
            "systemd-run --quiet --pipe --wait --collect --property=DynamicUser=yes \
             --property=User=rolecall-server --property=StateDirectory=rolecall-server \
             --property=StateDirectoryMode=0700 --property=UMask=0077 rolecall-server {}",
            words.join(" ")
        )
    })
}

/// Prints what was asked for. A one-time token goes to standard output and nowhere else.
#[expect(clippy::print_stdout, reason = "this is what standard output is for")]
fn print(text: &str) {
    print!("{text}");
}

const EXAMPLES: &str = "\
Examples:
  rolecall-server --config server.toml                run
  rolecall-server --config server.toml check          is the file right?
  rolecall-server fingerprint                         what `rolecall login --fingerprint` compares
  rolecall-server admin-token                         a way in when nobody else has one
  rolecall-server admin-token --person ann            a second person, where there is no provider
  rolecall-server reseal --new-key-file /var/lib/rolecall-server/server-2.key

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
        let parsed = Arguments::try_parse_from(line.split(' '));
        assert_eq!(parsed.is_ok(), accepted, "{line}: {:?}", parsed.err());
    }

    #[test]
    fn commands_are_what_the_help_says() {
        check("rolecall-server", true);
        check("rolecall-server run --config a.toml", true);
        check("rolecall-server --config a.toml check", true);
        check("rolecall-server reseal --new-key-file b.key", true);
        check("rolecall-server reseal", false);
        check("rolecall-server start", false);
    }
}
