//! Calls: what agents send of them, and what people ask.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use workload::Application;

use crate::{Access, Action, Within, endpoint::endpoints, text};

/// The largest body with frames, in bytes: one frame of the longest fits, in base64.
pub const FRAMES_MAX: usize = 4 * 1024 * 1024;

/// The longest question, in bytes.
pub const SQL_MAX: usize = 64 * 1024;

/// The most rows of an answer.
pub const ROWS_MAX: u32 = 100_000;

/// The longest that a question may take, in seconds.
pub const QUERY_MAX_S: u32 = 300;

/// Frames of an agent's spool, as they lie on its disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FramesSent {
    /// The life of the spool: 32 hexadecimal digits. Numbers count within it.
    #[schemars(regex(pattern = "^[0-9a-f]{32}$"))]
    pub epoch: String,
    /// The oldest frame that the agent still has. Where it is behind what the server wants, the frames before it
    /// are gone, and the server counts them as missing.
    pub oldest: u64,
    /// The first of these frames.
    pub first: u64,
    /// How many calls there were in all frames before it.
    pub calls_before: u64,
    /// The frames, one after the other, in base64 with padding.
    pub frames: String,
}

/// How far a sender is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FramesTaken {
    /// Everything before this frame is stored. The agent goes on with it, whatever it sent.
    pub next: u64,
}

/// A question in SQL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallsAsked {
    /// One `SELECT`, over the views that docs/reference/calls-sql.md lists; at most 64 KiB.
    pub sql: String,
    /// Sees the calls of this application alone, for who may not see all.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::ApplicationName>")]
    pub application: Option<Application>,
    /// How many rows at most; 1,000 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Within<1, ROWS_MAX>>,
    /// How long it may take, in seconds; 30 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<Within<1, QUERY_MAX_S>>,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What kind of values it has: `text`, `number`, `boolean`, `time`, `list` or `map`.
    pub kind: String,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallsAnswer {
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, each with a value for each column. Times are text, as RFC 3339 writes them.
    pub rows: Vec<Vec<Value>>,
    /// Whether there are more rows than were asked for.
    pub truncated: bool,
    /// What the answer is of: everything that was stored at this time.
    pub as_of: Timestamp,
    /// Of how many segments.
    pub segments: u64,
}

/// How far a host's spool is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sender {
    /// The host's id.
    pub host: String,
    /// What people call it.
    pub name: String,
    /// The life of its spool.
    pub epoch: String,
    /// Everything before this frame is stored.
    pub next: u64,
    /// How many calls were in the frames before it.
    pub calls: u64,
    /// How many of them never came.
    pub missing: u64,
    /// When something of it was stored last.
    pub changed: Timestamp,
}

/// Every sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Senders {
    /// By host and epoch.
    pub senders: Vec<Sender>,
}

endpoints! {
    /// Stores frames of a host's spool.
    ///
    /// The answer comes when they are durable, some seconds later: calls of many hosts are stored together. What is stored already
    /// is not stored again, so the same frames may be sent as often as need be, to any replica.
    SendFrames = "send-frames": POST "/v1/agents/calls", Access::Agent,
        body FramesSent, answer FramesTaken, repeatable true, body_max FRAMES_MAX;

    /// Answers a question about calls, in SQL.
    ///
    /// Read-only, and bounded in time, memory and rows. It sees one picture of everything that is stored.
    QueryCalls = "query-calls": POST "/v1/calls/query", Access::Person(Action::ReadCalls),
        body CallsAsked, answer CallsAnswer, repeatable true;

    /// Lists how far each host's calls are stored.
    ListSenders = "list-senders": GET "/v1/calls/senders", Access::Person(Action::ReadCalls), answer Senders;
}
