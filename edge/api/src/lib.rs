//! Our HTTP surface: wire types, client, and the checked-in openapi.json.
//!
//! This crate exists because of a second consumer: what the server answers, the agent and the command
//! line ask. Every endpoint is a type that implements [`Endpoint`]; the server routes by it, [`Client`]
//! calls it, and `openapi.json` is made from it.
//!
//! Names that core knows are core's own types in memory and their text in JSON. Secrets are
//! [`secret::SecretText`] in memory.
//!
//! # Which side may be newer
//!
//! Bodies and queries refuse fields that the server does not know; answers are read without minding those that
//! the caller does not know. So the server is upgraded first. Two things are never read in part, in
//! answers either: a binding's conditions and a position's scope. Either would take in more than was
//! meant.

mod endpoint;
mod endpoints;
mod hidden;
mod join_token;
mod line;
mod page;
mod path;
mod problem;
mod text;
mod within;

pub mod agents;
pub mod applications;
pub mod bindings;
pub mod client;
pub mod document;
pub mod explain;
pub mod health;
pub mod hosts;
pub mod issuer;
pub mod joining;
pub mod ledger;
pub mod login;
pub mod orders;
pub mod people;
pub mod policies;
pub mod switch;
pub mod trust;
pub mod workloads;

pub use client::Client;
pub use endpoint::{Access, Action, BODY_MAX, Described, Endpoint, Form, Schemas};
pub use endpoints::ENDPOINTS;
pub use join_token::{InvalidJoinToken, JoinToken};
pub use line::{InvalidText, Label, Line, Name, Reason};
pub use page::{Cursor, LIMIT, Limit, Page, PageAsked};
pub use path::Unfit;
pub use problem::{Kind, Problem, Who};
pub use within::{NotWithin, Within};
