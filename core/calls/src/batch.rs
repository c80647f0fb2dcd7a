//! What a frame of the spool holds, and what the server reads: entries, each as one line of JSON, compressed together.
//!
//! ```text
//! version 1 · length of the lines, 4 bytes, little endian · the lines, as a block of LZ4
//! ```
//!
//! Names of members are short because each stands there a thousand times. Members that a reader does not know are
//! ignored, so that a later writer can say more; what would be understood wrongly needs another version.

mod wire;

use cloud::RoleArn;
use jiff::Timestamp;
use workload::Workload;

use crate::{AccessKeyId, Coverage, Record, Refusals};

/// Something that the agent tells the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Calls of one key.
    Calls(Record),
    /// A lease was fetched.
    Leased(Leased),
    /// A shim began to speak.
    Heard(Heard),
    /// What was sent, and what became of it.
    Covered(Covered),
}

/// A lease: with it, an access key means a workload and its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// The id of its access key.
    pub access_key: AccessKeyId<'static>,
    /// Whom it is for.
    pub workload: Workload,
    /// What it lets them be.
    pub role: RoleArn,
    /// When it was fetched.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
}

/// A process in which a shim speaks. Whoever is leased to and never heard has no shim, or a silent one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard {
    /// In which workload. Nobody is known where the process could not be attested.
    pub workload: Option<Workload>,
    /// When it began to speak.
    pub at: Timestamp,
    /// The programming language.
    pub language: String,
    /// The SDK.
    pub sdk: String,
    /// The SDK's version.
    pub sdk_version: String,
    /// The shim's own version.
    pub shim_version: String,
}

/// Coverage since the last entry of this kind: differences, so that the sum over any time is the sum of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// When the time began that it tells of.
    pub from: Timestamp,
    /// When it ended.
    pub to: Timestamp,
    /// What came and what became of it, meanwhile. It need not balance: what is held now may have come before.
    pub coverage: Coverage,
    /// Why lines were refused, meanwhile.
    pub refusals: Refusals,
    /// How many are held, and have no end yet.
    pub held: u64,
    /// How many streams ended without a last word, meanwhile. What their processes held is lost, and nobody knows how much.
    pub cut_off: u64,
    /// How many runs of the agent ended so, 0 or 1: it is told once, by the run that comes after.
    pub crashes: u64,
}

/// The longest batch when it is laid out, in bytes.
pub const BATCH_MAX: usize = 8 << 20;
/// The most entries of a batch.
pub const ENTRIES_MAX: usize = 1 << 16;
/// From how many bytes of lines on a batch is worth a frame of its own.
pub const BATCH_FULL: usize = 512 * 1024;

const VERSION: u8 = 1;

/// Entries on their way into a frame.
///
/// ```
/// use calls::{Batch, Entry, Heard, read_batch};
///
/// let heard = Entry::Heard(Heard {
///     workload: Some("orders/prod/1".parse()?),
///     at: "2026-11-25T10:00:00Z".parse()?,
///     language: "python".to_owned(),
///     sdk: "botocore".to_owned(),
///     sdk_version: "1.44.5".to_owned(),
///     shim_version: "0.1.0".to_owned(),
/// });
/// let mut batch = Batch::default();
/// batch.push(&heard);
/// assert_eq!(read_batch(&batch.finish())?, [heard]);
/// assert!(batch.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    lines: Vec<u8>,
    entries: usize,
    calls: u64,
    records: u64,
}

/// Bytes that are no batch. Whoever wrote them must act: they are not what an agent of ours wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotABatch {
    /// A later agent wrote it. The server must be upgraded first.
    #[error("batch of version {0}, and this program reads version {VERSION}: upgrade the server")]
    Version(u8),
    /// It is longer than a batch may be, or cannot be laid out.
    #[error("batch cannot be laid out, or is longer than {BATCH_MAX} bytes")]
    Packing,
    /// It has more entries than a batch may have.
    #[error("batch has more than {ENTRIES_MAX} entries")]
    TooMany,
    /// A line of it is no entry.
    #[error("entry {number}: {reason}")]
    Entry {
        /// Which, from 1.
        number: usize,
        /// What is wrong, without any of what it says.
        reason: &'static str,
    },
}

impl Batch {
    /// Takes in one more entry.
    pub fn push(&mut self, entry: &Entry) {
        wire::write(entry, &mut self.lines);
        self.lines.push(b'\n');
        self.entries += 1;
        if let Entry::Calls(record) = entry {
            self.calls = self.calls.saturating_add(record.sighting.count);
            self.records += 1;
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Whether it should be finished before more is pushed.
    pub fn is_full(&self) -> bool {
        self.lines.len() >= BATCH_FULL || self.entries >= ENTRIES_MAX
    }

    /// How many calls its records stand for.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// How many records of calls are in it.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The bytes of the batch, which is empty then.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(lz4_flex::block::compress_prepend_size(&self.lines));
        self.lines.clear();
        (self.entries, self.calls, self.records) = (0, 0, 0);
        bytes
    }
}

/// Reads the entries of a batch, in order.
///
/// # Errors
/// When it is none. Nothing of it is of use then: it was changed on its way, or an agent of ours did not write it.
pub fn read_batch(bytes: &[u8]) -> Result<Vec<Entry>, NotABatch> {
    let (version, packed) = bytes.split_first().ok_or(NotABatch::Packing)?;
    if *version != VERSION {
        return Err(NotABatch::Version(*version));
    }
    let (length, block) = packed.split_first_chunk::<4>().ok_or(NotABatch::Packing)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| NotABatch::Packing)?;
    if length > BATCH_MAX {
        return Err(NotABatch::Packing);
    }
    let lines = lz4_flex::block::decompress(block, length).map_err(|_| NotABatch::Packing)?;
    let mut entries = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if entries.len() == ENTRIES_MAX {
            return Err(NotABatch::TooMany);
        }
        let number = entries.len() + 1;
        let entry = wire::read(line).map_err(|reason| NotABatch::Entry { number, reason })?;
        entries.push(entry);
    }
    Ok(entries)
}
