//! Policies: what people may do, in Cedar's language.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Access, Action, Reason, endpoint::endpoints};

/// The longest text of policies, in bytes.
pub const POLICIES_MAX: usize = 256 * 1024;

/// The policies in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Policies {
    /// Their text, in Cedar's language.
    pub text: String,
    /// The schema that they are checked against, in Cedar's language.
    pub schema: String,
    /// Their version, from 1.
    pub version: u64,
    /// Who put them in force.
    pub actor: String,
    /// When.
    pub since: Timestamp,
}

/// Policies to be put in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoliciesFacts {
    /// Their text, in Cedar's language, at most 256 KiB.
    pub text: String,
    /// Why.
    pub reason: Reason,
}

/// Policies to be tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoliciesTried {
    /// Their text, in Cedar's language, at most 256 KiB.
    pub text: String,
}

/// What policies would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoliciesDryRun {
    /// What is wrong with them; where there is anything, they cannot be put in force.
    pub errors: Vec<String>,
    /// How many past decisions were made again with them.
    pub decisions: u64,
    /// Those that would change, the latest 500 of them.
    pub changes: Vec<DecisionChange>,
}

/// A past decision that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionChange {
    /// When it was made.
    pub time: Timestamp,
    /// About whom.
    pub person: String,
    /// What they wanted to do.
    pub action: Action,
    /// To what.
    pub subject: String,
    /// Whether it was allowed.
    pub was_allowed: bool,
    /// Whether it would be.
    pub would_be_allowed: bool,
}

endpoints! {
    /// Shows the policies in force.
    ReadPolicies = "read-policies": GET "/v1/policies", Access::Person(Action::View), answer Policies;

    /// Puts other policies in force.
    ///
    /// Refused where they do not fit the schema, or where nobody could change them again.
    PutPolicies = "put-policies": PUT "/v1/policies", Access::Person(Action::ManagePolicies),
        body PoliciesFacts, answer Policies;

    /// Tells what policies would do: what is wrong with them, and which past decisions would change.
    DryRunPolicies = "dry-run-policies": POST "/v1/policies/dry-run",
        Access::Person(Action::ManagePolicies), body PoliciesTried, answer PoliciesDryRun, repeatable true;
}
