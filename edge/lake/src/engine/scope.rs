//! One application's part of the lake.

use std::sync::Arc;

use datafusion::{
    datasource::ViewTable, error::DataFusionError, execution::context::SessionContext,
};
use workload::Application;

use super::view::files_of;
use crate::piece::Dataset;

/// Puts in the place of every table what of it belongs to an application. The whole is not there any more: no name leads to
/// it.
pub(super) async fn narrow(
    context: &SessionContext,
    application: &Application,
) -> Result<(), DataFusionError> {
    for dataset in Dataset::ALL {
        let name = files_of(dataset);
        // The name of an application has no quotes in it.
        let belongs = match dataset {
            Dataset::Calls => format!("actor['app_name'] = '{application}'"),
            Dataset::Leases | Dataset::Shims => {
                format!("split_part(workload, '/', 1) = '{application}'")
            }
            // It is of agents, which many applications share.
            Dataset::Coverage => "false".to_owned(),
        };
        let sql = format!("SELECT * FROM {name} WHERE {belongs}");
        let plan = context.state().create_logical_plan(&sql).await?;
        context.deregister_table(name)?;
        context.register_table(name, Arc::new(ViewTable::new(plan, None)))?;
    }
    Ok(())
}
