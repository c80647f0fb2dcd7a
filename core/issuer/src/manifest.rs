use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Algorithm, KeyId, KeyRing, NotAKeyId, State, UnknownAlgorithm};

/// A key ring without its keys, for the disk: which keys there are and where in life they stand.
///
/// ```json
/// { "version": 1, "keys": [
///   { "state": "active", "kid": "NzbLsXh8…", "algorithm": "ES256", "since": "2026-01-01T00:00:00Z" }
/// ] }
/// ```
///
/// The keys lie beside it, one PEM file each, named by their kid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest(Vec<Entry>);

/// One key of a ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name.
    pub kid: KeyId,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// Where it is in its life.
    pub state: State,
}

/// A manifest is damaged or does not fit its keys; the operator restores the issuer's folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidManifest {
    /// Too large.
    #[error("key manifest has {0} bytes, more than {max}: is it the right file?", max = Manifest::LENGTH_MAX)]
    TooLong(usize),
    /// Not the JSON of a manifest.
    #[error("key manifest is not readable: {0}")]
    Json(String),
    /// Written by another release.
    #[error("key manifest has version `{0}`, this release reads `{version}`", version = Manifest::VERSION)]
    Version(u32),
    /// A name that is none.
    #[error(transparent)]
    KeyId(#[from] NotAKeyId),
    /// An algorithm we do not have.
    #[error(transparent)]
    Algorithm(#[from] UnknownAlgorithm),
    /// A time that is none.
    #[error("key manifest: time must look like `2026-01-01T00:00:00Z`: `{0}`")]
    Time(String),
    /// More keys than a ring holds.
    #[error("key manifest names {0} keys, more than the {max} a ring holds", max = KeyRing::KEYS_MAX)]
    Count(usize),
    /// One key twice.
    #[error("key manifest names key `{0}` twice")]
    Twice(KeyId),
    /// None or several sign.
    #[error("key manifest names {0} active keys, there must be exactly one")]
    Active(usize),
    /// Several wait.
    #[error("key manifest names {0} waiting keys, there must be one at most")]
    Next(usize),
    /// A key is not there.
    #[error("key `{0}` is in the manifest, but is not there")]
    KeyMissing(KeyId),
    /// A key that nothing mentions.
    #[error("key `{0}` is there, but is not in the manifest")]
    KeyUnknown(KeyId),
    /// The key is for another algorithm.
    #[error("key `{0}` signs with another algorithm than the manifest says")]
    OtherAlgorithm(KeyId),
}

impl Manifest {
    /// The form that this release writes.
    pub const VERSION: u32 = 1;
    /// The largest manifest that is looked at, in bytes.
    pub const LENGTH_MAX: usize = 16 * 1024;

    /// Reads what [`Self::to_json`] wrote.
    pub fn parse(text: &str) -> Result<Self, InvalidManifest> {
        if text.len() > Self::LENGTH_MAX {
            return Err(InvalidManifest::TooLong(text.len()));
        }
        let file: File =
            serde_json::from_str(text).map_err(|error| InvalidManifest::Json(error.to_string()))?;
        if file.version != Self::VERSION {
            return Err(InvalidManifest::Version(file.version));
        }
        Self::new(file.keys.into_iter().map(Line::entry).collect::<Result<_, _>>()?)
    }

    /// What entries say that were kept another way, such as in rows of a database.
    ///
    /// # Errors
    /// Unless one key signs, at most one waits, and none is named twice.
    pub fn new(entries: Vec<Entry>) -> Result<Self, InvalidManifest> {
        if entries.len() > KeyRing::KEYS_MAX {
            return Err(InvalidManifest::Count(entries.len()));
        }
        let mut kids = BTreeSet::new();
        if let Some(twice) = entries.iter().find(|entry| !kids.insert(&entry.kid)) {
            return Err(InvalidManifest::Twice(twice.kid.clone()));
        }
        let count = |is: fn(&Entry) -> bool| entries.iter().filter(|entry| is(entry)).count();
        let active = count(|entry| matches!(entry.state, State::Active { .. }));
        let next = count(|entry| matches!(entry.state, State::Next { .. }));
        match (active, next) {
            (1, 0 | 1) => Ok(Self(entries)),
            (1, _) => Err(InvalidManifest::Next(next)),
            _ => Err(InvalidManifest::Active(active)),
        }
    }

    /// The keys, in the ring's order.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The manifest as JSON for people and [`Self::parse`].
    pub fn to_json(&self) -> String {
        let keys = self.0.iter().map(Line::of).collect();
        let file = File { version: Self::VERSION, keys };
        // Only text and numbers: nothing in it can fail to print.
        serde_json::to_string_pretty(&file).unwrap_or_default()
    }

    pub(crate) fn of(entries: Vec<Entry>) -> Self {
        Self(entries)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    keys: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Next { kid: String, algorithm: String, published: String },
    Active { kid: String, algorithm: String, since: String },
    Retired { kid: String, algorithm: String, until: String },
}

impl Line {
    fn of(entry: &Entry) -> Self {
        let (kid, algorithm) = (entry.kid.to_string(), entry.algorithm.to_string());
        match entry.state {
            State::Next { published } => {
                Self::Next { kid, algorithm, published: published.to_string() }
            }
            State::Active { since } => Self::Active { kid, algorithm, since: since.to_string() },
            State::Retired { until } => Self::Retired { kid, algorithm, until: until.to_string() },
        }
    }

    fn entry(self) -> Result<Entry, InvalidManifest> {
        let (kid, algorithm, state) = match self {
            Self::Next { kid, algorithm, published } => {
                (kid, algorithm, State::Next { published: time(&published)? })
            }
            Self::Active { kid, algorithm, since } => {
                (kid, algorithm, State::Active { since: time(&since)? })
            }
            Self::Retired { kid, algorithm, until } => {
                (kid, algorithm, State::Retired { until: time(&until)? })
            }
        };
        let kid = kid.parse::<KeyId>()?;
        Ok(Entry { kid, algorithm: algorithm.parse::<Algorithm>()?, state })
    }
}

fn time(text: &str) -> Result<Timestamp, InvalidManifest> {
    text.parse().map_err(|_| InvalidManifest::Time(text.chars().take(64).collect()))
}
