use std::path::PathBuf;
use std::time::Duration;

use secret::SecretText;

/// Which database, and how it is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is.
    pub database: Database,
    /// How many connections there are at most; one of them is for acts alone. At least 2.
    pub connections_max: u32,
    /// How long a caller waits for the database, and for those before it, until it is told that it is unavailable.
    pub wait: Duration,
}

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file on this machine's own disk. It is made where it is missing; its folder is not.
    Sqlite(PathBuf),
    /// A URL, `postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full`. What it leaves out comes from
    /// the variables that all programs for PostgreSQL read. Beyond this machine it must say `sslmode`.
    Postgres(SecretText),
}
