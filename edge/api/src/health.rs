//! Whether the server works.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Access, endpoint::endpoints};

/// The server works. Where it does not, the answer is a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// The server's version.
    pub version: String,
    /// When this replica started.
    pub started: Timestamp,
    /// Which state of the server's knowledge this replica works from.
    pub revision: u64,
}

endpoints! {
    /// Tells whether this replica works: it can read and write what it must.
    ReadHealth = "health": GET "/v1/health", Access::Open, answer Health;
}
