//! A control plane: its file, its process, and what it said at its first start.
//!
//! It is known here as any other program is: by its arguments, its file and its words.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    daemon::{Daemon, DaemonError},
    program::{Finished, Invocation, ProgramError},
};

/// How long one of its commands may take.
const COMMAND: Duration = Duration::from_secs(30);

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Plan {
    binary: PathBuf,
    folder: PathBuf,
    /// Where it serves its API.
    pub api: SocketAddr,
    /// Where it serves the issuer's public documents.
    pub issuer: SocketAddr,
}

/// A server that serves. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    plan: Plan,
    daemon: Daemon,
}

impl Plan {
    /// A server that lives in `folder`, on free ports of the loopback; the program is `binary`.
    ///
    /// # Errors
    /// Where the folder cannot be made or there is no port.
    pub fn new(binary: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> io::Result<Self> {
        let (binary, folder) = (binary.into(), folder.into());
        fs::create_dir_all(&folder)?;
        let (api, issuer) = (free_port()?, free_port()?);
        Ok(Self { binary, folder, api, issuer })
    }

    /// Its file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("server.toml")
    }

    /// Where it keeps its data.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where clients ask.
    pub fn url(&self) -> String {
        format!("https://{}", self.api)
    }

    /// Where its issuer's documents are, before whatever path the issuer's address has.
    pub fn issuer_url(&self) -> String {
        format!("http://{}", self.issuer)
    }

    /// Writes its file: what every practice server needs, then `rest`, which begins with the keys and
    /// tables that a test is about. `issuer` is the issuer's address.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, issuer: &str, rest: &str) -> io::Result<()> {
        let text = format!(
            "data = {data:?}\nlisten = \"{api}\"\nnames = [\"localhost\", \"127.0.0.1\"]\n\n\
             [issuer]\nurl = {issuer:?}\nlisten = \"{at}\"\nallow_http = true\n\n{rest}",
            data = self.data(),
            api = self.api,
            at = self.issuer,
        );
        fs::write(self.config(), text)
    }

    /// Starts it, and waits until it says that it serves.
    ///
    /// # Errors
    /// [`DaemonError::NotUp`] with what it said.
    pub fn start(self) -> Result<Server, DaemonError> {
        let run = self.invocation().arg("run");
        let mut daemon = Daemon::new("rolecall-server", run, &self.folder);
        daemon.start()?;
        Ok(Server { plan: self, daemon })
    }

    /// Runs one of its commands, such as `check`, whether or not it runs.
    ///
    /// # Errors
    /// Where it cannot be run.
    pub fn attempt(&self, arguments: &[&str]) -> Result<Finished, ProgramError> {
        self.invocation().args(arguments.iter().copied()).run(COMMAND)
    }

    fn invocation(&self) -> Invocation {
        Invocation::new(&self.binary).arg("--config").arg(self.config())
    }
}

impl Server {
    /// What it was started with.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its process.
    pub fn id(&self) -> Option<u32> {
        self.daemon.id()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.daemon.is_running()
    }

    /// What it told the operator.
    pub fn said(&self) -> String {
        self.daemon.said()
    }

    /// The one-time token of the first admin, which a first start prints.
    pub fn first_admin(&self) -> Option<String> {
        word(&self.said(), "rca_", |c| c.is_ascii_alphanumeric() || "_-".contains(c))
    }

    /// The fingerprint of its authority, which every start prints.
    pub fn fingerprint(&self) -> Option<String> {
        word(&self.said(), "sha256:", |c| c.is_ascii_hexdigit())
    }

    /// Starts it again after [`Server::stop`] or [`Server::kill`].
    ///
    /// # Errors
    /// [`DaemonError::NotUp`] with what it said.
    pub fn resume(&mut self) -> Result<(), DaemonError> {
        self.daemon.start()
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn stop(&mut self) -> Result<(), DaemonError> {
        self.daemon.stop()
    }

    /// Ends it as a crash does: without a word.
    ///
    /// # Errors
    /// Where it cannot be signalled.
    pub fn kill(&mut self) -> Result<(), DaemonError> {
        self.daemon.kill()
    }

    /// Sends it a signal, such as the one that freezes it.
    ///
    /// # Errors
    /// Where it cannot be signalled.
    pub fn signal(&self, signal: Signal) -> Result<(), DaemonError> {
        self.daemon.signal(signal)
    }
}

/// The first word of a text that begins so and goes on with characters of one kind.
fn word(text: &str, beginning: &str, legal: impl Fn(char) -> bool) -> Option<String> {
    let rest = text.get(text.find(beginning)? + beginning.len()..)?;
    let length = rest.find(|c| !legal(c)).unwrap_or(rest.len());
    Some(format!("{beginning}{}", rest.get(..length)?))
}

/// A port that nobody listened at a moment ago.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The folder of one replica among several, below `folder`.
pub fn replica(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("replica-{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_ends_where_another_character_begins() {
        let legal = |c: char| c.is_ascii_alphanumeric();
        let found = word("the token is rca_abc1, once", "rca_", legal);
        assert_eq!(found.as_deref(), Some("rca_abc1"));
        assert_eq!(word("nothing", "rca_", legal), None);
    }
}
