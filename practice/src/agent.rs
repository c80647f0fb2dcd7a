//! An agent on the practice host: its file, its process, and what it recorded.
//!
//! It is known here as any other program is: by its arguments, its file and its answers.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::daemon::{Daemon, DaemonError};
use crate::program::{Finished, Invocation, ProgramError};

/// How long one of its commands may take.
const COMMAND: Duration = Duration::from_secs(20);

/// What an agent is started with.
#[derive(Clone, Debug)]
pub struct Plan {
    binary: PathBuf,
    folder: PathBuf,
    environment: Vec<(String, String)>,
}

/// An agent that serves. Dropped, it is killed.
#[derive(Debug)]
pub struct Agent {
    plan: Plan,
    daemon: Daemon,
    /// How long it took from its start until it served.
    pub started_in: Duration,
}

/// The agent did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A file or a socket of the stage could not be made.
    #[error("cannot prepare the agent's folder: {0}")]
    Files(#[from] io::Error),
    /// It could not be started or stopped, or did not serve.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// One of its commands could not be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A command was refused.
    #[error("`rolecall-agent {command}` failed with {code:?}: {said}")]
    Refused {
        /// What was typed.
        command: String,
        /// Its exit code.
        code: Option<i32>,
        /// What it said on standard error.
        said: String,
    },
    /// Its answer is no JSON.
    #[error("an answer of the agent is no JSON: {0}")]
    Words(#[from] serde_json::Error),
}

impl Plan {
    /// An agent that lives in `folder`; the program is `binary`.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn new(binary: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> io::Result<Self> {
        let (binary, folder) = (binary.into(), folder.into());
        fs::create_dir_all(&folder)?;
        Ok(Self { binary, folder, environment: Vec::new() })
    }

    /// Lets the agent see one more variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("agent.toml")
    }

    /// Where it keeps its keys.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where it records requests.
    pub fn access_log(&self) -> PathBuf {
        self.folder.join("access.jsonl")
    }

    /// Where its words to the operator go.
    pub fn report(&self) -> PathBuf {
        self.folder.join("rolecall-agent.log")
    }

    /// Writes its file: what every practice agent needs, then `rest`, which begins with the keys and
    /// tables that a test is about.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, region: &str, rest: &str) -> io::Result<()> {
        let text = format!(
            "data = {data:?}\nregion = {region:?}\n\n[log]\naccess = {log:?}\n\n[admin]\nsocket = {socket:?}\n\n{rest}",
            data = self.data(),
            log = self.access_log(),
            socket = self.folder.join("agent.sock"),
        );
        // Whole or not at all: a running agent may be told to read it at any time.
        let fresh = self.folder.join("agent.toml.new");
        fs::write(&fresh, text)?;
        fs::rename(fresh, self.config())
    }

    /// Starts it, and waits until it says that it serves.
    ///
    /// # Errors
    /// [`DaemonError::NotUp`] with what it said.
    pub fn start(self) -> Result<Agent, AgentError> {
        let daemon = Daemon::new("rolecall-agent", self.invocation(), &self.folder);
        let mut agent = Agent { plan: self, daemon, started_in: Duration::ZERO };
        agent.resume()?;
        Ok(agent)
    }

    fn invocation(&self) -> Invocation {
        let invocation = Invocation::new(&self.binary).arg("--config").arg(self.config());
        invocation.envs(self.environment.iter().map(|(name, value)| (name, value)))
    }
}

impl Agent {
    /// What it was started with.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its process.
    pub fn id(&self) -> Option<u32> {
        self.daemon.id()
    }

    /// Starts it again after [`Agent::stop`] or [`Agent::kill`].
    ///
    /// # Errors
    /// [`DaemonError::NotUp`] with what it said.
    pub fn resume(&mut self) -> Result<(), AgentError> {
        self.daemon.start()?;
        self.started_in = self.daemon.started_in;
        Ok(())
    }

    /// Stops it in order; its access log is then whole.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn stop(&mut self) -> Result<(), AgentError> {
        Ok(self.daemon.stop()?)
    }

    /// Ends it as a crash does: without a word.
    ///
    /// # Errors
    /// Where it cannot be signalled.
    pub fn kill(&mut self) -> Result<(), AgentError> {
        Ok(self.daemon.kill()?)
    }

    /// Runs one of its commands and reads the answer.
    ///
    /// # Errors
    /// [`AgentError::Refused`] with what it said.
    pub fn command(&self, arguments: &[&str]) -> Result<Value, AgentError> {
        let Finished { code, stdout, stderr, .. } = self.attempt(arguments)?;
        if code == Some(0) {
            return Ok(serde_json::from_str(&stdout)?);
        }
        Err(AgentError::Refused { command: arguments.join(" "), code, said: stderr })
    }

    /// Runs one of its commands that answers with a document in each line.
    ///
    /// # Errors
    /// [`AgentError::Refused`] with what it said.
    pub fn lines(&self, arguments: &[&str]) -> Result<Vec<Value>, AgentError> {
        let Finished { code, stdout, stderr, .. } = self.attempt(arguments)?;
        if code == Some(0) {
            return Ok(stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?);
        }
        Err(AgentError::Refused { command: arguments.join(" "), code, said: stderr })
    }

    /// Runs one of its commands, whatever comes of it.
    ///
    /// # Errors
    /// Where it cannot be run.
    pub fn attempt(&self, arguments: &[&str]) -> Result<Finished, AgentError> {
        let invocation =
            self.plan.invocation().args(["-o", "json"]).args(arguments.iter().copied());
        Ok(invocation.run(COMMAND)?)
    }

    /// What it recorded so far, a line each. The line that is being written is left out.
    ///
    /// # Errors
    /// Where the log cannot be read or a line is no JSON.
    pub fn access(&self) -> Result<Vec<Value>, AgentError> {
        let text = match fs::read_to_string(self.plan.access_log()) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
        let lines = whole.lines().filter(|line| !line.is_empty());
        Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// What it told the operator.
    pub fn said(&self) -> String {
        fs::read_to_string(self.plan.report()).unwrap_or_default()
    }
}

/// The lines of an access log that are about one workload, by the part of its id that a test knows.
pub fn about<'a>(lines: &'a [Value], workload: &str) -> Vec<&'a Value> {
    let is = |line: &&Value| line["workload"].as_str().is_some_and(|id| id.contains(workload));
    lines.iter().filter(is).collect()
}

/// The program called `name` that cargo built, beside the program that is running.
///
/// # Errors
/// Where it is not there: it must be built first.
pub fn built(name: &str) -> io::Result<PathBuf> {
    let this = std::env::current_exe()?;
    // A test runs in `deps/`, one floor below the programs.
    let floors = this.ancestors().skip(1).take(2).map(Path::to_owned);
    let mut found = floors.map(|floor| floor.join(name)).filter(|path| path.is_file());
    found.next().ok_or_else(|| {
        io::Error::new(ErrorKind::NotFound, format!("`{name}` is not built: run `cargo build`"))
    })
}
