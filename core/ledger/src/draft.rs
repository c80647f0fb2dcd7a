use serde_json::{Map, Value};

use crate::detail::{self, Unspellable};

/// What is to be written: an entry without its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub(crate) actor: String,
    pub(crate) event: String,
    pub(crate) subject: String,
    pub(crate) detail: Map<String, Value>,
}

/// Something cannot stand in the ledger. It is a mistake of the program that writes, or of whoever
/// chose a name of such length.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDraft {
    /// Empty, too long, or with a control character.
    #[error("ledger {field} must be 1 to {max} bytes without control characters: `{start}`")]
    Text {
        /// Which part.
        field: &'static str,
        /// Its bound, in bytes.
        max: usize,
        /// How it begins.
        start: String,
    },
    /// Not a dotted word.
    #[error(
        "ledger event must be words of `a` to `z` and `-`, joined by dots, like `switch.set`: `{0}`"
    )]
    Event(String),
    /// Not an object.
    #[error("ledger detail must be a JSON object")]
    NotAnObject,
    /// More than an entry may hold.
    #[error("ledger detail has {0} bytes, more than {max}", max = Draft::DETAIL_MAX)]
    DetailTooLong(usize),
    /// Numbers that programs print differently.
    #[error("ledger detail must have whole numbers only")]
    Fraction,
    /// Too many levels.
    #[error("ledger detail must not be nested deeper than 8 levels")]
    TooDeep,
}

impl Draft {
    /// The longest actor, in bytes.
    pub const ACTOR_MAX: usize = 256;
    /// The longest event, in bytes.
    pub const EVENT_MAX: usize = 64;
    /// The longest subject, in bytes.
    pub const SUBJECT_MAX: usize = 1024;
    /// The longest detail, in bytes of its one spelling.
    pub const DETAIL_MAX: usize = 64 * 1024;

    /// `actor` did `event` to `subject`.
    ///
    /// # Errors
    /// When a part breaks its bounds: see the constants.
    pub fn new(
        actor: impl Into<String>,
        event: impl Into<String>,
        subject: impl Into<String>,
        detail: Value,
    ) -> Result<Self, InvalidDraft> {
        let Value::Object(detail) = detail else { return Err(InvalidDraft::NotAnObject) };
        let draft =
            Self { actor: actor.into(), event: event.into(), subject: subject.into(), detail };
        let Self { actor, event, subject, detail } = &draft;
        Parts { actor, event, subject, detail }.check()?;
        Ok(draft)
    }
}

/// What an entry says, wherever it is kept.
pub(crate) struct Parts<'a> {
    pub(crate) actor: &'a str,
    pub(crate) event: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) detail: &'a Map<String, Value>,
}

impl Parts<'_> {
    /// Whether it keeps all bounds; answers the one spelling of the detail.
    pub(crate) fn check(&self) -> Result<String, InvalidDraft> {
        plain("actor", self.actor, Draft::ACTOR_MAX)?;
        plain("event", self.event, Draft::EVENT_MAX)?;
        plain("subject", self.subject, Draft::SUBJECT_MAX)?;
        let word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        };
        if !self.event.split('.').all(word) {
            return Err(InvalidDraft::Event(self.event.to_owned()));
        }
        let detail = detail::canonical(self.detail).map_err(|error| match error {
            Unspellable::Fraction => InvalidDraft::Fraction,
            Unspellable::TooDeep => InvalidDraft::TooDeep,
        })?;
        match detail.len() {
            0..=Draft::DETAIL_MAX => Ok(detail),
            long => Err(InvalidDraft::DetailTooLong(long)),
        }
    }
}

fn plain(field: &'static str, text: &str, max: usize) -> Result<(), InvalidDraft> {
    if text.is_empty() || text.len() > max || text.chars().any(char::is_control) {
        let start = text.chars().take(64).flat_map(char::escape_debug).collect();
        return Err(InvalidDraft::Text { field, max, start });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(actor: &str, event: &str, subject: &str, detail: Value, refused: bool) {
        let made = Draft::new(actor, event, subject, detail);
        assert_eq!(made.is_err(), refused, "{made:?}");
    }

    #[test]
    fn a_draft_keeps_its_bounds() {
        check("alice", "switch.set", "fleet", json!({}), false);
        check("", "switch.set", "fleet", json!({}), true);
        check("a\nb", "switch.set", "fleet", json!({}), true);
        check(&"a".repeat(257), "switch.set", "fleet", json!({}), true);
        check("alice", "Switch set", "fleet", json!({}), true);
        check("alice", "switch..set", "fleet", json!({}), true);
        check("alice", "switch.set", &"a".repeat(1025), json!({}), true);
        check("alice", "switch.set", "fleet", json!([]), true);
        check("alice", "switch.set", "fleet", json!({ "a": 0.1 }), true);
        check("alice", "switch.set", "fleet", json!({ "a": "b".repeat(65536) }), true);
    }
}
