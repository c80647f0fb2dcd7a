//! A program of somebody else: started with exactly what it may see, waited for with a bound, and
//! ended with everything that it started itself.

mod capture;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::guard::Watched;
use capture::Capture;

/// What to run, and all that it sees: nothing of our own environment reaches it.
///
/// ```
/// use practice::program::Invocation;
/// use std::time::Duration;
///
/// let said = Invocation::new("/bin/sh").args(["-c", "echo $WHO"]).env("WHO", "orders");
/// assert_eq!(said.run(Duration::from_secs(10)).unwrap().stdout, "orders\n");
/// ```
#[derive(Clone)]
pub struct Invocation {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    folder: Option<PathBuf>,
    log: Option<PathBuf>,
}

impl Invocation {
    /// Runs `program`; a bare name is looked for on our own `PATH`, which it inherits.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let path =
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: BTreeMap::from([("PATH".into(), path)]),
            folder: None,
            log: None,
        }
    }

    /// Runs another program with the same arguments, such as an interpreter that has more in it.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets one variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Sets variables of its environment.
    #[must_use]
    pub fn envs<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.environment
            .extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Runs it in `folder`.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Appends what it prints to a file, in place of keeping it for [`Finished`].
    #[must_use]
    pub fn log(mut self, file: impl Into<PathBuf>) -> Self {
        self.log = Some(file.into());
        self
    }

    /// Runs it through another program, which gets `arguments`, then this program and its own.
    #[must_use]
    pub fn through<T: Into<OsString>>(
        mut self,
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = T>,
    ) -> Self {
        let inner = std::mem::replace(&mut self.program, program.into());
        let mut all: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        all.push(inner.into());
        all.append(&mut self.arguments);
        self.arguments = all;
        self
    }

    /// Starts it in a process group of its own.
    ///
    /// # Errors
    /// [`ProgramError::NotStarted`] where the system will not run it, or the log cannot be written.
    pub fn start(&self) -> Result<Running, ProgramError> {
        let fail = |source| ProgramError::NotStarted { program: self.name(), source };
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .process_group(0);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        match &self.log {
            Some(path) => {
                let file = File::options().create(true).append(true).open(path).map_err(fail)?;
                command.stderr(file.try_clone().map_err(fail)?).stdout(file);
            }
            None => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
        }
        let mut child = command.spawn().map_err(fail)?;
        let group = Watched::group(child.id());
        let pidfd = pid_of(&child)
            .and_then(|pid| Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?));
        let mut running = Running {
            name: self.name(),
            input: child.stdin.take(),
            stdout: child.stdout.take().map(|pipe| Capture::start(OwnedFd::from(pipe))),
            stderr: child.stderr.take().map(|pipe| Capture::start(OwnedFd::from(pipe))),
            started: Instant::now(),
            pidfd: None,
            ended: None,
            child,
            _group: group,
        };
        // Only now: a failure drops `running`, which ends the program.
        running.pidfd = Some(pidfd.map_err(fail)?);
        Ok(running)
    }

    /// Runs it to its end, whatever that end is.
    ///
    /// # Errors
    /// [`ProgramError::NotStarted`], or [`ProgramError::TooSlow`] when it takes longer than `limit`:
    /// then it has been killed.
    pub fn run(&self, limit: Duration) -> Result<Finished, ProgramError> {
        let mut running = self.start()?;
        running.close_input();
        running.wait(limit)
    }

    fn name(&self) -> String {
        self.program.file_name().unwrap_or(OsStr::new("program")).to_string_lossy().into_owned()
    }
}

/// The values of the environment are not shown: keys may be among them.
impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("environment", &self.environment.keys())
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// A program that was started. Dropped, it and everything in its process group is killed.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    pidfd: Option<OwnedFd>,
    input: Option<ChildStdin>,
    stdout: Option<Capture>,
    stderr: Option<Capture>,
    started: Instant,
    ended: Option<ExitStatus>,
    _group: Watched,
}

impl Running {
    /// Its process id. A workload's wrapper has become the program itself, so this is the program's.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes one line to its standard input.
    ///
    /// # Errors
    /// [`ProgramError::Lost`] where it no longer reads.
    pub fn say(&mut self, line: &str) -> Result<(), ProgramError> {
        let written = match self.input.as_mut() {
            Some(input) => writeln!(input, "{line}").and_then(|()| input.flush()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        written.map_err(|source| ProgramError::Lost { program: self.name.clone(), source })
    }

    /// Ends its standard input.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// The next whole line of its standard output for which `wanted` holds; earlier ones are passed over.
    ///
    /// # Errors
    /// [`ProgramError::TooSlow`] where none comes within `limit`; [`ProgramError::Ended`] where none
    /// can come any more, with what it said on standard error.
    pub fn line(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, ProgramError> {
        let until = Instant::now() + limit;
        while let Some(stdout) = &self.stdout {
            match stdout.line(until) {
                capture::Next::Line(line) if wanted(&line) => return Ok(line),
                capture::Next::Line(_) => {}
                capture::Next::End => break,
                capture::Next::Late => {
                    let said = self.said(Duration::ZERO);
                    return Err(ProgramError::TooSlow { program: self.name.clone(), limit, said });
                }
            }
        }
        Err(ProgramError::Ended { program: self.name.clone(), said: self.said(GRACE) })
    }

    /// The end of its standard error, for a message.
    fn said(&self, grace: Duration) -> String {
        tail(&self.stderr.as_ref().map(|stderr| stderr.all(grace)).unwrap_or_default())
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.ended.is_none() && !self.poll(Duration::ZERO)
    }

    /// Sends a signal to the program alone.
    ///
    /// # Errors
    /// [`ProgramError::Lost`] where it is gone.
    pub fn signal(&self, signal: Signal) -> Result<(), ProgramError> {
        let lost = |source| ProgramError::Lost { program: self.name.clone(), source };
        let pidfd = self.pidfd.as_ref().ok_or_else(|| lost(io::ErrorKind::NotFound.into()))?;
        rustix::process::pidfd_send_signal(pidfd, signal).map_err(|errno| lost(errno.into()))
    }

    /// Asks it to end, and kills it where it has not after `grace`.
    ///
    /// # Errors
    /// [`ProgramError::TooSlow`] where it had to be killed.
    pub fn stop(mut self, grace: Duration) -> Result<Finished, ProgramError> {
        if self.is_running() {
            // It may end between the two lines: then there is nobody to ask, and `wait` tells.
            let _ = self.signal(Signal::TERM);
        }
        self.wait(grace)
    }

    /// Waits for its end; what it started itself ends with it.
    ///
    /// # Errors
    /// [`ProgramError::TooSlow`] when it takes longer than `limit`: then it has been killed.
    pub fn wait(&mut self, limit: Duration) -> Result<Finished, ProgramError> {
        let in_time = self.ended.is_some() || self.poll(limit);
        let took = self.started.elapsed();
        let status = self.end();
        let read = |capture: &Option<Capture>| {
            capture.as_ref().map(|it| it.all(GRACE)).unwrap_or_default()
        };
        let (stdout, stderr) = (read(&self.stdout), read(&self.stderr));
        if !in_time {
            let said = tail(&(stdout + &stderr));
            return Err(ProgramError::TooSlow { program: self.name.clone(), limit, said });
        }
        Ok(Finished {
            program: self.name.clone(),
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            stdout,
            stderr,
            took,
        })
    }

    /// Whether it ends within `limit`.
    fn poll(&self, limit: Duration) -> bool {
        let Some(pidfd) = &self.pidfd else { return true };
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).ok();
            let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
            match rustix::event::poll(&mut polled, timeout.as_ref()) {
                Ok(ready) => return ready > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return true,
            }
        }
    }

    /// Kills the group and takes the program's status. The leader is reaped last: until then the
    /// group's id cannot belong to anybody else.
    fn end(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            if let Ok(group) = pid_of(&self.child) {
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
            self.ended = self.child.wait().ok();
        }
        self.ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// A program that ended by itself.
#[derive(Clone, Debug)]
pub struct Finished {
    program: String,
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it printed, unless that went to a log.
    pub stdout: String,
    /// What it printed on standard error, unless that went to a log.
    pub stderr: String,
    /// From just after its start to its end.
    pub took: Duration,
}

impl Finished {
    /// This, if it ended with 0.
    ///
    /// # Errors
    /// [`ProgramError::Failed`] with the end of what it said on standard error.
    pub fn success(self) -> Result<Self, ProgramError> {
        if self.code == Some(0) {
            return Ok(self);
        }
        let end = match (self.code, self.signal) {
            (Some(code), _) => format!("code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        Err(ProgramError::Failed { program: self.program, end, said: tail(&self.stderr) })
    }
}

/// Why a program did not do what was wanted of it.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The system would not run it.
    #[error("could not start `{program}`")]
    NotStarted {
        /// The program's file name.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It did not end, or not say what was waited for, in time.
    #[error("`{program}` took longer than {limit:?}: {said}")]
    TooSlow {
        /// The program's file name.
        program: String,
        /// How long was waited.
        limit: Duration,
        /// The end of what it said until then.
        said: String,
    },
    /// It ended with an error of its own.
    #[error("`{program}` ended with {end}: {said}")]
    Failed {
        /// The program's file name.
        program: String,
        /// Code or signal.
        end: String,
        /// The end of its standard error.
        said: String,
    },
    /// It ended before it said what was waited for.
    #[error("`{program}` ended early: {said}")]
    Ended {
        /// The program's file name.
        program: String,
        /// The end of its standard error.
        said: String,
    },
    /// It is no longer there to be spoken to.
    #[error("`{program}` is gone")]
    Lost {
        /// The program's file name.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The last lines of a text, for a message.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES_SHOWN);
    lines.get(from..).unwrap_or_default().join("\n")
}

/// The last lines of a file, for a message.
pub(crate) fn tail_of(file: &Path) -> String {
    std::fs::read(file).map(|bytes| tail(&String::from_utf8_lossy(&bytes))).unwrap_or_default()
}

fn pid_of(child: &Child) -> io::Result<Pid> {
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// How long is waited for the last bytes of a program whose group is dead.
const GRACE: Duration = Duration::from_secs(2);
/// How much of a failed program's words a message holds.
const LINES_SHOWN: usize = 12;
