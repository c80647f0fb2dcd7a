//! What answers which endpoint: all of them, in one place.

use crate::http::Routes;

/// Every endpoint and its handler.
pub fn routes() -> Routes {
    Routes::default()
}
