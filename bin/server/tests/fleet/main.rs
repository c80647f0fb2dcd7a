//! Several replicas of the real server over one real PostgreSQL, and what happens when one of them dies.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod deployment;
mod host;
mod operator;
mod replicas;
mod restore;
