//! What the lake promises: files that others can read, every row once, and answers that can be relied on.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod anything;
mod compaction;
mod files;
mod model;
mod ocsf;
mod questions;
mod s3;
mod story;
mod views;
