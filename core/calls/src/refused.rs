use std::fmt;

/// Why a line is no event. Whoever wrote the shim or the SDK that sent it must act; the agent counts and goes on.
///
/// There are few reasons and none holds any of the line, so that counting them is bounded and tells nothing of
/// what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// More bytes than a line of its version may have.
    TooLong,
    /// Not UTF-8.
    NotText,
    /// Not JSON, or more than one value.
    NotJson,
    /// JSON, but not an object.
    NotAnObject,
    /// Objects and lists within one another beyond the bound.
    TooDeep,
    /// More members than any event has.
    TooManyMembers,
    /// A member or a path that stands there twice: two readers could take two different ones.
    Duplicate,
    /// A member of the wrong kind, such as a number where a text belongs.
    WrongKind,
    /// A number that is not whole, or beyond its bounds.
    Number,
    /// A text that is empty, too long, or has control characters.
    Text,
    /// A path of a parameter that is none, or is too long.
    Path,
    /// More paths, or values of a path, than an event may have.
    TooManyValues,
    /// A member without which it means nothing is not there.
    Missing,
    /// A `Type` that is not known.
    UnknownType,
    /// A `Version` that is not known.
    UnknownVersion,
}

impl Refused {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 15] = [
        Self::TooLong,
        Self::NotText,
        Self::NotJson,
        Self::NotAnObject,
        Self::TooDeep,
        Self::TooManyMembers,
        Self::Duplicate,
        Self::WrongKind,
        Self::Number,
        Self::Text,
        Self::Path,
        Self::TooManyValues,
        Self::Missing,
        Self::UnknownType,
        Self::UnknownVersion,
    ];

    /// The name of its counter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too-long",
            Self::NotText => "not-text",
            Self::NotJson => "not-json",
            Self::NotAnObject => "not-an-object",
            Self::TooDeep => "too-deep",
            Self::TooManyMembers => "too-many-members",
            Self::Duplicate => "duplicate",
            Self::WrongKind => "wrong-kind",
            Self::Number => "number",
            Self::Text => "text",
            Self::Path => "path",
            Self::TooManyValues => "too-many-values",
            Self::Missing => "missing",
            Self::UnknownType => "unknown-type",
            Self::UnknownVersion => "unknown-version",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line refused: {}", self.as_str())
    }
}

impl std::error::Error for Refused {}

/// How many lines were refused, by reason.
///
/// ```
/// # use calls::{Refusals, Refused, decode};
/// let mut refusals = Refusals::default();
/// for line in ["{", "[]", "{"] {
///     let Err(reason) = decode(line.as_bytes()) else { continue };
///     refusals.count(reason);
/// }
/// assert_eq!((refusals.of(Refused::NotJson), refusals.of(Refused::NotAnObject)), (2, 1));
/// assert_eq!(refusals.total(), 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals([u64; Refused::ALL.len()]);

impl Refusals {
    /// One more.
    pub fn count(&mut self, reason: Refused) {
        if let Some(counter) = self.0.get_mut(reason as usize) {
            *counter = counter.saturating_add(1);
        }
    }

    /// So many more.
    pub fn add(&mut self, reason: Refused, count: u64) {
        if let Some(counter) = self.0.get_mut(reason as usize) {
            *counter = counter.saturating_add(count);
        }
    }

    /// How many for this reason.
    pub fn of(&self, reason: Refused) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// What came since an earlier state of the same counters.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (count, before) in since.0.iter_mut().zip(earlier.0) {
            *count = count.saturating_sub(before);
        }
        since
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_and_a_name_of_its_own() {
        for (index, reason) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            let named = Refused::ALL.iter().filter(|other| other.as_str() == reason.as_str());
            assert_eq!(named.count(), 1, "{reason}");
        }
    }
}
