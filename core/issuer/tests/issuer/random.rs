//! Randomness that is the same in every run, and randomness that fails.

use std::{convert::Infallible, fmt};

use issuer::{Algorithm, SigningKey};
use rand_core::{TryCryptoRng, TryRng, utils};
use ring::digest;

/// SHA-256 of a seed and a counter.
pub(crate) struct Seeded {
    seed: u64,
    counter: u64,
}

pub(crate) fn seeded(seed: u64) -> Seeded {
    Seeded { seed, counter: 0 }
}

/// A small key that is quick to make.
pub(crate) fn key(seed: u64) -> SigningKey {
    SigningKey::generate(Algorithm::Es256, &mut seeded(seed)).unwrap()
}

impl TryRng for Seeded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        utils::next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(32) {
            self.counter += 1;
            let block = [self.seed.to_be_bytes(), self.counter.to_be_bytes()].concat();
            let digest = digest::digest(&digest::SHA256, &block);
            chunk.copy_from_slice(&digest.as_ref()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Seeded {}

/// A machine without randomness.
pub(crate) struct Exhausted;

#[derive(Debug)]
pub(crate) struct Dry;

impl fmt::Display for Dry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no randomness")
    }
}

impl std::error::Error for Dry {}

impl TryRng for Exhausted {
    type Error = Dry;

    fn try_next_u32(&mut self) -> Result<u32, Dry> {
        Err(Dry)
    }

    fn try_next_u64(&mut self) -> Result<u64, Dry> {
        Err(Dry)
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Dry> {
        Err(Dry)
    }
}

impl TryCryptoRng for Exhausted {}
