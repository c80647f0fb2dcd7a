//! What agents ask: to join, what to do, and for tokens. And what they report.

use std::collections::BTreeMap;

use cloud::{Region, RoleArn};
use jiff::Timestamp;
use schemars::JsonSchema;
use secret::SecretText;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value};
use workload::Workload;

use crate::{
    Access, Label, Within, endpoint::endpoints, hidden, join_token::JoinToken,
    orders::SignedOrders, text,
};

/// The most workloads that a host can report.
pub const WORKLOADS_MAX: usize = 4096;

/// The largest report, in bytes.
pub const REPORT_MAX: usize = 4 * 1024 * 1024;

/// The longest that a request for orders may wait, in seconds.
pub const WAIT_MAX_S: u32 = 30;

/// A public key as a JSON Web Key.
///
/// [RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)
pub type Jwk = Map<String, Value>;

/// A host that wants to join by a one-time token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The token that an operator made.
    #[schemars(with = "text::JoinTokenText")]
    pub token: JoinToken,
    /// The certificate signing request of the host's own key, as PEM. Its subject and names are not
    /// looked at: the server says who the host is.
    pub csr_pem: String,
    /// The agent's version.
    pub version: Label,
}

/// A text to be used once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nonce {
    /// The text.
    pub nonce: String,
    /// When it ends.
    pub expires: Timestamp,
}

/// A host that wants to join as the AWS role that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinAwsRequest {
    /// The nonce that the server gave. The signed request must carry it in the header
    /// `x-rolecall-nonce`, and that header must be among the signed ones.
    pub nonce: String,
    /// A request for `sts:GetCallerIdentity` that the host signed, for the server to send.
    pub request: SignedRequest,
    /// The certificate signing request of the host's own key, as PEM.
    pub csr_pem: String,
    /// The agent's version.
    pub version: Label,
}

/// A signed HTTP request (POST).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedRequest {
    /// Where it goes. The server takes the addresses of AWS's own STS alone.
    pub url: String,
    /// Its headers, the signature among them.
    #[serde(with = "hidden::map")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, SecretText>,
    /// Its body.
    pub body: String,
}

/// What a host is after it joined, and again after each renewal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Joined {
    /// The host's id.
    pub host: String,
    /// What people call it.
    pub name: String,
    /// Its certificate, as PEM.
    pub certificate_pem: String,
    /// The server's authority, as PEM: the only one that the host shall trust.
    pub ca_pem: String,
    /// When the certificate ends.
    pub expires: Timestamp,
    /// When it should be renewed.
    pub renew_after: Timestamp,
    /// The public keys that orders may be signed with.
    pub orders_keys: Vec<Jwk>,
    /// The region that the host is in.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Region>")]
    pub region: Option<Region>,
    /// What the operator said of the host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A host that wants a new certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// The certificate signing request, as PEM.
    pub csr_pem: String,
}

/// What a host sees: always the whole list of what runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The boot of the agent that the sequence counts in: another text after each start.
    pub boot: String,
    /// The number of the report within the boot, from 1. A lower one than the last is not taken.
    pub sequence: u64,
    /// The agent's version.
    pub version: Label,
    /// The orders that the agent works from; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders: Option<OrdersHeld>,
    /// Every workload that runs, at most 4096.
    #[serde(deserialize_with = "workloads")]
    #[schemars(length(max = 4096))]
    pub workloads: Vec<SeenWorkload>,
}

/// Which orders an agent holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrdersHeld {
    /// Their revision.
    pub revision: u64,
    /// When the server issued them.
    pub issued: Timestamp,
}

/// A workload as its host sees it. What is asked for and what is in effect are two things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeenWorkload {
    /// The workload.
    #[serde(with = "text")]
    #[schemars(with = "text::WorkloadId")]
    pub workload: Workload,
    /// What the switch says.
    pub asked_for: Asked,
    /// What its credentials say.
    pub in_effect: InEffect,
    /// When the last credentials of the other position end at the latest, as predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_by: Option<Timestamp>,
    /// When what is asked for was first seen to be in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_at: Option<Timestamp>,
    /// The role that it holds; absent where it has none of ours.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::RoleArn>")]
    pub role: Option<RoleArn>,
    /// The lease that it holds; absent where it holds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// When the host first saw it.
    pub first_seen: Timestamp,
}

/// A position of the switch.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// Credentials come from the binding.
    On,
    /// Credentials come from the host.
    Off,
}

/// Where a workload's credentials come from.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum InEffect {
    /// From its binding, all that still live.
    On,
    /// From the host, all that still live.
    Off,
    /// Some from the one and some from the other.
    Mixed,
    /// Nobody knows.
    Unknown,
}

/// Credentials that a workload holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// When they were fetched.
    pub since: Timestamp,
    /// When they end.
    pub ends: Timestamp,
    /// Their access key id. It is no secret.
    pub access_key_id: String,
}

/// A report was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Received {
    /// The revision of what the server knows now. Where it is later than that of the orders held, there
    /// may be new ones.
    pub revision: u64,
}

/// Which orders are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrdersAsked {
    /// The revision that the agent holds: only later ones are an answer. Absent where it holds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// How long the server may wait for later ones, in seconds; not at all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_s: Option<Within<0, WAIT_MAX_S>>,
}

/// A token that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The workload that the token is for. It must run on the host that asks.
    #[serde(with = "text")]
    #[schemars(with = "text::WorkloadId")]
    pub workload: Workload,
    /// The role that it will be used for.
    #[serde(with = "text")]
    #[schemars(with = "text::RoleArn")]
    pub role: RoleArn,
}

/// A token for STS's `AssumeRoleWithWebIdentity`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Minted {
    /// The token: a signed JWT.
    #[serde(with = "hidden")]
    #[schemars(with = "String")]
    pub token: SecretText,
    /// When it ends.
    pub expires: Timestamp,
    /// The version of the binding that it was minted by.
    pub binding_version: u64,
}

/// Refuses what no host can run before it is looked at one by one.
fn workloads<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SeenWorkload>, D::Error> {
    let seen = Vec::deserialize(from)?;
    if seen.len() > WORKLOADS_MAX {
        let error = format!("at most {WORKLOADS_MAX} workloads, not {}", seen.len());
        return Err(D::Error::custom(error));
    }
    Ok(seen)
}

endpoints! {
    /// Lets a host join by a one-time token.
    ///
    /// The token says which labels and region the host has and how often it may be used. The answer is
    /// the host's identity; its private key never leaves it.
    Join = "join": POST "/v1/agents/join", Access::Open, body JoinRequest, answer Joined;

    /// Gives a nonce for a host that wants to join as its AWS role.
    MakeNonce = "make-nonce": POST "/v1/agents/nonce", Access::Open, answer Nonce, repeatable true;

    /// Lets a host join as the AWS role that it has.
    ///
    /// The server sends the signed request to STS, which says whose signature it is; a join rule says
    /// which labels and region a host of that account and role gets.
    JoinAws = "join-aws": POST "/v1/agents/join-aws", Access::Open, body JoinAwsRequest, answer Joined;

    /// Gives a host a new certificate, and the keys that orders may be signed with from now on.
    Renew = "renew": POST "/v1/agents/renew", Access::Agent, body RenewRequest, answer Joined, repeatable true;

    /// Takes a host's report of what runs on it.
    SendReport = "report": POST "/v1/agents/report", Access::Agent, body Report, answer Received, repeatable true,
        body_max REPORT_MAX;

    /// Gives a host its orders: bindings and positions of the switch, for it alone, signed.
    ///
    /// There is no content where nothing is newer than the revision in `after`, for as long as `wait_s`
    /// says.
    ReadOrders = "read-orders": GET "/v1/agents/orders", Access::Agent,
        query OrdersAsked, answer Option<SignedOrders>;

    /// Mints a token for one workload that runs on the host that asks.
    ///
    /// Refused unless the host may run the application, has reported the workload as running, a binding to
    /// that very role is in force, and the switch is on for the workload.
    MintToken = "mint-token": POST "/v1/agents/token", Access::Agent, body TokenRequest, answer Minted, repeatable true;
}
