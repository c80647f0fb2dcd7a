//! The files of one dataset as a table: those of the snapshot, and no listing of any folder.

use std::{fmt, sync::Arc};

use arrow::datatypes::{DataType, Field, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Result, ScalarValue, ToDFSchema as _, not_impl_err},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    error::DataFusionError,
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType, utils::conjunction},
    physical_plan::ExecutionPlan,
};

use super::prune;
use crate::piece::{Dataset, Piece};

/// What the store of the lake is called among the engine's stores; there is no other.
const STORE: &str = "lake://files/";

pub(super) fn store_url() -> ObjectStoreUrl {
    // It is a URL: there is a test.
    ObjectStoreUrl::parse(STORE).unwrap_or_else(|_| ObjectStoreUrl::local_filesystem())
}

/// Files as a table. Region, account and day of a file are columns, which are missing where they are not known.
pub(super) struct Table {
    schema: TableSchema,
    pieces: Vec<Piece>,
}

impl Table {
    pub(super) fn new(dataset: Dataset, pieces: Vec<Piece>) -> Result<Self> {
        let file = crate::rows::schema(dataset)?;
        let text = |name: &str| Arc::new(Field::new(name, DataType::Utf8, true));
        let day = Arc::new(Field::new("day", DataType::Date32, false));
        let columns = match dataset {
            Dataset::Calls => vec![text("region"), text("account"), day],
            _ => vec![day],
        };
        let schema = TableSchema::builder(file).with_table_partition_cols(columns).build();
        Ok(Self { schema, pieces })
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("pieces", &self.pieces.len()).finish_non_exhaustive()
    }
}

/// What the columns say that a file has no column for.
pub(super) fn partition_values(piece: &Piece) -> Vec<ScalarValue> {
    let partition = &piece.partition;
    let day = ScalarValue::Date32(Some(prune::days(partition.day)));
    match partition.dataset {
        Dataset::Calls => vec![
            ScalarValue::Utf8(partition.region.as_ref().map(ToString::to_string)),
            ScalarValue::Utf8(partition.account.as_ref().map(ToString::to_string)),
            day,
        ],
        _ => vec![day],
    }
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Files are left out by them, and rows are filtered again.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.schema();
        let df_schema = Arc::clone(&schema).to_dfschema()?;
        let filter = conjunction(filters.iter().cloned())
            .map(|filter| state.create_physical_expr(filter, &df_schema))
            .transpose()?;
        let mut source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(state.default_table_options().parquet)
            .with_pushdown_filters(true)
            .with_reorder_filters(true);
        let pieces = match filter {
            None => self.pieces.iter().collect(),
            Some(filter) => {
                source = source.with_predicate(Arc::clone(&filter));
                prune::needed(&self.pieces, &filter, &schema)?
            }
        };
        let files: Vec<_> = pieces.into_iter().map(file).collect::<Result<_>>()?;
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let scan = FileScanConfigBuilder::new(store_url(), Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            // Rows are filtered again above, so a limit holds only without one.
            .with_limit(limit.filter(|_| filters.is_empty()))
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }

    async fn insert_into(
        &self,
        _: &dyn Session,
        _: Arc<dyn ExecutionPlan>,
        _: datafusion::logical_expr::dml::InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        not_impl_err!("the lake is written by whoever receives calls")
    }
}

fn file(piece: &Piece) -> Result<PartitionedFile> {
    let location = crate::store::location(&piece.path)
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
    let mut file = PartitionedFile::new(String::new(), piece.bytes);
    file.object_meta.location = location;
    Ok(file.with_partition_values(partition_values(piece)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_has_a_url() {
        assert_eq!(store_url().as_str(), STORE);
    }
}
