//! The laws of the spool: what was acknowledged is kept, once and in order, and every call is accounted for.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod crashes;
mod damage;
mod kept;
mod memory;
mod model;
mod pressure;
mod real;
