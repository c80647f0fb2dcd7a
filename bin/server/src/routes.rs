//! What answers which endpoint: all of them, in one place.

use crate::{acts, http::Routes};

/// Every endpoint and its handler.
pub fn routes() -> Routes {
    acts::routes(Routes::default())
}
