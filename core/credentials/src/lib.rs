//! Leases: fetch, serve, renew, stop; bindings and the switch.
