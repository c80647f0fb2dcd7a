//! rolecall: what people type.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    rolecall_cli::execute(&rolecall_cli::Arguments::parse())
}
