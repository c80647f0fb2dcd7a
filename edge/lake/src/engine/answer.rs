use std::fmt;

use arrow::{
    array::RecordBatch,
    csv::WriterBuilder,
    datatypes::{DataType, FieldRef, SchemaRef},
    error::ArrowError,
    json::{LineDelimitedWriter, WriterBuilder as JsonBuilder, writer::LineDelimited},
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::{Files, Limits};
use crate::error::QueryError;

/// The rows that answer a question, as they come.
pub struct Answer {
    schema: SchemaRef,
    stream: Option<SendableRecordBatchStream>,
    limits: Limits,
    left: usize,
    truncated: bool,
    deadline: Instant,
    files: Files,
}

impl Answer {
    pub(super) fn new(
        stream: SendableRecordBatchStream,
        limits: Limits,
        deadline: Instant,
        files: Files,
    ) -> Self {
        let (schema, left) = (stream.schema(), limits.rows);
        Self { schema, stream: Some(stream), limits, left, truncated: false, deadline, files }
    }

    /// The columns: the name of each, and in one word what kind of values it has.
    pub fn columns(&self) -> Vec<(String, &'static str)> {
        let column = |field: &FieldRef| (field.name().clone(), kind(field.data_type()));
        self.schema.fields().iter().map(column).collect()
    }

    /// The columns, as the engine has them.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows; nothing behind the last.
    ///
    /// # Errors
    /// [`QueryError`]. There is nothing more after one.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(None) };
            let rows = match timeout_at(self.deadline, stream.next()).await {
                Ok(None) => {
                    self.stream = None;
                    return Ok(None);
                }
                Ok(Some(Ok(rows))) => rows,
                Ok(Some(Err(error))) => {
                    self.stream = None;
                    return Err(self.files.blame(&error, self.limits.memory).await);
                }
                Err(_) => {
                    self.stream = None;
                    return Err(QueryError::TooLong { seconds: self.limits.time.as_secs() });
                }
            };
            if rows.num_rows() > self.left {
                // What works on the rest is stopped.
                (self.stream, self.truncated) = (None, true);
                let rows = rows.slice(0, self.left);
                return Ok((rows.num_rows() > 0).then_some(rows));
            }
            self.left -= rows.num_rows();
            if rows.num_rows() > 0 {
                return Ok(Some(rows));
            }
        }
    }

    /// Takes all rows that are left.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn rest(&mut self) -> Result<Vec<RecordBatch>, QueryError> {
        let mut all = Vec::new();
        while let Some(rows) = self.next().await? {
            all.push(rows);
        }
        Ok(all)
    }

    /// Whether there were more rows than one may have. It is known once the last row was taken.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// What kind of values a type has, in one word.
fn kind(of: &DataType) -> &'static str {
    match of {
        DataType::Boolean => "boolean",
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => "time",
        DataType::List(_) | DataType::LargeList(_) | DataType::ListView(_) => "list",
        DataType::Struct(_) | DataType::Map(..) => "map",
        numeric if numeric.is_numeric() => "number",
        _ => "text",
    }
}

fn laid_out(error: &ArrowError) -> QueryError {
    QueryError::Wrong(format!("the answer cannot be written down: {error}"))
}

/// Rows as lines of JSON, each an object. What is not known is `null` there, and never left out.
///
/// # Errors
/// Where a column has no form in JSON.
pub fn json(rows: &RecordBatch) -> Result<Vec<u8>, QueryError> {
    let mut lines = Vec::new();
    let mut writer: LineDelimitedWriter<_> =
        JsonBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut lines);
    writer.write(rows).and_then(|()| writer.finish()).map_err(|error| laid_out(&error))?;
    drop(writer);
    Ok(lines)
}

/// Rows as CSV, with a line of names before them or not. What is not known is empty; lists and groups are as [`cells`]
/// writes them.
///
/// # Errors
/// Where a column has no form in CSV.
pub fn csv(rows: &RecordBatch, names: bool) -> Result<Vec<u8>, QueryError> {
    let flat = flat(rows).map_err(|error| laid_out(&error))?;
    let mut lines = Vec::new();
    let mut writer = WriterBuilder::new().with_header(names).build(&mut lines);
    writer.write(&flat).map_err(|error| laid_out(&error))?;
    drop(writer);
    Ok(lines)
}

/// CSV has no lists.
fn flat(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, StringArray},
        datatypes::{DataType, Field, Schema},
    };

    let cells = rows.columns().iter().map(|column| -> Result<ArrayRef, ArrowError> {
        let formatter = ArrayFormatter::try_new(column, &FORMAT)?;
        let text =
            |row| (!column.is_null(row)).then(|| formatter.value(row).try_to_string()).transpose();
        let texts: Result<StringArray, _> = (0..column.len()).map(text).collect();
        Ok(Arc::new(texts?))
    });
    let fields = rows.schema_ref().fields().iter();
    let fields: Vec<_> =
        fields.map(|field| Field::new(field.name(), DataType::Utf8, true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), cells.collect::<Result<_, _>>()?)
}

const FORMAT: FormatOptions<'static> = FormatOptions::new()
    .with_null("unknown")
    .with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"));

/// Rows as cells of a table for people. What is not known says so.
///
/// # Errors
/// Where a column cannot be shown.
pub fn cells(rows: &RecordBatch) -> Result<Vec<Vec<String>>, QueryError> {
    let shown = |error: ArrowError| laid_out(&error);
    let columns = rows.columns().iter().map(|column| ArrayFormatter::try_new(column, &FORMAT));
    let columns: Vec<_> = columns.collect::<Result<_, _>>().map_err(shown)?;
    let row = |row| columns.iter().map(|it| it.value(row).try_to_string()).collect();
    (0..rows.num_rows()).map(row).collect::<Result<_, _>>().map_err(shown)
}
