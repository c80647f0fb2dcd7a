//! A call as an event: decode, name, redact, fold.
//!
//! A shim in an application's SDK, or an SDK's own monitoring, sends lines. [`decode`] makes an [`Event`] of each, or
//! says why not. [`redact`] takes out what the process should not have sent. [`Fold`] tells first sights at once and
//! counts the rest. [`Coverage`] adds up what was sent and what became of it, so that a loss is a number and
//! never a silence.
//!
//! This crate exists because of a specification of its own: what is on the wire (`conformance/calls`) is written by
//! shims in many languages and read by one decoder.
//!
//! # Naming
//!
//! [`name`] says which IAM actions and resources a call is about, from a table that is generated from published packages.
//! What it does not know is [`Needs::Unknown`] or [`Names::Unknown`]. Service and operation are kept beside it, so that a
//! better table can name history anew.
//!
//! # What is stored
//!
//! A [`Batch`] of [`Entry`]s is what the agent puts into a frame of its spool, and what the server reads with
//! [`read_batch`]: calls, and beside them which leases there are, which shims speak, and the coverage ledger.
//!
//! # What is not told
//!
//! An attempt is joined to no call: monitoring has no id that would allow it without guessing. It carries the access key
//! of monitored SDKs, so that a caller may use it as evidence; it is never counted as a call.

mod batch;
mod coverage;
mod event;
mod fold;
mod key;
mod line;
mod losses;
mod members;
mod names;
mod outcome;
mod record;
mod redact;
mod refused;

pub use batch::{
    BATCH_FULL, BATCH_MAX, Batch, Covered, ENTRIES_MAX, Entry, Heard, Leased, NotABatch, read_batch,
};
pub use coverage::{Coverage, End, Imbalance, Loss};
pub use event::{Event, Hello, Kind, Parameters, Trust};
pub use fold::{Evictions, Fold, Tell, Told};
pub use key::AccessKeyId;
pub use line::{DATAGRAM_MAX, Decoded, LINE_MAX, Line, decode, lines};
pub use losses::{Losses, ShimLoss};
pub use names::{
    Access, Basis, Named, NamedBy, Names, Needs, Objects, Plane, TableCoverage, name,
    table_coverage, version as names_version,
};
pub use outcome::Outcome;
pub use record::{Key, Record, Sighting, Signer, Why};
pub use redact::{Sensitive, redact, sensitive};
pub use refused::{Refusals, Refused};
