//! What a replica finds when it starts, or makes where it is the first one ever: the database, the key file,
//! the deployment's authority, and the token of the first admin.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use ledger::Draft;
use secret::{SecretBytes, SecretText};
use serde::{Deserialize, Serialize};
use serde_json::json;
use state::{Database, LoginRow, PolicyRow, SealedRow, Settings, State, StateError};

use crate::{
    authority::{Authority, AuthorityError},
    clock::Clock,
    config::Config,
    people::{FIRST_ADMIN, LOCAL},
    policies::SHIPPED,
    random,
    seal::{Seal, SealError},
};

/// The name of the authority's row.
pub(crate) const AUTHORITY: &str = "authority";
/// The kind of the row that waits for an admin's one-time token.
pub(crate) const ADMIN_TOKEN: &str = "admin-token";
/// How long an admin's one-time token lives.
pub const ADMIN_TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// How long the database is waited for where the file does not say.
const WAIT: Duration = Duration::from_secs(5);
/// The most connections to the database where the file does not say.
const CONNECTIONS: u32 = 10;
/// The longest database URL, in bytes.
const URL_MAX: u64 = 4096;

/// What a replica works with.
#[derive(Debug)]
pub struct Found {
    /// The database.
    pub state: State,
    /// What opens private keys in it.
    pub seal: Arc<Seal>,
    /// The deployment's authority.
    pub authority: Authority,
    /// The first admin's one-time token, at the first start ever.
    pub first_admin: Option<SecretText>,
}

/// What is kept of the authority in the open.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    pem: String,
}

/// A replica cannot start. Its operator must act.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// The folder or the key file cannot be used.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The folder for data cannot be used.
    #[error(transparent)]
    Disk(#[from] disk::DiskError),
    /// The database cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The authority cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The sign-in provider's part of the file cannot be used.
    #[error("[oidc]: {0}")]
    Provider(String),
    /// The system has no randomness.
    #[error("{0}")]
    Random(String),
}

impl From<ledger::InvalidDraft> for FoundError {
    fn from(error: ledger::InvalidDraft) -> Self {
        Self::State(error.into())
    }
}

/// Reaches the database that a file names.
///
/// # Errors
/// When it cannot be reached, or the folder cannot be made.
pub async fn database(config: &Config) -> Result<State, FoundError> {
    let section = &config.database;
    let number = |bounded: u64| u32::try_from(bounded).unwrap_or(CONNECTIONS);
    let database = match (&section.url, &section.url_file) {
        (Some(url), _) => Database::Postgres(url.clone()),
        (None, Some(path)) => Database::Postgres(secret_line(path, URL_MAX)?),
        (None, None) => {
            disk::Folder::open(&config.data)?;
            Database::Sqlite(config.data.join("state.db"))
        }
    };
    let settings = Settings {
        database,
        connections_max: section.connections_max.map_or(CONNECTIONS, |most| number(most.get())),
        wait: section.wait_s.map_or(WAIT, |wait| Duration::from_secs(wait.get())),
    };
    Ok(State::open(&settings).await?)
}

/// Finds everything, or makes it. Of two replicas that start first at once, one makes it and the other finds it.
///
/// # Errors
/// When something cannot be reached, read or made.
pub async fn find(config: &Config, clock: &Clock) -> Result<Found, FoundError> {
    let state = database(config).await?;
    let file = config.key_file();
    let row = state.read().await?.sealed(AUTHORITY).await?;
    if let Some(row) = row {
        return open(state, &file, &row);
    }
    let now = clock.now();
    let mut act = state.act().await?;
    if let Some(row) = act.sealed(AUTHORITY).await? {
        drop(act);
        return open(state, &file, &row);
    }
    let seal = Arc::new(Seal::open(&file, true)?);
    let authority = Authority::make(now)?;
    let sealed = seal.seal(AUTHORITY, authority.private_key().expose())?;
    let body = json!(Body { pem: authority.pem().to_owned() }).to_string();
    let detail = json!({ "authority": authority.fingerprint(), "version": crate::VERSION });
    act.record(Draft::new("server", "deployment.began", "deployment", detail)?, now).await?;
    act.put_sealed(&SealedRow { name: AUTHORITY.to_owned(), sealed, body }).await?;
    let reason = "what a deployment begins with".to_owned();
    let (text, actor) = (SHIPPED.to_owned(), "server".to_owned());
    act.put_policies(&PolicyRow { version: 1, text, actor, reason, since: now }).await?;
    act.commit(now).await?;
    let first_admin = Some(admin_token(&state, "server", FIRST_ADMIN, now).await?);
    Ok(Found { state, seal, authority, first_admin })
}

/// The authority of a deployment that has begun.
///
/// # Errors
/// When the database or the key file cannot be used, or the server never ran.
pub async fn present(config: &Config) -> Result<Authority, FoundError> {
    let state = database(config).await?;
    let row = state.read().await?.sealed(AUTHORITY).await?;
    let never = || StateError::Settings { why: "no server has ever run with it".to_owned() };
    let row = row.ok_or_else(never)?;
    let seal = Seal::open(&config.key_file(), false)?;
    state.close().await;
    authority(&seal, &row)
}

fn open(state: State, file: &Path, row: &SealedRow) -> Result<Found, FoundError> {
    let seal = Arc::new(Seal::open(file, false)?);
    let authority = authority(&seal, row)?;
    Ok(Found { state, seal, authority, first_admin: None })
}

fn authority(seal: &Seal, row: &SealedRow) -> Result<Authority, FoundError> {
    let damaged = |error: serde_json::Error| AuthorityError::Damaged(error.to_string());
    let body: Body = serde_json::from_str(&row.body).map_err(damaged)?;
    let key: SecretBytes = seal.unseal(AUTHORITY, &row.sealed)?;
    Ok(Authority::restore(&body.pem, &key)?)
}

/// Makes a one-time token by which somebody signs in as an admin whom no provider knows. The ledger says
/// that there is one, and for whom.
///
/// # Errors
/// When the database cannot be written or the system has no randomness.
pub async fn admin_token(
    state: &State,
    actor: &str,
    person: &str,
    now: Timestamp,
) -> Result<SecretText, FoundError> {
    let token = random::secret(api::login::FIRST_ADMIN_PREFIX);
    let token = token.map_err(|problem| FoundError::Random(problem.to_string()))?;
    let expires = now + ADMIN_TOKEN_LIFE;
    let mut act = state.act().await?;
    let detail = json!({ "expires": expires.to_string() });
    let person = format!("{LOCAL}{person}");
    act.record(Draft::new(actor, "admin-token.made", person.as_str(), detail)?, now).await?;
    act.commit(now).await?;
    let login = LoginRow {
        hash: random::hash(token.expose()),
        kind: ADMIN_TOKEN.to_owned(),
        body: SecretText::new(json!({ "person": person }).to_string()),
        expires,
    };
    state.put_login(&login).await?;
    Ok(token)
}

/// Seals everything in the database under another key file, in one act. Replicas that run go on with what they
/// have opened, and find the new file at their next start.
///
/// # Errors
/// When something was not sealed under the present key file, or cannot be written; then nothing was changed.
pub async fn reseal(config: &Config, new: &Path, clock: &Clock) -> Result<usize, FoundError> {
    let state = database(config).await?;
    let (old, new_seal) = (Seal::open(&config.key_file(), false)?, Seal::open(new, true)?);
    let mut act = state.act().await?;
    let now = clock.now();
    let again = |name: &str, sealed: &str| -> Result<String, SealError> {
        new_seal.seal(name, old.unseal(name, sealed)?.expose())
    };
    let mut count = 0;
    for mut row in act.all_sealed().await? {
        row.sealed = again(&row.name, &row.sealed)?;
        act.put_sealed(&row).await?;
        count += 1;
    }
    for mut row in act.issuer_keys().await? {
        let Some(sealed) = row.sealed.take() else { continue };
        row.sealed = Some(again(&format!("{ISSUER_KEY}{}", row.kid), &sealed)?);
        act.put_issuer_key(&row).await?;
        count += 1;
    }
    let draft = Draft::new("operator", "keys.resealed", "deployment", json!({ "rows": count }))?;
    act.record(draft, now).await?;
    act.commit(now).await?;
    state.close().await;
    Ok(count)
}

/// What the name of an issuer's key begins with when it is sealed.
pub(crate) const ISSUER_KEY: &str = "issuer/";

/// The first line of a file that holds one secret.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn secret_line(path: &Path, max: u64) -> Result<SecretText, FoundError> {
    use std::io::Read as _;
    let failed = |source| FoundError::File { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    let read = file.take(max).read_to_string(&mut text);
    let text = SecretText::new(text);
    read.map_err(failed)?;
    Ok(SecretText::new(text.expose().lines().next().unwrap_or_default().trim().to_owned()))
}
