use std::{io, path::PathBuf};

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// Why the lake did not do what was asked, by who must act.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The store does not answer, or refuses. Its operator must act, where it does not pass; nothing was half done.
    #[error("the store cannot {act} `{path}`: {why}")]
    Store {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: String,
        /// What it said.
        why: String,
    },
    /// The local folder cannot be used. The operator must act.
    #[error("cannot {act} `{path}`: {source}")]
    Disk {
        /// What was tried.
        act: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The manifest names a file that is not there. The operator must restore it, or take it out of the manifest.
    #[error("`{0}` is in the manifest and not in the store: restore it, or give up what is in it")]
    Missing(String),
    /// A file is not what was written. The operator must restore it, or take it out of the manifest.
    #[error("`{path}` is damaged: {why}: restore it, or give up what is in it")]
    Damaged {
        /// Which.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The operator's settings are no place for a lake.
    #[error("the lake cannot be opened: {0}")]
    Settings(String),
    /// Rows cannot be laid out: a mistake of this program. Nothing was written.
    #[error("rows cannot be laid out: {0}")]
    Layout(String),
}

/// What was tried when a file that is not there is missing: any other time it is the bucket that is.
pub(crate) const READ: &str = "read";

impl LakeError {
    /// Whether the same may succeed a little later, without anybody's doing.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Store { .. })
    }

    pub(crate) fn store(act: &'static str, path: &str, error: &object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } if act == READ => Self::Missing(path.to_owned()),
            other => Self::Store { act, path: path.to_owned(), why: other.to_string() },
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "errors are handed over by value")]
    pub(crate) fn damaged(path: &str, why: impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), why: why.to_string() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "errors are handed over by value")]
    pub(crate) fn layout(why: impl ToString) -> Self {
        Self::Layout(why.to_string())
    }
}

/// Why a question has no answer, by who must act.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The question is wrong: whoever asks must change it. It names what is wrong with it.
    #[error("{0}")]
    Wrong(String),
    /// Only reading is possible here: whoever asks must ask something else.
    #[error("only one query may be asked, and nothing changed: {0}")]
    NotAQuery(String),
    /// It needs more memory than a question may have: ask for less time, fewer groups, or less order.
    #[error(
        "the question needs more than {limit} bytes of memory: ask about less time or fewer columns"
    )]
    TooBig {
        /// How much it may have.
        limit: usize,
    },
    /// It took longer than a question may: ask about less.
    #[error("the question took longer than {seconds} s: ask about less time")]
    TooLong {
        /// How long it may take.
        seconds: u64,
    },
    /// The lake itself fails: its operator must act.
    #[error(transparent)]
    Lake(#[from] LakeError),
}

impl QueryError {
    /// Sorts what the engine says by who must act: nothing where a file may be the reason, which is for
    /// [`Lake::damage`](crate::Lake) to find out.
    pub(crate) fn of(error: &DataFusionError, memory: usize) -> Option<Self> {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Some(Self::TooBig { limit: memory }),
            DataFusionError::ParquetError(_)
            | DataFusionError::ObjectStore(_)
            | DataFusionError::IoError(_)
            | DataFusionError::External(_) => None,
            DataFusionError::ArrowError(error, _) => match **error {
                ArrowError::ParquetError(_)
                | ArrowError::ExternalError(_)
                | ArrowError::IoError(..)
                | ArrowError::IpcError(_) => None,
                _ => Some(Self::Wrong(error.to_string())),
            },
            other => Some(Self::Wrong(other.strip_backtrace())),
        }
    }
}
