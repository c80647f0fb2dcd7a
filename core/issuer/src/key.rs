use std::{fmt, str::FromStr};

use p256::{ecdsa, elliptic_curve::Generate as _, pkcs8::ObjectIdentifier};
use rand_core::TryCryptoRng;
use rsa::{
    PrivateKey, pkcs1v15,
    pkcs8::{
        DecodePrivateKey as _, EncodePrivateKey as _, LineEnding, PrivateKeyInfoRef,
        SecretDocument, der::pem::PemLabel as _,
    },
    sha2::Sha256,
    signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _},
    traits::PublicKeyParts as _,
};
use secret::SecretText;

use crate::{Jwk, KeyId};

/// A signature algorithm, one of those AWS STS accepts and every OIDC library knows.
///
/// [RFC 7518 section 3.1](https://www.rfc-editor.org/rfc/rfc7518#section-3.1)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: for verifiers that know nothing else.
    Rs256,
    /// ECDSA on P-256 with SHA-256: small and quick, the better choice for AWS.
    Es256,
}

/// The text is not an algorithm that this issuer signs with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signing algorithm must be `RS256` or `ES256`: `{0}`")]
pub struct UnknownAlgorithm(String);

impl Algorithm {
    /// Every algorithm, the one OpenID Connect demands of everybody first.
    pub const ALL: [Self; 2] = [Self::Rs256, Self::Es256];

    /// The name in a token's header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        known.ok_or_else(|| UnknownAlgorithm(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A private key that signs tokens. It is wiped when dropped and prints as its name.
///
/// **RSA timing** ([RUSTSEC-2023-0071](https://rustsec.org/advisories/RUSTSEC-2023-0071.html),
/// "Marvin"): the advisory is about the big-integer library that `rsa` used up to 0.9. Since 0.10
/// the private operation is constant-time Montgomery arithmetic on `crypto-bigint`, and with a
/// source of randomness it also blinds base, exponents and primes afresh each time and checks the
/// result against the public key before it leaves. This type never signs RSA without randomness,
/// never decrypts, and signs only when a lease is fetched, so neither the timing nor the chosen
/// inputs that the attack needs are to be had. ES256 nonces come from RFC 6979: the same token is
/// signed the same way twice, and bad randomness cannot give the key away.
pub struct SigningKey {
    private: Private,
    public: Jwk,
}

enum Private {
    Rs256(Box<pkcs1v15::SigningKey<Sha256>>),
    Es256(Box<ecdsa::SigningKey>),
}

/// A text is not a key that this issuer can sign with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Larger than any key in use: the operator named the wrong file.
    #[error("signing key has {0} bytes, more than {max}: is it the right file?", max = SigningKey::PEM_MAX)]
    TooLong(usize),
    /// Not PEM, or a certificate, a public key, or a key under a password: the operator converts it.
    #[error(
        "signing key must be unencrypted PKCS#8 PEM (`-----BEGIN PRIVATE KEY-----`): \
         convert it with `openssl pkcs8 -topk8 -nocrypt`"
    )]
    NotPkcs8,
    /// A key for something else: the operator makes another.
    #[error(
        "signing key must be RSA of 2048 or 3072 bits or EC on P-256: make one with \
         `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
    )]
    Unsupported,
    /// The right kind, but damaged: the operator restores it or rotates to a new one.
    #[error("{0} signing key is damaged: restore the file or rotate to a new key")]
    Damaged(Algorithm),
}

/// The source of randomness failed: the machine is unwell, and no key was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source of randomness failed, so no signing key was made")]
pub struct NoRandomness;

/// No signature came out. Trying again helps only if randomness was at fault; else the operator
/// rotates to a new key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key `{kid}` did not sign: randomness failed or the key is damaged")]
pub struct SigningFailed {
    /// The key.
    pub kid: KeyId,
}

impl SigningKey {
    /// The largest PEM text that is looked at, in bytes. A 3072-bit RSA key needs 2.5 KiB.
    pub const PEM_MAX: usize = 16 * 1024;
    /// Bits in a generated RSA key. Keys are replaced long before 2048 bits fall.
    pub const RSA_BITS: usize = 2048;
    /// Bits an RSA key may have.
    pub const RSA_BITS_LEGAL: [usize; 2] = [Self::RSA_BITS, 3072];
    /// The longest signature, in bytes.
    pub(crate) const SIGNATURE_MAX: usize = 3072 / 8;

    /// Makes a new key. RSA takes up to seconds, so keep it off any path that a client waits for.
    pub fn generate<R>(algorithm: Algorithm, random: &mut R) -> Result<Self, NoRandomness>
    where
        R: TryCryptoRng + ?Sized,
    {
        match algorithm {
            Algorithm::Rs256 => {
                let key = PrivateKey::new(random, Self::RSA_BITS).map_err(|_| NoRandomness)?;
                Ok(Self::rs256(key))
            }
            Algorithm::Es256 => {
                let key = ecdsa::SigningKey::try_generate_from_rng(random);
                key.map_err(|_| NoRandomness).map(Self::es256)
            }
        }
    }

    /// Reads an unencrypted PKCS#8 key.
    pub fn from_pem(text: &SecretText) -> Result<Self, InvalidKey> {
        let text = text.expose();
        if text.len() > Self::PEM_MAX {
            return Err(InvalidKey::TooLong(text.len()));
        }
        let (label, document) =
            SecretDocument::from_pem(text.trim_ascii()).map_err(|_| InvalidKey::NotPkcs8)?;
        PrivateKeyInfoRef::validate_pem_label(label).map_err(|_| InvalidKey::NotPkcs8)?;
        let info =
            PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| InvalidKey::NotPkcs8)?;
        match info.algorithm.oid {
            RSA => {
                let key = PrivateKey::from_pkcs8_der(document.as_bytes())
                    .map_err(|_| InvalidKey::Damaged(Algorithm::Rs256))?;
                let bits = usize::try_from(key.n().bit_width_vartime()).unwrap_or(usize::MAX);
                if !Self::RSA_BITS_LEGAL.contains(&bits) {
                    return Err(InvalidKey::Unsupported);
                }
                Ok(Self::rs256(key))
            }
            EC if info.algorithm.parameters_oid() == Ok(P_256) => {
                let key = ecdsa::SigningKey::from_pkcs8_der(document.as_bytes())
                    .map_err(|_| InvalidKey::Damaged(Algorithm::Es256))?;
                Ok(Self::es256(key))
            }
            _ => Err(InvalidKey::Unsupported),
        }
    }

    /// The key as PKCS#8 PEM, for a file that only the issuer can read.
    pub fn to_pem(&self) -> Result<SecretText, InvalidKey> {
        let pem = match &self.private {
            Private::Rs256(key) => key.to_pkcs8_pem(LineEnding::LF),
            Private::Es256(key) => key.to_pkcs8_pem(LineEnding::LF),
        };
        let damaged = |_| InvalidKey::Damaged(self.algorithm());
        pem.map(|mut pem| SecretText::new(std::mem::take(&mut *pem))).map_err(damaged)
    }

    /// Signs `message`: PKCS#1 v1.5 bytes for RSA, `r ‖ s` for ECDSA (RFC 7518 section 3.4).
    pub fn sign<R>(&self, message: &[u8], random: &mut R) -> Result<Vec<u8>, SigningFailed>
    where
        R: TryCryptoRng + ?Sized,
    {
        let signature = match &self.private {
            Private::Rs256(key) => {
                let signature = key.try_sign_with_rng(random, message);
                signature.map(|signature: pkcs1v15::Signature| signature.to_vec())
            }
            Private::Es256(key) => {
                let signature = key.try_sign(message);
                signature.map(|signature: ecdsa::Signature| signature.to_vec())
            }
        };
        signature.map_err(|_| SigningFailed { kid: self.kid().clone() })
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }

    /// Its name: the thumbprint of the public key.
    pub fn kid(&self) -> &KeyId {
        self.public.kid()
    }

    /// What verifiers need.
    pub fn public(&self) -> &Jwk {
        &self.public
    }

    fn rs256(key: PrivateKey) -> Self {
        let public = Jwk::rsa(&key.n_bytes(), &key.e_bytes());
        let private = Private::Rs256(Box::new(pkcs1v15::SigningKey::new(key)));
        Self { public, private }
    }

    fn es256(key: ecdsa::SigningKey) -> Self {
        let public = Jwk::of_p256(key.verifying_key());
        Self { public, private: Private::Es256(Box::new(key)) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm(), self.kid())
    }
}

/// `rsaEncryption`, RFC 8017 appendix A.1.
pub(crate) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// `id-ecPublicKey`, RFC 5480 section 2.1.1.
pub(crate) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// `secp256r1`, RFC 5480 section 2.1.1.1.
pub(crate) const P_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

// INVARIANT (LongestSignature): no legal key signs longer than the bound the token length uses.
const _: () = assert!(SigningKey::RSA_BITS_LEGAL[1] / 8 <= SigningKey::SIGNATURE_MAX);
