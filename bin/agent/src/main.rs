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
    end_with_the_first_panic();
    agent::command::execute(&Arguments::parse())
}

/// Half an agent, of which one thread or task is gone, would look alive and hand out nothing. A supervisor starts
/// a whole one within a second, and it fetches the leases anew.
fn end_with_the_first_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
}
