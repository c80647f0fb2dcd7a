//! Everything that was called, kept as OCSF in Parquet files of one's own, and asked with SQL.
//!
//! Frames that agents sent become files in a folder or a bucket, and each file a row of a manifest that somebody else
//! keeps. What the manifest names is the lake; a question sees exactly that. The files are laid out as Amazon Security Lake wants
//! those of a custom source, so that Athena, Trino, Spark and others read them as they are.
//!
//! This crate exists because of a different dependency weight: DataFusion is linked by the server alone.
//!
//! - [`Lake::open`] opens a [`Place`]; [`Lake::seal`] stores frames, and gives the [`Piece`]s to write into the manifest.
//! - [`Engine::query`] answers a question over a [`Snapshot`] of the manifest, within [`Limits`]; [`views`] are what it
//!   may rely on.
//! - [`due`], [`Lake::compact`], [`expired`], [`Lake::remove`] and [`Lake::orphans`] keep house.
//!
//! **INVARIANT (Whole): a file is there whole or not at all**, after a crash as well, and never changes. Its name ends with a
//! hash of what is in it, so to write the same frames twice gives the same files.
//!
//! **INVARIANT (Published): what no snapshot names is not in the lake.** No folder is ever listed to answer a question, so a question
//! sees one state of the lake, whatever is sealed, merged or published meanwhile.
//!
//! **INVARIANT (Every row): one record, one row; to merge files changes neither rows nor their number.**
//!
//! **INVARIANT (OCSF): every row of calls is valid API Activity of OCSF 1.3.0**, with the profiles `cloud` and `datetime`.
//!
//! **INVARIANT (Read only): a question changes nothing and reaches nothing but the lake**: no other file, no address, no
//! setting. It is bounded in memory, time and rows, and ends when its answer is dropped.
//!
//! **INVARIANT (Unknown): what is not known is there and says so.** It is null in views, and a call of which nothing is
//! known has rows in each of them.
//!
//! # Layout
//!
//! ```text
//! ext/rolecall-calls/1.0/region=R/accountId=A/eventDay=YYYYMMDD/NAME.parquet    OCSF API Activity
//! leases/eventDay=YYYYMMDD/NAME.parquet       shims/…       coverage/…          columns of our own
//! ```
//!
//! `R` is the region that was called, `unknown` where the SDK did not say; `A` is the account of the caller: of its role where we
//! leased the key, else as the key tells, else `external_unknown`. The day is that of the first call of a row, in UTC.
//!
//! ```
//! use calls::{Entry, Heard};
//! use lake::{Engine, Frame, Lake, Limits, Place, Sender, Sent, Snapshot, cells};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let place = tempfile::tempdir()?;
//! let lake = Lake::open(&Place::Folder(place.path().join("lake")))?;
//! let heard = Entry::Heard(Heard {
//!     workload: Some("orders/prod/1".parse()?),
//!     at: "2026-11-25T10:00:00Z".parse()?,
//!     language: "python".to_owned(),
//!     sdk: "botocore".to_owned(),
//!     sdk_version: "1.44.5".to_owned(),
//!     shim_version: "0.1.0".to_owned(),
//! });
//! let sender = Sender { agent: "host-1".to_owned(), epoch: [7; 16] };
//! let frames = vec![Frame { seq: 1, entries: vec![heard] }];
//! let manifest = Snapshot(lake.seal(vec![Sent { sender, frames }]).await?);
//!
//! let engine = Engine::new(lake, Limits::default());
//! let now = "2026-11-25T12:00:00Z".parse()?;
//! let question = "SELECT application, sdk FROM shims WHERE since < now()";
//! let mut answer = engine.query(question, now, &manifest).await?;
//! let rows = answer.next().await?.ok_or("no rows")?;
//! assert_eq!(cells(&rows)?, [["orders", "botocore"]]);
//! # Ok(())
//! # }
//! ```

mod column;
mod compact;
mod disk;
mod engine;
mod error;
mod file;
mod frame;
mod merge;
mod piece;
mod place;
mod rows;
mod seal;
mod store;

pub use compact::{Compacted, due, expired};
pub use engine::{Answer, Engine, Limits, View, cells, csv, json, views};
pub use error::{LakeError, QueryError};
pub use frame::{Frame, Sender, Sent};
pub use piece::{Dataset, Partition, Piece, Snapshot};
pub use place::{Bucket, Credentials, Place};
pub use seal::ROWS_MAX;
pub use store::Lake;
