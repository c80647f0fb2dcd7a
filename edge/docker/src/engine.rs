use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{ACCEPT, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use workload::ContainerId;

use crate::{ContainerSeen, answer};

/// A container engine behind a unix socket: Docker's own, or podman's service.
///
/// Every question is a connection of its own, so a restarted engine needs nothing from us. A question
/// takes at most the time limit and reads at most [`Engine::ANSWER_MAX`].
#[derive(Debug)]
pub struct Engine {
    socket: PathBuf,
    limit: Duration,
    /// The API version that the engine took last, as an index into [`VERSIONS`].
    version: AtomicUsize,
}

/// Why the engine told us nothing. No error is ever an answer: the caller stays unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// There is no socket. The operator starts the engine, or corrects the path.
    #[error("no engine socket at `{0}`: start the engine or correct the path")]
    SocketMissing(PathBuf),
    /// The agent may not use the socket. The operator gives it the socket's group.
    #[error("not permitted to use the engine socket `{0}`: add the agent's user to its group")]
    NotPermitted(PathBuf),
    /// A socket, and nobody behind it who speaks HTTP. The operator looks at the engine.
    #[error("engine behind `{socket}` does not answer: {reason}")]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the connection said.
        reason: String,
    },
    /// The time is up. It may work the next time.
    #[error("engine behind `{socket}` took more than {} ms", limit.as_millis())]
    Slow {
        /// The socket.
        socket: PathBuf,
        /// The time limit.
        limit: Duration,
    },
    /// The engine does not know the container: it has gone, or another engine runs it.
    #[error("engine knows no container `{0}`")]
    NoSuchContainer(ContainerId),
    /// The engine answered with an error of its own. The operator reads the message.
    #[error("engine answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The engine's message, cut to 256 characters.
        message: String,
    },
    /// More than [`Engine::ANSWER_MAX`].
    #[error("engine's answer is larger than {} bytes", Engine::ANSWER_MAX)]
    TooLarge,
    /// Not the answer that the API describes, or the answer to another question.
    #[error("engine's answer cannot be used: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
}

impl EngineError {
    /// Whether the same question may have an answer a moment later, with nobody's help.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Slow { .. } | Self::Unreachable { .. } | Self::SocketMissing(_) => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::NotPermitted(_)
            | Self::NoSuchContainer(_)
            | Self::TooLarge
            | Self::Malformed { .. } => false,
        }
    }
}

impl Engine {
    /// The largest answer that is read, in bytes. Labels and environment make up most of one.
    pub const ANSWER_MAX: usize = 1 << 20;
    /// How long a question may take: less than the second after which SDKs give up on us.
    pub const LIMIT: Duration = Duration::from_millis(500);

    /// The engine behind a socket. Nothing is opened yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), limit: Self::LIMIT, version: AtomicUsize::new(0) }
    }

    /// The same engine with another time limit for each question.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What the engine says of a container. Give the whole id, as the cgroup's path has it.
    pub async fn container(&self, id: &ContainerId) -> Result<ContainerSeen, EngineError> {
        match tokio::time::timeout(self.limit, self.negotiate(id)).await {
            Ok(seen) => seen,
            Err(_) => Err(EngineError::Slow { socket: self.socket.clone(), limit: self.limit }),
        }
    }

    /// Asks in the version that worked last, then in the others while the engine calls it too old or new.
    async fn negotiate(&self, id: &ContainerId) -> Result<ContainerSeen, EngineError> {
        let known = self.version.load(Ordering::Relaxed);
        let versions = VERSIONS.iter().enumerate().cycle().skip(known).take(VERSIONS.len());
        let mut refused = None;
        for (index, version) in versions {
            let (status, body) = self.ask(&format!("/{version}/containers/{id}/json")).await?;
            if status == StatusCode::OK {
                self.version.store(index, Ordering::Relaxed);
                return ContainerSeen::read(&body, id);
            }
            let message = answer::message(&body);
            if status == StatusCode::NOT_FOUND
                && message.to_ascii_lowercase().contains("no such container")
            {
                return Err(EngineError::NoSuchContainer(id.clone()));
            }
            let error = EngineError::Refused { status: status.as_u16(), message };
            if status != StatusCode::BAD_REQUEST {
                return Err(error);
            }
            refused = Some(error);
        }
        Err(refused.unwrap_or(EngineError::Malformed { reason: "no API version".to_owned() }))
    }

    async fn ask(&self, target: &str) -> Result<(StatusCode, Bytes), EngineError> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| self.unopened(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        let request = Request::get(target)
            .header(HOST, "docker")
            .header(ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|error| EngineError::Malformed { reason: error.to_string() })?;
        let mut exchange = pin!(async move {
            let answer = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), Self::ANSWER_MAX).collect().await;
            let body = body.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    EngineError::TooLarge
                } else {
                    EngineError::Malformed { reason: error.to_string() }
                }
            })?;
            Ok((status, body.to_bytes()))
        });
        // The connection moves the bytes. It may end before the answer is taken out of it.
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            _ = connection => exchange.await,
        }
    }

    fn unopened(&self, error: &std::io::Error) -> EngineError {
        let socket = self.socket.clone();
        match error.kind() {
            ErrorKind::NotFound => EngineError::SocketMissing(socket),
            ErrorKind::PermissionDenied => EngineError::NotPermitted(socket),
            _ => EngineError::Unreachable { socket, reason: error.to_string() },
        }
    }

    fn broken(&self, error: &hyper::Error) -> EngineError {
        if error.is_parse() || error.is_parse_too_large() {
            EngineError::Malformed { reason: error.to_string() }
        } else {
            EngineError::Unreachable { socket: self.socket.clone(), reason: error.to_string() }
        }
    }
}

/// Versions of the API in which the question and the answer are the same. Docker 20.10 and podman 4
/// know nothing later than the first; some releases of Docker 29 take nothing before the second.
///
/// [Docker: API version matrix](https://docs.docker.com/reference/api/engine/#api-version-matrix)
const VERSIONS: [&str; 2] = ["v1.41", "v1.44"];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ErrorKind, says: &str, may_pass: bool) {
        let error = Engine::new("/run/docker.sock").unopened(&kind.into());
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.to_string().contains("`/run/docker.sock`"), "{error}");
        assert_eq!(error.may_pass(), may_pass, "{error}");
    }

    #[test]
    fn a_socket_that_does_not_open_says_who_must_act() {
        check(ErrorKind::NotFound, "start the engine or correct the path", true);
        check(ErrorKind::PermissionDenied, "add the agent's user to its group", false);
        check(ErrorKind::ConnectionRefused, "does not answer", true);
    }
}
