//! OIDC tokens, the keys that sign them, discovery and JWKS documents.
//!
//! IAM in every application account trusts one issuer URL. A [`KeyRing`] holds the issuer's keys,
//! [`Claims`] say which workload a token speaks for, [`discovery`] and [`jwks`] are the two
//! documents AWS fetches from below the URL, and [`trust_policy`] is what a role needs to accept
//! the tokens of one application.
//!
//! This crate exists because of a specification of its own: RFC 7515 (signatures), 7517 and 7638
//! (keys), 7519 (tokens), OpenID Connect Discovery 1.0, and what AWS STS reads out of a token.
//! Time and randomness are arguments.
//!
//! ```
//! use issuer::{Algorithm, Claims, IssuerUrl, KeyRing, SigningKey, Subject};
//! # use std::convert::Infallible;
//! # struct Counter(u8);
//! # impl rand_core::TryRng for Counter {
//! #     type Error = Infallible;
//! #     fn try_next_u32(&mut self) -> Result<u32, Infallible> { rand_core::utils::next_word_via_fill(self) }
//! #     fn try_next_u64(&mut self) -> Result<u64, Infallible> { rand_core::utils::next_word_via_fill(self) }
//! #     fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
//! #         bytes.iter_mut().for_each(|b| { self.0 = self.0.wrapping_mul(5).wrapping_add(7); *b = self.0; });
//! #         Ok(())
//! #     }
//! # }
//! # impl rand_core::TryCryptoRng for Counter {}
//! # let (mut random, jti) = (Counter(1), [7; 16]);
//! # let wall: jiff::Timestamp = "2026-01-01T00:00:00Z".parse()?;
//! let keys = KeyRing::new(SigningKey::generate(Algorithm::Es256, &mut random)?, wall);
//! let url: IssuerUrl = "https://oidc.example.com/rolecall".parse()?;
//! let orders = Subject::new("orders", "prod", "orders-1")?;
//! let claims = Claims::new(&url, &orders, "sts.amazonaws.com", wall, jti)?;
//! let token = claims.token(&keys, &mut random)?;
//! assert_eq!(token.expose().split('.').count(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod claims;
mod der;
mod document;
mod jwk;
mod key;
mod key_ring;
mod manifest;
mod schedule;
mod subject;
mod tags;
mod trust;
mod url;

pub use claims::{Claims, InvalidClaims, Unsigned};
pub use der::{InvalidPublicKey, InvalidSignature, p256_signature};
pub use document::{discovery, jwks, trust_policy};
pub use jwk::{Jwk, KeyId, NotAKeyId};
pub use key::{Algorithm, InvalidKey, NoRandomness, SigningFailed, SigningKey, UnknownAlgorithm};
pub use key_ring::{Key, KeyRing, Lead, PublishRefused, RotateRefused, State};
pub use manifest::{Entry, InvalidManifest, Manifest};
pub use schedule::{Due, InvalidSchedule, Schedule};
pub use subject::{InvalidSubject, Subject};
pub use tags::{InvalidTags, SessionTags};
pub use trust::{Finding, Provider, Trust};
pub use url::{InvalidIssuerUrl, IssuerUrl};
