//! AWS through its official SDK: STS, and the host's own metadata service.
//!
//! This crate exists because of its dependency weight. It signs, sends and translates; it holds no
//! policy, no cache and no retries of its own: whoever asked decides what a failure means.

mod host;
mod plain;
mod sts;

pub use host::{HostAnswer, HostError, HostMetadata};
pub use sts::{
    AssumeRole, AssumeRoleWithWebIdentity, HostCredentials, Issued, Sts, StsError, StsSettings,
};
