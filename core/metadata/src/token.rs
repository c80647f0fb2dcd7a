use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use secret::{SecretKey, SecretText};

/// The key that makes and checks session tokens and the bearer secrets of containers.
///
/// A token is a sealed expiry, so there is no table that a flood of requests could fill. It is
/// bound to one workload and to one boot of the machine. Reading the same key after a restart
/// keeps outstanding tokens alive; another key ends them with 401, and clients ask again.
///
/// ```
/// # use std::time::Duration;
/// # use metadata::{InvalidToken, TokenKey, TokenLife};
/// # use secret::SecretKey;
/// let key = TokenKey::new(&SecretKey::new([7; 32]), [1; 16]);
/// let (life, boot) = (TokenLife::parse(b"60").unwrap(), Duration::from_secs(1_000));
/// let token = key.mint("orders/prod/i-1", life, boot, [9; 16]);
///
/// let later = boot + Duration::from_secs(20);
/// assert_eq!(key.check("orders/prod/i-1", token.expose().as_bytes(), later), Ok(40));
/// assert_eq!(key.check("billing/prod/i-2", token.expose().as_bytes(), later), Err(InvalidToken));
/// ```
pub struct TokenKey {
    /// Made of the key and the boot id, so that a token's seal is one block shorter.
    session: hmac::Key,
    bearer: hmac::Key,
}

/// How long a session token lives: 1 to 21,600 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenLife(u16);

/// The life is no whole number of seconds from 1 to 21,600.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token life must be a whole number of seconds from 1 to {max}", max = TokenLife::SECONDS_MAX)]
pub struct InvalidTokenLife;

/// The token is not ours, is another workload's or another boot's, or is over. Which of these is
/// not said: the caller's next step is the same, and an attacker learns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session token is not valid for this workload")]
pub struct InvalidToken;

impl TokenLife {
    /// The longest life, six hours.
    ///
    /// [AWS: configure the instance metadata service](https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html)
    pub const SECONDS_MAX: u16 = 21_600;

    /// Reads the header's value: digits only.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidTokenLife> {
        let digits = (1..=5).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        let seconds = std::str::from_utf8(value).ok().filter(|_| digits);
        match seconds.and_then(|seconds| seconds.parse().ok()) {
            Some(seconds) if (1..=Self::SECONDS_MAX).contains(&seconds) => Ok(Self(seconds)),
            _ => Err(InvalidTokenLife),
        }
    }

    /// The life in seconds.
    pub fn seconds(self) -> u16 {
        self.0
    }
}

impl TokenKey {
    /// `boot_id` must differ between boots of the machine; tokens of another boot are not valid,
    /// because their expiry is told in time since boot.
    pub fn new(key: &SecretKey, boot_id: [u8; 16]) -> Self {
        let bearer = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        let mut mac = hmac::Context::with_key(&bearer);
        mac.update(b"session-token\0");
        mac.update(&boot_id);
        Self { session: hmac::Key::new(hmac::HMAC_SHA256, mac.sign().as_ref()), bearer }
    }

    /// Makes a token for `workload` at `boot`, the time since boot. `random` makes two tokens of
    /// one moment differ. At most [`TOKEN_LENGTH_MAX`] characters.
    pub fn mint(
        &self,
        workload: &str,
        life: TokenLife,
        boot: Duration,
        random: [u8; 16],
    ) -> SecretText {
        let expiry = milliseconds(boot).saturating_add(u64::from(life.seconds()) * 1000);
        let mut sealed = [0; SEALED];
        let (open, tag) = sealed.split_at_mut(OPEN);
        let (expires, noise) = open.split_at_mut(8);
        expires.copy_from_slice(&expiry.to_be_bytes());
        noise.copy_from_slice(&random);
        tag.copy_from_slice(self.seal(open, workload).as_ref());
        SecretText::new(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// How many seconds `token` still lives at `boot`, rounded up: never 0.
    pub fn check(&self, workload: &str, token: &[u8], boot: Duration) -> Result<u16, InvalidToken> {
        let mut sealed = [0; SEALED];
        match URL_SAFE_NO_PAD.decode_slice(token, &mut sealed) {
            Ok(SEALED) => {}
            _ => return Err(InvalidToken),
        }
        let (open, tag) = sealed.split_at(OPEN);
        // Compared as secrets, so the time does not tell how much of a forged tag was right.
        let expected = self.seal(open, workload);
        let expected = <[u8; 32]>::try_from(expected.as_ref()).map_err(|_| InvalidToken)?;
        if !SecretKey::new(expected).matches(tag) {
            return Err(InvalidToken);
        }
        let expires = open.first_chunk().copied().map(u64::from_be_bytes).ok_or(InvalidToken)?;
        let left = expires.checked_sub(milliseconds(boot)).ok_or(InvalidToken)?.div_ceil(1000);
        match u16::try_from(left) {
            Ok(left) if (1..=TokenLife::SECONDS_MAX).contains(&left) => Ok(left),
            _ => Err(InvalidToken),
        }
    }

    fn seal(&self, open: &[u8], workload: &str) -> hmac::Tag {
        let mut mac = hmac::Context::with_key(&self.session);
        mac.update(open);
        mac.update(workload.as_bytes());
        mac.sign()
    }

    fn bearer(&self, purpose: &[u8], workload: &str) -> SecretText {
        let mut mac = hmac::Context::with_key(&self.bearer);
        mac.update(purpose);
        mac.update(workload.as_bytes());
        let tag = mac.sign();
        let mut hex = String::with_capacity(tag.as_ref().len() * 2);
        for byte in tag.as_ref() {
            for digit in [byte >> 4, byte & 15] {
                let first = if digit < 10 { b'0' } else { b'a' - 10 };
                hex.push(char::from(first + digit));
            }
        }
        SecretText::new(hex)
    }
}

/// The id in `/v2/credentials/<id>` that belongs to `workload`: 64 hexadecimal digits that nobody
/// can guess. It outlives a reboot, because the environment of a process cannot be changed.
pub fn container_id(key: &TokenKey, workload: &str) -> SecretText {
    key.bearer(b"container-id\0", workload)
}

/// The `Authorization` of `workload` for a full URI of ECS and for Pod Identity: 64 hexadecimal
/// digits. Like [`container_id`] it outlives a reboot.
pub fn container_token(key: &TokenKey, workload: &str) -> SecretText {
    key.bearer(b"authorization\0", workload)
}

/// The longest token that is made, in characters.
pub const TOKEN_LENGTH_MAX: usize = 100;

/// Expiry in milliseconds since boot, 64 bits, and 16 random bytes.
const OPEN: usize = 8 + 16;
/// [`OPEN`] and the tag of HMAC-SHA256.
const SEALED: usize = OPEN + 32;

// INVARIANT (TokenFits): the sealed token in base64 stays within its bound.
const _: () = assert!(SEALED.div_ceil(3) * 4 <= TOKEN_LENGTH_MAX);

fn milliseconds(boot: Duration) -> u64 {
    u64::try_from(boot.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOOT: Duration = Duration::from_millis(90_500);

    fn key(key: u8, boot_id: u8) -> TokenKey {
        TokenKey::new(&SecretKey::new([key; 32]), [boot_id; 16])
    }

    fn token(life: &str) -> String {
        let life = TokenLife::parse(life.as_bytes()).unwrap();
        key(1, 1).mint("a", life, BOOT, [3; 16]).expose().clone()
    }

    #[track_caller]
    fn check(by: &TokenKey, workload: &str, token: &str, after: u64, left: Option<u16>) {
        let boot = BOOT + Duration::from_millis(after);
        assert_eq!(by.check(workload, token.as_bytes(), boot).ok(), left);
    }

    #[test]
    fn a_token_lives_exactly_as_long_as_was_asked() {
        check(&key(1, 1), "a", &token("60"), 0, Some(60));
        check(&key(1, 1), "a", &token("60"), 1_000, Some(59));
        check(&key(1, 1), "a", &token("60"), 59_999, Some(1));
        check(&key(1, 1), "a", &token("60"), 60_000, None);
        check(&key(1, 1), "a", &token("21600"), 0, Some(21_600));
    }

    #[test]
    fn a_token_is_nothing_for_another_workload_boot_or_key() {
        check(&key(1, 1), "b", &token("60"), 0, None);
        check(&key(1, 2), "a", &token("60"), 0, None);
        check(&key(2, 1), "a", &token("60"), 0, None);
    }

    #[test]
    fn a_key_read_again_after_a_restart_keeps_tokens_alive() {
        check(&key(1, 1), "a", &token("60"), 10_000, Some(50));
    }

    #[test]
    fn a_changed_token_is_not_valid() {
        let token = token("60");
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            check(&key(1, 1), "a", std::str::from_utf8(&other).unwrap(), 0, None);
        }
        check(&key(1, 1), "a", "", 0, None);
        check(&key(1, 1), "a", &format!("{token}="), 0, None);
        check(&key(1, 1), "a", token.split_at(1).1, 0, None);
    }

    #[test]
    fn tokens_of_one_moment_differ_and_fit_their_bound() {
        let life = TokenLife::parse(b"21600").unwrap();
        let [one, two] = [3, 4].map(|random| key(1, 1).mint("a", life, BOOT, [random; 16]));
        assert!(one != two);
        assert!(one.expose().len() <= TOKEN_LENGTH_MAX);
    }

    #[test]
    fn a_life_is_one_second_to_six_hours_in_digits() {
        for (value, life) in [("1", 1), ("300", 300), ("21600", 21_600), ("00060", 60)] {
            assert_eq!(TokenLife::parse(value.as_bytes()).map(TokenLife::seconds), Ok(life));
        }
        for value in ["", "0", "21601", "-1", "+1", "abc", "1.5", "0x10", "99999999999", "1 2"] {
            assert_eq!(TokenLife::parse(value.as_bytes()), Err(InvalidTokenLife), "`{value}`");
        }
    }

    #[test]
    fn bearer_secrets_differ_by_purpose_and_workload_and_outlive_a_boot() {
        let [one, other] = [key(1, 1), key(1, 2)];
        assert!(container_id(&one, "a") == container_id(&other, "a"));
        assert!(container_token(&one, "a") == container_token(&other, "a"));
        assert!(container_id(&one, "a") != container_id(&one, "b"));
        assert!(container_id(&one, "a") != container_token(&one, "a"));
        let id = container_id(&one, "a");
        assert!(id.expose().len() == 64 && id.expose().bytes().all(|b| b.is_ascii_hexdigit()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn no_bytes_that_we_did_not_mint_are_valid(token in prop::collection::vec(any::<u8>(), 0..90)) {
            prop_assert_eq!(key(1, 1).check("a", &token, BOOT), Err(InvalidToken));
        }

        #[test]
        fn no_token_is_valid_for_another_workload(one in "[a-z/]{1,20}", two in "[a-z/]{1,20}") {
            let life = TokenLife::parse(b"60").unwrap();
            let token = key(1, 1).mint(&one, life, BOOT, [0; 16]);
            let valid = key(1, 1).check(&two, token.expose().as_bytes(), BOOT).is_ok();
            prop_assert_eq!(valid, one == two);
        }
    }
}
