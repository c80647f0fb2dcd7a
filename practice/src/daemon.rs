//! One of our programs that runs until it is told to stop, and says when it serves.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::program::{Invocation, ProgramError, Running, tail_of};

/// How long one may take until it serves.
const START: Duration = Duration::from_secs(60);
/// How long it may take to stop in order.
const STOP: Duration = Duration::from_secs(15);

/// A program of ours that says when it serves, as systemd wants it. Dropped, it is killed.
#[derive(Debug)]
pub struct Daemon {
    name: &'static str,
    invocation: Invocation,
    folder: PathBuf,
    running: Option<Running>,
    /// How long it took from its last start until it served.
    pub started_in: Duration,
}

/// It did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A socket could not be made.
    #[error("cannot prepare to hear from `{0}`: {1}")]
    Files(&'static str, io::Error),
    /// It could not be started or stopped.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// It did not serve in time, or ended.
    #[error("`{name}` does not serve ({why}); it said:\n{said}")]
    NotUp {
        /// Which program.
        name: &'static str,
        /// What was waited for.
        why: String,
        /// The end of its log.
        said: String,
    },
}

impl Daemon {
    /// The program `name`, not started yet. Its words to the operator go into `NAME.log` in `folder`.
    pub fn new(name: &'static str, invocation: Invocation, folder: &Path) -> Self {
        let invocation = invocation.log(folder.join(format!("{name}.log")));
        let folder = folder.to_owned();
        Self { name, invocation, folder, running: None, started_in: Duration::ZERO }
    }

    /// Its process.
    pub fn id(&self) -> Option<u32> {
        self.running.as_ref().map(Running::id)
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(Running::is_running)
    }

    /// Where its words to the operator go.
    pub fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// What it told the operator, since the folder was made.
    pub fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Starts it, and waits until it says that it serves.
    ///
    /// # Errors
    /// [`DaemonError::NotUp`] with what it said.
    pub fn start(&mut self) -> Result<(), DaemonError> {
        let socket = self.folder.join(format!("{}.notify", self.name));
        // Of an earlier start.
        let _ = fs::remove_file(&socket);
        let files = |error| DaemonError::Files(self.name, error);
        let notify = UnixDatagram::bind(&socket).map_err(files)?;
        notify.set_read_timeout(Some(Duration::from_millis(200))).map_err(files)?;
        let began = Instant::now();
        let mut running = self.invocation.clone().env("NOTIFY_SOCKET", &socket).start()?;
        let heard = hear(&notify, || running.is_running() && began.elapsed() < START);
        self.started_in = began.elapsed();
        if heard.map_err(files)? {
            self.running = Some(running);
            return Ok(());
        }
        drop(running);
        let why = format!("no READY=1 within {:?}", self.started_in);
        Err(DaemonError::NotUp { name: self.name, why, said: tail_of(&self.log()) })
    }

    /// Stops it in order.
    ///
    /// # Errors
    /// Where it does not end.
    pub fn stop(&mut self) -> Result<(), DaemonError> {
        if let Some(running) = self.running.take() {
            running.stop(STOP)?;
        }
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Where it cannot be signalled.
    pub fn signal(&self, signal: Signal) -> Result<(), DaemonError> {
        Ok(self.running.as_ref().map_or(Ok(()), |running| running.signal(signal))?)
    }

    /// Ends it as a crash does: without a word.
    ///
    /// # Errors
    /// Where it cannot be signalled.
    pub fn kill(&mut self) -> Result<(), DaemonError> {
        if let Some(mut running) = self.running.take() {
            running.signal(Signal::KILL)?;
            running.wait(STOP)?;
        }
        Ok(())
    }
}

/// Waits for `READY=1` for as long as `hope` says.
fn hear(notify: &UnixDatagram, mut hope: impl FnMut() -> bool) -> io::Result<bool> {
    let mut said = [0; 64];
    loop {
        match notify.recv(&mut said) {
            Ok(length) => return Ok(said.get(..length) == Some(b"READY=1".as_slice())),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if !hope() {
                    return Ok(false);
                }
            }
            Err(error) => return Err(error),
        }
    }
}
