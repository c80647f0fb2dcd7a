use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Hash, Tail};

/// A signed statement of where the ledger stood. Kept where whoever writes the ledger cannot reach it, it
/// shows that the end was not cut off and that nothing before it was written anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The last entry that it covers.
    pub seq: u64,
    /// That entry's hash.
    pub hash: Hash,
    /// When it was signed.
    pub time: Timestamp,
    /// The id of the key that signed it: at most 128 bytes.
    pub key: String,
    /// The signature, base64url without padding.
    pub signature: String,
}

/// What a checkpoint says, before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Where the ledger stands.
    pub tail: Tail,
    /// When that is said.
    pub time: Timestamp,
    /// The id of the key that is about to sign.
    pub key: String,
}

/// What every signed statement begins with, so that it cannot be taken for a token or an order.
const DOMAIN: &[u8] = b"rolecall-checkpoint-v1\0";

impl Statement {
    /// The bytes that are signed: `rolecall-checkpoint-v1`, a zero byte, `seq` as a 64-bit big-endian
    /// number, the 32 bytes of the hash, then `time` in RFC 3339 (spelt as in [`crate::Entry::digest`]) and the key's id,
    /// each after its length in bytes as a 64-bit big-endian number.
    pub fn message(&self) -> Vec<u8> {
        let mut message = DOMAIN.to_vec();
        message.extend_from_slice(&self.tail.seq.to_be_bytes());
        message.extend_from_slice(self.tail.hash.bytes());
        for text in [self.time.to_string().as_str(), self.key.as_str()] {
            let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
            message.extend_from_slice(&length.to_be_bytes());
            message.extend_from_slice(text.as_bytes());
        }
        message
    }

    /// The checkpoint, with the signature over [`Statement::message`].
    pub fn signed(self, signature: &[u8]) -> Checkpoint {
        let Self { tail, time, key } = self;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Checkpoint { seq: tail.seq, hash: tail.hash, time, key, signature }
    }
}

impl Checkpoint {
    /// What is signed.
    pub fn statement(&self) -> Statement {
        let tail = Tail { seq: self.seq, hash: self.hash };
        Statement { tail, time: self.time, key: self.key.clone() }
    }

    /// Whether the signature is good in the eyes of `verify`, which is given the key's id, the
    /// message and the signature, and says no to keys that it does not know.
    pub fn is_signed(&self, verify: impl FnOnce(&str, &[u8], &[u8]) -> bool) -> bool {
        let signature = URL_SAFE_NO_PAD.decode(&self.signature);
        signature.is_ok_and(|signature| verify(&self.key, &self.statement().message(), &signature))
    }
}
