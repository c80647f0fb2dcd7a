//! Leases: fetch, serve, renew, stop; bindings and the switch.
//!
//! This crate exists because of a stricter rule: it decides when secrets live and die, and it must
//! be simulated over years of outages. So it holds no clock, no socket and no randomness. Time
//! since boot comes in, [`Fetch`]es to be done go out, and whoever carries them out brings the
//! result back.
//!
//! - **A lease's life is measured on the boot clock alone**, from the moment its fetch started.
//! - **At most one fetch is in flight for a workload and role**, whoever asks, leaves or is
//!   stopped.
//! - **A lease that has ended is never served**, and one that still lives is served while its
//!   renewal fails.
//!
//! ```
//! use std::time::Duration;
//! use credentials::{Ask, Credentials, LeaseKey, Leases, Outcome, Policy};
//!
//! let key = LeaseKey {
//!     workload: "orders/prod/0123456789ab".parse().unwrap(),
//!     role: "arn:aws:iam::111122223333:role/orders".parse().unwrap(),
//! };
//! let (boot, wall) = (Duration::from_secs(60), jiff::Timestamp::UNIX_EPOCH);
//! let mut leases = Leases::new(Policy::new(42));
//!
//! // Asking for a lease makes it wanted; polling says what to fetch.
//! assert!(matches!(leases.ask(boot, &key), Ask::Wait));
//! let fetch = leases.poll(boot).pop().unwrap();
//! assert_eq!(fetch.key, key);
//!
//! let credentials = Credentials {
//!     access_key_id: "ASIAEXAMPLE".into(),
//!     secret_access_key: "a secret".to_owned().into(),
//!     session_token: "a token".to_owned().into(),
//!     requested: Duration::from_secs(3600),
//!     expiration: wall + Duration::from_secs(3600),
//!     fetched: wall,
//! };
//! assert!(matches!(leases.fetched(boot, wall, fetch.id, Ok(credentials)), Outcome::Held { .. }));
//! let Ask::Held(held) = leases.ask(boot, &key) else { panic!() };
//! assert_eq!(held.left(boot), Duration::from_secs(3600));
//!
//! // It will be renewed long before its end, and nothing is to be done until then.
//! let wake = leases.next_wake().unwrap();
//! assert!(wake >= boot + Duration::from_secs(600) && wake <= boot + Duration::from_secs(720));
//! ```

mod backoff;
mod binding;
mod credentials;
pub mod entitlement;
mod fetch;
mod lease;
mod leases;
pub mod policy;
mod position;
mod session;
mod tags;

pub use binding::{Binding, BindingFault, Bindings, InvalidBinding, Source, Switch};
pub use credentials::{ClockSkew, Credentials, Held};
pub use fetch::{Actor, Fetch, FetchError, FetchId, LeaseId, LeaseKey};
pub use lease::Failing;
pub use leases::{Ask, Leases, Outcome, Tally};
pub use policy::Policy;
pub use position::{Position, Positions, Scope, Seat, share};
pub use session::{SessionName, SourceIdentity};
pub use tags::{Dropped, InvalidTag, Part, Tag, TagPlan, Why};
