use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::Kind;

/// One expectation of an implementation, with the requests that show whether it is met.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A sentence that is true of an implementation that conforms. Unique.
    pub name: String,
    /// Where the expectation comes from.
    pub source: String,
    /// What follows from not meeting it.
    pub severity: Severity,
    /// The service that is asked.
    pub door: Door,
    /// What must be so, or the case says nothing and is skipped.
    #[serde(default)]
    pub requires: Vec<Requirement>,
    /// Names of the steps that come first, such as `token`.
    #[serde(default)]
    pub given: Vec<String>,
    /// What is sent, one after the other, each on a connection of its own.
    pub steps: Vec<Step>,
}

/// What follows from not meeting an expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Clients fail, or credentials can be stolen.
    Must,
    /// Real services do it so; no client is known that fails.
    Should,
}

/// The service that a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// Instance metadata.
    Instance,
    /// The ECS container endpoint.
    Container,
    /// EKS Pod Identity.
    PodIdentity,
}

/// A property of the implementation or of the workload that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Requirement {
    /// The workload has a role.
    Role,
    /// The workload has no role.
    NoRole,
    /// Metadata cannot be read without a session token.
    TokensRequired,
    /// Metadata can be read without a session token.
    V1Allowed,
    /// The machine is shared, so what belongs to the machine is not given to a workload.
    SharedHost,
    /// There is a container endpoint.
    Container,
    /// The container endpoint was given with an authorization.
    ContainerToken,
    /// There is a Pod Identity endpoint.
    PodIdentity,
    /// The answers come over HTTP, with everything that an HTTP server adds.
    Http,
}

impl Requirement {
    /// Every requirement.
    pub const ALL: [Self; 9] = [
        Self::Role,
        Self::NoRole,
        Self::TokensRequired,
        Self::V1Allowed,
        Self::SharedHost,
        Self::Container,
        Self::ContainerToken,
        Self::PodIdentity,
        Self::Http,
    ];

    /// The name in the files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::NoRole => "no-role",
            Self::TokensRequired => "tokens-required",
            Self::V1Allowed => "v1-allowed",
            Self::SharedHost => "shared-host",
            Self::Container => "container",
            Self::ContainerToken => "container-token",
            Self::PodIdentity => "pod-identity",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One request and what is expected of its answer. `${name}` in target, host and headers stands
/// for what an earlier step captured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The method, sent as it is.
    pub method: String,
    /// The request target, sent as it is.
    pub target: String,
    /// Headers in the order in which they are sent, repetitions included.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// `Host`, where it is not the address that was given.
    pub host: Option<String>,
    /// Whether the request is HTTP/1.0 and has no `Host`.
    #[serde(default)]
    pub http_1_0: bool,
    /// The answers that are right. One of them must match.
    pub expect: Vec<Expected>,
}

/// An answer that is right.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The status.
    pub status: Status,
    /// By name in any case.
    #[serde(default)]
    pub headers: BTreeMap<String, Pattern>,
    /// The body.
    #[serde(default)]
    pub body: BodyExpected,
    /// What later steps may use.
    #[serde(default)]
    pub capture: BTreeMap<String, Source>,
}

/// One status or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Status {
    /// This one.
    One(u16),
    /// Any of these.
    AnyOf(Vec<u16>),
}

/// What is expected of a body. Everything that is named must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BodyExpected {
    /// What the whole body is like.
    #[serde(default)]
    pub text: Vec<Pattern>,
    /// What the members of the JSON object are like.
    pub json: Option<BTreeMap<String, Pattern>>,
    /// Lines that are among the body's.
    #[serde(default)]
    pub lines: Vec<String>,
    /// Lines that are not.
    #[serde(default)]
    pub no_lines: Vec<String>,
}

/// What a text is like.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// It is there.
    Present,
    /// It is not there.
    Absent,
    /// It is there and empty.
    Empty,
    /// It is there and not empty.
    NotEmpty,
    /// It does not end in a line break.
    NoTrailingNewline,
    /// It is this, byte for byte.
    Equals(String),
    /// It is anything but this.
    Differs(String),
    /// It begins with this, in any case.
    Starts(String),
    /// It has this in it, in any case.
    Contains(String),
    /// It is a number in these bounds, both included.
    Between(i64, i64),
    /// It is a comma-separated list of these, in any order and case.
    Lists(Vec<String>),
    /// It is of this kind.
    Is(Kind),
}

/// Where a captured value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The whole body.
    Body,
    /// The number of bytes in the body.
    BodyLength,
    /// A header.
    Header(String),
    /// A member of the JSON object.
    Json(String),
}
