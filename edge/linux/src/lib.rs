//! The kernel: namespaces, sockets, cgroups, redirects; the only crate with unsafe code.
