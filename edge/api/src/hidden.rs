//! Secrets on the wire: `#[serde(with = "hidden")]` makes a field a [`SecretText`] in memory and a
//! string in JSON. There is no other way for one to be written.

use std::collections::BTreeMap;

use secret::SecretText;
use serde::{Deserialize, Deserializer, Serializer, ser::SerializeMap};

/// Writes a secret, to whom it is meant for.
pub(crate) fn serialize<S: Serializer>(value: &SecretText, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(value.expose())
}

/// Takes a secret into custody.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SecretText, D::Error> {
    String::deserialize(from).map(SecretText::new)
}

/// The same for a secret that may be absent.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, SecretText, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<SecretText>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.serialize_str(value.expose()),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SecretText>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(SecretText::new))
    }
}

/// The same for texts with a name each.
pub(crate) mod map {
    use super::{BTreeMap, Deserialize, Deserializer, SecretText, SerializeMap, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        values: &BTreeMap<String, SecretText>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(values.len()))?;
        for (name, value) in values {
            map.serialize_entry(name, value.expose())?;
        }
        map.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<String, SecretText>, D::Error> {
        let values = BTreeMap::<String, String>::deserialize(from)?;
        Ok(values.into_iter().map(|(name, value)| (name, SecretText::new(value))).collect())
    }
}
