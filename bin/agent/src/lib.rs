//! rolecall-agent: hands each workload on a host the credentials of its own account.
//!
//! This crate wires: sockets, namespaces and files on one side, the pure crates below `core/` on
//! the other. [`engine`] is the agent without its sockets; everything else here is an edge of it.

pub mod access;
pub mod admin;
pub mod budget;
pub mod calls;
pub mod clock;
pub mod command;
pub mod config;
pub mod control;
pub mod counters;
pub mod engine;
pub mod environment;
pub mod explain;
pub mod fetch;
pub mod host;
pub mod identify;
pub mod places;
pub mod reload;
pub mod run;
pub mod serve;
pub mod settings;
pub mod status;
pub mod unserved;

/// Tells the operator, on standard error. Nothing that is told may hold a secret: the arguments
/// are names, paths and errors, and the tests look for planted secrets in all that was told.
pub fn report(message: &str) {
    use std::io::Write;
    // Where standard error is gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "rolecall-agent: {message}");
}
