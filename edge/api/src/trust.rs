//! By which authority a server is known.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Access, endpoint::endpoints};

/// The beginning of a SHA-256 over an authority's certificate (DER): 128 bits, as 32 hexadecimal digits.
///
/// Nobody can make another certificate with the same one: finding it takes 2^128 tries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 16]);

/// The text is not a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an authority's pin has 32 digits of `0-9 a-f`")]
pub struct InvalidPin;

impl From<[u8; 16]> for Pin {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Pin {
    type Err = InvalidPin;

    fn from_str(text: &str) -> Result<Self, InvalidPin> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(InvalidPin) };
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
        let bytes = bytes.ok_or(InvalidPin)?;
        Ok(Self(bytes.try_into().map_err(|_| InvalidPin)?))
    }
}

/// What a lower-case hexadecimal digit stands for. There is one spelling.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

/// The server's authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trust {
    /// The certificate of the server's own authority, as PEM.
    pub ca_pem: String,
    /// `sha256:` and the SHA-256 of its DER form, as 64 hexadecimal digits.
    pub fingerprint: String,
}

endpoints! {
    /// Shows the server's authority.
    ///
    /// Who reads it over a connection that is not trusted must compare the fingerprint with one that came
    /// another way.
    ReadTrust = "trust": GET "/v1/trust", Access::Open, answer Trust;
}
