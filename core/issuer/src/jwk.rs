use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Algorithm;

/// A public key as a JSON Web Key.
///
/// [RFC 7517](https://www.rfc-editor.org/rfc/rfc7517), parameters in RFC 7518 section 6.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Jwk {
    public: Public,
    kid: KeyId,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Public {
    Rsa { modulus: String, exponent: String },
    P256 { x: String, y: String },
}

impl Jwk {
    /// The JSON Web Key thumbprint: SHA-256 over the required members in lexical order.
    ///
    /// Two rings never give different keys the same name, and nobody has to choose one.
    ///
    /// [RFC 7638](https://www.rfc-editor.org/rfc/rfc7638)
    pub fn kid(&self) -> &KeyId {
        &self.kid
    }

    /// What its private half signs with.
    pub fn algorithm(&self) -> Algorithm {
        match &self.public {
            Public::Rsa { .. } => Algorithm::Rs256,
            Public::P256 { .. } => Algorithm::Es256,
        }
    }

    /// The key as it stands in a JWKS document.
    pub fn to_json(&self) -> Value {
        let kid = &self.kid;
        match &self.public {
            Public::Rsa { modulus, exponent } => json!({
                "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid.as_str(),
                "n": modulus, "e": exponent,
            }),
            Public::P256 { x, y } => json!({
                "kty": "EC", "use": "sig", "alg": "ES256", "kid": kid.as_str(),
                "crv": "P-256", "x": x, "y": y,
            }),
        }
    }

    /// Big-endian bytes without leading zeros.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self::named(Public::Rsa {
            modulus: URL_SAFE_NO_PAD.encode(modulus),
            exponent: URL_SAFE_NO_PAD.encode(exponent),
        })
    }

    /// Big-endian coordinates of 32 bytes.
    pub(crate) fn p256(x: &[u8], y: &[u8]) -> Self {
        Self::named(Public::P256 { x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) })
    }

    fn named(public: Public) -> Self {
        // Members are base64url, so nothing has to be escaped.
        let members = match &public {
            Public::Rsa { modulus, exponent } => {
                format!(r#"{{"e":"{exponent}","kty":"RSA","n":"{modulus}"}}"#)
            }
            Public::P256 { x, y } => {
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
        };
        Self { public, kid: KeyId(URL_SAFE_NO_PAD.encode(Sha256::digest(members))) }
    }
}

/// A key's name: its thumbprint, 43 base64url characters, so it is also a legal file name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// The text is not a thumbprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key id must be {max} base64url characters: `{0}`", max = KeyId::LENGTH)]
pub struct NotAKeyId(String);

impl KeyId {
    /// Characters in a key id: 256 bits, six in each.
    pub const LENGTH: usize = 43;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.len() == Self::LENGTH && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAKeyId(text.chars().take(64).collect()))
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_the_one_in_rfc_7638_section_3_1() {
        let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aP\
            FFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0\
            h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbIS\
            D08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8a\
            wapJzKnqDKgw";
        let modulus = URL_SAFE_NO_PAD.decode(modulus).unwrap();
        let key = Jwk::rsa(&modulus, &[1, 0, 1]);
        let kid = key.kid();
        assert_eq!(kid.as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(kid.as_str().parse().as_ref(), Ok(kid));
    }
}
