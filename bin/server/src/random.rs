//! Texts that nobody can guess.

use api::{Kind, Problem};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use secret::SecretText;

/// `N` random bytes from the system.
///
/// # Errors
/// When the system has none, which its operator must mend.
pub fn bytes<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Problem::new(Kind::Internal, format!("no randomness: {error}")))?;
    Ok(bytes)
}

/// A secret text of 256 random bits after `prefix`, as base64url.
///
/// # Errors
/// When the system has no randomness.
pub fn secret(prefix: &str) -> Result<SecretText, Problem> {
    let bytes = bytes::<32>()?;
    Ok(SecretText::new(format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))))
}

/// A name of 96 random bits that is no secret, after `prefix`: lower-case hexadecimal digits.
///
/// # Errors
/// When the system has no randomness.
pub fn id(prefix: &str) -> Result<String, Problem> {
    let bytes = bytes::<12>()?;
    Ok(bytes.iter().fold(prefix.to_owned(), |id, byte| format!("{id}{byte:02x}")))
}

/// What is kept of a secret text: its SHA-256, as base64url. The text has 128 random bits or more, so
/// that nobody finds it by trying.
pub fn hash(secret: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, secret.as_bytes()))
}
