//! Which files a question needs, from what the manifest says of them.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, UInt64Array},
    datatypes::{DataType, SchemaRef, TimeUnit},
};
use datafusion::{
    common::{Column, Result, ScalarValue, pruning::PruningStatistics},
    physical_expr::PhysicalExpr,
    physical_optimizer::pruning::PruningPredicateBuilder,
};
use jiff::{Timestamp, civil::Date};

use super::table::partition_values;
use crate::piece::{Dataset, Piece};

/// The pieces in which there may be rows that the filter wants.
pub(super) fn needed<'a>(
    pieces: &'a [Piece],
    filter: &Arc<dyn PhysicalExpr>,
    schema: &SchemaRef,
) -> Result<Vec<&'a Piece>> {
    let predicate = PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(schema))
        .try_build(Arc::clone(filter))?;
    let keep = predicate.prune(&Known { pieces, schema })?;
    Ok(pieces.iter().zip(keep).filter_map(|(piece, keep)| keep.then_some(piece)).collect())
}

/// The days since 1970.
pub(super) fn days(day: Date) -> i32 {
    let since = day.since(Date::constant(1970, 1, 1)).map(|span| span.get_days());
    since.unwrap_or_default()
}

/// What is known of pieces.
struct Known<'a> {
    pieces: &'a [Piece],
    schema: &'a SchemaRef,
}

impl Known<'_> {
    /// A value for every piece: of its partition, or the time that `of` chooses.
    fn values(&self, column: &Column, of: fn(&Piece) -> Timestamp) -> Option<ArrayRef> {
        let index = self.schema.index_of(&column.name).ok()?;
        let kind = self.schema.field(index).data_type();
        let value = |piece: &Piece| {
            let values = partition_values(piece);
            let behind = self.schema.fields().len() - values.len();
            if let Some(value) = index.checked_sub(behind).and_then(|index| values.get(index)) {
                return Some(value.clone());
            }
            is_ordered_by(piece.partition.dataset, &column.name)
                .then(|| time(of(piece), kind))
                .flatten()
        };
        let values: Option<Vec<_>> = self.pieces.iter().map(value).collect();
        ScalarValue::iter_to_array(values?).ok()
    }
}

/// Whether a column holds the time that the manifest knows the bounds of.
fn is_ordered_by(dataset: Dataset, column: &str) -> bool {
    column == dataset.ordered_by() || dataset == Dataset::Calls && column == "time_dt"
}

fn time(at: Timestamp, kind: &DataType) -> Option<ScalarValue> {
    match kind {
        DataType::Int64 => Some(ScalarValue::Int64(Some(at.as_millisecond()))),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Some(ScalarValue::TimestampMicrosecond(Some(at.as_microsecond()), zone.clone()))
        }
        _ => None,
    }
}

impl PruningStatistics for Known<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |piece| piece.min_time)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |piece| piece.max_time)
    }

    fn num_containers(&self) -> usize {
        self.pieces.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let values = self.min_values(column)?;
        let nulls = self.pieces.iter().enumerate();
        let nulls = nulls.map(|(index, piece)| if values.is_null(index) { piece.rows } else { 0 });
        Some(Arc::new(UInt64Array::from_iter_values(nulls)))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let rows = self.pieces.iter().map(|piece| piece.rows);
        Some(Arc::new(UInt64Array::from_iter_values(rows)))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
