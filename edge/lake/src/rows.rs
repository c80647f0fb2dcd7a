//! What rows of each dataset look like.

mod activity;
mod names;
mod plain;
mod resources;

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use calls::{Covered, Heard, Leased, Record};
use jiff::Timestamp;

pub(crate) use activity::account;

use crate::{frame::Origin, piece::Dataset};

/// Something with where it came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a, T> {
    pub(crate) origin: Origin<'a>,
    pub(crate) what: &'a T,
}

/// Rows of one file.
#[derive(Debug)]
pub(crate) enum Rows<'a> {
    Calls(Vec<Row<'a, Record>>),
    Leases(Vec<Row<'a, Leased>>),
    Shims(Vec<Row<'a, Heard>>),
    Coverage(Vec<Row<'a, Covered>>),
}

impl<'a> Rows<'a> {
    /// No rows of a dataset.
    pub(crate) fn none(dataset: Dataset) -> Self {
        match dataset {
            Dataset::Calls => Self::Calls(Vec::new()),
            Dataset::Leases => Self::Leases(Vec::new()),
            Dataset::Shims => Self::Shims(Vec::new()),
            Dataset::Coverage => Self::Coverage(Vec::new()),
        }
    }

    /// In the order that they are written in: by time, and those of one time by where they came from. The order is total,
    /// so that the same rows give the same file.
    pub(crate) fn sort(&mut self) {
        match self {
            Self::Calls(rows) => by(rows, |record| record.sighting.first),
            Self::Leases(rows) => by(rows, |leased| leased.from),
            Self::Shims(rows) => by(rows, |heard| heard.at),
            Self::Coverage(rows) => by(rows, |covered| covered.from),
        }
    }

    /// Laid out as columns.
    pub(crate) fn columns(&self) -> Result<RecordBatch, ArrowError> {
        match self {
            Self::Calls(rows) => activity::columns(rows),
            Self::Leases(rows) => plain::leases(rows),
            Self::Shims(rows) => plain::shims(rows),
            Self::Coverage(rows) => plain::coverage(rows),
        }
    }

    /// In parts of at most so many rows.
    pub(crate) fn parts(self, most: usize) -> Vec<Rows<'a>> {
        match self {
            Self::Calls(rows) => rows.chunks(most).map(|part| Rows::Calls(part.to_vec())).collect(),
            Self::Leases(rows) => {
                rows.chunks(most).map(|part| Rows::Leases(part.to_vec())).collect()
            }
            Self::Shims(rows) => rows.chunks(most).map(|part| Rows::Shims(part.to_vec())).collect(),
            Self::Coverage(rows) => {
                rows.chunks(most).map(|part| Rows::Coverage(part.to_vec())).collect()
            }
        }
    }
}

/// What the columns of a dataset are.
pub(crate) fn schema(dataset: Dataset) -> Result<SchemaRef, ArrowError> {
    Ok(Rows::none(dataset).columns()?.schema())
}

fn by<T>(rows: &mut [Row<'_, T>], time: impl Fn(&T) -> Timestamp) {
    rows.sort_by(|a, b| (time(a.what), a.origin).cmp(&(time(b.what), b.origin)));
}
