//! Hosts, and the groups that say what they may run.

use std::collections::BTreeMap;

use cloud::Region;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use workload::Pattern;

use crate::{
    Access, Action, Name, Page, PageAsked,
    agents::OrdersHeld,
    bindings::{Because, Word},
    endpoint::endpoints,
    switch::ReasonAsked,
    text,
};

/// The most labels of a host, or of a group's selector.
pub const LABELS_MAX: usize = 32;

/// The most patterns of a group.
pub const PATTERNS_MAX: usize = 256;

/// A host that has joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Its id.
    pub host: String,
    /// What people call it.
    pub name: String,
    /// The region that it is in.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Region>")]
    pub region: Option<Region>,
    /// What the operator said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How it joined.
    pub joined_by: JoinedBy,
    /// When it joined.
    pub joined: Timestamp,
    /// When its certificate ends.
    pub certificate_expires: Timestamp,
    /// The groups that select it.
    pub groups: Vec<Name>,
    /// When it reported last; absent where it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_report: Option<Timestamp>,
    /// The version of its agent, as it reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The orders that it works from, as it reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<OrdersHeld>,
    /// How many workloads it reported.
    pub workloads: u64,
    /// Who revoked it, when and why; absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Word>,
}

/// How a host joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "way", rename_all = "kebab-case")]
pub enum JoinedBy {
    /// By a one-time token.
    Token {
        /// The token's id.
        id: String,
    },
    /// As the AWS role that it had.
    Aws {
        /// The join rule.
        rule: String,
        /// Who STS said it was: the ARN of the role's session.
        arn: String,
    },
}

/// A host's id in a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostPath {
    /// The host.
    pub host: Name,
}

/// A group of hosts, and what they may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Its name.
    pub group: Name,
    /// Labels, each of which a host must have with that very value.
    pub selector: BTreeMap<String, String>,
    /// Whether it selects every host.
    #[serde(default)]
    pub everything: bool,
    /// What its hosts may run.
    #[serde(with = "text::list")]
    #[schemars(with = "Vec<text::PatternText>")]
    pub may_run: Vec<Pattern>,
    /// How many hosts it selects now.
    pub hosts: u64,
    /// When it was changed last.
    pub changed: Timestamp,
}

/// What a group shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupFacts {
    /// Labels, each of which a host must have with that very value. At most 32, and at least one unless
    /// `everything` is true.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
    /// Whether it selects every host; then there must be no selector.
    #[serde(default)]
    pub everything: bool,
    /// What its hosts may run, at most 256 patterns.
    #[serde(with = "text::list")]
    #[schemars(with = "Vec<text::PatternText>")]
    pub may_run: Vec<Pattern>,
}

/// A group's name in a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupPath {
    /// The group.
    pub group: Name,
}

endpoints! {
    /// Lists the hosts that have joined, by id.
    ListHosts = "list-hosts": GET "/v1/hosts", Access::Person(Action::View),
        query PageAsked, answer Page<Host>;

    /// Shows one host.
    ReadHost = "read-host": GET "/v1/hosts/{host}", Access::Person(Action::View),
        path HostPath, answer Host;

    /// Revokes a host: from now on it gets no token, no orders and no new certificate.
    ///
    /// The credentials that its workloads hold live to their end. A host that was revoked joins again as
    /// another host.
    RevokeHost = "revoke-host": POST "/v1/hosts/{host}/revoke", Access::Person(Action::ManageHosts),
        path HostPath, body Because, answer Host;

    /// Lists the groups of hosts and what each may run, by name.
    ListGroups = "list-groups": GET "/v1/groups", Access::Person(Action::View),
        query PageAsked, answer Page<Group>;

    /// Says which hosts are in a group and what they may run.
    ///
    /// A group that is not known yet is made. A host may run what any group that selects it lists.
    PutGroup = "put-group": PUT "/v1/groups/{group}", Access::Person(Action::ManageHosts),
        path GroupPath, body GroupFacts, answer Group;

    /// Removes a group: its hosts may no longer run what it alone lists.
    DeleteGroup = "delete-group": DELETE "/v1/groups/{group}", Access::Person(Action::ManageHosts),
        path GroupPath, query ReasonAsked;
}
