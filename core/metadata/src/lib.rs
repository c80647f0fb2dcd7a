//! Instance and container metadata protocols: a request in, an answer out.
//!
//! This crate exists because it has a specification of its own: what real EC2, ECS and EKS answer,
//! and what the SDKs make of it. It does no I/O: [`decide`] says what to do about a request, the
//! edge does it, and [`render`] writes the body.
//!
//! A request passes, in this order: the one normaliser ([`Target`]), the checks that are the same
//! at every [`Door`], the session token ([`TokenKey`]), then the door's own tree. No rule looks at
//! a path before it is normalised.

mod allow;
mod answer;
mod container;
mod decide;
mod facts;
mod host;
mod instance;
mod notes;
mod path;
mod pod;
mod render;
mod request;
mod token;

pub use allow::{AllowList, InvalidAllowEntry};
pub use answer::{Answer, Body, answer_host, unattested};
pub use decide::{Decision, Door, HostPath, Step, Subject, decide};
pub use facts::Facts;
pub use notes::{Note, Notes, PathClass};
pub use path::{InvalidTarget, Target};
pub use render::{Credentials, Form, Unavailable, answer_credentials, render, unavailable};
pub use request::Request;
pub use token::{
    InvalidToken, InvalidTokenLife, TOKEN_LENGTH_MAX, TokenKey, TokenLife, container_id,
    container_token,
};
