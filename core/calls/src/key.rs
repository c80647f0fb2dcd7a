use std::{borrow::Cow, fmt};

use cloud::AccountId;

/// The id of an access key: 16 to 128 upper-case letters and digits. It names a key and is not secret.
///
/// It is what joins a call to the lease it was made with.
///
/// ```
/// # use calls::AccessKeyId;
/// let key = AccessKeyId::parse("ASIAY34FZKBOKMUTVV7A").unwrap();
/// assert_eq!(key.account().unwrap().as_str(), "609629065308");
/// assert!(AccessKeyId::parse("test").is_none());
/// ```
///
/// [AWS: AccessKey](https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccessKeyId<'a>(Cow<'a, str>);

impl<'a> AccessKeyId<'a> {
    /// The shortest id, in bytes.
    pub const LENGTH_MIN: usize = 16;
    /// The longest id, in bytes.
    pub const LENGTH_MAX: usize = 128;

    /// Reads an id. What is none gives nothing, not an error with the text: somebody may have put a
    /// secret there.
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Option<Self> {
        let text = text.into();
        let length = (Self::LENGTH_MIN..=Self::LENGTH_MAX).contains(&text.len());
        let legal = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        (length && text.bytes().all(legal)).then_some(Self(text))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, on its own.
    pub fn into_owned(self) -> AccessKeyId<'static> {
        AccessKeyId(Cow::Owned(self.0.into_owned()))
    }

    /// The account that the key belongs to, which ids contain that were made since about 2019. It is how the
    /// id is observed to be built; AWS promises nothing, so treat it as a hint.
    pub fn account(&self) -> Option<AccountId> {
        // Behind the four letters that tell the kind of key: 80 bits in base32, the account in the first 42.
        let coded = self.0.get(4..14)?;
        if self.0.len() != 20 || coded.as_bytes().first()? < &b'Q' {
            return None;
        }
        let bits = coded.bytes().try_fold(0_u64, |bits, byte| Some(bits << 5 | digit(byte)?))?;
        // Ten digits are 50 bits, of which the first 48 count; the account has no part in the lowest seven.
        let account = (bits >> 2 & 0x7fff_ffff_ff80) >> 7;
        format!("{account:012}").parse().ok()
    }
}

/// A digit of base32.
fn digit(byte: u8) -> Option<u64> {
    match byte {
        b'A'..=b'Z' => Some(u64::from(byte - b'A')),
        b'2'..=b'7' => Some(u64::from(byte - b'2') + 26),
        _ => None,
    }
}

impl fmt::Display for AccessKeyId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, legal: bool, account: Option<&str>) {
        let key = AccessKeyId::parse(text);
        assert_eq!(key.is_some(), legal, "{text}");
        let found = key.and_then(|key| key.account());
        assert_eq!(found.as_ref().map(AccountId::as_str), account, "{text}");
    }

    #[test]
    fn a_newer_key_tells_its_account() {
        check("ASIAQNZGKIQY56JQ7WML", true, Some("029608264753"));
        check("ASIAY34FZKBOKMUTVV7A", true, Some("609629065308"));
    }

    #[test]
    fn an_older_key_or_another_form_tells_nothing() {
        check("AKIAIOSFODNN7EXAMPLE", true, None);
        check("ASIAY34FZKBOKMUTVV7A1", true, None);
        check("ASIAY01890BOKMUTVV7A", true, None);
    }

    #[test]
    fn what_is_no_key_is_not_kept() {
        for text in ["", "test", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "ASIAY34FZKBOKMUTVV7a"]
        {
            check(text, false, None);
        }
        check(&"A".repeat(128), true, None);
        check(&"A".repeat(129), false, None);
    }
}
