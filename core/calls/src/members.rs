//! The members of one JSON object, read once, within bounds.

use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::{
    Event, Refused,
    event::Parameters,
    losses::{Losses, ShimLoss},
};

/// The most members of an object at the top. CSM has fewer than 40.
pub(crate) const MEMBERS_MAX: usize = 64;
/// Objects and lists within one another, the line's own object included.
pub(crate) const DEPTH_MAX: usize = 8;

/// The members of which something is kept, in the order of [`Members::plain`].
#[derive(Clone, Copy)]
pub(crate) enum Member {
    Version,
    Type,
    Service,
    Api,
    Region,
    Timestamp,
    Last,
    Count,
    AccessKey,
    Fqdn,
    UserAgent,
    RequestId,
    S3RequestId,
    Status,
    FinalStatus,
    Exception,
    FinalException,
    SdkException,
    FinalSdkException,
    Latency,
    AttemptLatency,
    Language,
    Sdk,
    SdkVersion,
    Shim,
    Pid,
}

/// Their names on the wire, in the same order.
const NAMES: [&str; 26] = [
    "Version",
    "Type",
    "Service",
    "Api",
    "Region",
    "Timestamp",
    "Last",
    "Count",
    "AccessKey",
    "Fqdn",
    "UserAgent",
    "XAmznRequestId",
    "XAmzRequestId",
    "HttpStatusCode",
    "FinalHttpStatusCode",
    "AwsException",
    "FinalAwsException",
    "SdkException",
    "FinalSdkException",
    "Latency",
    "AttemptLatency",
    "Language",
    "Sdk",
    "SdkVersion",
    "Shim",
    "Pid",
];

/// Members that CSM has and that nothing is kept of: secret, personal, or of no use. They are skipped as they
/// are read, so that a session token is never even unescaped.
const DROPPED: &[&str] = &[
    "AcquireConnectionLatency",
    "ApiCallTimeout",
    "AttemptCount",
    "AwsExceptionMessage",
    "ClientId",
    "ConnectLatency",
    "ConnectionReused",
    "DestinationIp",
    "DnsLatency",
    "FinalAwsExceptionMessage",
    "FinalSdkExceptionMessage",
    "MaxRetriesExceeded",
    "RequestLatency",
    "SdkExceptionMessage",
    "SessionToken",
    "SslLatency",
    "TcpLatency",
    "TimeToConnect",
    "TimeToFirstByte",
    "XAmzId2",
];

/// A value that is not looked into any further.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Plain<'a> {
    /// Not there, or `null`.
    #[default]
    Absent,
    Flag,
    Whole(u64),
    Text(Cow<'a, str>),
    /// A number below 0, or with a fraction.
    Odd,
    /// An object or a list.
    Nested,
}

/// What one line holds.
#[derive(Debug, Default)]
pub(crate) struct Members<'a> {
    plain: [Plain<'a>; NAMES.len()],
    pub(crate) parameters: Parameters<'a>,
    pub(crate) lost: Losses,
    /// Members that nobody knows.
    pub(crate) ignored: u32,
}

impl<'a> Members<'a> {
    /// Reads them from JSON.
    pub(crate) fn read(text: &'a str) -> Result<Self, Refused> {
        let reason = Cell::new(None);
        let mut json = serde_json::Deserializer::from_str(text);
        let members = Object(&reason).deserialize(&mut json);
        // Our own refusals come as errors of data, those of the grammar do not.
        members.and_then(|members| json.end().map(|()| members)).map_err(|error| {
            match reason.get() {
                _ if !error.is_data() => Refused::NotJson,
                reason => reason.unwrap_or(Refused::WrongKind),
            }
        })
    }

    /// How many members were not taken out: those that a line of its type does not have.
    pub(crate) fn left(&self) -> u32 {
        let left = self.plain.iter().filter(|plain| **plain != Plain::Absent).count();
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Takes a member out.
    pub(crate) fn take(&mut self, member: Member) -> Plain<'a> {
        self.plain.get_mut(member as usize).map(std::mem::take).unwrap_or_default()
    }
}

/// Carries the reason out past the reader's own error, which is a text.
type Reason<'r> = &'r Cell<Option<Refused>>;

fn refuse<E: Error>(reason: Reason<'_>, why: Refused) -> E {
    reason.set(Some(why));
    E::custom("")
}

/// The object of a line.
struct Object<'r>(Reason<'r>);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Members<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        // It stands until the visitor meets an object.
        self.0.set(Some(Refused::NotAnObject));
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let reason = self.0;
        reason.set(None);
        let mut members = Members::default();
        let mut names: Vec<Cow<'de, str>> = Vec::with_capacity(24);
        while let Some(name) = map.next_key_seed(Text)? {
            if names.len() == MEMBERS_MAX {
                return Err(refuse(reason, Refused::TooManyMembers));
            }
            if names.contains(&name) {
                return Err(refuse(reason, Refused::Duplicate));
            }
            read_member(&name, &mut map, &mut members, reason)?;
            names.push(name);
        }
        Ok(members)
    }
}

fn read_member<'de, A: MapAccess<'de>>(
    name: &str,
    map: &mut A,
    members: &mut Members<'de>,
    reason: Reason<'_>,
) -> Result<(), A::Error> {
    let value = Value { depth: DEPTH_MAX - 1, reason };
    let known = NAMES.iter().position(|known| *known == name);
    if let Some(slot) = known.and_then(|index| members.plain.get_mut(index)) {
        *slot = map.next_value_seed(value)?;
    } else if name == "Parameters" {
        members.parameters = map.next_value_seed(Paths(reason))?;
    } else if name == "Lost" {
        members.lost = map.next_value_seed(Lost(reason))?;
    } else {
        map.next_value_seed(Skip(value))?;
        members.ignored += u32::from(!DROPPED.contains(&name));
    }
    Ok(())
}

/// A text, borrowed where it has no escapes.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Any value; lists and objects are walked through, so far down, and forgotten.
#[derive(Clone, Copy)]
struct Value<'r> {
    depth: usize,
    reason: Reason<'r>,
}

impl Value<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(refuse(self.reason, Refused::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Plain<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Plain<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Plain::Absent)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Plain::Flag)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Plain::Whole(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(number).map_or(Plain::Odd, Plain::Whole))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(whole(number).map_or(Plain::Odd, Plain::Whole))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Plain::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Plain::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let deeper = Skip(self.deeper()?);
        while list.next_element_seed(deeper)?.is_some() {}
        Ok(Plain::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let deeper = Skip(self.deeper()?);
        while map.next_key::<serde::de::IgnoredAny>()?.is_some() {
            map.next_value_seed(deeper)?;
        }
        Ok(Plain::Nested)
    }
}

/// PHP floors to a float, so that whole numbers come as `3.0`.
fn whole(number: f64) -> Option<u64> {
    /// The largest number up to which floats hold every whole one.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole and within bounds"
    )]
    ((0.0..=EXACT).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

/// Any value, skipped without being unescaped.
#[derive(Clone, Copy)]
struct Skip<'r>(Value<'r>);

impl<'de> DeserializeSeed<'de> for Skip<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        self.0.deserialize(json).map(|_| ())
    }
}

/// `Parameters`: path → list of texts.
struct Paths<'r>(Reason<'r>);

impl<'de> DeserializeSeed<'de> for Paths<'_> {
    type Value = Parameters<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Paths<'_> {
    type Value = Parameters<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of lists of texts")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Parameters::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut parameters = Parameters::new();
        while let Some(path) = map.next_key_seed(Text)? {
            if !is_path(&path) {
                return Err(refuse(self.0, Refused::Path));
            }
            if parameters.len() == Event::PATHS_MAX {
                return Err(refuse(self.0, Refused::TooManyValues));
            }
            let values = map.next_value_seed(Values(self.0))?;
            if parameters.insert(path, values).is_some() {
                return Err(refuse(self.0, Refused::Duplicate));
            }
        }
        Ok(parameters)
    }
}

/// The values of a path.
struct Values<'r>(Reason<'r>);

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = Vec<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = Vec<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Text)? {
            if values.len() == Event::VALUES_MAX {
                return Err(refuse(self.0, Refused::TooManyValues));
            }
            if value.len() > Event::VALUE_MAX {
                return Err(refuse(self.0, Refused::Text));
            }
            values.push(value);
        }
        Ok(values)
    }
}

/// Names joined by dots, each with as many `[]` and `{}` behind it as there are lists and maps.
fn is_path(path: &str) -> bool {
    let name = |part: &str| {
        let mut name = part;
        while let Some(rest) = name.strip_suffix("[]").or_else(|| name.strip_suffix("{}")) {
            name = rest;
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:".contains(&byte);
        !name.is_empty() && name.bytes().all(legal)
    };
    path.len() <= Event::PATH_MAX && path.split('.').all(name)
}

/// `Lost`: reason → count.
struct Lost<'r>(Reason<'r>);

impl<'de> DeserializeSeed<'de> for Lost<'_> {
    type Value = Losses;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Lost<'_> {
    type Value = Losses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of counts")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Losses::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut lost = Losses::default();
        let mut names: Vec<Cow<'de, str>> = Vec::new();
        while let Some(name) = map.next_key_seed(Text)? {
            if names.len() == MEMBERS_MAX {
                return Err(refuse(self.0, Refused::TooManyMembers));
            }
            if names.contains(&name) {
                return Err(refuse(self.0, Refused::Duplicate));
            }
            match map.next_value_seed(Value { depth: DEPTH_MAX - 2, reason: self.0 })? {
                Plain::Whole(count) if count <= Event::COUNT_MAX => {
                    lost.add(ShimLoss::named(&name), count);
                }
                Plain::Whole(_) | Plain::Odd => return Err(refuse(self.0, Refused::Number)),
                _ => return Err(refuse(self.0, Refused::WrongKind)),
            }
            names.push(name);
        }
        Ok(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, legal: bool) {
        assert_eq!(is_path(path), legal, "{path}");
    }

    #[test]
    fn a_path_is_names_with_lists_and_maps() {
        check("Bucket", true);
        check("TransactItems[].Get.TableName", true);
        check("RequestItems{}", true);
        check("RequestItems{}[].PutRequest.Item{}", true);
        check("x-amz-copy-source", true);
        check(&"a".repeat(256), true);
    }

    #[test]
    fn whatever_else_is_no_path() {
        for path in ["", ".", "a.", ".a", "a..b", "[]", "a[0]", "a b", "a{b}", "ä", "a\n", "$.a"] {
            check(path, false);
        }
        check(&"a".repeat(257), false);
    }

    #[test]
    fn the_names_are_as_many_as_the_members() {
        assert_eq!(Member::Pid as usize + 1, NAMES.len());
        assert_eq!(NAMES[Member::FinalSdkException as usize], "FinalSdkException");
        assert_eq!(NAMES[Member::Sdk as usize], "Sdk");
    }
}
