//! demo, setup, test, tidy, gen, bench, fuzz, package: the only scripts.
//!
//! This crate exists because of a different dependency weight: it is built before anything else, so
//! that a fresh clone needs only a Rust toolchain. Three tables are meant to grow:
//!
//! - a **command** is a variant of [`Command`] and an arm of [`main`];
//! - a **suite** is an entry of [`suites::SUITES`];
//! - a **rule** about the house is an entry of [`tidy::RULES`].
//!
//! # How a test is skipped
//!
//! A test that cannot run here prints one line that begins with `skipped: ` and returns:
//!
//! ```no_run
//! # fn ipv6() -> bool { false }
//! # fn a_test() {
//! if !ipv6() {
//!     println!("skipped: this kernel has no IPv6");
//!     return;
//! }
//! # }
//! ```
//!
//! `println!` and `eprintln!` are equal, and so is a line written straight to standard error. Nothing
//! else is needed: the test programs are run with `--show-output`, so [`tally`] sees what a passing
//! test printed, counts it as skipped instead of passed, and shows the reason. A whole suite that cannot run prints its reason as well, and each
//! of its tests counts as skipped.
//!
//! # Where a test belongs
//!
//! By the name of its file. `tests/namespaces*.rs`, `tests/clients*.rs`, `tests/vectors*.rs` and
//! `tests/conformance*.rs` of any crate belong to the suite of that name, everything in `sim` and
//! `practice` to those, and what needs the kernel in `edge/linux` to `namespaces`: the table is
//! `suites::CLAIMS`. All else is `unit`, so that a new file is never forgotten.

mod benches;
mod demo;
mod fuzzing;
mod generate;
mod house;
mod package;
mod private_host;
mod programs;
mod source;
mod suites;
mod tally;
mod testing;
mod tidy;
mod trouble;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{house::House, trouble::Trouble};

/// The scripts of Rolecall.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the main job: two workloads on one host, each with the role of its own account
    #[command(after_help = "Examples:
  cargo xtask demo                      shows it, then waits so that you can look around
  cargo xtask demo --once               shows it; fails if anything is not as promised
  cargo xtask demo --once --json        the same as JSON")]
    Demo(demo::Options),
    /// Installs what the tests and the demo need, below the target folder where possible
    #[command(after_help = "Examples:\n  cargo xtask setup")]
    Setup,
    /// Runs the tests: all suites in order, or the named ones
    #[command(after_help = "Examples:
  cargo xtask test                      everything, quick suites first
  cargo xtask test --list               what there is and what each promises
  cargo xtask test format lint unit     what to run before a commit
  cargo xtask test --keep-going         do not stop at the first suite that fails

A test that cannot run here prints a line `skipped: REASON` and counts as skipped.")]
    Test(testing::Options),
    /// Checks the house: who leans on whom, names, documents, leftovers
    #[command(after_help = "Examples:\n  cargo xtask tidy")]
    Tidy,
    /// Writes what is generated: documents of the program, and the table of names
    #[command(after_help = "Examples:
  cargo xtask gen                       edge/api/openapi.json and docs/reference/api.md
  cargo xtask gen names                 core/calls/src/names/table.txt, from published packages
  cargo xtask gen names --check         fails if that is not what they give

What the table is made from is pinned in practice/names and practice/python, and fetched when it is not there.")]
    Gen(generate::Options),
    /// Runs a benchmark and shows its ratios; without a name, lists the benchmarks
    #[command(after_help = "Examples:
  cargo xtask bench                     which benchmarks there are
  cargo xtask bench credentials         writes target/bench/credentials.json")]
    Bench(benches::Options),
    /// Fuzzes one target, or each in turn
    #[command(after_help = "Examples:
  cargo xtask fuzz --list               which targets there are
  cargo xtask fuzz                      every target for 60 seconds
  cargo xtask fuzz http --seconds 600   one target for ten minutes")]
    Fuzz(fuzzing::Options),
    /// Makes Debian packages of our programs, the list of what is in them, and their sums
    #[command(after_help = "Examples:
  cargo xtask package                   builds for release; writes to target/package
  cargo xtask package -o json           the same, and lists what was made as JSON
  cargo xtask package --profile dev     quicker to build, slower to run
  cargo xtask package --programs target/debug --version 0.1.0~try1 --out /tmp/try
                                        packs what is built already

The same commit makes the same bytes. Needs `dpkg-dev` and `binutils`.")]
    Package(package::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = House::open().and_then(|house| match arguments.command {
        Command::Demo(options) => demo::demo(&house, &options),
        Command::Setup => testing::setup(),
        Command::Test(options) => testing::test(&house, &options),
        Command::Tidy => tidy::tidy(&house),
        Command::Gen(options) => generate::generate(&house, &options),
        Command::Bench(options) => benches::bench(&house, &options),
        Command::Fuzz(options) => fuzzing::fuzz(&house, &options),
        Command::Package(options) => package::package(&house, &options),
    });
    match done {
        Ok(code) => code,
        Err(trouble) => {
            eprintln!("error: {trouble}");
            ExitCode::from(2)
        }
    }
}

/// The exit code of a command that did what it was asked and found things well, or not.
fn verdict(well: bool) -> Result<ExitCode, Trouble> {
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
