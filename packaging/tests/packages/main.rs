//! What `cargo xtask package` makes, and what becomes of it on a host.

#[cfg(test)]
mod debian;
#[cfg(test)]
mod made;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod server;
#[cfg(test)]
mod units;
