//! What the server's database promises, on SQLite and on PostgreSQL alike.

#[cfg(test)]
mod acts;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod once;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod world;
