//! Rows of several files as one stream in the order of time.

use arrow::{
    array::{Array as _, AsArray as _, RecordBatch},
    compute::interleave_record_batch,
    datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType},
};
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use sha2::{Digest as _, Sha256};

use crate::{
    error::LakeError,
    file::hexadecimal,
    piece::{Dataset, Piece},
    store::Lake,
};

/// How many rows of each file are held, and how many are given at once at most.
const ROWS: usize = 1024;

/// Files that are read side by side. Their bytes are held until the last row is taken.
pub(crate) struct Merge {
    sources: Vec<Source>,
}

/// One file: the rows that were read last, and how far they are taken.
struct Source {
    path: String,
    dataset: Dataset,
    reader: ParquetRecordBatchReader,
    rows: RecordBatch,
    taken: usize,
}

impl Merge {
    pub(crate) async fn open(
        lake: &Lake,
        pieces: &[Piece],
        schema: &SchemaRef,
    ) -> Result<Self, LakeError> {
        let mut sources = Vec::new();
        for piece in pieces {
            sources.push(Source::open(lake, piece, schema).await?);
        }
        Ok(Self { sources })
    }

    /// The next rows in order; of one time, those of the earlier file first. Nothing behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, LakeError> {
        for source in &mut self.sources {
            source.fill()?;
        }
        self.sources.retain(|source| source.rows.num_rows() > 0);
        let mut chosen = Vec::new();
        while chosen.len() < ROWS {
            let ahead = self.sources.iter().enumerate();
            let ahead = ahead.filter_map(|(index, it)| Some((it.time()?, index)));
            let Some((_, index)) = ahead.min() else { break };
            let Some(source) = self.sources.get_mut(index) else { break };
            chosen.push((index, source.taken));
            source.taken += 1;
            if source.time().is_none() {
                // What comes next in this file is not known before it is read.
                break;
            }
        }
        if chosen.is_empty() {
            return Ok(None);
        }
        let rows: Vec<_> = self.sources.iter().map(|source| &source.rows).collect();
        interleave_record_batch(&rows, &chosen).map(Some).map_err(LakeError::layout)
    }
}

impl Source {
    async fn open(lake: &Lake, piece: &Piece, schema: &SchemaRef) -> Result<Self, LakeError> {
        let path = &piece.path;
        let bytes = lake.get(path).await?;
        // What is merged is removed afterwards, so this is the last moment to notice.
        if hexadecimal(&Sha256::digest(&bytes)) != piece.hash {
            return Err(LakeError::damaged(path, "it is not what was written"));
        }
        let options = ArrowReaderOptions::new().with_schema(schema.clone());
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options)
            .and_then(|it| it.with_batch_size(ROWS).build())
            .map_err(|error| LakeError::damaged(path, error))?;
        let rows = RecordBatch::new_empty(schema.clone());
        let dataset = piece.partition.dataset;
        Ok(Self { path: path.clone(), dataset, reader, rows, taken: 0 })
    }

    /// Reads on where all is taken.
    fn fill(&mut self) -> Result<(), LakeError> {
        while self.taken >= self.rows.num_rows() {
            let Some(rows) = self.reader.next() else {
                (self.rows, self.taken) = (self.rows.slice(0, 0), 0);
                return Ok(());
            };
            let rows = rows.map_err(|error| LakeError::damaged(&self.path, error))?;
            (self.rows, self.taken) = (rows, 0);
        }
        Ok(())
    }

    /// The time of the next row, in the unit of the column.
    fn time(&self) -> Option<i64> {
        if self.taken >= self.rows.num_rows() {
            return None;
        }
        let times = self.rows.column_by_name(self.dataset.ordered_by())?;
        match times.data_type() {
            DataType::Int64 => Some(times.as_primitive::<Int64Type>().value(self.taken)),
            _ => Some(times.as_primitive_opt::<TimestampMicrosecondType>()?.value(self.taken)),
        }
    }
}
