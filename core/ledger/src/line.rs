//! A ledger as text: one entry a line, in JSON.

use crate::Entry;

/// The longest line that is looked at, in bytes. The longest entry fits, however its detail is escaped.
pub const LINE_MAX: usize = 512 * 1024;

/// A line is not an entry: the file is damaged, cut off within a line, or another kind of file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotALine {
    /// Longer than any entry.
    #[error("the line has {0} bytes, more than {LINE_MAX}")]
    TooLong(usize),
    /// Not the JSON of an entry.
    #[error("the line is not an entry of a ledger: {0}")]
    NotAnEntry(String),
}

/// The entry as a line, without the line feed.
pub fn write_line(entry: &Entry) -> String {
    // An entry consists of texts, numbers and an object: all of them are JSON.
    serde_json::to_string(entry).unwrap_or_default()
}

/// Reads one line, without its line feed. Whether the entry is *true* is the verifier's question.
///
/// # Errors
/// When it is not the JSON of an entry, with every field and no other.
pub fn read_line(line: &[u8]) -> Result<Entry, NotALine> {
    if line.len() > LINE_MAX {
        return Err(NotALine::TooLong(line.len()));
    }
    serde_json::from_slice(line).map_err(|error| NotALine::NotAnEntry(error.to_string()))
}
