//! Language-neutral cases of the metadata protocols, and the judge of an answer.
//!
//! This crate exists because it has two consumers (the command line and the tests of
//! `core/metadata`) and a specification of its own: the files below `metadata/`, which any other
//! program may read as well. It opens no socket: a [`Run`] says which bytes to send where, and
//! takes the bytes that came back.
//!
//! ```
//! use conformance::{Run, Targets, metadata_cases};
//!
//! let cases = metadata_cases().unwrap();
//! let targets = Targets::new("http://127.0.0.1:1338").unwrap();
//! let mut run = Run::new(&cases, targets);
//! while let Some(exchange) = run.next_exchange() {
//!     assert_eq!(exchange.authority, "127.0.0.1:1338");
//!     // A real caller connects, sends `exchange.bytes()` and reads to the end.
//!     run.answered(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
//! }
//! assert!(!run.report().conforms());
//! ```

mod answer;
mod case;
mod cases;
mod judge;
mod kind;
mod report;
mod run;

pub use answer::{AnswerSeen, InvalidAnswer};
pub use case::{
    BodyExpected, Case, Door, Expected, Pattern, Requirement, Severity, Source, Status, Step,
};
pub use cases::{InvalidCases, metadata_cases};
pub use judge::{Captures, Mismatch, judge};
pub use kind::Kind;
pub use report::{CaseReport, Outcome, Report};
pub use run::{Exchange, InvalidUrl, Run, Targets};
