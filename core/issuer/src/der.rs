//! What key services answer in: public keys and ECDSA signatures as DER.

use p256::{
    ecdsa,
    pkcs8::{DecodePublicKey as _, SubjectPublicKeyInfoRef},
};
use rsa::{PublicKey, traits::PublicKeyParts as _};

use crate::{
    Algorithm, Jwk, SigningKey,
    key::{EC, P_256, RSA},
};

/// Bytes are not a public key that this issuer can publish; the operator names another key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicKey {
    /// Larger than any key in use.
    #[error("public key has {0} bytes, more than {max}", max = Jwk::DER_MAX)]
    TooLong(usize),
    /// Not DER of a public key.
    #[error("public key is not a SubjectPublicKeyInfo in DER")]
    NotSpki,
    /// A key for something else.
    #[error("public key must be RSA of 2048 or 3072 bits or EC on P-256")]
    Unsupported,
    /// The right kind, but not a key.
    #[error("{0} public key is damaged")]
    Damaged(Algorithm),
}

/// Bytes are not an ECDSA signature in DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not an ECDSA signature on P-256 in DER")]
pub struct InvalidSignature;

impl Jwk {
    /// The largest public key that is looked at, in bytes. One of RSA with 3072 bits needs 422.
    pub const DER_MAX: usize = 1024;

    /// Reads a public key as key services and certificates hold it: DER of a `SubjectPublicKeyInfo`.
    ///
    /// [RFC 5280 section 4.1.2.7](https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.7)
    ///
    /// # Errors
    /// When it is something else than a key that this issuer can sign with.
    pub fn from_der(der: &[u8]) -> Result<Self, InvalidPublicKey> {
        if der.len() > Self::DER_MAX {
            return Err(InvalidPublicKey::TooLong(der.len()));
        }
        let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| InvalidPublicKey::NotSpki)?;
        match info.algorithm.oid {
            RSA => {
                let key = PublicKey::from_public_key_der(der)
                    .map_err(|_| InvalidPublicKey::Damaged(Algorithm::Rs256))?;
                let bits = usize::try_from(key.n().bit_width_vartime()).unwrap_or(usize::MAX);
                if !SigningKey::RSA_BITS_LEGAL.contains(&bits) {
                    return Err(InvalidPublicKey::Unsupported);
                }
                Ok(Self::rsa(&key.n_bytes(), &key.e_bytes()))
            }
            EC if info.algorithm.parameters_oid() == Ok(P_256) => {
                let key = ecdsa::VerifyingKey::from_public_key_der(der)
                    .map_err(|_| InvalidPublicKey::Damaged(Algorithm::Es256))?;
                Ok(Self::of_p256(&key))
            }
            _ => Err(InvalidPublicKey::Unsupported),
        }
    }

    /// An uncompressed point has both coordinates.
    pub(crate) fn of_p256(key: &ecdsa::VerifyingKey) -> Self {
        let point = key.to_sec1_point(false);
        let x = point.x().map_or(&[][..], |x| x.as_slice());
        let y = point.y().map_or(&[][..], |y| y.as_slice());
        Self::p256(x, y)
    }
}

/// The signature as tokens hold it, `r ‖ s`, from the DER that key services answer.
///
/// [RFC 7518 section 3.4](https://www.rfc-editor.org/rfc/rfc7518#section-3.4)
///
/// # Errors
/// When it is anything else than two numbers of the curve's group in DER.
pub fn p256_signature(der: &[u8]) -> Result<[u8; 64], InvalidSignature> {
    let signature = ecdsa::Signature::from_der(der).map_err(|_| InvalidSignature)?;
    Ok(signature.to_bytes().into())
}
