//! The ledger: the hash-chained record of everything that the server did.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Access, Action, Limit, Page, PageAsked, agents::Jwk, endpoint::endpoints};

/// An entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Its number, from 1 without a gap.
    pub seq: u64,
    /// When it was written, in the very spelling that its hash covers.
    pub time: String,
    /// Who acted.
    pub actor: String,
    /// What was done: a dotted word such as `token.minted`.
    pub event: String,
    /// What it was done to.
    pub subject: String,
    /// What else belongs to it.
    pub detail: Map<String, Value>,
    /// The hash of the entry before: SHA-256 in hexadecimal digits.
    pub previous: String,
    /// The hash over all of the above: SHA-256 in hexadecimal digits.
    pub hash: String,
}

/// A signed statement of where the ledger stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checkpoint {
    /// The last entry that it covers.
    pub seq: u64,
    /// That entry's hash: SHA-256 in hexadecimal digits.
    pub hash: String,
    /// When it was signed, in the very spelling that its signature covers.
    pub time: String,
    /// The id of the key that signed it.
    pub key: String,
    /// The signature (ES256), base64url without padding.
    pub signature: String,
}

/// The public keys of checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerKeys {
    /// Every key that a checkpoint may be signed with, the present one first.
    pub keys: Vec<Jwk>,
}

/// Which entries are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntriesAsked {
    /// Those after this number; from the first where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// How many entries at most; 100 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// A part of the ledger, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entries {
    /// The entries.
    pub items: Vec<Entry>,
    /// What to ask for as `after` to read on; absent where there is nothing more yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// When the server read them.
    pub read: Timestamp,
}

endpoints! {
    /// Reads entries of the ledger, in their order.
    ReadLedger = "read-ledger": GET "/v1/ledger", Access::Person(Action::ReadLedger),
        query EntriesAsked, answer Entries;

    /// Lists the checkpoints, latest first.
    ListCheckpoints = "list-checkpoints": GET "/v1/ledger/checkpoints",
        Access::Person(Action::ReadLedger), query PageAsked, answer Page<Checkpoint>;

    /// Signs where the ledger stands now, so that nobody can cut it shorter unnoticed.
    MakeCheckpoint = "make-checkpoint": POST "/v1/ledger/checkpoints",
        Access::Person(Action::ReadLedger), answer Checkpoint, repeatable true;

    /// Shows the public keys that checkpoints are signed with.
    ReadLedgerKey = "read-ledger-key": GET "/v1/ledger/key", Access::Person(Action::ReadLedger),
        answer LedgerKeys;
}
