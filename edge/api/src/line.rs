use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// One line of what a person wrote: 1 to `MOST` characters, none of them a control character, and no
/// blank at either end.
///
/// It can be put into a table, a log or a ledger entry as it is: it cannot begin a line of its own.
///
/// ```
/// # use api::Reason;
/// assert_eq!("ticket 4711".parse::<Reason>().unwrap().as_str(), "ticket 4711");
/// assert!("a\nb".parse::<Reason>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line<const MOST: usize>(String);

/// Why somebody did something.
pub type Reason = Line<500>;

/// What a person calls something: a group of people, an account, a host.
pub type Label = Line<128>;

/// The name of something that people keep by name, such as a host group: 1 to 64 letters, digits, `.`,
/// `_` and `-`.
///
/// The alphabet fits a URL path segment, so the name is the same text wherever it is seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The text is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Not one line.
    #[error(
        "must be one line of 1 to {most} characters without a blank at either end: `{excerpt}`"
    )]
    Line {
        /// The most characters.
        most: usize,
        /// The beginning of the text.
        excerpt: String,
    },
    /// Not a name.
    #[error("must be 1 to 64 of `A-Z a-z 0-9 . _ -`: `{0}`")]
    Name(String),
}

impl<const MOST: usize> Line<MOST> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MOST: usize> FromStr for Line<MOST> {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let plain = text.trim() == text && !text.chars().any(char::is_control);
        if plain && (1..=MOST).contains(&text.chars().count()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidText::Line { most: MOST, excerpt: excerpt(text) })
        }
    }
}

impl Name {
    /// The longest name, in bytes.
    pub const LENGTH_MAX: usize = 64;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.bytes().all(legal)
            && !matches!(text, "" | "." | "..")
            && text.len() <= Self::LENGTH_MAX
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidText::Name(excerpt(text)))
        }
    }
}

/// As much of a wrong text as an error message should repeat.
fn excerpt(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

impl<const MOST: usize> JsonSchema for Line<MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("LineOf{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": MOST })
    }
}

impl JsonSchema for Name {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": Self::LENGTH_MAX,
            "pattern": "^(?!\\.{1,2}$)[A-Za-z0-9._-]+$",
        })
    }
}

/// What a text does on the wire and in print, written once for both.
macro_rules! texts {
    ($([$($generics:tt)*] $type:ty;)+) => {$(
        impl<$($generics)*> fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<$($generics)*> Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl<'de, $($generics)*> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(D::Error::custom)
            }
        }
    )+};
}

texts! {
    [const MOST: usize] Line<MOST>;
    [] Name;
}
