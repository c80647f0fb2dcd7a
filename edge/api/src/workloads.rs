//! Workloads, as their hosts see them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use workload::{Application, Environment};

use crate::{
    Access, Action, Cursor, Limit, Name, Page,
    agents::{Asked, SeenWorkload},
    endpoint::endpoints,
    text,
};

/// A workload that a host reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningWorkload {
    /// The host.
    pub host: String,
    /// What the host says of it.
    pub seen: SeenWorkload,
    /// When the host said so.
    pub reported: Timestamp,
    /// Whether the host reports in time; where it does not, nobody knows what became of the workload.
    pub current: bool,
    /// What the server's switch says for it now.
    pub switch: Asked,
}

/// Which workloads are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadsAsked {
    /// Those of this application alone.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::ApplicationName>")]
    pub application: Option<Application>,
    /// Those of this environment alone.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::EnvironmentName>")]
    pub environment: Option<Environment>,
    /// Those on this host alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Name>,
    /// Those for which the switch says so alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<Asked>,
    /// How many items at most; 100 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The `next` of the page before; from the beginning where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
}

endpoints! {
    /// Lists the workloads that hosts reported, by id and host.
    ListWorkloads = "list-workloads": GET "/v1/workloads", Access::Person(Action::View),
        query WorkloadsAsked, answer Page<RunningWorkload>;
}
