//! The hash chain that is written before anything privileged happens: append, checkpoint, verify.
//!
//! An [`Entry`] says who did what to what, and holds the hash of the entry before it. So whoever knows the
//! last hash knows that nothing before it was changed, taken out or put in. A [`Checkpoint`] is the
//! last hash under a signature: kept elsewhere, it also shows that the end was not cut off.
//! [`Verifier`] reads a ledger of any length in order and says where it is broken.
//!
//! This crate exists because of a specification of its own: the bytes that an entry's hash covers
//! ([`Entry::hash`]) must be the same for every writer and every verifier, in any language, for as long
//! as ledgers are kept. `conformance/ledger` holds examples.
//! Keys are not its business: it says which bytes are signed, and callers sign and verify.
//!
//! ```
//! use ledger::{Draft, Tail, Verifier};
//!
//! let now = "2026-01-01T00:00:00Z".parse()?;
//! let draft = Draft::new("alice", "switch.set", "fleet", serde_json::json!({ "position": "on" }))?;
//! let first = Tail::EMPTY.append(draft, now)?;
//! let second = first.tail().append(Draft::new("server", "ledger.checkpoint", "1", serde_json::json!({}))?, now)?;
//!
//! let mut verifier = Verifier::new(Vec::new());
//! verifier.take(&first)?;
//! verifier.take(&second)?;
//! assert_eq!(verifier.finish()?.entries, 2);
//!
//! let mut forged = first.clone();
//! forged.actor = "bob".to_owned();
//! assert_eq!(Verifier::new(Vec::new()).take(&forged), Err(ledger::Broken::Altered { seq: 1 }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checkpoint;
mod detail;
mod digest;
mod draft;
mod entry;
mod line;
mod verifier;

pub use checkpoint::{Checkpoint, Statement};
pub use digest::{Hash, NotAHash};
pub use draft::{Draft, InvalidDraft};
pub use entry::{Entry, Full, Tail};
pub use line::{LINE_MAX, NotALine, read_line, write_line};
pub use verifier::{Broken, Verified, Verifier};
