//! An append-only queue on disk that keeps its promises.
//!
//! One side appends frames, which stand for so many calls each; another sends them away in order, and says up to
//! where they are safely stored. What is in a frame is not this crate's business. It exists because of a specification of its
//! own, the format of its files, and because what it promises must be shown with a disk that fails.
//!
//! - [`Spool::append`] takes a frame and gives it a number in the folder's [`Epoch`]; [`Spool::sync`] makes all that waits
//!   durable at once, and [`Spool::next_sync`] says when that is due.
//! - [`Spool::read`] gives durable frames from a number on; [`Spool::acknowledge`] moves the watermark.
//! - [`Spool::stage`] says how full it is, and [`Spool::tally`] where every call is.
//! - [`Recovery`] is what was found when it was opened; [`Scan`] is how a receiver reads frames again.
//!
//! INVARIANT (Kept): a frame before [`Spool::durable`] is read back as it was, in order, after a crash at any
//! instant, until it is acknowledged.
//!
//! INVARIANT (Once): no frame before the watermark is read again, and no number is given to two frames that were durable.
//!
//! INVARIANT (Tally): every call that was taken is stored, waiting, or lost for a reason; see [`Tally`].
//!
//! INVARIANT (Bounded): segments never have more bytes than the budget, unless that was lowered; memory holds what waits, up
//! to [`Limits::commit_bytes`] and a frame, what one [`Spool::read`] was asked for, and less than 2 MiB besides.
//!
//! # On disk
//!
//! `NUMBER.segment` begins with a header that says the epoch and the place of the first frame; then frames follow: a
//! header with a CRC-32C of its own, and a payload under another. Frames are only ever appended, and one segment is
//! written at a time; those before it never change, and are deleted whole. `marks` has two copies of the watermark, the end and
//! the losses, which are written in turn. `lock` is locked by who has the folder open.
//!
//! What a crash leaves behind the last whole frame is cut off: it was not acknowledged. Damage before that costs the frames that it is in
//! and no others. Because every frame says how many calls came before it, what is missing is known to the unit.
//!
//! ```
//! use std::time::Duration;
//! use spool::{Appended, Epoch, Limits, Seq, Spool};
//!
//! # let place = tempfile::tempdir()?;
//! let folder = place.path().join("spool");
//! let (mut spool, _) = Spool::open(&folder, Epoch([7; 16]), Limits::default())?;
//! assert_eq!(spool.append(b"GetObject x3", 3, Duration::ZERO)?, Appended::Waiting(Seq(1)));
//! assert!(spool.read(Seq(1), 1 << 20)?.is_empty());
//! spool.sync()?;
//! drop(spool);
//!
//! let (mut spool, _) = Spool::open(&folder, Epoch([8; 16]), Limits::default())?;
//! assert_eq!(spool.epoch(), Epoch([7; 16]));
//! assert_eq!(spool.read(Seq(1), 1 << 20)?[0].payload, b"GetObject x3");
//! spool.acknowledge(Seq(1))?;
//! assert!(spool.read(Seq(1), 1 << 20)?.is_empty());
//! assert_eq!(spool.tally().stored, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bytes;
mod disk;
mod error;
mod folder;
mod frame;
mod limits;
mod marks;
mod number;
mod pressure;
mod reading;
mod recovery;
mod scan;
mod segment;
mod spool;
mod tally;
mod walk;

pub use disk::{Disk, FileName};
pub use error::SpoolError;
pub use folder::Folder;
pub use frame::{FRAME_HEADER_LEN, Frame, PAYLOAD_MAX};
pub use limits::{Limits, NextSync};
pub use number::{Epoch, Position, Seq};
pub use pressure::Stage;
pub use recovery::{Life, Recovery};
pub use scan::{Piece, Scan};
pub use segment::SEGMENT_HEADER_LEN;
pub use spool::{Appended, Spool};
pub use tally::{Losses, Reason, Tally};
