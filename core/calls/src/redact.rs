//! The second line of redaction: what a shim should not have sent is not kept.
//!
//! The process redacts first, with the service's model at hand and a list of what may pass. Here it is the other way
//! around: a small table of what must never stay, by name, and a few forms that give a secret away under any name.

mod table;

use std::{borrow::Cow, fmt};

use crate::Event;

/// What kind of value was taken out. It is all that is told of it: no length, no beginning, no hash, for a hash of a
/// short value can be searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sensitive {
    /// What is in a table: items, keys of items, and values of conditions on them.
    DatabaseValue,
    /// Environment variables of functions and containers.
    Environment,
    /// What is in a queue, a topic, a stream, an event or a mail.
    Message,
    /// A code of a second factor, or one that confirms an account.
    MfaCode,
    /// A value of a parameter store, or what a command is run with.
    ParameterValue,
    /// A body: objects, functions' input, code, prompts, what is encrypted or signed.
    Payload,
    /// What describes a person.
    Personal,
    /// A private key.
    PrivateKey,
    /// SQL and its like, which has values in its text.
    QueryText,
    /// A password, or a secret of a store of secrets.
    Secret,
    /// The token of temporary credentials.
    SessionToken,
    /// A URL with a signature in it, which works for whoever reads it.
    SignedUrl,
    /// A token that signs somebody in.
    Token,
    /// What a machine is started with.
    UserData,
}

impl Sensitive {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::DatabaseValue,
        Self::Environment,
        Self::Message,
        Self::MfaCode,
        Self::ParameterValue,
        Self::Payload,
        Self::Personal,
        Self::PrivateKey,
        Self::QueryText,
        Self::Secret,
        Self::SessionToken,
        Self::SignedUrl,
        Self::Token,
        Self::UserData,
    ];

    /// The kind's name.
    pub fn as_str(self) -> &'static str {
        let marker = self.marker();
        marker.strip_prefix("<redacted ").and_then(|rest| rest.strip_suffix('>')).unwrap_or(marker)
    }

    /// What stands in the value's place.
    ///
    /// ```
    /// # use calls::Sensitive;
    /// assert_eq!(Sensitive::MfaCode.marker(), "<redacted mfa-code>");
    /// ```
    pub fn marker(self) -> &'static str {
        match self {
            Self::DatabaseValue => "<redacted database-value>",
            Self::Environment => "<redacted environment>",
            Self::Message => "<redacted message>",
            Self::MfaCode => "<redacted mfa-code>",
            Self::ParameterValue => "<redacted parameter-value>",
            Self::Payload => "<redacted payload>",
            Self::Personal => "<redacted personal>",
            Self::PrivateKey => "<redacted private-key>",
            Self::QueryText => "<redacted query-text>",
            Self::Secret => "<redacted secret>",
            Self::SessionToken => "<redacted session-token>",
            Self::SignedUrl => "<redacted signed-url>",
            Self::Token => "<redacted token>",
            Self::UserData => "<redacted user-data>",
        }
    }
}

impl fmt::Display for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Replaces every value of an event's parameters that must not be kept by the marker of its kind, and answers how
/// many it replaced. A number other than 0 means that a shim let something through: it is worth a look.
///
/// Doing it again changes nothing. What the process itself redacted stays as it is and is not counted.
///
/// ```
/// # use calls::{Line, decode, redact};
/// let line = br#"{"Version":2,"Type":"ApiCall","Service":"STS","Api":"AssumeRole","Timestamp":1,
///     "Parameters":{"RoleArn":["arn:aws:iam::111122223333:role/a"],"TokenCode":["123456"]}}"#;
/// let Line::Event(mut event) = decode(line).unwrap().line else { panic!("another line") };
/// assert_eq!(redact(&mut event), 1);
/// assert_eq!(event.parameters["TokenCode"], ["<redacted mfa-code>"]);
/// assert_eq!(event.parameters["RoleArn"], ["arn:aws:iam::111122223333:role/a"]);
/// ```
pub fn redact(event: &mut Event<'_>) -> usize {
    let mut replaced = 0;
    for (path, values) in &mut event.parameters {
        let named = table::by_name(&event.service, path);
        for value in values {
            if is_marker(value) {
                continue;
            }
            if let Some(kind) = named.or_else(|| by_form(value)) {
                *value = Cow::Borrowed(kind.marker());
                replaced += 1;
            }
        }
    }
    replaced
}

/// What kind of secret a value is, by the service it is for, the path it stands at and the form it has. Nothing for what
/// may be kept: names, ARNs, policies.
pub fn sensitive(service: &str, path: &str, value: &str) -> Option<Sensitive> {
    table::by_name(service, path).or_else(|| by_form(value))
}

fn is_marker(value: &str) -> bool {
    value.starts_with("<redacted ") && Sensitive::ALL.iter().any(|kind| kind.marker() == value)
}

/// Signatures and tokens in a URL's query, of both versions of signing.
const SIGNED: &[&str] =
    &["X-Amz-Signature=", "X-Amz-Security-Token=", "x-amz-security-token=", "&Signature="];

/// How session tokens begin: the same bytes come first in all of a generation.
const SESSION_TOKENS: &[&str] = &["FQoG", "FwoG", "IQoJ"];

/// The shortest session token that anybody has seen is longer, in bytes; names that begin like one are shorter.
const SESSION_TOKEN_MIN: usize = 100;

fn by_form(value: &str) -> Option<Sensitive> {
    if SIGNED.iter().any(|part| value.contains(part)) {
        return Some(Sensitive::SignedUrl);
    }
    if value.contains("-----BEGIN") && value.contains("PRIVATE KEY-----") {
        return Some(Sensitive::PrivateKey);
    }
    let begins = SESSION_TOKENS.iter().any(|beginning| value.starts_with(beginning));
    if begins && value.len() >= SESSION_TOKEN_MIN && value.bytes().all(is_base64) {
        return Some(Sensitive::SessionToken);
    }
    is_web_token(value).then_some(Sensitive::Token)
}

/// A JSON web token: three parts in base64url, of which the first two begin as objects do.
fn is_web_token(value: &str) -> bool {
    let mut parts = value.split('.');
    let object = |part: Option<&str>| {
        part.is_some_and(|part| part.starts_with("ey") && part.bytes().all(is_base64))
    };
    object(parts.next())
        && object(parts.next())
        && parts.next().is_some_and(|part| part.bytes().all(is_base64))
        && parts.next().is_none()
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=_-%".contains(&byte)
}
