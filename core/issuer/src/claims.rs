use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rand_core::TryCryptoRng;
use secret::SecretText;
use serde::Serialize;
use serde_json::Value;

use crate::{IssuerUrl, Jwk, KeyId, KeyRing, SessionTags, SigningFailed, SigningKey, Subject};

/// What a token says: who may be believed, about whom, for whom, and for how long.
///
/// As JSON, with tags and source identity in the claims that STS reads:
///
/// ```json
/// {
///   "iss": "https://oidc.example.com/fleet",
///   "sub": "application:orders:environment:prod:instance:orders-1",
///   "aud": "sts.amazonaws.com",
///   "iat": 1767225600, "nbf": 1767225540, "exp": 1767225900,
///   "jti": "BwcHBwcHBwcHBwcHBwcHBw",
///   "https://aws.amazon.com/tags": {
///     "principal_tags": { "application": ["orders"], "environment": ["prod"] },
///     "transitive_tag_keys": ["application"]
///   },
///   "https://aws.amazon.com/source_identity": "orders-1"
/// }
/// ```
///
/// [AWS: session tags](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_adding-assume-role-idp),
/// [source identity](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html),
/// [RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    issuer: IssuerUrl,
    subject: Subject,
    audience: String,
    issued: Timestamp,
    life: Duration,
    jti: [u8; 16],
    tags: SessionTags,
    source_identity: Option<String>,
}

/// STS would refuse such a token; whoever writes the binding corrects it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClaims {
    /// Not a client id that IAM takes.
    #[error(
        "audience must be 1 to {max} printable characters without spaces: `{0}`",
        max = Claims::AUDIENCE_MAX
    )]
    Audience(String),
    /// Dead on arrival, or alive for longer than the exchange takes.
    #[error("token life must be 1 to {max} whole seconds: `{0:?}`", max = Claims::LIFE_MAX.as_secs())]
    Life(Duration),
    /// Not a source identity.
    #[error("source identity must be 2 to 64 letters, digits or `_+=,.@-`: `{0}`")]
    SourceIdentity(String),
    /// Too many or too long tags together.
    #[error(
        "token would have up to {0} characters, more than the {max} STS takes: send fewer session tags",
        max = Claims::TOKEN_MAX
    )]
    TokenTooLong(usize),
}

impl Claims {
    /// How long a token lives, at most and unless said otherwise: it is exchanged at once.
    pub const LIFE_MAX: Duration = Duration::from_secs(5 * 60);
    /// How long before it was issued a token is already good, for clocks that are behind ours.
    pub const CLOCK_SKEW: Duration = Duration::from_secs(60);
    /// The longest audience (client id) that IAM takes, in characters.
    pub const AUDIENCE_MAX: usize = 255;
    /// The longest token that STS takes, in characters.
    pub const TOKEN_MAX: usize = 20_000;

    /// A token for `subject` that lives [`Self::LIFE_MAX`] from `issued`, without tags.
    ///
    /// `random` becomes the token's id; it must be fresh for each token.
    pub fn new(
        issuer: &IssuerUrl,
        subject: &Subject,
        audience: &str,
        issued: Timestamp,
        random: [u8; 16],
    ) -> Result<Self, InvalidClaims> {
        let legal = audience.bytes().all(|b| b.is_ascii_graphic());
        if !legal || !(1..=Self::AUDIENCE_MAX).contains(&audience.len()) {
            return Err(InvalidClaims::Audience(audience.chars().take(256).collect()));
        }
        Ok(Self {
            issuer: issuer.clone(),
            subject: subject.clone(),
            audience: audience.to_owned(),
            issued,
            life: Self::LIFE_MAX,
            jti: random,
            tags: SessionTags::default(),
            source_identity: None,
        })
    }

    /// Shortens the token's life.
    pub fn with_life(mut self, life: Duration) -> Result<Self, InvalidClaims> {
        if life.as_secs() == 0 || life.subsec_nanos() != 0 || life > Self::LIFE_MAX {
            return Err(InvalidClaims::Life(life));
        }
        self.life = life;
        Ok(self)
    }

    /// Adds session tags; fails where the token would get too long for STS.
    pub fn with_tags(mut self, tags: SessionTags) -> Result<Self, InvalidClaims> {
        self.tags = tags;
        self.bounded()
    }

    /// Adds a source identity, which stays with every session that comes out of this one.
    pub fn with_source_identity(mut self, name: &str) -> Result<Self, InvalidClaims> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
        if !(2..=64).contains(&name.len()) || !name.bytes().all(legal) {
            return Err(InvalidClaims::SourceIdentity(name.chars().take(128).collect()));
        }
        self.source_identity = Some(name.to_owned());
        self.bounded()
    }

    /// The signed token, by the ring's active key. `random` blinds an RSA signature.
    pub fn token<R>(&self, keys: &KeyRing, random: &mut R) -> Result<SecretText, SigningFailed>
    where
        R: TryCryptoRng + ?Sized,
    {
        let key = keys.active();
        let unsigned = self.unsigned(key.public());
        let signature = key.sign(unsigned.bytes(), random)?;
        Ok(unsigned.signed(&signature))
    }

    /// The token but for its signature, for a key that signs elsewhere: `key` is its public half.
    pub fn unsigned(&self, key: &Jwk) -> Unsigned {
        let (alg, kid) = (key.algorithm().as_str(), key.kid().as_str());
        let mut text = URL_SAFE_NO_PAD.encode(text(&Header { alg, kid, typ: "JWT" }));
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(self.payload(), &mut text);
        Unsigned(text)
    }

    /// The claims as they are signed.
    pub fn to_json(&self) -> Value {
        // What was written as JSON can be read as JSON.
        serde_json::from_str(&self.payload()).unwrap_or_default()
    }

    /// The text that is signed, as it is: written without a tree of values in between, because every token needs it.
    fn payload(&self) -> String {
        let issued = self.issued.as_second();
        text(&Payload {
            iss: self.issuer.as_str(),
            sub: self.subject.as_str(),
            aud: &self.audience,
            iat: issued,
            nbf: issued.saturating_sub_unsigned(Self::CLOCK_SKEW.as_secs()),
            exp: issued.saturating_add_unsigned(self.life.as_secs()),
            jti: URL_SAFE_NO_PAD.encode(self.jti),
            tags: Some(&self.tags).filter(|tags| !tags.is_empty()),
            source_identity: self.source_identity.as_deref(),
        })
    }

    /// Passes claims whose token fits whichever key signs it.
    fn bounded(self) -> Result<Self, InvalidClaims> {
        let payload = self.payload().len();
        let signature = SigningKey::SIGNATURE_MAX;
        let token = [HEADER_BYTES, payload, signature].map(encoded).iter().sum::<usize>() + 2;
        if token > Self::TOKEN_MAX { Err(InvalidClaims::TokenTooLong(token)) } else { Ok(self) }
    }
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

#[derive(Serialize)]
struct Payload<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    #[serde(rename = "https://aws.amazon.com/tags", skip_serializing_if = "Option::is_none")]
    tags: Option<&'a SessionTags>,
    #[serde(
        rename = "https://aws.amazon.com/source_identity",
        skip_serializing_if = "Option::is_none"
    )]
    source_identity: Option<&'a str>,
}

/// JSON without white space. Texts and numbers under names are always JSON.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A token that waits for its signature. It is worth nothing without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned(String);

impl Unsigned {
    /// What is to be signed.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The token. `signature` has the form that [`SigningKey::sign`] gives it: PKCS#1 v1.5 bytes for RSA,
    /// `r ‖ s` for ECDSA (see [`crate::p256_signature`] for a service that answers in DER).
    pub fn signed(self, signature: &[u8]) -> SecretText {
        let mut token = self.0;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        SecretText::new(token)
    }
}

/// Characters that `bytes` bytes have in base64url without padding.
const fn encoded(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// Bytes in a token's header, whichever algorithm.
const HEADER_BYTES: usize = r#"{"alg":"RS256","kid":"","typ":"JWT"}"#.len() + KeyId::LENGTH;

// INVARIANT (BriefToken): a token outlives the STS call it is made for, not much else.
const _: () = assert!(Claims::LIFE_MAX.as_secs() <= 5 * 60);
// INVARIANT (BornValid): the skew allowance can only make a token good earlier, never longer.
const _: () = assert!(Claims::CLOCK_SKEW.as_secs() < Claims::LIFE_MAX.as_secs());
// INVARIANT (PlainTokenFits): without tags no token is too long, so `new` need not check.
const _: () = assert!(
    encoded(HEADER_BYTES)
        + encoded(IssuerUrl::LENGTH_MAX + Subject::LENGTH_MAX + Claims::AUDIENCE_MAX * 2 + 512)
        + encoded(SigningKey::SIGNATURE_MAX)
        <= Claims::TOKEN_MAX
);
