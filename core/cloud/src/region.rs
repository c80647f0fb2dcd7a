use std::{fmt, str::FromStr};

/// A region's code, such as `eu-central-1`: lower-case letters, digits and hyphens, at most 32.
///
/// New regions appear, so any code of that form is accepted.
///
/// ```
/// # use cloud::Region;
/// assert_eq!("eu-central-1".parse::<Region>().unwrap().as_str(), "eu-central-1");
/// assert!("EU".parse::<Region>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

/// The text is not a region code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("region must look like `eu-central-1`: `{0}`")]
pub struct InvalidRegion(String);

impl Region {
    /// The region's code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = InvalidRegion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if text.len() <= 32 && text.contains('-') && text.split('-').all(part) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidRegion(text.to_owned()))
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
