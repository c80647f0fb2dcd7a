//! rolecall-server: the control plane, so that a host holds no power.
//!
//! This crate wires: the database, AWS and TLS on one side, the pure crates below `core/` on the other.
//! [`server::Server`] is one replica. [`routes`] says what answers which endpoint. Whoever changes something
//! needs a [`permit`], and with it begins an act, which is a ledger entry and its rows in one
//! transaction.

pub mod acts;
pub mod authority;
pub mod caller;
pub mod clock;
pub mod command;
pub mod config;
pub mod cursor;
pub mod fault;
pub mod found;
pub mod health;
pub mod http;
pub mod issuer_keys;
pub mod knowledge;
pub mod known;
pub mod login;
pub mod mint;
pub mod orders;
pub mod own_keys;
pub mod people;
pub mod permit;
pub mod policies;
pub mod policing;
pub mod publish;
pub mod random;
pub mod repeated;
pub mod routes;
pub mod rows;
pub mod run;
pub mod seal;
pub mod server;
pub mod sessions;
pub mod works;

/// The server's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Tells the operator, on standard error. Nothing that is told may hold a secret: the arguments
/// are names, paths and errors.
pub fn report(message: &str) {
    use std::io::Write;
    // Where standard error is gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "rolecall-server: {message}");
}
