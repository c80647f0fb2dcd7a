use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use cloud::Region;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{AccessKeyId, Outcome};

/// The parameters of a call: path → values, as `conformance/calls` describes them.
pub type Parameters<'a> = BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>;

/// What an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A call, from beginning to end, with all its attempts.
    Call,
    /// One attempt of a call, which is told of as well: evidence about a call, not another one.
    Attempt,
    /// A URL was signed for a call that somebody may make.
    Presign,
}

/// How much a line's word is worth, by its version. Whoever knows less of the sender lowers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Client-side monitoring of an SDK: datagrams that anybody on the machine can send, without parameters.
    Monitoring,
    /// A shim of ours, on a stream whose peer the kernel names. The process itself may still lie.
    Shim,
}

/// A call that was made, or an attempt of one. Borrowed from its line wherever the JSON has no escapes.
///
/// Session tokens, error messages and host addresses are left behind when it is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// What it tells of.
    pub kind: Kind,
    /// What its word is worth.
    pub trust: Trust,
    /// The service id of the service's model, such as `DynamoDB` or `Cognito Identity Provider`.
    pub service: Cow<'a, str>,
    /// The operation's name in that model, such as `GetItem`.
    pub operation: Cow<'a, str>,
    /// The region that was called. Nothing where the SDK did not say one.
    pub region: Option<Region>,
    /// The host that was called.
    pub host: Option<Cow<'a, str>>,
    /// The access key it was signed with. CSM tells it of attempts only.
    pub key: Option<AccessKeyId<'a>>,
    /// The service's id of the request.
    pub request_id: Option<Cow<'a, str>>,
    /// The HTTP status, 100 to 599. Nothing when nobody answered.
    pub status: Option<u16>,
    /// The service's error code, else the SDK's exception; at most [`Event::EXCEPTION_MAX`] bytes of it.
    pub exception: Option<Cow<'a, str>>,
    /// The class of status and exception.
    pub outcome: Outcome,
    /// How long it took. For several calls, the longest of them.
    pub duration: Option<Duration>,
    /// What the SDK calls itself; at most [`Event::USER_AGENT_MAX`] bytes of it.
    pub user_agent: Option<Cow<'a, str>>,
    /// When the first of the calls began, by the clock of the sender.
    pub first: Timestamp,
    /// When the last of them began; never before the first.
    pub last: Timestamp,
    /// How many calls it stands for, 1 to [`Event::COUNT_MAX`].
    pub count: u64,
    /// What it was about. Empty in CSM.
    pub parameters: Parameters<'a>,
}

impl Event<'_> {
    /// The longest name of a service, an operation or a request, in bytes.
    pub const NAME_MAX: usize = 128;
    /// As much of an exception as is kept, in bytes; what CSM sends at most.
    pub const EXCEPTION_MAX: usize = 128;
    /// As much of a user agent as is kept, in bytes; what CSM sends at most.
    pub const USER_AGENT_MAX: usize = 256;
    /// The longest name of a host, in bytes, as DNS has it.
    pub const HOST_MAX: usize = 255;
    /// The most calls that one event stands for. A shim counts for seconds, so more is a mistake.
    pub const COUNT_MAX: u64 = 1_000_000_000;
    /// The longest duration that is kept. SDKs give up long before; more comes from a clock that was set.
    pub const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
    /// The most paths of an event.
    pub const PATHS_MAX: usize = 64;
    /// The longest path, in bytes.
    pub const PATH_MAX: usize = 256;
    /// The most values of a path.
    pub const VALUES_MAX: usize = 16;
    /// The longest value, in bytes. The longest ARN fits.
    pub const VALUE_MAX: usize = 2048;
}

/// What a shim says of itself when its stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The programming language, in lower case, such as `python`.
    pub language: Cow<'a, str>,
    /// The SDK, such as `botocore`.
    pub sdk: Cow<'a, str>,
    /// The SDK's version.
    pub sdk_version: Cow<'a, str>,
    /// The shim's own version.
    pub shim_version: Cow<'a, str>,
    /// The number of the process as it knows itself, in its own namespace. The kernel's word counts, not this one.
    pub pid: Option<u32>,
}

impl Hello<'_> {
    /// The longest of its texts, in bytes.
    pub const TEXT_MAX: usize = 64;
}
