use std::{io, path::PathBuf};

use crate::{frame::PAYLOAD_MAX, number::Seq};

/// Why the spool did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk refuses. The host's operator must act, where it does not pass.
    #[error("cannot {act} `{place}`: {source}")]
    Disk {
        /// What was tried.
        act: &'static str,
        /// On which path.
        place: String,
        /// What the file system said.
        source: io::Error,
    },
    /// Another process has the folder. The operator must end it, or give this one another folder.
    #[error("`{0}` is in use: another process has this spool open")]
    InUse(PathBuf),
    /// Somebody else could read or change the calls. The operator must act.
    #[error("others may read `{path}` (mode {mode:o}): `chmod go-rwx` it")]
    Exposed {
        /// The path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The folder belongs to another user than the one who runs this program. The operator must act.
    #[error("`{path}` belongs to user {owner}, and this is user {user}")]
    Foreign {
        /// The path.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who runs this program.
        user: u32,
    },
    /// A later version wrote it. The operator must run that, or empty the folder.
    #[error(
        "`{place}` has version {version}, and this program writes version 1: run the later program, or move the folder away"
    )]
    Newer {
        /// The path.
        place: String,
        /// Its version.
        version: u32,
    },
    /// A segment is of another life of this folder, or of another folder. The operator must move it away.
    #[error("`{0}` belongs to another spool: move it away")]
    OtherEpoch(String),
    /// The caller's payload is longer than a frame may be. It was not counted.
    #[error("a payload of {0} bytes is too long: a frame has {PAYLOAD_MAX} at most")]
    TooLong(usize),
    /// The caller acknowledges a frame that was never durable here. Whoever stored it knows a later state of this
    /// folder: it was restored from a copy, and its numbers would be given twice. The operator must
    /// move the folder away, so that a new epoch begins.
    #[error(
        "frame {asked} is acknowledged, and the last one here is {last}: the folder was set back; move it away"
    )]
    Ahead {
        /// The frame.
        asked: Seq,
        /// The last durable one.
        last: Seq,
    },
    /// The numbers of an epoch are used up. The operator must move the folder away.
    #[error("there are no numbers left in this epoch: move the folder away")]
    UsedUp,
}
