//! The crate against the real kernel. Needs root, or `unshare --user --map-root-user --net --mount`:
//! a test that lacks a right prints which one and counts as skipped.

#[cfg(test)]
mod cgroups;
#[cfg(test)]
mod datagrams;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod namespaces;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod redirects;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod unix;
#[cfg(test)]
mod watches;
