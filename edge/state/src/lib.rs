//! Everything relational: SQLite by default, PostgreSQL beyond one machine.
//!
//! This crate exists because of a different dependency weight: only the server links a database. It knows rows,
//! not what they mean. A table has the columns that are asked for, ordered by or must be unique; the rest
//! of a row is one JSON text, `body`, that its owner reads and writes.
//!
//! - [`State`] is the database: [`State::open`] reaches it and makes its tables.
//! - [`Reading`] is one picture of it; [`Reading::knowledge`] is all that decides.
//! - [`Act`] changes it. Acts are serial over all servers: each takes the ledger's lock first. The entries of an
//!   act and its changes are one transaction, and one that changes something without an entry is refused.
//! - What hosts see, what expires and what a person is in the middle of is no act. It takes no lock.
//!
//! INVARIANT (Chain): the ledger's entries are numbered from 1 without a gap, each follows the one before, and
//! the last is the one that the row of all acts names, at every moment that anybody can see.
//!
//! ```
//! use std::time::Duration;
//! use ledger::Draft;
//! use state::{Database, GroupRow, Settings, State};
//!
//! # let folder = tempfile::tempdir()?;
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! let database = Database::Sqlite(folder.path().join("rolecall.db"));
//! let settings = Settings { database, connections_max: 4, wait: Duration::from_secs(5) };
//! let state = State::open(&settings).await?;
//! let now = "2026-01-01T00:00:00Z".parse()?;
//!
//! let mut act = state.act().await?;
//! act.record(Draft::new("alice", "group.put", "web", serde_json::json!({}))?, now).await?;
//! act.put_group(&GroupRow { name: "web".into(), body: "{}".into(), changed: now }).await?;
//! let revision = act.commit(now).await?;
//!
//! let mut reading = state.read().await?;
//! assert_eq!((reading.revision(), reading.tail().seq), (revision, 1));
//! assert_eq!(reading.knowledge().await?.groups.len(), 1);
//! # drop(reading);
//! # state.close().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod act;
mod applications;
mod cell;
mod chain;
mod database;
mod error;
mod hosts;
mod keys;
mod knowledge;
mod link;
mod people;
mod positions;
mod reading;
mod reports;
mod settings;
mod state;
mod stored;

pub use act::Act;
pub use applications::{
    AccountRow, ApplicationRow, BindingFilter, BindingKey, BindingRow, BindingStatus,
};
pub use error::StateError;
pub use hosts::{GroupRow, HostRow, JoinRuleRow, JoinTokenKey, JoinTokenRow};
pub use keys::{IssuerKeyRow, SealedRow};
pub use knowledge::Knowledge;
pub use people::{
    DECISIONS_KEPT, DecisionRow, LoginRow, PersonRow, PolicyRow, REPORTS_KEPT, SessionRow,
};
pub use positions::PositionRow;
pub use reading::Reading;
pub use reports::{Report, ReportRow, SeenRow, WorkloadFilter, WorkloadKey, WorkloadRow};
pub use settings::{Database, Settings};
pub use state::State;
