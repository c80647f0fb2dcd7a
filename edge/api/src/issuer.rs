//! The issuer: our OIDC provider and the keys that sign its tokens.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Access, Action, Line, Reason, endpoint::endpoints, switch::ReasonAsked};

/// The ARN of a key in KMS, or its alias's.
pub type KmsKey = Line<2048>;

/// A key's id, in a path.
pub type KeyId = Line<128>;

/// The issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Issuer {
    /// Its address, as IAM knows it and as tokens say it.
    pub url: String,
    /// The audience of tokens where a binding names no other.
    pub audience: String,
    /// How long a token lives, in seconds.
    pub token_life_s: u32,
    /// Its keys, in the order in which they sign.
    pub keys: Vec<Key>,
}

/// A key of the issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    /// Its id: the thumbprint of its public half (RFC 7638).
    pub kid: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// What it does now.
    pub state: KeyState,
    /// The ARN of the key in KMS; absent where the server holds the key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// When it was made.
    pub made: Timestamp,
    /// From when its public half is published for long enough that all have read it.
    pub ready: Timestamp,
    /// Since when it signs; absent where it has not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signs_since: Option<Timestamp>,
    /// When its public half will be published no more; absent where that is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retires: Option<Timestamp>,
}

/// What a key does.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// It is published and will sign next.
    Next,
    /// It signs.
    Signing,
    /// It signs no more and is still published, because tokens by it may live.
    Retiring,
    /// It is published no more.
    Retired,
}

/// How tokens are signed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
}

/// A key to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyFacts {
    /// How it signs.
    pub algorithm: Algorithm,
    /// The ARN of a key in KMS that signs; the server makes a key of its own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<KmsKey>,
}

/// How keys shall be rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Whether the next key signs at once, although not everybody may have read its public half. That is
    /// right when the key that signs is no longer safe, and it may fail requests for some minutes.
    #[serde(default)]
    pub now: bool,
    /// Why.
    pub reason: Reason,
}

/// A key's id in a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyPath {
    /// The id.
    pub kid: KeyId,
}

endpoints! {
    /// Shows the issuer and its keys.
    ReadIssuer = "read-issuer": GET "/v1/issuer", Access::Person(Action::View), answer Issuer;

    /// Adds a key that will sign next, and publishes its public half.
    AddIssuerKey = "add-issuer-key": POST "/v1/issuer/keys", Access::Person(Action::ManageIssuer),
        body KeyFacts, answer Key;

    /// Lets the next key sign, and the one that does retire when its last token has ended.
    RotateIssuer = "rotate-issuer": POST "/v1/issuer/rotate", Access::Person(Action::ManageIssuer),
        body Rotation, answer Issuer;

    /// Retires a key at once: its public half is published no more, and tokens by it stop being taken.
    RetireIssuerKey = "retire-issuer-key": DELETE "/v1/issuer/keys/{kid}",
        Access::Person(Action::ManageIssuer), path KeyPath, query ReasonAsked, answer Issuer;
}
