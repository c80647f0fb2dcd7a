use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Draft, Hash, InvalidDraft, draft::Parts};

/// One entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its number, from 1 without a gap.
    pub seq: u64,
    /// When it was written, by the writer's wall clock. Clocks jump: the order is `seq`, not `time`.
    pub time: Timestamp,
    /// Who acted.
    pub actor: String,
    /// What was done: a dotted word such as `token.minted`.
    pub event: String,
    /// What it was done to.
    pub subject: String,
    /// What else belongs to it.
    pub detail: Map<String, Value>,
    /// The hash of the entry before, [`Hash::ZERO`] before the first.
    pub previous: Hash,
    /// The hash over all of the above: [`Entry::digest`].
    pub hash: Hash,
}

/// Where a ledger stands: what the next entry follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The number of the last entry, 0 where there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// The ledger has as many entries as can be counted. Nobody lives to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger has no number left for another entry")]
pub struct Full;

/// What every hash of an entry begins with, so that it cannot be taken for a hash of something else.
const DOMAIN: &[u8] = b"rolecall-ledger-v1\0";

impl Tail {
    /// Before the first entry.
    pub const EMPTY: Self = Self { seq: 0, hash: Hash::ZERO };

    /// The entry that comes next.
    ///
    /// # Errors
    /// Never in practice: see [`Full`].
    pub fn append(self, draft: Draft, now: Timestamp) -> Result<Entry, Full> {
        let Draft { actor, event, subject, detail } = draft;
        let seq = self.seq.checked_add(1).ok_or(Full)?;
        let (previous, hash) = (self.hash, Hash::ZERO);
        let mut entry = Entry { seq, time: now, actor, event, subject, detail, previous, hash };
        // A draft has been checked, so it has a digest.
        entry.hash = entry.digest().unwrap_or(Hash::ZERO);
        Ok(entry)
    }
}

impl Entry {
    /// Where the ledger stands after this entry.
    pub fn tail(&self) -> Tail {
        Tail { seq: self.seq, hash: self.hash }
    }

    /// What [`Entry::hash`] must be: SHA-256 over the bytes `rolecall-ledger-v1` and a zero byte, followed by seven parts,
    /// each after its length in bytes as a 64-bit big-endian number:
    ///
    /// 1. `seq` as a 64-bit big-endian number;
    /// 2. `time` in RFC 3339, in UTC with `Z`, the fraction of a second without trailing zeros, if any;
    /// 3. `actor`, 4. `event`, 5. `subject`, in UTF-8;
    /// 6. `detail` as JSON without white space, the members of each object sorted by the bytes of their
    ///    names, only `"`, `\` and what lies below U+0020 escaped, numbers whole;
    /// 7. `previous`, 32 bytes.
    ///
    /// # Errors
    /// When a part breaks the bounds of a [`Draft`]; then no writer wrote it.
    pub fn digest(&self) -> Result<Hash, InvalidDraft> {
        let Self { actor, event, subject, detail, .. } = self;
        let detail = Parts { actor, event, subject, detail }.check()?;
        Ok(Hash::of(
            DOMAIN,
            &[
                &self.seq.to_be_bytes(),
                self.time.to_string().as_bytes(),
                self.actor.as_bytes(),
                self.event.as_bytes(),
                self.subject.as_bytes(),
                detail.as_bytes(),
                self.previous.bytes(),
            ],
        ))
    }
}
