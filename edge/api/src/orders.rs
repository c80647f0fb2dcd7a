//! Orders: what one host is told, as a signed text.

use std::{borrow::Cow, collections::BTreeMap};

use cloud::Region;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use workload::{Application, Environment, Workload};

use crate::{agents::Asked, bindings::Terms, switch::Percent, text};

/// What every signature over orders begins with, so that it can be no signature over anything else.
pub const DOMAIN: &[u8] = b"rolecall-orders-v1\0";

/// The longest text of orders that an agent reads, in bytes.
pub const ORDERS_MAX: usize = 4 * 1024 * 1024;

/// Orders as they are sent and kept: the very text that was signed.
///
/// Who reads them checks the signature over [`SignedOrders::message`] first, and only then the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignedOrders {
    /// The JSON text of [`Orders`], byte for byte as it was signed.
    pub orders: String,
    /// The id of the key that signed it.
    pub key: String,
    /// The signature (ES256), base64url without padding.
    pub signature: String,
}

impl SignedOrders {
    /// What is signed: [`DOMAIN`], then the text.
    pub fn message(orders: &str) -> Vec<u8> {
        [DOMAIN, orders.as_bytes()].concat()
    }

    /// Reads the text. It proves nothing: check the signature first.
    ///
    /// # Errors
    /// When the text is not orders, or holds a condition or a scope that this program does not know.
    pub fn read(&self) -> Result<Orders, Illegible> {
        self.orders.parse()
    }
}

/// What one host is told.
///
/// Fields that are not known are passed over, so that an older agent can obey a newer server. Not so within
/// `match` and `scope`: there a field that is not known makes the whole unreadable, and the agent keeps
/// the orders that it has. A condition that is passed over would give a role to more than was meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Orders {
    /// The host that these are for.
    pub host: String,
    /// Which state of the server's knowledge they were made from; only ever grows.
    pub revision: u64,
    /// When they were issued.
    pub issued: Timestamp,
    /// The region that the host is in.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Region>")]
    pub region: Option<Region>,
    /// What the operator said of the host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The bindings in force of the applications that the host may run.
    pub bindings: Vec<OrderedBinding>,
    /// The positions of the switch that can matter on the host.
    pub positions: Vec<OrderedPosition>,
}

/// A binding in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderedBinding {
    /// What it says.
    #[serde(flatten)]
    pub terms: Terms,
    /// Its version.
    pub version: u64,
}

/// A live position of the switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderedPosition {
    /// Its id. Of two that match, the one with the higher id was set later and decides.
    pub id: u64,
    /// Whom it is about.
    pub scope: Scope,
    /// Where credentials come from.
    pub position: Asked,
    /// How many of those in scope it takes in, of a hundred; always the same ones first.
    pub percent: Percent,
    /// When it was set.
    pub set: Timestamp,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Why it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whom a position is about: all who are equal in each field that is there. Without any field it is the
/// whole fleet.
///
/// **A field that is not known is an error wherever this is read**, in answers too: a scope that is read
/// without one of its fields would be wider than it was set.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The region that the host is in.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Region>")]
    pub region: Option<Region>,
    /// The application.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::ApplicationName>")]
    pub application: Option<Application>,
    /// The environment.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::EnvironmentName>")]
    pub environment: Option<Environment>,
    /// The host's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The workload, by its full id.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::WorkloadId>")]
    pub workload: Option<Workload>,
}

/// The text is not orders that this program can obey.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Illegible {
    /// Longer than any orders are.
    #[error("orders have {0} bytes, more than {ORDERS_MAX}")]
    TooLong(usize),
    /// Not the JSON of orders, or from a newer server that says more than this agent understands.
    #[error("orders cannot be read: {0}; if the server is newer, upgrade the agent")]
    Json(Cow<'static, str>),
}

impl Orders {
    /// The text to sign and send.
    ///
    /// # Errors
    /// Never for orders that were made from values that can be written; the signature keeps callers
    /// from a panic.
    pub fn to_text(&self) -> Result<String, Illegible> {
        serde_json::to_string(self).map_err(|error| Illegible::Json(error.to_string().into()))
    }
}

impl std::str::FromStr for Orders {
    type Err = Illegible;

    fn from_str(text: &str) -> Result<Self, Illegible> {
        if text.len() > ORDERS_MAX {
            return Err(Illegible::TooLong(text.len()));
        }
        serde_json::from_str(text).map_err(|error| Illegible::Json(error.to_string().into()))
    }
}
