//! The house around the server: who gets in, who may what, and what the doors bear.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers included"
)]

mod authorization;
mod doors;
mod people;
mod place;
mod starts;
