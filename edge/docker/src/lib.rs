//! Container labels from the Docker Engine API over its unix socket.
//!
//! This crate exists because an engine is an outside world of its own. It asks one question, "what is
//! container X?", of Docker, or of podman's service, which speaks the same API, and returns a
//! [`ContainerSeen`] as plain data. It never changes anything, and it reads five fields of the answer.
//!
//! **Labels are a request.** Whoever starts a container writes its labels, so they say what the
//! container would like to be. Rules must pair them with what the operator controls: the network
//! namespace, or a cgroup parent. Who may use the engine's socket is root on the host, so the
//! agent's own access to it should go through nothing that others can write to.
//!
//! ```no_run
//! # async fn example(cgroup: workload::CgroupPath) -> Result<(), docker::EngineError> {
//! let engine = docker::Engine::new("/run/docker.sock");
//! if let Some(id) = cgroup.container() {
//!     let seen = engine.container(id).await?;
//!     println!("{} wants to be {:?}", seen.container.name, seen.container.labels.get("app"));
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
mod engine;

pub use answer::ContainerSeen;
pub use engine::{Engine, EngineError};
