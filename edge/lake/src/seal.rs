//! Frames into files.

use std::collections::BTreeMap;

use bytes::Bytes;
use calls::Entry;
use sha2::{Digest as _, Sha256};

use crate::{
    error::LakeError,
    file::{File, hexadecimal},
    frame::{Origin, Sent},
    piece::{Dataset, Partition, Piece, day},
    rows::{Row, Rows, account},
    store::Lake,
};

/// The most rows of a file.
pub const ROWS_MAX: usize = 1 << 20;
/// How many rows are laid out at once.
const ROWS_AT_ONCE: usize = 8192;

impl Lake {
    /// Stores frames, of several senders at once for fewer files, and says what to write into the manifest.
    ///
    /// Nothing is in the lake before that is written, together with how far each sender is stored. The same frames give the
    /// same files, so whoever does not know what became of it does it again.
    ///
    /// # Errors
    /// [`LakeError`]. Files that were written meanwhile are in no manifest; the next attempt finds them, or
    /// [`Lake::orphans`] does.
    pub async fn seal(&self, sent: Vec<Sent>) -> Result<Vec<Piece>, LakeError> {
        // Laying out and compressing takes long, and must not hold up what else the thread serves.
        let files = tokio::task::spawn_blocking(move || lay_out(&sent)).await;
        let files = files.map_err(|error| LakeError::layout(error.to_string()))??;
        self.put_all(files).await
    }
}

/// The files that frames give, in the order of their partitions.
fn lay_out(sent: &[Sent]) -> Result<Vec<(Piece, Bytes)>, LakeError> {
    let mut parts: BTreeMap<Partition, Rows<'_>> = BTreeMap::new();
    for (origin, entry) in entries(sent) {
        let partition = partition(entry);
        let dataset = partition.dataset;
        match (entry, parts.entry(partition).or_insert_with(|| Rows::none(dataset))) {
            (Entry::Calls(what), Rows::Calls(rows)) => rows.push(Row { origin, what }),
            (Entry::Leased(what), Rows::Leases(rows)) => rows.push(Row { origin, what }),
            (Entry::Heard(what), Rows::Shims(rows)) => rows.push(Row { origin, what }),
            (Entry::Covered(what), Rows::Coverage(rows)) => rows.push(Row { origin, what }),
            _ => return Err(LakeError::layout("an entry is in another's partition")),
        }
    }
    let label = label(sent);
    let mut files = Vec::new();
    for (partition, mut rows) in parts {
        rows.sort();
        for (number, part) in rows.parts(ROWS_MAX).into_iter().enumerate() {
            let label = if number == 0 { label.clone() } else { format!("{label}.{number}") };
            files.push(file(&partition, part, &label)?);
        }
    }
    Ok(files)
}

fn file(partition: &Partition, rows: Rows<'_>, label: &str) -> Result<(Piece, Bytes), LakeError> {
    let schema = crate::rows::schema(partition.dataset).map_err(LakeError::layout)?;
    let mut file = File::new(partition.clone(), schema)?;
    for rows in rows.parts(ROWS_AT_ONCE) {
        file.write(&rows.columns().map_err(LakeError::layout)?)?;
    }
    file.finish(label)
}

fn entries(sent: &[Sent]) -> impl Iterator<Item = (Origin<'_>, &Entry)> {
    sent.iter().flat_map(|Sent { sender, frames }| {
        frames.iter().flat_map(move |frame| {
            let entries = frame.entries.iter().enumerate();
            entries.map(move |(index, entry)| (Origin { sender, seq: frame.seq, index }, entry))
        })
    })
}

fn partition(entry: &Entry) -> Partition {
    match entry {
        Entry::Calls(record) => Partition {
            dataset: Dataset::Calls,
            region: record.key.region.clone(),
            account: account(record),
            day: day(record.sighting.first),
        },
        Entry::Leased(leased) => Partition::of_day(Dataset::Leases, leased.from),
        Entry::Heard(heard) => Partition::of_day(Dataset::Shims, heard.at),
        Entry::Covered(covered) => Partition::of_day(Dataset::Coverage, covered.from),
    }
}

/// What names of files begin with: whose frames, and which. For several senders, a digest of that.
fn label(sent: &[Sent]) -> String {
    let range = |it: &Sent| {
        let seqs = || it.frames.iter().map(|frame| frame.seq);
        let (first, last) = (seqs().min().unwrap_or_default(), seqs().max().unwrap_or_default());
        (it.sender.clone(), first, last)
    };
    if let [one] = sent {
        let (sender, first, last) = range(one);
        // Names of hosts are not ours to choose, and paths are.
        let plain = |it: char| if it.is_ascii_alphanumeric() || it == '-' { it } else { '_' };
        let agent: String = sender.agent.chars().take(64).map(plain).collect();
        return format!("{agent}.{}.{first}-{last}", sender.epoch_text());
    }
    let mut ranges: Vec<_> = sent.iter().map(range).collect();
    ranges.sort();
    let mut digest = Sha256::new();
    for (sender, first, last) in ranges {
        digest.update((sender.agent.len() as u64).to_be_bytes());
        digest.update(sender.agent.as_bytes());
        digest.update(sender.epoch);
        digest.update(first.to_be_bytes());
        digest.update(last.to_be_bytes());
    }
    let digest = hexadecimal(&digest.finalize());
    format!("several.{}", digest.get(..32).unwrap_or(&digest))
}
