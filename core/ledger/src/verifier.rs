use crate::{Checkpoint, Entry, Tail};

/// Reads a ledger in order and says where it is broken. It holds one hash and the checkpoints, however long the
/// ledger is.
#[derive(Clone, Debug)]
pub struct Verifier {
    tail: Tail,
    entries: u64,
    /// Those that lie ahead, the nearest last.
    ahead: Vec<Checkpoint>,
    met: u64,
}

/// What is wrong with a ledger. The first of it; what follows cannot be trusted either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Its content and its hash differ.
    #[error("entry {seq} was altered: its hash is not that of what it says")]
    Altered {
        /// Which.
        seq: u64,
    },
    /// Entries are missing, or stand later.
    #[error("entry {expected} is missing or out of place: entry {found} stands there")]
    Missing {
        /// What should stand here.
        expected: u64,
        /// What stands here.
        found: u64,
    },
    /// An entry stands twice, or too late.
    #[error("entry {found} stands where entry {expected} should: it stands twice or out of place")]
    Again {
        /// What should stand here.
        expected: u64,
        /// What stands here.
        found: u64,
    },
    /// It follows another history than the one before it.
    #[error("entry {seq} does not follow the entry before it: one of the two was replaced")]
    Unlinked {
        /// Which.
        seq: u64,
    },
    /// The whole was written anew.
    #[error(
        "entry {seq} is not the one that the checkpoint of {time} signed: the ledger was written anew"
    )]
    Rewritten {
        /// Which.
        seq: u64,
        /// When the checkpoint was signed.
        time: jiff::Timestamp,
    },
    /// The end is missing.
    #[error(
        "the ledger ends at entry {last}, and a checkpoint of {time} signed entry {signed}: the end was cut off"
    )]
    CutOff {
        /// The last that is there.
        last: u64,
        /// The last that was signed.
        signed: u64,
        /// When.
        time: jiff::Timestamp,
    },
}

/// A ledger that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many entries were read.
    pub entries: u64,
    /// How many checkpoints were met, each of which agreed.
    pub checkpoints: u64,
    /// Where the ledger stands. What came after the last checkpoint is whole, but nothing shows that
    /// it was not cut shorter.
    pub tail: Tail,
}

impl Verifier {
    /// From the first entry on, against checkpoints in any order whose signatures the caller has
    /// verified ([`Checkpoint::is_signed`]).
    pub fn new(checkpoints: Vec<Checkpoint>) -> Self {
        Self::after(Tail::EMPTY, checkpoints)
    }

    /// From the entry after `tail` on, which the caller trusts. Checkpoints at or before it say nothing new
    /// and are left out.
    pub fn after(tail: Tail, mut checkpoints: Vec<Checkpoint>) -> Self {
        checkpoints.retain(|checkpoint| checkpoint.seq > tail.seq);
        checkpoints.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.seq));
        Self { tail, entries: 0, ahead: checkpoints, met: 0 }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// When it is not the one that belongs here.
    pub fn take(&mut self, entry: &Entry) -> Result<(), Broken> {
        let (seq, expected) = (entry.seq, self.tail.seq.saturating_add(1));
        match seq.cmp(&expected) {
            std::cmp::Ordering::Greater => return Err(Broken::Missing { expected, found: seq }),
            std::cmp::Ordering::Less => return Err(Broken::Again { expected, found: seq }),
            std::cmp::Ordering::Equal => {}
        }
        if entry.digest() != Ok(entry.hash) {
            return Err(Broken::Altered { seq });
        }
        if entry.previous != self.tail.hash {
            return Err(Broken::Unlinked { seq });
        }
        while let Some(checkpoint) = self.ahead.pop_if(|checkpoint| checkpoint.seq == seq) {
            if checkpoint.hash != entry.hash {
                return Err(Broken::Rewritten { seq, time: checkpoint.time });
            }
            self.met += 1;
        }
        self.tail = entry.tail();
        self.entries += 1;
        Ok(())
    }

    /// Says that there are no more entries.
    ///
    /// # Errors
    /// When a checkpoint signed an entry beyond the last.
    pub fn finish(self) -> Result<Verified, Broken> {
        match self.ahead.first() {
            Some(Checkpoint { seq: signed, time, .. }) => {
                Err(Broken::CutOff { last: self.tail.seq, signed: *signed, time: *time })
            }
            None => Ok(Verified { entries: self.entries, checkpoints: self.met, tail: self.tail }),
        }
    }
}
