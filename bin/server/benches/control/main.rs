//! How much one replica bears: tokens a second of a core beside the bare signature, a thousand hosts, and how
//! soon a flip of the switch is with all of them.
//!
//! The server is the program as it is shipped, with SQLite on this machine's disk. Whoever asks it shares the
//! machine's cores with it, so work is told by the server's own CPU time, not by the clock. The mint alone, without
//! TLS and HTTP, is that of a second replica over the same database, in this process.
//!
//! A benchmark is no test: it says which goals hold and ends with 0.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on says where, and measures nothing"
)]

#[path = "../../tests/fleet/host.rs"]
mod host;
#[path = "../../tests/fleet/operator.rs"]
mod operator;

mod crowd;
mod tokens;

use practice::measure::{Measure, step, tell};
use zeroizing_alloc::ZeroAlloc;

// As in the server, so that what is measured in this process costs what it costs there.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How often server and bare signature take turns.
    rounds: usize,
    /// How long each turn lasts.
    milliseconds: u64,
    /// How many hosts are connected.
    hosts: u32,
    /// How often the switch is flipped.
    flips: usize,
}

impl Size {
    /// What is promised is measured with this.
    const FULL: Self = Self { rounds: 9, milliseconds: 3000, hosts: 1000, flips: 20 };
    /// To see that it runs.
    const QUICK: Self = Self { rounds: 2, milliseconds: 500, hosts: 50, flips: 3 };
}

fn main() {
    // `cargo bench` says `--bench` to every benchmark.
    let quick = std::env::args().any(|word| word == "--quick");
    let size = if quick { Size::QUICK } else { Size::FULL };
    // A connection of every host here, and one of every host in the server, which inherits the limit.
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let measures: Vec<Measure> = runtime.block_on(async {
        step("tokens");
        let mut measures = tokens::measure(size).await;
        step("a crowd of hosts");
        measures.extend(crowd::measure(size).await);
        measures
    });
    tell(env!("CARGO_TARGET_TMPDIR"), "control", &measures).unwrap();
}

fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}
