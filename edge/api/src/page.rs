use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Line, Within};

/// How many items a page has at most.
pub type Limit = Within<1, 500>;

/// How many items a page has at most where nobody asks for a number.
pub const LIMIT: Limit = Limit::literal::<100>();

/// Where the next page begins, as a page before it said. Its text means nothing to a caller.
pub type Cursor = Line<1024>;

/// A part of a list, in the list's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to ask for as `after` to read on; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageAsked {
    /// How many items at most; 100 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The `next` of the page before; from the beginning where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
}
