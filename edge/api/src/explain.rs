//! Why a workload would get a role, or did, or does not.

use cloud::RoleArn;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use workload::Workload;

use crate::{Access, Action, Name, endpoint::endpoints, text};

/// Why a workload gets what it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The workload.
    #[serde(with = "text")]
    #[schemars(with = "text::WorkloadId")]
    pub workload: Workload,
    /// The host that it is asked about; absent where it runs nowhere that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What is looked at, in the order in which it decides.
    pub steps: Vec<Step>,
    /// What comes of it, in one sentence.
    pub outcome: String,
    /// The role that it would get a token for; absent where it would get none.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::RoleArn>")]
    pub role: Option<RoleArn>,
}

/// One thing that is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// What is asked.
    pub question: String,
    /// What was found, and where it does not hold, the way out.
    pub answer: String,
    /// Whether it holds.
    pub holds: Holds,
}

/// Whether something holds.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// Nobody knows.
    Unknown,
}

/// What shall be explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainAsked {
    /// The workload.
    #[serde(with = "text")]
    #[schemars(with = "text::WorkloadId")]
    pub workload: Workload,
    /// The host; the one that reported the workload last where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Name>,
}

endpoints! {
    /// Explains why a workload would get a token for its role now, or why not.
    Explain = "explain": GET "/v1/explain", Access::Person(Action::View),
        query ExplainAsked, answer Explanation;
}
