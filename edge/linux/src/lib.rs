//! The kernel: namespaces, sockets, cgroups, redirects; the only crate with unsafe code.
//!
//! This crate exists because of a stricter rule turned around: `unsafe` and raw kernel interfaces
//! live here and nowhere else. It is synchronous, starts no thread that outlives a call, and hands
//! out non-blocking sockets that an asynchronous program can adopt.
//!
//! How one request is attested:
//!
//! 1. [`Namespace`] names a network namespace; [`Listeners`] listen at the metadata addresses in it.
//! 2. A connection accepted there came from that namespace: nothing else can reach the listener.
//! 3. [`Diag`], made in the same namespace, asks the kernel for the *client's* socket and learns the
//!    cgroup that created it.
//! 4. [`Cgroups`] turns the cgroup's id into a path, which names a unit or a container.
//! 5. Only then is "does the process still live?" asked, with [`Process::is_alive`].

mod cgroup;
pub mod clock;
pub mod datagrams;
mod diag;
mod files;
mod listener;
mod loopback;
mod namespace;
mod process;
mod redirect;
mod reply;
pub mod unix;
mod watch;

pub use cgroup::{CgroupError, CgroupId, Cgroups};
pub use diag::{Diag, DiagError};
pub use files::raise_open_files;
pub use listener::{Absent, DoorAddress, HopLimit, ListenError, Listener, Listeners, Plan};
pub use namespace::{Namespace, NamespaceError};
pub use process::{Process, ProcessError};
pub use redirect::{
    Mark, Redirect, RedirectError, RedirectStatus, Target, original_destination, set_mark,
};
pub use reply::{Reply, ReplyError, SocketFacts, TcpState, parse_reply};
pub use watch::{Event, Found, Watch, WatchError};
