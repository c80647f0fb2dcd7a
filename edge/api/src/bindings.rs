//! Bindings: application and environment → role, in versions that are proposed, reviewed and in force.

use std::collections::BTreeMap;

use cloud::RoleArn;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use workload::{Application, Environment, InvalidRule, Workload};

use crate::{
    Access, Action, Cursor, Limit, Line, Page, PageAsked, Reason, Within, endpoint::endpoints, text,
};

/// The life of a lease, in minutes.
pub type DurationMinutes = Within<15, 720>;

/// How long a lease lives where a proposal does not say, in minutes.
pub const DURATION_MINUTES: DurationMinutes = DurationMinutes::literal::<60>();

/// The audience of a token: what a role's trust policy names.
pub type Audience = Line<255>;

/// The audience where a proposal does not name one: what AWS's own tools expect.
pub const AUDIENCE: &str = "sts.amazonaws.com";

/// What a binding says, in the words of the agent's own `[[binding]]` section.
///
/// It carries on the wire what a version says for ever; a version is never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Terms {
    /// The application.
    #[serde(with = "text")]
    #[schemars(with = "text::ApplicationName")]
    pub application: Application,
    /// The environment.
    #[serde(with = "text")]
    #[schemars(with = "text::EnvironmentName")]
    pub environment: Environment,
    /// The role in the application's own account.
    #[serde(with = "text")]
    #[schemars(with = "text::RoleArn")]
    pub role: RoleArn,
    /// The audience of the token: what the role's trust policy names.
    pub audience: Audience,
    /// Session tags besides `application`, `environment` and `instance`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Whether requests without a session token are answered.
    #[serde(default)]
    pub imdsv1: bool,
    /// The life of a lease, in minutes.
    pub duration_minutes: DurationMinutes,
    /// What a process must show to be this application.
    #[serde(rename = "match")]
    pub conditions: Conditions,
}

/// What a process must show to be an application: each condition that is named must hold, and one must
/// be named.
///
/// **A field that is not known is an error wherever this is read**, in answers too: a condition that is
/// not understood must never be taken for one that is not there, since that would let in more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// The network namespace's name, as a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// The cgroup's path, as a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The systemd unit, as a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Container labels, each a pattern.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The client's network, such as `10.1.2.0/24`; it counts only on hosts that trust addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Network>")]
    pub address: Option<String>,
}

impl TryFrom<&Conditions> for workload::Conditions {
    type Error = InvalidRule;

    fn try_from(wire: &Conditions) -> Result<Self, InvalidRule> {
        let mut conditions = Self::default();
        if let Some(netns) = &wire.netns {
            conditions = conditions.with_netns(netns)?;
        }
        if let Some(cgroup) = &wire.cgroup {
            conditions = conditions.with_cgroup(cgroup)?;
        }
        if let Some(unit) = &wire.unit {
            conditions = conditions.with_unit(unit)?;
        }
        for (name, pattern) in &wire.labels {
            conditions = conditions.with_label(name, pattern)?;
        }
        if let Some(network) = &wire.address {
            conditions = conditions.with_address(network)?;
        }
        Ok(conditions)
    }
}

/// A version of a binding, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Binding {
    /// What it says.
    #[serde(flatten)]
    pub terms: Terms,
    /// Its number, from 1 for each application and environment.
    pub version: u64,
    /// What became of it.
    pub status: Status,
    /// Who proposed it, when and why.
    pub proposed: Word,
    /// Who approved or rejected it, when and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewed: Option<Word>,
    /// When it came in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force_since: Option<Timestamp>,
    /// When it ceased to be in force, or was withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

/// What became of a version.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It waits for a review.
    Proposed,
    /// It rules. At most one version of an application and environment does.
    InForce,
    /// A reviewer said no.
    Rejected,
    /// Its proposer took it back.
    Withdrawn,
    /// A later version rules.
    Superseded,
}

/// Who did something, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Word {
    /// The person's id.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A proposal of the next version of a binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The application.
    #[serde(with = "text")]
    #[schemars(with = "text::ApplicationName")]
    pub application: Application,
    /// The environment.
    #[serde(with = "text")]
    #[schemars(with = "text::EnvironmentName")]
    pub environment: Environment,
    /// The role in the application's own account.
    #[serde(with = "text")]
    #[schemars(with = "text::RoleArn")]
    pub role: RoleArn,
    /// The audience of the token; where absent the server's own, which is `sts.amazonaws.com` unless its file
    /// says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// Session tags besides `application`, `environment` and `instance`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Whether requests without a session token are answered. Off by default.
    #[serde(default)]
    pub imdsv1: bool,
    /// The life of a lease, in minutes; 60 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_minutes: Option<DurationMinutes>,
    /// What a process must show to be this application.
    #[serde(rename = "match")]
    pub conditions: Conditions,
    /// Why the binding shall be so.
    pub reason: Reason,
}

/// An approval or a rejection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Whether the version comes in force.
    pub approve: bool,
    /// Why, or why not.
    pub reason: Reason,
}

/// Why something is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Because {
    /// The reason.
    pub reason: Reason,
}

/// A version of a binding in a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionPath {
    /// The application.
    #[serde(with = "text")]
    #[schemars(with = "text::ApplicationName")]
    pub application: Application,
    /// The environment.
    #[serde(with = "text")]
    #[schemars(with = "text::EnvironmentName")]
    pub environment: Environment,
    /// The version's number.
    pub version: u64,
}

/// Which bindings are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BindingsAsked {
    /// Those of this application alone.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::ApplicationName>")]
    pub application: Option<Application>,
    /// Those of this environment alone.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::EnvironmentName>")]
    pub environment: Option<Environment>,
    /// Those of which this became alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// How many items at most; 100 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The `next` of the page before; from the beginning where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
}

/// A running workload that would get another role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The host that it runs on.
    pub host: String,
    /// The workload.
    #[serde(with = "text")]
    #[schemars(with = "text::WorkloadId")]
    pub workload: Workload,
    /// The role that it has now; absent where it has none of ours.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::RoleArn>")]
    pub from: Option<RoleArn>,
    /// The role that it would have; absent where it would have none of ours.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::RoleArn>")]
    pub to: Option<RoleArn>,
}

endpoints! {
    /// Lists versions of bindings, by application, environment and version.
    ListBindings = "list-bindings": GET "/v1/bindings", Access::Person(Action::View),
        query BindingsAsked, answer Page<Binding>;

    /// Proposes the next version of a binding.
    ///
    /// It changes nothing until somebody else has approved it.
    ProposeBinding = "propose-binding": POST "/v1/bindings", Access::Person(Action::ProposeBinding),
        body Proposal, answer Binding;

    /// Shows one version of a binding.
    ReadBinding = "read-binding": GET "/v1/bindings/{application}/{environment}/{version}",
        Access::Person(Action::View), path VersionPath, answer Binding;

    /// Approves or rejects a proposed version.
    ///
    /// An approved version is in force at once and supersedes the one that was. Nobody can review what
    /// they proposed themselves.
    ReviewBinding = "review-binding":
        POST "/v1/bindings/{application}/{environment}/{version}/review",
        Access::Person(Action::ReviewBinding), path VersionPath, body Review, answer Binding;

    /// Takes a proposed version back.
    WithdrawBinding = "withdraw-binding":
        POST "/v1/bindings/{application}/{environment}/{version}/withdraw",
        Access::Person(Action::ProposeBinding), path VersionPath, body Because, answer Binding;

    /// Lists exactly the running workloads that would get another role if a version came in force now.
    DryRunBinding = "dry-run-binding":
        GET "/v1/bindings/{application}/{environment}/{version}/dry-run",
        Access::Person(Action::View), path VersionPath, query PageAsked, answer Page<Change>;
}
