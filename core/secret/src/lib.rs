//! A value that cannot be printed, compared in variable time, or left in memory.
//!
//! This crate exists because of a stricter rule: whatever is wrapped here has no `Display`, no
//! serialization and no ordering, so a secret can reach a log or an error only through a call to
//! [`Secret::expose`], which a reviewer can search for.
//!
//! ```
//! use secret::SecretText;
//!
//! let key = SecretText::new("wJalrXUtnFEMI".to_owned());
//! assert_eq!(format!("{key:?}"), "[secret]");
//! assert_eq!(key.expose(), "wJalrXUtnFEMI");
//! assert!(key == SecretText::new("wJalrXUtnFEMI".to_owned()));
//! ```

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A value that is wiped when it is dropped and that prints as `[secret]`.
///
/// Equality takes the same time wherever the values differ; only their length can be learnt.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

/// A secret text: a secret access key, a session token.
pub type SecretText = Secret<String>;

/// Secret bytes: a response body that carries credentials.
pub type SecretBytes = Secret<Vec<u8>>;

/// A 256-bit key.
pub type SecretKey = Secret<[u8; 32]>;

impl<T: Zeroize> Secret<T> {
    /// Takes a value into custody. The caller must not keep a copy.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Lends the value. Every call is a place where a secret could leak: keep them few.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Whether `other` holds the same bytes, in time that depends on the lengths alone.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.as_ref().ct_eq(other).into()
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_ref())
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(left: &str, right: &str, equal: bool) {
        let (left, right) = (SecretText::new(left.to_owned()), SecretText::new(right.to_owned()));
        assert_eq!(left == right, equal);
        assert_eq!(right == left, equal);
    }

    #[test]
    fn secrets_are_equal_exactly_when_their_bytes_are() {
        check("", "", true);
        check("a", "a", true);
        check("a", "b", false);
        check("a", "ab", false);
    }

    #[test]
    fn a_secret_inside_another_structure_is_not_printed() {
        #[derive(Debug)]
        struct Credentials {
            #[expect(dead_code, reason = "read by the derived Debug")]
            secret: SecretText,
        }
        let printed = format!("{:#?}", Credentials { secret: SecretText::new("hunter2".into()) });
        assert!(!printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn a_dropped_secret_is_wiped() {
        struct Witness<'a>(&'a mut bool);
        impl Zeroize for Witness<'_> {
            fn zeroize(&mut self) {
                *self.0 = true;
            }
        }
        let mut wiped = false;
        drop(Secret::new(Witness(&mut wiped)));
        assert!(wiped);
    }
}
