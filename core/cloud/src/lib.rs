//! The provider's nouns: parse, print, order; nothing else.
//!
//! This crate exists because every other one needs these words. What may live here is a noun that
//! AWS prints in its own documentation. There are no free functions and no dependencies of weight.

mod account;
mod arn;
mod region;
mod role;
mod session;

pub use account::{AccountId, InvalidAccountId};
pub use arn::{Arn, InvalidArn, Partition};
pub use region::{InvalidRegion, Region};
pub use role::{InvalidRoleArn, RoleArn};
pub use session::{InvalidRoleSession, RoleSession};
