//! Private keys at rest: sealed under the key file, so that the database alone is of no use.

use std::path::{Path, PathBuf};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use disk::{DiskError, Folder};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use secret::{SecretBytes, SecretKey};

/// What a sealed text begins with: the way it was sealed.
const PREFIX: &str = "v1.";

/// Seals and opens under one key.
#[derive(Debug)]
pub struct Seal {
    key: LessSafeKey,
    file: PathBuf,
}

/// Something cannot be sealed or opened. The server's operator must act.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file cannot be read or made.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is no key file, although the database holds what was sealed.
    #[error(
        "there is no key file at `{0}`, but the database holds keys that were sealed with one: copy it from another replica or a backup"
    )]
    Missing(PathBuf),
    /// Another key file sealed it, or it was changed since.
    #[error(
        "the key file `{file}` does not open `{name}`: it was sealed with another key file, or changed since; bring the key file that belongs to this database"
    )]
    Closed {
        /// The key file.
        file: PathBuf,
        /// Which row.
        name: String,
    },
    /// The system has no randomness, or the cipher refuses.
    #[error("cannot seal `{0}`")]
    Unsealable(String),
}

impl Seal {
    /// Reads the key file, or makes it where `fresh`: nothing was sealed yet.
    ///
    /// # Errors
    /// When it cannot be read or made, others may read it, or it is missing although something was sealed.
    pub fn open(file: &Path, fresh: bool) -> Result<Self, SealError> {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = Folder::open(parent.unwrap_or(Path::new(".")))?;
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("server.key");
        if !fresh && folder.read(name)?.is_none() {
            return Err(SealError::Missing(file.to_owned()));
        }
        Self::of(&folder.secret_key(name)?, file)
    }

    /// Seals under `key`, which is kept in `file`.
    ///
    /// # Errors
    /// Never in practice: a key of 32 bytes is one.
    pub fn of(key: &SecretKey, file: &Path) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, key.expose());
        let key = key.map_err(|_| SealError::Unsealable(file.display().to_string()))?;
        Ok(Self { key: LessSafeKey::new(key), file: file.to_owned() })
    }

    /// Seals `plain` as the row `name`; only as that row can it be opened again.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Result<String, SealError> {
        let failed = || SealError::Unsealable(name.to_owned());
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| failed())?;
        let mut sealed = plain.to_vec();
        // 96 random bits: two alike are not to be expected before billions of rows.
        let (aad, unique) = (Aad::from(name.as_bytes()), Nonce::assume_unique_for_key(nonce));
        self.key.seal_in_place_append_tag(unique, aad, &mut sealed).map_err(|_| failed())?;
        sealed.splice(..0, nonce);
        Ok(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Opens what was sealed as the row `name`.
    ///
    /// # Errors
    /// [`SealError::Closed`] when it was not sealed so with this key.
    pub fn unseal(&self, name: &str, sealed: &str) -> Result<SecretBytes, SealError> {
        self.try_open(name, sealed)
            .ok_or_else(|| SealError::Closed { file: self.file.clone(), name: name.to_owned() })
    }

    fn try_open(&self, name: &str, sealed: &str) -> Option<SecretBytes> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(sealed.strip_prefix(PREFIX)?).ok()?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut rest = SecretBytes::new(rest.to_vec());
        let plain = {
            let mut buffer = rest.expose().clone();
            let length =
                self.key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut buffer).ok()?.len();
            buffer.truncate(length);
            buffer
        };
        rest = SecretBytes::new(plain);
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(byte: u8) -> Seal {
        Seal::of(&SecretKey::new([byte; 32]), Path::new("server.key")).unwrap()
    }

    #[track_caller]
    fn check(opened: Result<SecretBytes, SealError>, expected: Option<&[u8]>) {
        match (opened, expected) {
            (Ok(bytes), Some(expected)) => assert_eq!(bytes.expose(), expected),
            (Err(SealError::Closed { .. }), None) => {}
            (opened, _) => panic!("{opened:?}"),
        }
    }

    #[test]
    fn only_the_same_key_opens_the_same_row() {
        let sealed = seal(1).seal("authority", b"private").unwrap();
        check(seal(1).unseal("authority", &sealed), Some(b"private"));
        check(seal(2).unseal("authority", &sealed), None);
        check(seal(1).unseal("orders", &sealed), None);
        for damaged in [
            "",
            "v1.",
            "v2.AAAA",
            sealed.strip_prefix(char::is_alphabetic).unwrap_or_default(),
            &format!("{sealed}AAAA"),
        ] {
            check(seal(1).unseal("authority", damaged), None);
        }
        assert_ne!(sealed, seal(1).seal("authority", b"private").unwrap());
    }

    #[test]
    fn a_missing_key_file_is_made_only_while_nothing_was_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys/server.key");
        assert!(matches!(Seal::open(&file, false), Err(SealError::Missing(_))));
        let sealed = Seal::open(&file, true).unwrap().seal("a", b"b").unwrap();
        check(Seal::open(&file, false).unwrap().unseal("a", &sealed), Some(b"b"));
    }
}
