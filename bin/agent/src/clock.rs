//! The two clocks, read here alone.

use jiff::Timestamp;

use crate::engine::Now;

/// Both clocks, now.
pub fn now() -> Now {
    Now { boot: linux::clock::boot(), wall: Timestamp::now() }
}
