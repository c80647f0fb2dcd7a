use std::collections::BTreeMap;

use workload::Workload;

use crate::Binding;

/// A session tag that somebody wishes for. IAM policies read it as `aws:PrincipalTag/key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The key: 1 to 128 characters. Keys that differ only in case are one key.
    pub key: String,
    /// The value: 0 to 256 characters.
    pub value: String,
    /// Whether the next role in a chain inherits it. That costs twice, and every later role's trust
    /// policy must then allow `sts:TagSession`.
    pub transitive: bool,
}

/// The session tags that fit into one request, and what had to be left out.
///
/// `application`, `environment` and `instance` are always in it: names of legal length always fit.
/// They are not transitive: source identity already carries the workload through a chain of roles.
///
/// # What is known of the packed size
///
/// STS takes at most 50 tags, keys of 128 and values of 256 characters, and packs tags and session
/// policies into a format with a limit of its own. AWS documents neither the format nor the limit,
/// only that answers carry the percentage (`PackedPolicySize`). One measurement is public: six
/// transitive tags, by their keys some 330 bytes, took 74 % (aws/containers-roadmap#2413), so the
/// whole is near 450 bytes, and what is inherited counts again in the next session. This plan
/// therefore takes 400 bytes for full, counts every tag as its key, its value and 6 bytes more, and
/// a transitive one twice. It may leave out a tag that STS would have taken; it should never send a
/// request that STS refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagPlan {
    /// What is sent.
    pub tags: BTreeMap<String, String>,
    /// The keys of those that are transitive, in order.
    pub transitive: Vec<String>,
    /// What is not sent, in the order in which it was wished for.
    pub dropped: Vec<Dropped>,
    /// The estimate, in bytes; at most [`TagPlan::PACKED_MAX`].
    pub packed: usize,
}

/// A wish that was not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session tag `{key}` is not sent {part}: {why}")]
pub struct Dropped {
    /// The tag's key.
    pub key: String,
    /// What of it.
    pub part: Part,
    /// Why.
    pub why: Why,
}

/// How much of a tag was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The tag.
    Tag,
    /// It is sent, but not as transitive.
    Transitivity,
}

/// Why a tag was dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// STS would refuse the whole request because of it.
    #[error(transparent)]
    Invalid(#[from] InvalidTag),
    /// Another tag that goes first has the same key.
    #[error("`{0}` goes first and has the same key")]
    Repeated(String),
    /// There are as many tags as STS takes.
    #[error("a session has at most {} tags", TagPlan::TAGS_MAX)]
    TooMany,
    /// Tags that go first need the space.
    #[error(
        "it needs {needed} bytes of packed size and {free} are free; shorten or remove tags before it"
    )]
    PackedSize {
        /// How much it needs, in bytes of the estimate.
        needed: usize,
        /// How much those before it left.
        free: usize,
    },
}

/// A tag that STS does not take, whatever else is in the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTag {
    /// The key is empty or too long.
    #[error("tag key must have 1 to {max} characters: `{0}`", max = TagPlan::KEY_MAX)]
    KeyLength(String),
    /// The value is too long.
    #[error("value of tag `{0}` must have at most {max} characters", max = TagPlan::VALUE_MAX)]
    ValueLength(String),
    /// The key or the value holds a character that is not allowed.
    #[error(
        "tag `{key}` must have only letters, digits, spaces and `_ . : / = + - @`, not `{wrong}`"
    )]
    Character {
        /// The tag.
        key: String,
        /// The first character that is wrong.
        wrong: char,
    },
    /// The key belongs to AWS.
    #[error("tag key must not start with `aws:`: `{0}`")]
    OwnedByAws(String),
    /// The key is one that Rolecall sets.
    #[error("tag `{0}` is set by rolecall to what the workload is; choose another key")]
    OwnedByUs(String),
}

impl Tag {
    /// Whether STS takes it, apart from the size of the whole request.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn check(&self) -> Result<(), InvalidTag> {
        let Self { key, value, .. } = self;
        let folded = key.to_lowercase();
        if key.is_empty() || key.chars().count() > TagPlan::KEY_MAX {
            return Err(InvalidTag::KeyLength(key.chars().take(TagPlan::KEY_MAX).collect()));
        }
        if let Some(wrong) = key.chars().chain(value.chars()).find(|c| !legal(*c)) {
            return Err(InvalidTag::Character { key: key.clone(), wrong });
        }
        if value.chars().count() > TagPlan::VALUE_MAX {
            return Err(InvalidTag::ValueLength(key.clone()));
        }
        if folded.starts_with("aws:") {
            return Err(InvalidTag::OwnedByAws(key.clone()));
        }
        if REQUIRED.contains(&folded.as_str()) {
            return Err(InvalidTag::OwnedByUs(key.clone()));
        }
        Ok(())
    }
}

impl TagPlan {
    /// The most tags of a session.
    pub const TAGS_MAX: usize = 50;
    /// The longest key, in characters.
    pub const KEY_MAX: usize = 128;
    /// The longest value, in characters.
    pub const VALUE_MAX: usize = 256;
    /// What this plan takes for a full request, in bytes of its estimate.
    pub const PACKED_MAX: usize = 400;

    /// Plans the tags of a binding, which go in the order of their keys and are not transitive.
    ///
    /// ```
    /// # use credentials::TagPlan;
    /// let plan = TagPlan::new(&"orders/prod/i-1".parse().unwrap(), []);
    /// let tags: Vec<_> = plan.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    /// assert_eq!(tags, ["application=orders", "environment=prod", "instance=i-1"]);
    /// assert!(plan.dropped.is_empty());
    /// ```
    pub fn of(binding: &Binding, workload: &Workload) -> Self {
        let wishes = binding.tags.iter();
        Self::new(
            workload,
            wishes.map(|(key, value)| Tag {
                key: key.clone(),
                value: value.clone(),
                transitive: false,
            }),
        )
    }

    /// Plans the required tags and as many wishes as fit. The first wish is the most important: a
    /// wish is dropped only if it does not fit beside those before it, and it loses its
    /// transitivity first.
    pub fn new(workload: &Workload, wishes: impl IntoIterator<Item = Tag>) -> Self {
        let Workload { application, environment, instance } = workload;
        let values = [application.as_str(), environment.as_str(), instance.as_str()];
        let mut plan = Self::default();
        for (key, value) in REQUIRED.into_iter().zip(values) {
            plan.packed += weight(key, value);
            plan.tags.insert(key.to_owned(), value.to_owned());
        }
        for wish in wishes {
            if let Err((part, why)) = plan.grant(&wish) {
                plan.dropped.push(Dropped { key: wish.key, part, why });
            }
        }
        plan.transitive.sort();
        plan
    }

    /// How full the request is by the estimate, in percent.
    pub const fn percent(&self) -> usize {
        self.packed * 100 / Self::PACKED_MAX
    }

    fn grant(&mut self, wish: &Tag) -> Result<(), (Part, Why)> {
        let drop = |why| (Part::Tag, why);
        wish.check().map_err(|invalid| drop(invalid.into()))?;
        let folded = wish.key.to_lowercase();
        if let Some(first) = self.tags.keys().find(|key| key.to_lowercase() == folded) {
            return Err(drop(Why::Repeated(first.clone())));
        }
        if self.tags.len() >= Self::TAGS_MAX {
            return Err(drop(Why::TooMany));
        }
        let (needed, free) = (weight(&wish.key, &wish.value), Self::PACKED_MAX - self.packed);
        if needed > free {
            return Err(drop(Why::PackedSize { needed, free }));
        }
        self.tags.insert(wish.key.clone(), wish.value.clone());
        self.packed += needed;
        if !wish.transitive {
            return Ok(());
        }
        if 2 * needed > free {
            return Err((Part::Transitivity, Why::PackedSize { needed: 2 * needed, free }));
        }
        self.packed += needed;
        self.transitive.push(wish.key.clone());
        Ok(())
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tag => "at all",
            Self::Transitivity => "as transitive",
        })
    }
}

/// The keys of the tags that say who the workload is.
const REQUIRED: [&str; 3] = ["application", "environment", "instance"];
/// What a tag costs beside its text.
const TAG_OVERHEAD: usize = 6;

// INVARIANT (RequiredFit): the longest names that a workload may have leave room.
const _: () = assert!(
    REQUIRED[0].len()
        + REQUIRED[1].len()
        + REQUIRED[2].len()
        + workload::Application::LENGTH_MAX
        + workload::Environment::LENGTH_MAX
        + workload::Instance::LENGTH_MAX
        + REQUIRED.len() * TAG_OVERHEAD
        <= TagPlan::PACKED_MAX
);
const _: () = assert!(workload::Instance::LENGTH_MAX <= TagPlan::VALUE_MAX);

fn weight(key: &str, value: &str) -> usize {
    key.len() + value.len() + TAG_OVERHEAD
}

/// STS allows every letter there is. Of those beyond ASCII only the Latin ones are let through,
/// where what Rust and what AWS call a letter is the same: one wrong character would fail the whole
/// request.
fn legal(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || " _.:/=+-@".contains(c)
        || ('\u{c0}'..='\u{24f}').contains(&c) && c.is_alphabetic()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag { key: key.to_owned(), value: value.to_owned(), transitive: false }
    }

    fn plan(wishes: &[Tag]) -> TagPlan {
        TagPlan::new(&"orders/prod/i-1".parse().unwrap(), wishes.iter().cloned())
    }

    #[track_caller]
    fn check(wishes: &[Tag], dropped: &[&str]) {
        let plan = plan(wishes);
        let said: Vec<_> = plan.dropped.iter().map(ToString::to_string).collect();
        assert_eq!(said, dropped);
        for required in REQUIRED {
            assert!(plan.tags.contains_key(required));
        }
    }

    #[test]
    fn tags_that_fit_are_all_sent() {
        check(&[tag("team", "Käufer & co".replace('&', "+").as_str()), tag("cost", "")], &[]);
    }

    #[test]
    fn one_wrong_tag_is_dropped_and_does_not_fail_the_request() {
        let (long_key, long_value) = ("k".repeat(129), "v".repeat(257));
        let cut = "k".repeat(128);
        check(
            &[tag("", "a")],
            &["session tag `` is not sent at all: tag key must have 1 to 128 characters: ``"],
        );
        check(
            &[tag(&long_key, "a")],
            &[&format!(
                "session tag `{long_key}` is not sent at all: tag key must have 1 to 128 characters: `{cut}`"
            )],
        );
        check(
            &[tag("a", &long_value)],
            &[
                "session tag `a` is not sent at all: value of tag `a` must have at most 256 characters",
            ],
        );
        check(
            &[tag("a", "b*")],
            &[
                "session tag `a` is not sent at all: tag `a` must have only letters, digits, spaces and `_ . : / = + - @`, not `*`",
            ],
        );
        check(
            &[tag("AWS:a", "b")],
            &[
                "session tag `AWS:a` is not sent at all: tag key must not start with `aws:`: `AWS:a`",
            ],
        );
    }

    #[test]
    fn nobody_can_wish_for_the_identity_of_another_workload() {
        check(
            &[tag("Application", "payroll")],
            &[
                "session tag `Application` is not sent at all: tag `Application` is set by rolecall to what the workload is; choose another key",
            ],
        );
        assert_eq!(plan(&[tag("application", "payroll")]).tags["application"], "orders");
    }

    #[test]
    fn keys_that_differ_only_in_case_are_one() {
        check(
            &[tag("team", "a"), tag("Team", "b")],
            &["session tag `Team` is not sent at all: `team` goes first and has the same key"],
        );
    }

    #[test]
    fn the_planner_keeps_within_the_packed_size_and_says_what_it_dropped() {
        let wishes =
            [tag("big", &"v".repeat(200)), tag("wide", &"v".repeat(200)), tag("tiny", "v")];
        check(
            &wishes,
            &[
                "session tag `wide` is not sent at all: it needs 210 bytes of packed size and 130 are free; shorten or remove tags before it",
            ],
        );
        assert!(plan(&wishes).tags.contains_key("tiny"));
    }

    #[test]
    fn a_tag_loses_its_transitivity_before_it_is_dropped() {
        let wish = Tag { transitive: true, ..tag("lineage", &"v".repeat(200)) };
        check(
            std::slice::from_ref(&wish),
            &[
                "session tag `lineage` is not sent as transitive: it needs 426 bytes of packed size and 339 are free; shorten or remove tags before it",
            ],
        );
        let plan = plan(&[wish, Tag { transitive: true, ..tag("a", "b") }]);
        assert_eq!(plan.transitive, ["a"]);
        assert!(plan.tags.contains_key("lineage"));
    }

    #[test]
    fn there_are_never_more_tags_than_sts_takes() {
        let wishes: Vec<_> = (0..60).map(|n| tag(&format!("{n}"), "")).collect();
        let plan = plan(&wishes);
        assert!(plan.tags.len() <= 50 && plan.packed <= TagPlan::PACKED_MAX);
        assert_eq!(plan.tags.len() + plan.dropped.len(), 63);
    }

    proptest! {
        #[test]
        fn a_wish_is_dropped_only_for_those_before_it(
            wishes in vec(("[a-c]{1,3}", "[a-z*]{0,150}", any::<bool>()), 0..8)
        ) {
            let wishes: Vec<_> = wishes
                .iter()
                .map(|(key, value, transitive)| Tag { transitive: *transitive, ..tag(key, value) })
                .collect();
            let all = plan(&wishes);
            prop_assert!(all.packed <= TagPlan::PACKED_MAX && all.percent() <= 100);
            // Taking the last wish away changes nothing for the others.
            let fewer = plan(&wishes[..wishes.len().saturating_sub(1)]);
            prop_assert!(fewer.tags.iter().all(|(key, value)| all.tags.get(key) == Some(value)));
            prop_assert!(fewer.dropped.iter().eq(all.dropped.iter().take(fewer.dropped.len())));
        }

        #[test]
        fn the_required_tags_fit_for_every_workload(
            application in "[a-z]{64}", environment in "[a-z]{64}", instance in "[a-z:@]{128}"
        ) {
            let workload = format!("{application}/{environment}/{instance}").parse().unwrap();
            let plan = TagPlan::new(&workload, [tag("x", "y")]);
            prop_assert_eq!(plan.tags.len(), 4);
        }
    }
}
