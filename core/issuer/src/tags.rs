use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

/// Session tags that travel inside a token, and which of them survive role chaining.
///
/// STS puts them on the session as `aws:PrincipalTag/<key>`; the role's trust policy must allow
/// `sts:TagSession`. STS also limits their packed size, which only STS can measure.
///
/// [AWS: session tags with `AssumeRoleWithWebIdentity`](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_adding-assume-role-idp),
/// [limits](https://docs.aws.amazon.com/STS/latest/APIReference/API_Tag.html)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionTags {
    tags: BTreeMap<String, String>,
    transitive: BTreeSet<String>,
}

/// STS would refuse the tags; whoever writes the binding corrects them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTags {
    /// Too many.
    #[error("{0} session tags are more than the {max} STS takes", max = SessionTags::COUNT_MAX)]
    Count(usize),
    /// A key that is empty, too long, reserved or with illegal characters.
    #[error(
        "session tag key must be 1 to {max} letters, digits, spaces or `_.:/=+-@` and must not start \
         with `aws:`: `{0}`",
        max = SessionTags::KEY_MAX
    )]
    Key(String),
    /// A value that is too long or has illegal characters.
    #[error(
        "value of session tag `{key}` must be at most {max} letters, digits, spaces or `_.:/=+-@`: \
         `{value}`",
        max = SessionTags::VALUE_MAX
    )]
    Value {
        /// The tag's key.
        key: String,
        /// Its value, cut where it is long.
        value: String,
    },
    /// STS does not tell keys apart by case.
    #[error("session tag keys `{0}` and `{1}` differ in case alone, which STS does not tell apart")]
    SameKey(String, String),
    /// A transitive key without a tag.
    #[error("transitive session tag `{0}` is not among the tags")]
    NotATag(String),
}

impl SessionTags {
    /// The most tags in a session.
    pub const COUNT_MAX: usize = 50;
    /// The longest key, in characters.
    pub const KEY_MAX: usize = 128;
    /// The longest value, in characters.
    pub const VALUE_MAX: usize = 256;

    /// Checks tags against the limits of STS.
    pub fn new(
        tags: BTreeMap<String, String>,
        transitive: BTreeSet<String>,
    ) -> Result<Self, InvalidTags> {
        if tags.len() > Self::COUNT_MAX {
            return Err(InvalidTags::Count(tags.len()));
        }
        let mut seen = BTreeMap::new();
        for (key, value) in &tags {
            let folded = key.to_lowercase();
            if !is_text(key, 1, Self::KEY_MAX) || folded.starts_with("aws:") {
                return Err(InvalidTags::Key(cut(key)));
            }
            if !is_text(value, 0, Self::VALUE_MAX) {
                return Err(InvalidTags::Value { key: key.clone(), value: cut(value) });
            }
            if let Some(other) = seen.insert(folded, key) {
                return Err(InvalidTags::SameKey(other.clone(), key.clone()));
            }
        }
        match transitive.iter().find(|&key| !tags.contains_key(key)) {
            Some(key) => Err(InvalidTags::NotATag(cut(key))),
            None => Ok(Self { tags, transitive }),
        }
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }
}

/// The claim's value.
impl Serialize for SessionTags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Claim { principal_tags: &self.tags, transitive_tag_keys: &self.transitive }
            .serialize(serializer)
    }
}

#[derive(Serialize)]
struct Claim<'a> {
    #[serde(serialize_with = "lists_of_one")]
    principal_tags: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    transitive_tag_keys: &'a BTreeSet<String>,
}

/// Every tag's value is a list of one.
fn lists_of_one<S: Serializer>(
    tags: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tags.iter().map(|(key, value)| (key, [value])))
}

/// STS: `[\p{L}\p{Z}\p{N}_.:/=+\-@]*`. The standard library's alphabetic characters are `\p{L}`
/// and combining marks; the marks are left to STS to refuse.
fn is_text(text: &str, min: usize, max: usize) -> bool {
    let legal = |c: char| {
        c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c)
    };
    (min..=max).contains(&text.chars().count()) && text.chars().all(legal)
}

fn cut(text: &str) -> String {
    text.chars().take(256).collect()
}
