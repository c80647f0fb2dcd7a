//! The operator's socket: one JSON line in, one JSON line out.
//!
//! Only root and the agent's own user may speak; the kernel says who does. A namespace comes as a
//! descriptor, so that there is no path or number in between that could come to mean another one.

use std::{
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            fs::{MetadataExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The longest line, in bytes.
const LINE_MAX: usize = 64 * 1024;
/// How long either side waits for the other.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when nobody can be let in.
const PAUSE: Duration = Duration::from_millis(50);

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// Serve the namespace whose descriptor comes along.
    Attach {
        /// The name that rules see.
        name: String,
        /// The cgroup that its callers must come from.
        pinned: Option<String>,
    },
    /// Stop serving it.
    Detach {
        /// The name it was attached under.
        name: String,
        /// Whether its requests may travel on from then on.
        #[serde(default)]
        remove_addresses: bool,
    },
    /// What would this process get?
    Explain {
        /// The process.
        pid: u32,
    },
    /// What the container doors ask of a process.
    Environment {
        /// The process; none means the workload behind the development listeners.
        pid: Option<u32>,
    },
    /// Which calls were recorded, from a frame of the spool on?
    Calls {
        /// The frame; the oldest that is there where none is named.
        from: Option<u64>,
    },
    /// What is served and held?
    Status,
    /// Read the file again.
    Reload,
}

/// What the agent answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It was done, or here is what was asked.
    Done(Value),
    /// It was not, and why.
    Refused(String),
}

/// The agent cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nobody listens.
    #[error("no agent listens at `{path}` ({source}): start it, or name its file with --config")]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody answers who is no agent.
    #[error(
        "user {answers} answers at `{path}`, who is neither root nor the owner of its folder (user \
         {owner}) nor you: nothing was asked of this program"
    )]
    Stranger {
        /// The socket.
        path: PathBuf,
        /// Who listens there.
        answers: u32,
        /// Who owns the folder that the socket is in.
        owner: u32,
    },
    /// It is not known who answers.
    #[error("cannot tell who answers: {0}")]
    Unknown(#[from] linux::unix::PeerError),
    /// The agent refused.
    #[error("{0}")]
    Refused(String),
    /// The exchange broke.
    #[error("the agent's answer did not arrive: {0}")]
    Broken(#[from] std::io::Error),
    /// The answer is not one.
    #[error("the agent's answer cannot be understood: {0}")]
    Strange(#[from] serde_json::Error),
}

/// Opens the socket, which only the agent's user can reach.
///
/// # Errors
/// When the folder or the socket cannot be made, or another agent listens there.
pub fn listen(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::AddrInUse,
            "another agent listens there",
        ));
    }
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers until the process ends. Blocks, so it wants a thread of its own.
pub fn answer_all(
    listener: &UnixListener,
    answer: impl Fn(Ask, Option<OwnedFd>) -> Result<Value, String>,
) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors: give others time to end instead of spinning.
            std::thread::sleep(PAUSE);
            continue;
        };
        // A client that misbehaves costs its own connection and nothing else.
        let _ = answer_one(&stream, &answer);
    }
}

fn answer_one(
    stream: &UnixStream,
    answer: &impl Fn(Ask, Option<OwnedFd>) -> Result<Value, String>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let reply = match allowed(stream) {
        Err(reason) => Reply::Refused(reason),
        Ok(()) => {
            let mut bytes = vec![0; LINE_MAX];
            let (length, descriptor) = linux::unix::receive(stream.as_fd(), &mut bytes)?;
            let line = bytes.get(..length).unwrap_or_default();
            match serde_json::from_slice(line).map_err(|error| error.to_string()) {
                Ok(ask) => answer(ask, descriptor).map_or_else(Reply::Refused, Reply::Done),
                Err(reason) => Reply::Refused(format!("not a question: {reason}")),
            }
        }
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    (&*stream).write_all(&line)
}

fn allowed(stream: &UnixStream) -> Result<(), String> {
    let peer = linux::unix::peer(stream).map_err(|error| error.to_string())?;
    let own = rustix::process::geteuid().as_raw();
    if peer.uid == 0 || peer.uid == own {
        Ok(())
    } else {
        Err(format!("user {} may not command the agent: ask root or user {own}", peer.uid))
    }
}

/// Refuses a program that took the agent's place: it would learn of namespaces, and its answers would
/// be taken for the agent's.
fn check_agent(path: &Path, stream: &UnixStream) -> Result<(), AdminError> {
    // The kernel recorded it when the program began to listen.
    let answers = linux::unix::peer(stream)?.uid;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let owner = std::fs::metadata(folder.unwrap_or(Path::new(".")))?.uid();
    if is_agent(answers, owner, rustix::process::geteuid().as_raw()) {
        return Ok(());
    }
    Err(AdminError::Stranger { path: path.to_owned(), answers, owner })
}

const fn is_agent(answers: u32, owner: u32, own: u32) -> bool {
    answers == 0 || answers == owner || answers == own
}

/// Asks the agent at `path`.
///
/// # Errors
/// When nobody listens or a stranger does, the agent refuses, or the answer is not of type `T`.
pub fn ask<T: DeserializeOwned>(
    path: &Path,
    ask: &Ask,
    namespace: Option<&linux::Namespace>,
) -> Result<T, AdminError> {
    let stream = UnixStream::connect(path)
        .map_err(|source| AdminError::NoAgent { path: path.to_owned(), source })?;
    check_agent(path, &stream)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let line = serde_json::to_vec(ask)?;
    match namespace {
        Some(namespace) => {
            linux::unix::send(stream.as_fd(), &line, namespace.as_fd())?;
        }
        None => (&stream).write_all(&line)?,
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    (&stream).take(16 * 1024 * 1024).read_to_end(&mut answer)?;
    match serde_json::from_slice(&answer)? {
        Reply::Done(value) => Ok(serde_json::from_value(value)?),
        Reply::Refused(reason) => Err(AdminError::Refused(reason)),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    use super::*;

    #[track_caller]
    fn check(answers: u32, owner: u32, own: u32, expected: bool) {
        assert_eq!(is_agent(answers, owner, own), expected, "{answers} {owner} {own}");
    }

    #[test]
    fn root_the_owner_of_the_folder_and_oneself_may_answer() {
        check(0, 998, 1000, true);
        check(998, 998, 0, true);
        check(1000, 998, 1000, true);
        check(1001, 998, 1000, false);
        check(1001, 0, 0, false);
        check(998, 0, 0, false);
    }

    /// It listens, says so, and takes what it is sent.
    const LISTENS: &str = "\
import os, socket, sys
os.setuid(65534)
there = socket.socket(socket.AF_UNIX)
there.bind(sys.argv[1])
there.listen()
print('here', flush=True)
client, _ = there.accept()
print(len(client.recv(65536)), flush=True)
";

    #[test]
    fn a_stranger_in_the_place_of_the_agent_is_asked_nothing() {
        const NOBODY: u32 = 65_534;
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can start a program as another user");
            return;
        }
        let folder = std::env::temp_dir().join(format!("rolecall-stranger-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let socket = folder.join("agent.sock");
        let mut program = Command::new("python3");
        program.args(["-c", LISTENS]).arg(&socket).stdout(Stdio::piped());
        let Ok(mut program) = program.spawn() else {
            println!("skipped: no python3");
            return fs::remove_dir(&folder).unwrap();
        };
        let mut said = BufReader::new(program.stdout.take().unwrap()).lines();
        if let Some(Ok(_)) = said.next() {
            let error = ask::<Value>(&socket, &Ask::Status, None).unwrap_err();
            assert!(
                matches!(error, AdminError::Stranger { answers: NOBODY, owner: 0, .. }),
                "{error}"
            );
            assert!(error.to_string().contains("user 65534 answers at"), "{error}");
            assert_eq!(said.next().unwrap().unwrap(), "0");
        } else {
            println!("skipped: there is no user {NOBODY} here");
        }
        program.wait().unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
