//! Keys on disk: written whole or not at all, and readable by the agent alone.
//!
//! This crate exists because of a second consumer: the agent signs with these keys, and
//! `rolecall issuer export` publishes their public halves.

mod folder;
mod keys;

pub use folder::{DiskError, Folder};
