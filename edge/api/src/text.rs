//! Core names on the wire: the text that they print as.
//!
//! `#[serde(with = "text")] #[schemars(with = "text::ApplicationName")]` on a field makes it a core type
//! in memory and a string in JSON, so that core knows nothing of formats.

use std::{
    borrow::Cow,
    fmt::{self, Display},
    marker::PhantomData,
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserializer, Serializer, de};

/// Writes a value as the text that it prints as.
pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// Reads a value out of its text.
pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    from.deserialize_str(Text(PhantomData))
}

/// The same for a value that may be absent.
pub(crate) mod option {
    use serde::{Deserialize, de::Error as _};

    use super::{Deserializer, Display, FromStr, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// The same for a list.
pub(crate) mod list {
    use serde::{Deserialize, de::Error as _};

    use super::{Deserializer, Display, FromStr, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        values: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(T::to_string))
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}

struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err: Display>> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Declares the schemas of core names: what JSON says of the text.
macro_rules! names {
    ($($(#[doc = $doc:literal])+ $name:ident: $least:literal to $most:literal of $pattern:literal;)+) => {$(
        $(#[doc = $doc])+
        pub(crate) enum $name {}

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": concat!($($doc),+).trim_ascii(),
                    "type": "string",
                    "minLength": $least,
                    "maxLength": $most,
                    "pattern": $pattern,
                })
            }
        }
    )+};
}

names! {
    /// What a workload is an instance of, such as `orders`.
    ApplicationName: 1 to 64 of "^(?!\\.{1,2}$)[A-Za-z0-9._-]+$";
    /// Where an application runs, such as `prod`.
    EnvironmentName: 1 to 64 of "^(?!\\.{1,2}$)[A-Za-z0-9._-]+$";
    /// One running instance: `application/environment/instance`.
    WorkloadId: 5 to 258 of "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._:@-]+$";
    /// The ARN of an IAM role, such as `arn:aws:iam::111122223333:role/orders`.
    RoleArn: 20 to 640 of "^arn:[a-z0-9-]+:iam::[0-9]{12}:role/.+$";
    /// An AWS account number: twelve digits.
    AccountId: 12 to 12 of "^[0-9]{12}$";
    /// A region's code, such as `eu-central-1`.
    Region: 3 to 32 of "^[a-z0-9]+(-[a-z0-9]+)+$";
    /// A network: an address, a slash and a number of bits, such as `10.1.2.0/24`.
    Network: 2 to 43 of "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$";
    /// Which applications and environments: `orders/prod`, `orders/*`, `*/test` or `*/*`.
    PatternText: 3 to 129 of "^(\\*|[A-Za-z0-9._-]+)/(\\*|[A-Za-z0-9._-]+)$";
    /// The one-time token of a host that joins: `rcj_<id>.<secret>.<authority>`.
    JoinTokenText: 41 to 256 of "^rcj_[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[0-9a-f]{32}$";
}
