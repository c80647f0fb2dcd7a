use std::{borrow::Cow, fmt, num::IntErrorKind, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A whole number from `LEAST` to `MOST`.
///
/// ```
/// # use api::Within;
/// type Percent = Within<1, 100>;
/// assert_eq!(Percent::new(25).unwrap().get(), 25);
/// assert!(Percent::new(0).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Within<const LEAST: u32, const MOST: u32>(u32);

/// The number is not within its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from {least} to {most}, not `{given}`")]
pub struct NotWithin {
    least: u32,
    most: u32,
    given: String,
}

impl<const LEAST: u32, const MOST: u32> Within<LEAST, MOST> {
    /// The number, if it is within the bounds.
    ///
    /// # Errors
    /// When it is not.
    pub fn new(number: u32) -> Result<Self, NotWithin> {
        if (LEAST..=MOST).contains(&number) {
            Ok(Self(number))
        } else {
            Err(NotWithin { least: LEAST, most: MOST, given: number.to_string() })
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// A number that is known to be within the bounds when compiling.
    pub const fn literal<const NUMBER: u32>() -> Self {
        const { assert!(LEAST <= NUMBER && NUMBER <= MOST) };
        Self(NUMBER)
    }
}

impl<const LEAST: u32, const MOST: u32> FromStr for Within<LEAST, MOST> {
    type Err = NotWithin;

    fn from_str(text: &str) -> Result<Self, NotWithin> {
        let number = text.parse::<u32>().map_err(|error| {
            let given = match error.kind() {
                IntErrorKind::PosOverflow | IntErrorKind::InvalidDigit => {
                    text.chars().take(32).collect()
                }
                _ => String::new(),
            };
            NotWithin { least: LEAST, most: MOST, given }
        })?;
        Self::new(number)
    }
}

impl<const LEAST: u32, const MOST: u32> fmt::Display for Within<LEAST, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const LEAST: u32, const MOST: u32> Serialize for Within<LEAST, MOST> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(self.0)
    }
}

impl<'de, const LEAST: u32, const MOST: u32> Deserialize<'de> for Within<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(u32::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl<const LEAST: u32, const MOST: u32> JsonSchema for Within<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("From{LEAST}To{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    }
}
