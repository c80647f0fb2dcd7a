use std::{convert::Infallible, fmt, str::FromStr, time::Duration};

use rand_core::{TryCryptoRng, TryRng};

/// What a run is made of: the same seed and scenario give the same run, on every machine.
///
/// ```
/// # use sim::Seed;
/// let seed: Seed = "0x2a".parse().unwrap();
/// assert_eq!((seed, seed.to_string()), ("42".parse().unwrap(), "0x2a".to_owned()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed(pub u64);

/// The text is no seed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed must be a number below 2^64, such as `42` or `0x2a`: `{0}`")]
pub struct InvalidSeed(String);

impl FromStr for Seed {
    type Err = InvalidSeed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = match text.trim().strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.trim().parse(),
        };
        number.map(Self).map_err(|_| InvalidSeed(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Numbers that look random and follow from a seed: SplitMix64. Good dice, no cryptography.
///
/// Our own thirty lines because a library may change its sequence with a release, and then no seed
/// that was ever written down would replay.
///
/// [Steele, Lea, Flood: Fast splittable pseudorandom number generators](https://doi.org/10.1145/2714064.2660195)
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) const fn new(seed: Seed) -> Self {
        Self { state: seed.0 }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From zero up to below `bound`; zero if that is zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.number()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// Both ends included.
    pub(crate) fn within(&mut self, (from, to): (u64, u64)) -> u64 {
        from + self.below(to.saturating_sub(from) + 1)
    }

    /// Whether something happens that happens in `permille` of a thousand cases.
    pub(crate) fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    /// Between two times, both in milliseconds.
    pub(crate) fn wait(&mut self, milliseconds: (u64, u64)) -> Duration {
        Duration::from_millis(self.within(milliseconds))
    }

    /// A place in a list of this length, if it has any.
    pub(crate) fn place(&mut self, length: usize) -> Option<usize> {
        let length = u64::try_from(length).ok().filter(|length| *length > 0)?;
        usize::try_from(self.below(length)).ok()
    }

    /// One of a list.
    pub(crate) fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        self.place(list.len()).and_then(|place| list.get(place))
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.number().to_le_bytes();
            chunk.iter_mut().zip(number).for_each(|(byte, random)| *byte = random);
        }
    }
}

/// Lets the issuer make its key from a seed. Nobody outside of a simulation trusts that key.
pub(crate) struct KeyDice<'a>(pub(crate) &'a mut Random);

impl TryRng for KeyDice<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::try_from(self.0.number() >> 32).unwrap_or_default())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.number())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for KeyDice<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seed: u64, expected: [u64; 3]) {
        let mut random = Random::new(Seed(seed));
        assert_eq!([(); 3].map(|()| random.number()), expected);
    }

    #[test]
    fn the_sequence_is_that_of_splitmix64_and_never_changes() {
        check(
            1_234_567,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423],
        );
    }

    #[test]
    fn bounds_are_kept_and_reached() {
        let mut random = Random::new(Seed(7));
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[usize::try_from(random.within((0, 4))).unwrap()] = true;
        }
        assert_eq!((seen, random.below(0), random.place(0)), ([true; 5], 0, None));
    }

    #[test]
    fn a_seed_that_is_no_number_is_refused() {
        for text in ["", "x", "0x", "-1", "18446744073709551616"] {
            assert_eq!(text.parse::<Seed>(), Err(InvalidSeed(text.to_owned())));
        }
    }
}
