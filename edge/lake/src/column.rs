//! Columns of a file: name, number and values stand together, so that a schema cannot differ from what is written.
//!
//! The number is the `PARQUET:field_id` that table formats go by. It never changes and is never given again.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
        TimestampMicrosecondArray, UInt64Array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{Field, FieldRef, Fields, Schema},
    error::ArrowError,
};
use jiff::Timestamp;

/// The metadata of a field that says its number, as parquet's reader and writer know it.
pub(crate) const FIELD_ID: &str = "PARQUET:field_id";

/// A column with its values.
pub(crate) struct Column {
    field: Field,
    array: ArrayRef,
}

impl Column {
    fn new(id: i32, name: &str, array: ArrayRef) -> Self {
        let id = HashMap::from([(FIELD_ID.to_owned(), id.to_string())]);
        let field = Field::new(name, array.data_type().clone(), true).with_metadata(id);
        Self { field, array }
    }

    /// A text.
    pub(crate) fn text<T: AsRef<str>>(
        id: i32,
        name: &str,
        values: impl Iterator<Item = Option<T>>,
    ) -> Self {
        Self::new(id, name, Arc::new(values.collect::<StringArray>()))
    }

    /// The same text in every row.
    pub(crate) fn same(id: i32, name: &str, value: &str, rows: usize) -> Self {
        Self::text(id, name, (0..rows).map(|_| Some(value))).required()
    }

    /// A small number.
    pub(crate) fn small(id: i32, name: &str, values: impl Iterator<Item = i32>) -> Self {
        Self::new(id, name, Arc::new(Int32Array::from_iter_values(values))).required()
    }

    /// A number.
    pub(crate) fn number(id: i32, name: &str, values: impl Iterator<Item = Option<i64>>) -> Self {
        Self::new(id, name, Arc::new(values.collect::<Int64Array>()))
    }

    /// A count, which is never missing.
    pub(crate) fn count(id: i32, name: &str, values: impl Iterator<Item = u64>) -> Self {
        let values = values.map(|count| Some(i64::try_from(count).unwrap_or(i64::MAX)));
        Self::number(id, name, values).required()
    }

    /// A number of which every bit counts.
    pub(crate) fn sequence(id: i32, name: &str, values: impl Iterator<Item = u64>) -> Self {
        Self::new(id, name, Arc::new(UInt64Array::from_iter_values(values))).required()
    }

    /// A time, in microseconds because table formats have no transforms for other units.
    pub(crate) fn time(id: i32, name: &str, values: impl Iterator<Item = Timestamp>) -> Self {
        let values =
            TimestampMicrosecondArray::from_iter_values(values.map(|it| it.as_microsecond()));
        Self::new(id, name, Arc::new(values.with_timezone("UTC"))).required()
    }

    /// Columns within one. It is missing in a row where all of them are.
    pub(crate) fn group(id: i32, name: &str, columns: Vec<Self>) -> Result<Self, ArrowError> {
        let there = columns.iter().try_fold(None::<Vec<bool>>, |there, column| {
            // A column without gaps leaves the group without gaps.
            let nulls = column.array.nulls().ok_or(())?;
            let valid = nulls.iter();
            Ok::<_, ()>(Some(match there {
                None => valid.collect(),
                Some(there) => there.into_iter().zip(valid).map(|(a, b)| a || b).collect(),
            }))
        });
        let nulls = there.ok().flatten().map(NullBuffer::from);
        let (fields, arrays) = apart(columns);
        Ok(Self::new(id, name, Arc::new(StructArray::try_new(fields, arrays, nulls)?)))
    }

    /// A list for every row, of so many of the values that follow one another in `element`; none where it is missing.
    pub(crate) fn list(
        id: i32,
        name: &str,
        lengths: &[Option<usize>],
        element: Self,
    ) -> Result<Self, ArrowError> {
        let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|it| it.unwrap_or_default()));
        let nulls = lengths.iter().any(Option::is_none);
        let nulls = nulls.then(|| lengths.iter().map(Option::is_some).collect::<NullBuffer>());
        let list = ListArray::try_new(Arc::new(element.field), offsets, element.array, nulls)?;
        Ok(Self::new(id, name, Arc::new(list)))
    }

    /// It is in every row.
    pub(crate) fn required(mut self) -> Self {
        self.field = self.field.with_nullable(false);
        self
    }
}

fn apart(columns: Vec<Column>) -> (Fields, Vec<ArrayRef>) {
    let columns = columns.into_iter();
    let (fields, arrays): (Vec<FieldRef>, Vec<ArrayRef>) =
        columns.map(|column| (Arc::new(column.field), column.array)).unzip();
    (Fields::from(fields), arrays)
}

/// Rows of these columns.
pub(crate) fn batch(columns: Vec<Column>) -> Result<RecordBatch, ArrowError> {
    let (fields, arrays) = apart(columns);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}
