use std::fmt;

use sha2::{Digest as _, Sha256};

/// Whom a token speaks for, as its `sub` claim:
/// `application:orders:environment:prod:instance:orders-1`.
///
/// The names come first and the instance last, so that a trust policy picks what it wants with
/// `StringLike`: all of production is `application:orders:environment:prod:instance:*`. No name
/// can hold `:`, `*` or `?`, so a name never reaches into the next field or acts as a pattern.
/// The condition key is [`IssuerUrl::condition_key`](crate::IssuerUrl::condition_key)`("sub")`,
/// that is `<issuer without https://>:sub`, and `:aud` for the audience.
///
/// [AWS: keys for OIDC federation](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#condition-keys-wif)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject(String);

/// A part of a subject is not a legal name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    /// Whoever named the application must choose another name.
    #[error(
        "{part} in a token's subject must be 1 to {max} letters, digits, `.`, `_` or `-`: `{value}`",
        max = Subject::NAME_MAX
    )]
    Name {
        /// `application` or `environment`.
        part: &'static str,
        /// What was given.
        value: String,
    },
    /// Whoever derives instances from evidence must clean it first.
    #[error(
        "instance in a token's subject must be 1 to {max} letters, digits or `._:@-`: `{0}`",
        max = Subject::INSTANCE_MAX
    )]
    Instance(String),
}

impl Subject {
    /// The longest application or environment, in characters.
    pub const NAME_MAX: usize = 64;
    /// The longest instance, in characters.
    pub const INSTANCE_MAX: usize = 128;
    /// The longest subject that AWS STS takes, in characters.
    pub const LENGTH_MAX: usize = 255;

    /// Names one workload.
    ///
    /// An instance that does not fit behind long names is cut and ends in `-` and 16 digits of
    /// its SHA-256, so that two long ones stay two; trust policies match instances with `*`.
    pub fn new(
        application: &str,
        environment: &str,
        instance: &str,
    ) -> Result<Self, InvalidSubject> {
        let name = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        for (part, value) in [("application", application), ("environment", environment)] {
            if !(1..=Self::NAME_MAX).contains(&value.len()) || !value.bytes().all(name) {
                let value = value.chars().take(128).collect();
                return Err(InvalidSubject::Name { part, value });
            }
        }
        let legal = |b: u8| name(b) || b == b':' || b == b'@';
        if !(1..=Self::INSTANCE_MAX).contains(&instance.len()) || !instance.bytes().all(legal) {
            return Err(InvalidSubject::Instance(instance.chars().take(256).collect()));
        }
        let names = Self::pattern(application, environment);
        let room = Self::LENGTH_MAX.saturating_sub(names.len());
        if instance.len() <= room {
            return Ok(Self(names + instance));
        }
        let digest = Sha256::digest(instance);
        let kept = instance.chars().take(room.saturating_sub(1 + 2 * DIGEST_BYTES));
        let mut text = names + &kept.collect::<String>() + "-";
        for byte in digest.iter().take(DIGEST_BYTES) {
            text += &format!("{byte:02x}");
        }
        Ok(Self(text))
    }

    /// The claim's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Everything up to the instance.
    pub(crate) fn pattern(application: &str, environment: &str) -> String {
        format!("application:{application}:environment:{environment}:instance:")
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes of digest behind a cut instance: 64 bits keep a fleet's instances apart.
const DIGEST_BYTES: usize = 8;

// INVARIANT (RoomForInstance): the longest names leave room for a part of the instance.
const _: () = assert!(
    "application::environment::instance:".len() + 2 * Subject::NAME_MAX + 2 * DIGEST_BYTES + 2
        <= Subject::LENGTH_MAX
);
