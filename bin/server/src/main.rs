//! rolecall-server: the control plane, so that a host holds no power.

use std::process::ExitCode;

use clap::Parser;
use server::command::Arguments;
use zeroizing_alloc::ZeroAlloc;

// Private keys and tokens pass through buffers of the HTTP server, the TLS library and the database, which do
// not wipe them. This allocator wipes whatever is freed.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    server::command::execute(&Arguments::parse())
}
