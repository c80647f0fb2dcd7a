//! What is promised of leases, seen from outside.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected must fail"
)]

mod clients;
mod host;
mod laws;
mod outage;
mod promises;
