//! The practice cloud and the practice host that the demo, the tests and the benchmarks run in.
//!
//! This crate exists because three programs need the same stage, and because it starts programs:
//! no other crate may. It holds no logic of Rolecall's own, so that nothing on the stage can agree
//! with the agent by sharing its mistakes.
//!
//! - [`tools`] says where the programs are that the stage needs; [`setup`] installs them.
//! - [`cloud`] is a real moto server behind a gate that is as strict as AWS.
//! - [`proxy`] stands between two peers and breaks what passes.
//! - [`host`] is a private place with network namespaces and cgroups of its own.
//! - [`machine`] is a fresh Debian with systemd of its own.
//! - [`agent`] starts an agent and reads what it recorded.
//! - [`control`] is a control plane that two people steer from the command line.
//! - [`daemon`] is what an agent and a server have in common: a program that says when it serves.
//! - [`server`] starts a control plane and signs in to it.
//! - [`clients`] are unchanged programs with the real AWS SDKs.
//! - [`shims`] are what sits in SDKs and tells of calls, with their own tests.
//! - [`stage`] sets a host, a cloud and an agent between them at once.
//! - [`measure`] is what a benchmark tells.
//! - [`people`] are who signs in: a real OpenID provider, and a browser that walks its pages.
//! - [`postgres`] is a real PostgreSQL server that can be stopped and killed.
//! - [`manual`] asks a program what it says of itself.
//! - [`program`] starts all of these, waits no longer than told, and leaves nothing behind.
//!
//! INVARIANT (NothingLeft): whatever this crate makes on a machine is gone when the value that
//! stands for it is dropped, and also when the process is killed: a guard outlives it.

pub mod agent;
pub mod clients;
pub mod cloud;
pub mod control;
pub mod daemon;
mod guard;
pub mod host;
pub mod machine;
pub mod manual;
pub mod measure;
pub mod people;
pub mod postgres;
pub mod program;
pub mod proxy;
pub mod server;
pub mod setup;
pub mod shims;
pub mod stage;
pub mod tools;
