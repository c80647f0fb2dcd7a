//! rolecall-agent: hands each workload on a host the credentials of its own account.

use std::process::ExitCode;

use agent::command::Arguments;
use clap::Parser;
use zeroizing_alloc::ZeroAlloc;

// Credentials pass through buffers of the HTTP server, the TLS library and the SDK, which do not
// wipe them. This allocator wipes whatever is freed.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    agent::command::execute(&Arguments::parse())
}
