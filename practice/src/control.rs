//! A control plane that two people steer from the command line, as they would anywhere.
//!
//! What they type is told to whoever wants to hear it, with the words of tokens left out.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use crate::{
    agent::built,
    cloud::ApplicationAccount,
    daemon::DaemonError,
    program::{Invocation, ProgramError},
    server::{Plan, Server},
};

/// How long one command may take.
const COMMAND: Duration = Duration::from_secs(60);

/// Is told each command that somebody types.
pub type Hear = fn(&str);

/// Who steers the server. Nobody may approve what they proposed, so there are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The admin whom the server's first start lets in.
    Admin,
    /// Somebody else.
    Reviewer,
}

impl Who {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Admin, Self::Reviewer];

    /// What they are called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Reviewer => "reviewer",
        }
    }
}

/// A server, and two people who are signed in. Dropped, it is gone.
#[derive(Debug)]
pub struct Control {
    /// The server.
    pub server: Server,
    folder: PathBuf,
    hear: Hear,
}

/// The server cannot be started or steered.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A file of the stage.
    #[error("cannot prepare the server's folder: {0}")]
    Files(#[from] io::Error),
    /// The server.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// A command was refused or could not be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// An answer has not what it should have.
    #[error("`{command}` did not say {what}")]
    Unsaid {
        /// Which command.
        command: &'static str,
        /// What it did not say.
        what: &'static str,
    },
}

impl Control {
    /// Starts a server in `folder` whose issuer's address is `issuer`, and signs both people in.
    ///
    /// # Errors
    /// [`ControlError`], with what the part that failed said.
    pub fn start(folder: &Path, issuer: &str, hear: Hear) -> Result<Self, ControlError> {
        let plan = Plan::new(built("rolecall-server")?, folder.join("server"))?;
        plan.write(issuer, "")?;
        let control = Self { server: plan.start()?, folder: folder.to_owned(), hear };
        let unsaid = |command, what| ControlError::Unsaid { command, what };
        let first = control.server.first_admin();
        let first = first.ok_or_else(|| unsaid("rolecall-server", "the first admin's token"))?;
        control.sign_in(Who::Admin, &first)?;
        let name = Who::Reviewer.name();
        hear(&format!("rolecall-server admin-token --person {name}"));
        let made = control.server.plan().attempt(&["admin-token", "--person", name])?.success()?;
        control.sign_in(Who::Reviewer, made.stdout.trim())?;
        Ok(control)
    }

    fn sign_in(&self, who: Who, token: &str) -> Result<(), ControlError> {
        let (url, fingerprint) = (self.server.plan().url(), self.server.fingerprint());
        let fingerprint = fingerprint.ok_or(ControlError::Unsaid {
            command: "rolecall-server",
            what: "the fingerprint of its authority",
        })?;
        (self.hear)(&format!(
            "rolecall login --server {url} --fingerprint {} --token rca_…",
            fingerprint.get(..16).unwrap_or_default().to_owned() + "…"
        ));
        let words = ["login", "--server", &url, "--fingerprint", &fingerprint, "--token", token];
        self.run(who, &words).map(drop)
    }

    /// Types one command of `rolecall` and reads its answer.
    ///
    /// # Errors
    /// [`ControlError::Program`] with what it said.
    pub fn rolecall(&self, who: Who, words: &[&str]) -> Result<Value, ControlError> {
        let quoted = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        (self.hear)(&format!("rolecall {quoted}"));
        self.run(who, words)
    }

    fn run(&self, who: Who, words: &[&str]) -> Result<Value, ControlError> {
        let home = self.folder.join(who.name());
        let rolecall = Invocation::new(built("rolecall")?).args(["-o", "json"]);
        let rolecall = rolecall.args(words.iter().copied()).env("ROLECALL_CONFIG_DIR", home);
        let said = rolecall.run(COMMAND)?.success()?.stdout;
        Ok(serde_json::from_str(&said).unwrap_or(Value::Null))
    }

    /// Lets every host run these applications in an environment, binds each to its role, and lets hosts
    /// know them by their network namespace: `NAME` or `NAME-…`.
    ///
    /// # Errors
    /// [`ControlError`], with what the command that failed said.
    pub fn bind(
        &self,
        applications: &[ApplicationAccount],
        environment: &str,
        conditions: impl Fn(&str) -> Vec<String>,
    ) -> Result<(), ControlError> {
        let may_run = format!("*/{environment}");
        let group = ["hosts", "groups", "put", "practice", "--everything", "--may-run", &may_run];
        self.rolecall(Who::Admin, &group)?;
        for ApplicationAccount { name, role_arn, .. } in applications {
            let Some(role) = role_arn else { continue };
            let put = ["apps", "put", name, "--owner", "owners", "--env", environment];
            self.rolecall(Who::Admin, &put)?;
            let reason = format!("{name} moves to its own account");
            let wanted = conditions(name);
            let mut propose = vec!["bind", "propose", "--app", name, "--env", environment];
            propose.extend(["--role", role]);
            propose.extend(wanted.iter().map(String::as_str));
            propose.extend(["--reason", &reason]);
            self.rolecall(Who::Admin, &propose)?;
            let version = format!("{name}/{environment}/1");
            let review =
                ["bind", "review", &version, "--approve", "--reason", "role and account are right"];
            self.rolecall(Who::Reviewer, &review)?;
        }
        Ok(())
    }

    /// Turns the switch for the whole fleet.
    ///
    /// # Errors
    /// [`ControlError`], with what the command said.
    pub fn switch(&self, position: &str, reason: &str) -> Result<(), ControlError> {
        let words = ["switch", position, "--fleet", "--reason", reason];
        self.rolecall(Who::Admin, &words).map(drop)
    }

    /// Lets the host of an agent's file join, whose folder of data is then its own.
    ///
    /// # Errors
    /// [`ControlError`], with what the command said.
    pub fn join(&self, config: &Path) -> Result<(), ControlError> {
        let made = self.rolecall(Who::Admin, &["hosts", "token"])?;
        let token = made.get("token").and_then(Value::as_str);
        let token = token
            .ok_or(ControlError::Unsaid { command: "rolecall hosts token", what: "a token" })?;
        let url = self.server.plan().url();
        (self.hear)(&format!("rolecall-agent join --server {url} --token rcj_…"));
        let file = config.with_extension("token");
        fs::write(&file, token)?;
        let join = Invocation::new(built("rolecall-agent")?).arg("--config").arg(config);
        let join = join.args(["join", "--server", &url]).arg("--token-file").arg(&file);
        let joined = join.run(COMMAND).and_then(|finished| finished.success());
        fs::remove_file(&file)?;
        joined?;
        Ok(())
    }
}

/// A word as a shell wants it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_a_blank_or_a_star_is_quoted() {
        assert_eq!(
            quoted("arn:aws:iam::222222222222:role/orders"),
            "arn:aws:iam::222222222222:role/orders"
        );
        assert_eq!(quoted("*/prod"), "'*/prod'");
        assert_eq!(quoted("two words"), "'two words'");
    }
}
