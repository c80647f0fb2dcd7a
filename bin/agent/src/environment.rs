//! The variables that point an SDK at a container door.
//!
//! They carry the workload's bearer secret. Alone it opens nothing: the kernel must attest the caller
//! as well, except behind development listeners.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use linux::{Process, ProcessError};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::admin::{self, AdminError, Ask};

/// Whose variables, and for which door.
#[derive(Debug, Args)]
pub struct Environment {
    /// Which workload.
    #[command(flatten)]
    pub whose: Whose,
    /// Which door the variables are for.
    #[arg(long, value_enum, default_value_t = ContainerDoor::Ecs)]
    pub door: ContainerDoor,
    /// Write the token to this file, for the workload's user alone, and name the file.
    #[arg(long, value_name = "PATH")]
    pub token_file: Option<PathBuf>,
}

/// Which workload: a group of its own, since all fields of a group exclude each other.
#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Whose {
    /// A process of the workload.
    #[arg(long)]
    pub pid: Option<u32>,
    /// The workload behind the development listeners.
    #[arg(long)]
    pub development: bool,
}

/// A door for containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ContainerDoor {
    /// The ECS container endpoint, 169.254.170.2.
    Ecs,
    /// The EKS Pod Identity endpoint, 169.254.170.23.
    PodIdentity,
    /// The same at fd00:ec2::23.
    PodIdentityIpv6,
}

/// There are no variables to print.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The agent was not reached or refused.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The process has gone or may not be looked at.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The file says of no development listener for the door.
    #[error("there is no development listener for this door: add one to `{0}` in [metadata]")]
    NoListener(&'static str),
    /// A path that does not fit on a line of an environment file.
    #[error("`{0}` is no path for a token file: it must be UTF-8 text on one line")]
    Path(String),
    /// The token file cannot be written.
    #[error("cannot write the token file `{path}`: {source}")]
    File {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What the agent says of a workload.
#[derive(Deserialize)]
struct Said {
    id: String,
    token: String,
    container_listeners: Vec<SocketAddr>,
    pod_identity_listeners: Vec<SocketAddr>,
}

impl Environment {
    /// Asks the agent at `socket`, writes the token file where one is wanted, and returns the
    /// variables as one object.
    ///
    /// # Errors
    /// When the agent knows no such workload, or the file cannot be written.
    pub fn execute(&self, socket: &Path) -> Result<Value, EnvironmentError> {
        // Held while the agent is asked: its number cannot come to mean a process of somebody else.
        let process = self.whose.pid.map(Process::open).transpose()?;
        let said: Said = admin::ask(socket, &Ask::Environment { pid: self.whose.pid }, None)?;
        let owner = process.as_ref().map(user_of).transpose()?;
        let mut variables = Map::new();
        let (name, address) = self.address(&said)?;
        variables.insert(name.to_owned(), address.into());
        if self.door == ContainerDoor::PodIdentityIpv6 && !self.whose.development {
            // The SDK for Java takes fd00:ec2::23 for a door in this mode alone.
            variables.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE".to_owned(), "IPv6".into());
        }
        let (name, value) = match &self.token_file {
            None => ("AWS_CONTAINER_AUTHORIZATION_TOKEN", said.token),
            Some(path) => {
                let (path, text) = whole(path)?;
                let failed = |source| EnvironmentError::File { path: path.clone(), source };
                write_for(owner, &path, &said.token).map_err(failed)?;
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", text)
            }
        };
        variables.insert(name.to_owned(), value.into());
        Ok(Value::Object(variables))
    }

    /// The variable that names the door's address.
    fn address(&self, said: &Said) -> Result<(&'static str, String), EnvironmentError> {
        const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
        let path = match self.door {
            ContainerDoor::Ecs => format!("/v2/credentials/{}", said.id),
            ContainerDoor::PodIdentity | ContainerDoor::PodIdentityIpv6 => {
                "/v1/credentials".to_owned()
            }
        };
        if self.whose.development {
            let listener = self.door.listener(said)?;
            return Ok((FULL, format!("http://{listener}{path}")));
        }
        Ok(match self.door {
            ContainerDoor::Ecs => ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", path),
            ContainerDoor::PodIdentity => (FULL, format!("http://169.254.170.23{path}")),
            ContainerDoor::PodIdentityIpv6 => (FULL, format!("http://[fd00:ec2::23]{path}")),
        })
    }
}

impl ContainerDoor {
    fn listener(self, said: &Said) -> Result<SocketAddr, EnvironmentError> {
        let (listeners, key) = match self {
            Self::Ecs => (&said.container_listeners, "listen_container"),
            Self::PodIdentity | Self::PodIdentityIpv6 => {
                (&said.pod_identity_listeners, "listen_pod_identity")
            }
        };
        let fits = |listener: &&SocketAddr| self != Self::PodIdentityIpv6 || listener.is_ipv6();
        listeners.iter().find(fits).copied().ok_or(EnvironmentError::NoListener(key))
    }
}

/// The variables as lines of an environment file, as container engines and systemd read them.
pub fn lines(variables: &Value) -> String {
    let mut text = String::new();
    for (name, value) in variables.as_object().into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}={}", value.as_str().unwrap_or_default());
    }
    text
}

/// The user of a process that lived all the while: what was said of its number was said of it. The
/// owner of its folder in `/proc` would be root where the process hides its memory.
fn user_of(process: &Process) -> Result<u32, ProcessError> {
    let user = process.uid()?;
    if process.is_alive() { Ok(user) } else { Err(ProcessError::Gone(process.pid())) }
}

/// The path from the root, since the workload may run elsewhere.
fn whole(path: &Path) -> Result<(PathBuf, String), EnvironmentError> {
    let strange = || EnvironmentError::Path(path.display().to_string());
    let path = std::path::absolute(path).map_err(|_| strange())?;
    let text = path.to_str().filter(|text| !text.contains(char::is_control)).map(str::to_owned);
    Ok((path, text.ok_or_else(strange)?))
}

/// Puts `token` into the file, which only `owner` may read. A workload that reads meanwhile sees
/// the old file or the new one.
fn write_for(owner: Option<u32>, path: &Path, token: &str) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let put = |mut file: File| {
        if let Some(owner) = owner
            && owner != file.metadata()?.uid()
        {
            std::os::unix::fs::fchown(&file, Some(owner), None)?;
        }
        file.write_all(token.as_bytes())?;
        fs::rename(&fresh, path)
    };
    let file = File::options().write(true).create_new(true).mode(0o400).open(&fresh)?;
    let done = put(file);
    if done.is_err() {
        // What matters is why it could not be put.
        let _ = fs::remove_file(&fresh);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays an agent that answers one question, after `meanwhile`; returns what was printed then.
    fn asked_of(
        name: &str,
        pid: u32,
        meanwhile: impl FnOnce() + Send,
    ) -> (Result<Value, EnvironmentError>, bool) {
        use std::{io::Read, os::unix::net::UnixListener};
        let folder = std::env::temp_dir().join(format!("rolecall-{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (socket, file) = (folder.join("agent.sock"), folder.join("token"));
        let listener = UnixListener::bind(&socket).unwrap();
        let answer = || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
            meanwhile();
            let said = serde_json::json!({
                "id": "i1", "token": "t1", "container_listeners": [], "pod_identity_listeners": [],
            });
            serde_json::to_writer(stream, &admin::Reply::Done(said)).unwrap();
        };
        let whose = Whose { pid: Some(pid), development: false };
        let asked = Environment { whose, door: ContainerDoor::Ecs, token_file: Some(file.clone()) };
        let said = std::thread::scope(|scope| {
            scope.spawn(answer);
            asked.execute(&socket)
        });
        let written = file.exists();
        fs::remove_dir_all(&folder).unwrap();
        (said, written)
    }

    #[test]
    fn a_process_that_ends_while_the_agent_is_asked_gets_no_token() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = child.id();
        let (said, written) = asked_of("lives", pid, || ());
        assert!(said.is_ok() && written, "{said:?}");
        // Its number is free from then on: what the agent says of it may be said of another process.
        let end = || {
            child.kill().unwrap();
            child.wait().unwrap();
        };
        let (said, written) = asked_of("ends", pid, end);
        assert!(
            matches!(said, Err(EnvironmentError::Process(ProcessError::Gone(gone))) if gone == pid),
            "{said:?}"
        );
        assert!(!written);
    }

    fn said() -> Said {
        Said {
            id: "i1".to_owned(),
            token: "t1".to_owned(),
            container_listeners: vec!["127.0.0.1:1".parse().unwrap()],
            pod_identity_listeners: vec![
                "127.0.0.1:2".parse().unwrap(),
                "[::1]:3".parse().unwrap(),
            ],
        }
    }

    #[track_caller]
    fn check(development: bool, door: ContainerDoor, name: &str, address: &str) {
        let pid = (!development).then_some(1);
        let asked = Environment { whose: Whose { pid, development }, door, token_file: None };
        let (variable, value) = asked.address(&said()).unwrap();
        assert_eq!(
            (variable, value.as_str()),
            (format!("AWS_CONTAINER_CREDENTIALS_{name}_URI").as_str(), address)
        );
    }

    #[test]
    fn each_door_has_its_address_and_development_has_its_own() {
        check(false, ContainerDoor::Ecs, "RELATIVE", "/v2/credentials/i1");
        check(false, ContainerDoor::PodIdentity, "FULL", "http://169.254.170.23/v1/credentials");
        check(
            false,
            ContainerDoor::PodIdentityIpv6,
            "FULL",
            "http://[fd00:ec2::23]/v1/credentials",
        );
        check(true, ContainerDoor::Ecs, "FULL", "http://127.0.0.1:1/v2/credentials/i1");
        check(true, ContainerDoor::PodIdentity, "FULL", "http://127.0.0.1:2/v1/credentials");
        check(true, ContainerDoor::PodIdentityIpv6, "FULL", "http://[::1]:3/v1/credentials");
    }

    #[test]
    fn a_door_without_a_development_listener_is_named() {
        let none = Said { container_listeners: Vec::new(), ..said() };
        let error = ContainerDoor::Ecs.listener(&none).unwrap_err().to_string();
        assert!(error.contains("`listen_container`"), "{error}");
    }

    #[test]
    fn a_path_with_a_line_break_would_make_another_variable() {
        assert!(matches!(whole(Path::new("/a\nAWS_REGION=x")), Err(EnvironmentError::Path(_))));
        assert_eq!(whole(Path::new("/a b")).unwrap().1, "/a b");
    }
}
