//! The whole agent in one thread from one seed, with faults.
//!
//! This crate exists because it is a second consumer of the agent: it drives the very same
//! [`agent::engine::Engine`] and [`agent::fetch::question`], but with a clock, an STS, clients and
//! operators of its own. There is no real time, socket, thread or sleep in it, so a day takes
//! seconds and a run can be repeated: the same [`Seed`] and [`Scenario`] give the same run. (Random
//! bytes that the agent puts into tokens for STS are the one exception: nothing looks at them.)
//!
//! After every step the [`laws`] are checked, against what the simulated world knows and never
//! against what the agent says of itself. A [`Flaw`] breaks the agent on purpose, so that the tests
//! can show that the laws notice.
//!
//! ```
//! use sim::{Scenario, Seed};
//!
//! let report = sim::run(Seed(42), &Scenario::calm());
//! assert!(report.holds(), "{report}");
//! assert!(report.served > 100);
//! ```

mod client;
mod flaw;
pub mod fleet;
mod judge;
pub mod laws;
mod random;
mod report;
mod scenario;
mod sts;
mod town;
mod world;

pub use flaw::Flaw;
pub use laws::Law;
pub use random::{InvalidSeed, Seed};
pub use report::{Report, Violation};
pub use scenario::{Act, Often, Scenario, Weather};

/// Runs a scenario to its end and says what was seen. Of each law the first violation is kept, and
/// the run goes on.
pub fn run(seed: Seed, scenario: &Scenario) -> Report {
    world::World::new(seed, scenario).run()
}
