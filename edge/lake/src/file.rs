//! A file: Parquet, as Security Lake wants it.

use arrow::{
    array::{Array as _, AsArray as _, RecordBatch, TimestampMicrosecondArray},
    datatypes::{Int64Type, SchemaRef},
};
use bytes::Bytes;
use jiff::Timestamp;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::SortingColumn,
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
    },
    schema::types::ColumnPath,
};
use sha2::{Digest, Sha256};

use crate::{
    error::LakeError,
    piece::{Dataset, Partition, Piece},
};

/// When a page is full, in bytes before compression. Security Lake wants at most 1 MiB; what is written between two looks
/// at the limit comes on top, which is at most as much again.
const PAGE_BYTES: usize = 448 << 10;
/// After how many values a page's size is looked at.
const LOOK: usize = 64;
/// The most rows of a row group.
const GROUP_ROWS: usize = 256 << 10;
/// When a row group is full, in bytes. Security Lake wants at most 256 MB.
const GROUP_BYTES: usize = 128 << 20;

/// Writes one file into memory.
pub(crate) struct File {
    writer: ArrowWriter<Vec<u8>>,
    partition: Partition,
    span: Option<(Timestamp, Timestamp)>,
    rows: u64,
    calls: u64,
}

impl File {
    pub(crate) fn new(partition: Partition, schema: SchemaRef) -> Result<Self, LakeError> {
        let properties = properties(partition.dataset, &schema)?;
        // What a reader needs is in Parquet's own schema; a second one in arrow's words would be in every small file.
        let options =
            ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options)
            .map_err(LakeError::layout)?;
        Ok(Self { writer, partition, span: None, rows: 0, calls: 0 })
    }

    /// Writes rows, which are ordered by time and not before those that were written.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<(), LakeError> {
        self.writer.write(rows).map_err(LakeError::layout)?;
        self.rows += rows.num_rows() as u64;
        if let Some(count) = rows.column_by_name("count") {
            let counts = count.as_primitive::<Int64Type>().values().iter();
            let counts = counts.map(|count| u64::try_from(*count).unwrap_or_default());
            self.calls = counts.fold(self.calls, u64::saturating_add);
        }
        if let Some((first, last)) = times(self.partition.dataset, rows) {
            let begin = self.span.map_or(first, |(begin, _)| begin.min(first));
            let end = self.span.map_or(last, |(_, end)| end.max(last));
            self.span = Some((begin, end));
        }
        Ok(())
    }

    /// Whether nothing was written into it.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// How long it is about to become, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// The file and its row of the manifest. The name ends with a hash of what is in it, so that the same name means the
    /// same bytes.
    pub(crate) fn finish(self, label: &str) -> Result<(Piece, Bytes), LakeError> {
        let (min_time, max_time) = self.span.ok_or_else(|| LakeError::layout("no rows"))?;
        let bytes = self.writer.into_inner().map_err(LakeError::layout)?;
        let hash = hexadecimal(&Sha256::digest(&bytes));
        let short = hash.get(..32).unwrap_or(&hash);
        let piece = Piece {
            path: format!("{}{label}.{short}.parquet", self.partition.folder()),
            partition: self.partition,
            min_time,
            max_time,
            rows: self.rows,
            calls: self.calls,
            bytes: bytes.len() as u64,
            hash,
        };
        Ok((piece, bytes.into()))
    }
}

/// The times of the first and the last row.
fn times(dataset: Dataset, rows: &RecordBatch) -> Option<(Timestamp, Timestamp)> {
    let name = if dataset == Dataset::Calls { "time_dt" } else { dataset.ordered_by() };
    let times = rows.column_by_name(name)?;
    let times = times.as_any().downcast_ref::<TimestampMicrosecondArray>()?.values();
    let time = |at: Option<&i64>| Timestamp::from_microsecond(*at?).ok();
    Some((time(times.first())?, time(times.last())?))
}

fn properties(dataset: Dataset, schema: &SchemaRef) -> Result<WriterProperties, LakeError> {
    let zstd = ZstdLevel::try_new(3).map_err(LakeError::layout)?;
    let order = schema.index_of(dataset.ordered_by()).map_err(LakeError::layout)?;
    let order = i32::try_from(leaves_before(schema, order)).map_err(LakeError::layout)?;
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(format!("rolecall-lake version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(zstd))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_dictionary_page_size_limit(PAGE_BYTES)
        .set_write_batch_size(LOOK)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(64))
        .set_column_index_truncate_length(Some(64))
        .set_sorting_columns(Some(vec![SortingColumn {
            column_idx: order,
            descending: false,
            nulls_first: false,
        }]));
    for column in GROWING {
        let path = ColumnPath::from(*column);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    // Every id is another, so a dictionary would only be in the way.
    let id = ColumnPath::from(vec!["metadata".to_owned(), "uid".to_owned()]);
    let properties = properties.set_column_dictionary_enabled(id, false);
    Ok(properties.build())
}

/// Columns whose values are near those of their neighbours, so that the difference is what costs least.
const GROWING: &[&str] =
    &["time", "time_dt", "start_time", "end_time", "from", "to", "at", "until"];

/// How many leaves of the tree of columns come before that of a column on the first level.
fn leaves_before(schema: &SchemaRef, index: usize) -> usize {
    use arrow::datatypes::{DataType, Field};
    fn leaves(field: &Field) -> usize {
        match field.data_type() {
            DataType::Struct(fields) => fields.iter().map(|field| leaves(field)).sum(),
            DataType::List(element) => leaves(element),
            _ => 1,
        }
    }
    schema.fields().iter().take(index).map(|field| leaves(field)).sum()
}

/// Bytes as text.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit =
        |nibble: u8| DIGITS.get(usize::from(nibble)).map_or('0', |digit| char::from(*digit));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
