use std::{fmt, str::FromStr};

use secret::SecretText;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::trust::Pin;

/// The one-time token of a host that joins: `rcj_<id>.<secret>.<pin>`.
///
/// It says by which authority the host shall know the server, so that the first connection needs no
/// trust in anything else. Only [`JoinToken::to_secret`] prints it.
///
/// ```
/// # use api::JoinToken;
/// let text = "rcj_t1.bm90IGEgc2VjcmV0IGF0IGFsbA.00112233445566778899aabbccddeeff";
/// let token: JoinToken = text.parse().unwrap();
/// assert_eq!(token.id(), "t1");
/// assert_eq!(token.pin().to_string(), "00112233445566778899aabbccddeeff");
/// assert!(!format!("{token:?}").contains("bm90"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    id: String,
    secret: SecretText,
    pin: Pin,
}

/// The text is not a join token. It is not repeated here: it may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJoinToken {
    /// It begins otherwise.
    #[error("a join token begins with `rcj_`; copy all of it from `rolecall hosts token`")]
    Prefix,
    /// It has not three parts.
    #[error("a join token has three parts with dots between them; copy all of it")]
    Parts,
    /// A part is empty, too long or has a character that none has.
    #[error("the {0} of the join token is damaged; copy all of it")]
    Damaged(&'static str),
}

/// What every join token begins with.
const PREFIX: &str = "rcj_";

/// The longest id, in bytes.
const ID_MAX: usize = 64;

/// The shortest secret, in bytes: 128 bits as base64url.
const SECRET_MIN: usize = 22;

/// The longest secret, in bytes.
const SECRET_MAX: usize = 128;

impl JoinToken {
    /// Puts a token together.
    ///
    /// # Errors
    /// When the id or the secret has other characters than letters, digits, `_` and `-`, is too short or
    /// too long.
    pub fn new(id: &str, secret: SecretText, pin: Pin) -> Result<Self, InvalidJoinToken> {
        if !(1..=ID_MAX).contains(&id.len()) || !id.bytes().all(legal) {
            return Err(InvalidJoinToken::Damaged("id"));
        }
        let length = secret.expose().len();
        if !(SECRET_MIN..=SECRET_MAX).contains(&length) || !secret.expose().bytes().all(legal) {
            return Err(InvalidJoinToken::Damaged("secret"));
        }
        Ok(Self { id: id.to_owned(), secret, pin })
    }

    /// Which token it is. It is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What proves that the holder was given the token.
    pub fn secret(&self) -> &SecretText {
        &self.secret
    }

    /// By which authority the server is known.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    /// The whole text, for whom it is meant.
    pub fn to_secret(&self) -> SecretText {
        let Self { id, secret, pin } = self;
        SecretText::new(format!("{PREFIX}{id}.{}.{pin}", secret.expose()))
    }
}

impl FromStr for JoinToken {
    type Err = InvalidJoinToken;

    fn from_str(text: &str) -> Result<Self, InvalidJoinToken> {
        let parts = text.strip_prefix(PREFIX).ok_or(InvalidJoinToken::Prefix)?;
        let mut parts = parts.splitn(3, '.');
        let mut next = || parts.next().ok_or(InvalidJoinToken::Parts);
        let (id, secret, pin) = (next()?, next()?, next()?);
        let pin = pin.parse().map_err(|_| InvalidJoinToken::Damaged("authority"))?;
        Self::new(id, SecretText::new(secret.to_owned()), pin)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, secret, pin } = self;
        f.debug_struct("JoinToken")
            .field("id", id)
            .field("secret", secret)
            .field("pin", pin)
            .finish()
    }
}

impl Serialize for JoinToken {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.to_secret().expose())
    }
}

impl<'de> Deserialize<'de> for JoinToken {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = SecretText::new(String::deserialize(from)?);
        text.expose().parse().map_err(D::Error::custom)
    }
}

/// The alphabet of base64url.
fn legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-".contains(&byte)
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "the texts of these tests are ASCII")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "AAECAwQFBgcICQoLDA0ODw";
    const PIN: &str = "00112233445566778899aabbccddeeff";

    #[track_caller]
    fn check(text: &str, wrong: InvalidJoinToken) {
        assert_eq!(text.parse::<JoinToken>().unwrap_err(), wrong, "{text}");
    }

    #[test]
    fn what_was_not_copied_whole_is_refused() {
        check("", InvalidJoinToken::Prefix);
        check(&format!("t1.{SECRET}.{PIN}"), InvalidJoinToken::Prefix);
        check(&format!(" rcj_t1.{SECRET}.{PIN}"), InvalidJoinToken::Prefix);
        check(&format!("rcj_t1.{SECRET}"), InvalidJoinToken::Parts);
        check(&format!("rcj_.{SECRET}.{PIN}"), InvalidJoinToken::Damaged("id"));
        check(&format!("rcj_t1.{}.{PIN}", &SECRET[1..]), InvalidJoinToken::Damaged("secret"));
        check(&format!("rcj_t1.{SECRET}=.{PIN}"), InvalidJoinToken::Damaged("secret"));
        for pin in ["", &PIN[1..], "00112233445566778899AABBCCDDEEFF", &format!("{PIN}.")] {
            check(&format!("rcj_t1.{SECRET}.{pin}"), InvalidJoinToken::Damaged("authority"));
        }
    }

    #[test]
    fn the_secret_is_in_no_print_and_no_error() {
        let token: JoinToken = format!("rcj_t1.{SECRET}.{PIN}").parse().unwrap();
        assert_eq!(format!("{token:?}").matches(SECRET).count(), 0);
        let error = serde_json::from_str::<JoinToken>(&format!(r#""rcj_t1.{SECRET}!.{PIN}""#));
        assert_eq!(error.unwrap_err().to_string().matches(SECRET).count(), 0);
    }

    proptest! {
        #[test]
        fn a_token_comes_back_from_its_text(id in "[A-Za-z0-9_-]{1,64}", secret in "[A-Za-z0-9_-]{22,128}", pin: [u8; 16]) {
            let token = JoinToken::new(&id, SecretText::new(secret), Pin::from(pin)).unwrap();
            prop_assert_eq!(token.to_secret().expose().parse(), Ok(token.clone()));
            let json = serde_json::to_string(&token).unwrap();
            prop_assert_eq!(serde_json::from_str::<JoinToken>(&json).unwrap(), token);
        }

        #[test]
        fn any_text_is_a_token_or_refused(text in ".{0,300}") {
            if let Ok(token) = text.parse::<JoinToken>() {
                let printed = token.to_secret();
                prop_assert_eq!(printed.expose(), &text);
            }
        }
    }
}
