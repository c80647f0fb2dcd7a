//! How fast the agent is, beside a bare hyper server in the same run.
//!
//! The agent is the program as it is shipped, on a practice host with two hundred workloads; whoever
//! asks it is a process inside of a workload. STS is a stand-in on loopback that signs nothing and
//! answers at once, so that what is measured is ours. Rounds of the agent and of its peer take turns,
//! and medians are told, because machines are never quiet.
//!
//! A benchmark is no test: it says which goals hold and ends with 0.

mod bench;
mod client;
mod floor;
mod ground;
mod load;
mod sts;

use std::{error::Error, process::ExitCode};

/// What comes of a step. The benchmark ends at the first that fails: half a table misleads.
type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is = |word: &str| words.iter().any(|said| said == word);
    let done = match words.first().map(String::as_str) {
        Some("floor") => floor::run().map(|()| 0),
        Some("load") => load::run().map(|()| 0),
        // `cargo bench` says `--bench` to every benchmark.
        _ => bench::run(&if is("--quick") { bench::Size::QUICK } else { bench::Size::FULL }),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("the benchmark could not be run: {error}");
            ExitCode::FAILURE
        }
    }
}
