//! The issuer as others see it: tokens are verified with another library against the published
//! documents, and keys, rings and claims keep their promises for whatever comes in.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails right there"
)]

mod claims;
mod der;
mod documents;
mod key_ring;
mod keys;
mod random;
mod schedule;
mod trust;
mod urls;
mod verifier;
