//! By which authority a server is known.

use std::{fmt, str::FromStr};

use rustls::pki_types::{CertificateDer, pem::PemObject};
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

/// A SHA-256 over an authority's certificate (DER): `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// The text is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an authority's fingerprint is `sha256:` and 64 digits of `0-9 a-f`")]
pub struct InvalidFingerprint;

impl Fingerprint {
    /// That of a certificate in its DER form.
    pub fn of_der(certificate: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        // A SHA-256 has 32 bytes, so all of them are taken.
        for (byte, of) in bytes.iter_mut().zip(digest.as_ref()) {
            *byte = *of;
        }
        Self(bytes)
    }

    /// That of the first certificate in a PEM text; `None` where there is none.
    pub fn of_pem(pem: &str) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        Some(Self::of_der(&certificate))
    }

    /// Its beginning, as join tokens hold it.
    pub fn pin(&self) -> Pin {
        let (beginning, _) = self.0.as_chunks::<16>();
        Pin(beginning.first().copied().unwrap_or_default())
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let digits = text.strip_prefix("sha256:").ok_or(InvalidFingerprint)?;
        let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
            return Err(InvalidFingerprint);
        };
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
        let bytes = bytes.ok_or(InvalidFingerprint)?;
        Ok(Self(bytes.try_into().map_err(|_| InvalidFingerprint)?))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
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

#[cfg(test)]
#[expect(clippy::string_slice, reason = "the texts of these tests are ASCII")]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_has_one_spelling_and_begins_with_its_pin() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let fingerprint = Fingerprint::of_der(b"");
        assert_eq!(fingerprint.to_string(), empty);
        assert_eq!(empty.parse(), Ok(fingerprint));
        assert_eq!(fingerprint.pin().to_string(), "e3b0c44298fc1c149afbf4c8996fb924");
        let upper = empty.to_ascii_uppercase();
        for wrong in ["", "sha256:", &empty[7..], &empty[..70], &upper, &format!("{empty}00")] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(InvalidFingerprint), "{wrong}");
        }
    }
}
