//! The agent joined to a server: whose orders it obeys, what it reports, and who signs its tokens.
//!
//! What is decided is pure and is driven by the simulator as well: [`obedience`] says which orders are
//! obeyed, [`workloads`] what runs and what is in effect, [`patience`] how long to wait. [`line`](mod@line)
//! talks with the server, [`identity`] and [`joining`] look after what the host is to it.
//!
//! INVARIANT (OrdersAreProven): settings follow from a text alone that was signed with a key learnt over a
//! proven connection, for this very host, and newer than what was obeyed before.

pub mod identity;
pub mod joining;
pub mod line;
pub mod obedience;
pub mod patience;
mod term;
mod tokens;
pub mod told;
pub mod workloads;

pub use identity::{Identity, IdentityError};
pub use line::{Control, Line};
pub use obedience::{Disobeyed, Judged, Obedience, Obeyed, OrdersKeys};
pub use told::Told;
pub use workloads::{Anchor, Place, Workloads};
