use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf};

use serde::Deserialize;
use workload::{Container, ContainerId};

use crate::EngineError;

/// What the engine says of one container, at one moment.
///
/// The moment passes: a pid is worth something only while the process is held by a pidfd or its
/// cgroup is read again and still names this container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSeen {
    /// Id, name and labels.
    pub container: Container,
    /// Whether it runs.
    pub running: bool,
    /// Its first process, as the engine's pid namespace counts; nothing while it does not run.
    pub pid: Option<NonZeroU32>,
    /// The file that holds its network namespace open, where the engine made one.
    pub sandbox: Option<PathBuf>,
}

impl ContainerSeen {
    /// Reads the answer to the question about `asked`.
    pub(crate) fn read(body: &[u8], asked: &ContainerId) -> Result<Self, EngineError> {
        let malformed = |reason: String| EngineError::Malformed { reason };
        let answer: Inspect =
            serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
        // Where no container has the id, engines go on to look for one that has it as its *name*, which
        // whoever starts a container may choose.
        if answer.id != asked.as_str() {
            return Err(malformed(format!("asked for `{asked}`, got another container")));
        }
        let Inspect { name, config, state, network, .. } = answer;
        let name = name.strip_prefix('/').unwrap_or(&name).to_owned();
        let labels = config.and_then(|config| config.labels).unwrap_or_default();
        let sandbox = network.and_then(|network| network.sandbox).filter(|path| !path.is_empty());
        Ok(Self {
            container: Container { id: asked.clone(), name, labels },
            running: state.running,
            pid: NonZeroU32::new(state.pid).filter(|_| state.running),
            sandbox: sandbox.map(PathBuf::from),
        })
    }
}

/// The part of the answer that is read. The API's own names stand in the attributes.
///
/// [Docker: inspect a container](https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerInspect)
#[derive(Deserialize)]
struct Inspect {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "Config")]
    config: Option<Config>,
    #[serde(rename = "State")]
    state: State,
    #[serde(rename = "NetworkSettings")]
    network: Option<Network>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct State {
    #[serde(rename = "Running")]
    running: bool,
    #[serde(rename = "Pid")]
    pid: u32,
}

#[derive(Deserialize)]
struct Network {
    #[serde(rename = "SandboxKey")]
    sandbox: Option<String>,
}

/// The message in an error's body, for the operator.
pub(crate) fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let text = match serde_json::from_slice::<Message>(body) {
        Ok(Message { message }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    text.trim().chars().filter(|c| !c.is_control()).take(256).collect()
}
