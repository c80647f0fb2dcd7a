//! Rows of several files as one stream in the order of time.

use arrow::{
    array::{Array as _, AsArray as _, RecordBatch},
    compute::interleave_record_batch,
    datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType},
};
use futures::TryStreamExt as _;
use parquet::{
    arrow::{
        ParquetRecordBatchStreamBuilder,
        arrow_reader::ArrowReaderOptions,
        async_reader::{ParquetObjectReader, ParquetRecordBatchStream},
    },
    errors::ParquetError,
};

use crate::{
    error::LakeError,
    piece::{Dataset, Piece},
    store::{Lake, location},
};

/// How many rows of each file are held, and how many are given at once at most.
const ROWS: usize = 1024;

/// Files that are read side by side.
pub(crate) struct Merge {
    sources: Vec<Source>,
}

/// One file: the rows that were read last, and how far they are taken.
struct Source {
    path: String,
    dataset: Dataset,
    stream: ParquetRecordBatchStream<ParquetObjectReader>,
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
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, LakeError> {
        for source in &mut self.sources {
            source.fill().await?;
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
        let reader = ParquetObjectReader::new(lake.objects().clone(), location(path)?)
            .with_file_size(piece.bytes);
        let options = ArrowReaderOptions::new().with_schema(schema.clone());
        let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await;
        let builder = builder.map_err(|error| unreadable(path, &error))?;
        let stream =
            builder.with_batch_size(ROWS).build().map_err(|error| unreadable(path, &error))?;
        let rows = RecordBatch::new_empty(schema.clone());
        let dataset = piece.partition.dataset;
        Ok(Self { path: path.clone(), dataset, stream, rows, taken: 0 })
    }

    /// Reads on where all is taken.
    async fn fill(&mut self) -> Result<(), LakeError> {
        while self.taken >= self.rows.num_rows() {
            let rows = self.stream.try_next().await;
            match rows.map_err(|error| unreadable(&self.path, &error))? {
                Some(rows) => (self.rows, self.taken) = (rows, 0),
                None => {
                    (self.rows, self.taken) = (self.rows.slice(0, 0), 0);
                    return Ok(());
                }
            }
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

/// Why a file cannot be read: it is not there, the store does not answer, or it is damaged.
fn unreadable(path: &str, error: &ParquetError) -> LakeError {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<object_store::Error>() {
            return LakeError::store("read", path, error);
        }
        next = error.source();
    }
    LakeError::damaged(path, error)
}
