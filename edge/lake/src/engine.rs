//! Questions in SQL.

mod answer;
mod functions;
mod gate;
mod prune;
mod scope;
mod table;
mod view;

use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, SystemTime},
};

use datafusion::{
    dataframe::DataFrame,
    error::DataFusionError,
    execution::{
        SessionStateBuilder,
        context::{SQLOptions, SessionContext},
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::GreedyMemoryPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
        session_state::SessionState,
    },
    prelude::SessionConfig,
};
use jiff::Timestamp;
use tokio::time::Instant;
use workload::Application;

pub use answer::{Answer, cells, csv, json};
pub use view::{View, views};

use crate::{
    error::QueryError,
    piece::{Dataset, Piece, Snapshot},
    store::Lake,
};
use table::{Table, store_url};

/// What one question may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How much memory may hold what is grouped, joined and sorted, in bytes. Nothing is put on disk instead.
    pub memory: usize,
    /// How long it may take, from when it is asked until its last row is taken.
    pub time: Duration,
    /// How many rows are given at most. What is left out is said.
    pub rows: usize,
    /// How many files are read at once.
    pub threads: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 512 << 20,
            time: Duration::from_secs(60),
            rows: 100_000,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// Answers questions about a lake. It holds nothing between two of them.
#[derive(Clone, Debug)]
pub struct Engine {
    lake: Lake,
    limits: Limits,
}

impl Engine {
    /// An engine over a lake.
    pub fn new(lake: Lake, limits: Limits) -> Self {
        Self { lake, limits }
    }

    /// The same engine within other limits.
    #[must_use]
    pub fn within(&self, limits: Limits) -> Self {
        Self { lake: self.lake.clone(), limits }
    }

    /// Asks. `now` is what the views and `now()` take for the present, and the snapshot says what is in the lake.
    ///
    /// Nothing is read before rows are taken. Whoever drops the answer, or this future, has stopped the work.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn query(
        &self,
        sql: &str,
        now: Timestamp,
        snapshot: &Snapshot,
    ) -> Result<Answer, QueryError> {
        self.query_of(None, sql, now, snapshot).await
    }

    /// Asks about one application alone: nothing is there but what its workloads did.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn query_of(
        &self,
        application: Option<&Application>,
        sql: &str,
        now: Timestamp,
        snapshot: &Snapshot,
    ) -> Result<Answer, QueryError> {
        let deadline = Instant::now() + self.limits.time;
        let statement = gate::one_query(sql)?;
        let planned = async {
            let context = self.context(snapshot)?;
            if let Some(application) = application {
                scope::narrow(&context, application).await?;
            }
            let state = context.state();
            let asked = state.resolve_table_references(&statement)?;
            view::register(&context, &asked, now).await?;
            let mut state = context.state();
            state.execution_props_mut().query_execution_start_time =
                Some(SystemTime::from(now).into());
            let plan = state.statement_to_plan(statement).await?;
            let read_only = SQLOptions::new()
                .with_allow_ddl(false)
                .with_allow_dml(false)
                .with_allow_statements(false);
            read_only.verify_plan(&plan).map_err(Planned::NotAQuery)?;
            Ok(DataFrame::new(state, plan).execute_stream().await?)
        };
        let planned = match tokio::time::timeout_at(deadline, planned).await {
            Err(_) => return Err(self.too_long()),
            Ok(planned) => planned,
        };
        match planned {
            Ok(stream) => {
                let files = Files { lake: self.lake.clone(), pieces: snapshot.0.clone() };
                Ok(Answer::new(stream, self.limits, deadline, files))
            }
            Err(Planned::NotAQuery(error)) => Err(QueryError::NotAQuery(error.strip_backtrace())),
            // Nothing was read yet, so it is not about a file.
            Err(Planned::Failed(error)) => Err(QueryError::of(&error, self.limits.memory)
                .unwrap_or_else(|| QueryError::Wrong(error.strip_backtrace()))),
        }
    }

    fn too_long(&self) -> QueryError {
        QueryError::TooLong { seconds: self.limits.time.as_secs() }
    }

    /// What knows the files of the snapshot, and nothing else.
    fn context(&self, snapshot: &Snapshot) -> Result<SessionContext, DataFusionError> {
        let context = SessionContext::new_with_state(self.state()?);
        context.register_object_store(store_url().as_ref(), Arc::clone(self.lake.objects()));
        for dataset in Dataset::ALL {
            let pieces = snapshot.0.iter().filter(|it| it.partition.dataset == dataset);
            let table = Table::new(dataset, pieces.cloned().collect())?;
            context.register_table(view::files_of(dataset), Arc::new(table))?;
        }
        Ok(context)
    }

    fn state(&self) -> Result<SessionState, DataFusionError> {
        let mut config = SessionConfig::new()
            .with_target_partitions(self.limits.threads.get())
            .with_information_schema(false)
            .with_collect_statistics(false);
        let options = config.options_mut();
        options.execution.time_zone = Some("UTC".to_owned());
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.reorder_filters = true;
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(self.runtime()?)
            .with_default_features();
        functions::keep_bounded(&mut state);
        Ok(state.build())
    }

    /// Memory of its own for every question, so that one does not starve another; and nothing on disk.
    fn runtime(&self) -> Result<Arc<RuntimeEnv>, DataFusionError> {
        let no_files = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(self.limits.memory)))
            .with_disk_manager_builder(no_files)
            .build_arc()
    }
}

/// What an answer may be read from.
pub(crate) struct Files {
    lake: Lake,
    pieces: Vec<Piece>,
}

impl Files {
    /// Sorts an error by who must act.
    async fn blame(&self, error: &DataFusionError, memory: usize) -> QueryError {
        match QueryError::of(error, memory) {
            Some(error) => error,
            None => {
                QueryError::Lake(self.lake.damage(&self.pieces, &error.strip_backtrace()).await)
            }
        }
    }
}

/// Why there is no plan.
enum Planned {
    NotAQuery(DataFusionError),
    Failed(DataFusionError),
}

impl From<DataFusionError> for Planned {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(error)
    }
}
