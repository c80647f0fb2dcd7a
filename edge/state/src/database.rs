//! Reaching the database, and making its tables.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use secret::SecretText;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};
use sqlx::{Row as _, SqlSafeStr as _};

use crate::link::{Link, Open};
use crate::{Database, Settings, StateError};

/// Connections to the database. One is for acts alone, so that readers never keep an act waiting, and acts
/// of one server come in the order in which they were asked for.
pub(crate) enum Pools {
    Sqlite { acting: SqlitePool, reading: SqlitePool },
    Postgres { acting: PgPool, reading: PgPool },
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// One picture of everything, and no change.
    Read,
    /// An act: it takes the ledger's lock next.
    Act,
    /// A change that is no act.
    Aside,
}

/// The tables, as text for SQLite.
const TABLES: &[(i64, &str, &str)] =
    &[(1, "tables", include_str!("../migrations/0001_tables.sql"))];
/// Where it is noted which of them were made. No other program's database has it.
const MADE: &str = "rolecall_migrations";
/// The longest that PostgreSQL works on one statement, in milliseconds.
const STATEMENT_MS: u64 = 30_000;
/// After how long PostgreSQL ends a transaction in which nothing happens, in milliseconds: a server that
/// stopped in the middle of an act holds the ledger's lock no longer.
const IDLE_MS: u64 = 15_000;
/// Between two attempts to reach the database.
const PAUSE: Duration = Duration::from_millis(50);
/// The oldest PostgreSQL that still gets fixes.
const POSTGRES_OLDEST: i32 = 13;

impl Pools {
    /// Reaches the database and makes its tables.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, StateError> {
        let Settings { database, connections_max, wait } = settings;
        let Some(readers) = connections_max.checked_sub(1).filter(|readers| *readers > 0) else {
            return Err(StateError::settings("it needs 2 connections at least"));
        };
        match database {
            Database::Sqlite(path) => {
                let options = sqlite_options(path, *wait)?;
                patiently(*wait, || migrate_sqlite(&options)).await?;
                let pool = |max| {
                    let options = SqlitePoolOptions::new().max_connections(max);
                    options.acquire_timeout(*wait).before_acquire(|connection, _| {
                        // After some errors, a full disk for one, SQLite has rolled back by itself, and
                        // the connection still counts on a transaction: then it is of no more use.
                        let is_free = !connection.is_in_transaction();
                        Box::pin(async move { Ok(is_free) })
                    })
                };
                let looking = options.clone().pragma("query_only", "ON");
                Ok(Self::Sqlite {
                    acting: pool(1).connect_lazy_with(options),
                    reading: pool(readers).connect_lazy_with(looking),
                })
            }
            Database::Postgres(url) => {
                let options = postgres_options(url, *wait)?;
                patiently(*wait, || migrate_postgres(&options)).await?;
                let pool = |max| PgPoolOptions::new().max_connections(max).acquire_timeout(*wait);
                Ok(Self::Postgres {
                    acting: pool(1).connect_lazy_with(options.clone()),
                    reading: pool(readers).connect_lazy_with(options),
                })
            }
        }
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self, purpose: Purpose) -> Result<Link, StateError> {
        let open = match self {
            Self::Sqlite { acting, reading } => Open::Sqlite(match purpose {
                Purpose::Read => reading.begin_with("BEGIN").await?,
                // SQLite has one writer at a time, whatever is written.
                Purpose::Act | Purpose::Aside => acting.begin_with("BEGIN IMMEDIATE").await?,
            }),
            Self::Postgres { acting, reading } => Open::Postgres(match purpose {
                Purpose::Read => {
                    reading.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?
                }
                // Whatever the operator made the default: with the lock held, each statement must see all
                // that was committed before.
                Purpose::Act => acting.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?,
                Purpose::Aside => {
                    reading.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?
                }
            }),
        };
        Ok(Link::new(open))
    }

    /// Closes all connections, once what uses them has ended.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { acting, reading } => {
                reading.close().await;
                acting.close().await;
            }
            Self::Postgres { acting, reading } => {
                reading.close().await;
                acting.close().await;
            }
        }
    }
}

/// Tries until it succeeds, fails for good, or `wait` is over.
pub(crate) async fn patiently<T, F>(
    wait: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T, StateError>
where
    F: Future<Output = Result<T, StateError>>,
{
    let mut last = None;
    let tries = async {
        loop {
            match attempt().await {
                Err(error) if error.is_retryable() => last = Some(error),
                done => return done,
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(wait, tries).await {
        Ok(done) => done,
        Err(_) => Err(last.unwrap_or_else(|| {
            StateError::unavailable(format!("no answer within {} ms", wait.as_millis()))
        })),
    }
}

fn sqlite_options(path: &Path, wait: Duration) -> Result<SqliteConnectOptions, StateError> {
    let shown = path.display();
    // SQLite's other files take their mode from this one.
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let meta = file.and_then(|file| file.metadata());
    let meta = meta.map_err(|error| {
        StateError::settings(format!("the file `{shown}` cannot be opened: {error}"))
    })?;
    if meta.mode() & 0o077 != 0 {
        let why = format!("the file `{shown}` is open to others: run `chmod 600 {shown}`");
        return Err(StateError::Settings { why });
    }
    Ok(SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        // Each commit is on the disk before it is answered.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(wait)
        .disable_statement_logging())
}

fn postgres_options(url: &SecretText, wait: Duration) -> Result<PgConnectOptions, StateError> {
    let malformed = || {
        StateError::settings(
            "its URL must be like `postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full`",
        )
    };
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme)) {
        return Err(malformed());
    }
    // What the parser says may hold the password.
    let options = PgConnectOptions::from_str(url.expose()).map_err(|_| malformed())?;
    let host = options.get_host();
    let here = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if !here && matches!(options.get_ssl_mode(), PgSslMode::Allow | PgSslMode::Prefer) {
        return Err(StateError::settings(
            "its URL must say `sslmode=verify-full`, or `sslmode=disable` where the network is trusted",
        ));
    }
    let lock = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).clamp(1, STATEMENT_MS);
    Ok(options
        .application_name("rolecall-server")
        .options([
            ("lock_timeout", lock.to_string()),
            ("statement_timeout", STATEMENT_MS.to_string()),
            ("idle_in_transaction_session_timeout", IDLE_MS.to_string()),
        ])
        .disable_statement_logging())
}

/// The migrations, in one spelling or the other.
fn migrator(spell: impl Fn(&str) -> String) -> Migrator {
    let migrations = TABLES.iter().map(|(version, about, sql)| {
        let sql = AssertSqlSafe(spell(sql)).into_sql_str();
        Migration::new(*version, (*about).into(), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name(MADE);
    migrator
}

/// All in one transaction that nobody else can be in: two first starts at once make one database.
async fn migrate_sqlite(options: &SqliteConnectOptions) -> Result<(), StateError> {
    let mut connection = SqliteConnection::connect_with(options).await?;
    let mut open = connection.begin_with("BEGIN IMMEDIATE").await?;
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table'";
    let tables = sqlx::query_scalar::<_, String>(tables).fetch_all(&mut *open).await?;
    ours(&tables)?;
    migrator(str::to_owned).run_direct(None, &mut *open, false).await.map_err(unmigrated)?;
    open.commit().await?;
    Ok(connection.close().await?)
}

/// The migrator holds a lock of the whole database until the connection is closed, which it is in any case.
async fn migrate_postgres(options: &PgConnectOptions) -> Result<(), StateError> {
    let mut connection = PgConnection::connect_with(options).await?;
    let facts = "SELECT current_setting('server_encoding'), current_setting('synchronous_commit'), \
                 current_setting('server_version_num')::int / 10000";
    let facts = sqlx::query(facts).fetch_one(&mut connection).await?;
    if facts.try_get::<String, _>(0)? != "UTF8" {
        return Err(StateError::settings("its encoding must be UTF8"));
    }
    if facts.try_get::<String, _>(1)? == "off" {
        return Err(StateError::settings(
            "its `synchronous_commit` is off, so that a crash loses what was acknowledged",
        ));
    }
    if facts.try_get::<i32, _>(2)? < POSTGRES_OLDEST {
        return Err(StateError::settings(format!("PostgreSQL must be {POSTGRES_OLDEST} or newer")));
    }
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()";
    let tables = sqlx::query_scalar::<_, String>(tables).fetch_all(&mut connection).await?;
    ours(&tables)?;
    let bytewise = |sql: &str| sql.replace(" TEXT", " TEXT COLLATE \"C\"");
    migrator(bytewise).run_direct(None, &mut connection, false).await.map_err(unmigrated)?;
    Ok(connection.close().await?)
}

/// Refuses a database that another program uses.
fn ours(tables: &[String]) -> Result<(), StateError> {
    if tables.is_empty() || tables.iter().any(|table| table == MADE) {
        return Ok(());
    }
    Err(StateError::settings("it holds the tables of another program: give it one of its own"))
}

fn unmigrated(error: MigrateError) -> StateError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMissing(version) => StateError::settings(format!(
            "a newer release wrote it (its tables have version {version}): use that one"
        )),
        MigrateError::VersionMismatch(version) => StateError::settings(format!(
            "its tables were made by another text of version {version}"
        )),
        other => StateError::settings(other.to_string()),
    }
}
