use std::{fmt, str::FromStr};

use globset::{GlobBuilder, GlobMatcher};

use crate::workload::excerpt;

/// A pattern for names and paths: `*` and `?` stay within a path segment, `**` crosses segments.
///
/// Also `[a-z]`, `[!a-z]`, `{one,two}` and `{,two}`. The whole text must match. Segments matter because what
/// lies below a unit or container is not the operator's to name: `/system.slice/*` must not
/// reach `/system.slice/evil.service/anything`. Text without `/` is one segment, so `*` is all of it.
/// A backslash is an ordinary character, because unit names carry them (`a\x2db.service`); `[*]` is a star.
///
/// ```
/// # use workload::Glob;
/// let glob: Glob = "/system.slice/orders@*.service".parse().unwrap();
/// assert!(glob.is_match("/system.slice/orders@eu.service"));
/// assert!(!glob.is_match("/system.slice/orders@eu/x.service"));
/// assert!("[a".parse::<Glob>().is_err());
/// ```
#[derive(Clone)]
pub struct Glob {
    pattern: String,
    /// How much of the pattern every match starts with. It is compared first, being much cheaper.
    prefix: usize,
    /// Nothing where the pattern is literal.
    matcher: Option<GlobMatcher>,
}

/// The text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    /// It could match nothing.
    #[error("pattern must not be empty; `*` matches any text")]
    Empty,
    /// Longer than [`Glob::LENGTH_MAX`].
    #[error("pattern must be at most 1024 bytes, not {0}")]
    Length(usize),
    /// Braces within braces within braces …: more than [`Glob::DEPTH_MAX`].
    #[error("pattern `{0}` nests braces too deeply")]
    Depth(String),
    /// Brackets or braces that do not pair up.
    #[error("pattern `{pattern}` is not legal: {reason}")]
    Syntax {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Glob {
    /// The longest pattern, in bytes.
    pub const LENGTH_MAX: usize = 1024;
    /// How many braces may be open at one place.
    pub const DEPTH_MAX: usize = 8;

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// The one text that matches, where there is only one.
    pub fn literal(&self) -> Option<&str> {
        if self.matcher.is_none() { Some(&self.pattern) } else { None }
    }

    /// What every text that matches starts with; empty where nothing is certain.
    pub fn prefix(&self) -> &str {
        self.pattern.get(..self.prefix).unwrap_or_default()
    }

    /// Whether the whole text matches.
    pub fn is_match(&self, text: &str) -> bool {
        let Some(matcher) = &self.matcher else {
            return self.pattern == text;
        };
        text.starts_with(self.prefix()) && matcher.is_match(text)
    }
}

impl FromStr for Glob {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.len() {
            0 => return Err(InvalidGlob::Empty),
            length if length > Self::LENGTH_MAX => return Err(InvalidGlob::Length(length)),
            _ => {}
        }
        let pattern = text.to_owned();
        let Some(prefix) = text.find(['*', '?', '[', ']', '{', '}']) else {
            return Ok(Self { pattern, prefix: text.len(), matcher: None });
        };
        // The compiler below gives up, by a panic, on what nests some hundred deep.
        if depth(text) > Self::DEPTH_MAX {
            return Err(InvalidGlob::Depth(excerpt(text)));
        }
        let glob = dialect(text).build();
        let syntax = |error: globset::Error| InvalidGlob::Syntax {
            pattern: excerpt(text),
            reason: error.kind().to_string(),
        };
        let matcher = Some(glob.map_err(syntax)?.compile_matcher());
        Ok(Self { pattern, prefix, matcher })
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for Glob {}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.pattern)
    }
}

/// An empty alternative is one: `orders{,-*}` is `orders` as well. Left out, it would match nothing.
fn dialect(pattern: &str) -> GlobBuilder<'_> {
    let mut builder = GlobBuilder::new(pattern);
    builder.literal_separator(true).backslash_escape(false).empty_alternates(true);
    builder
}

fn depth(pattern: &str) -> usize {
    let steps = pattern.bytes().scan(0_usize, |open, byte| {
        match byte {
            b'{' => *open += 1,
            b'}' => *open = open.saturating_sub(1),
            _ => {}
        }
        Some(*open)
    });
    steps.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let glob: Glob = pattern.parse().unwrap();
        assert!(yes.iter().all(|text| glob.is_match(text)), "{pattern} {yes:?}");
        assert!(!no.iter().any(|text| glob.is_match(text)), "{pattern} {no:?}");
        assert_eq!(glob.to_string(), pattern);
    }

    #[test]
    fn a_star_stays_within_a_segment() {
        check("/a/*", &["/a/b", "/a/"], &["/a", "/a/b/c", "/ab"]);
        check("*.service", &["orders.service"], &["user@1000.service/orders.service"]);
        check("/a?b", &["/axb"], &["/a/b"]);
    }

    #[test]
    fn two_stars_cross_segments() {
        check("/a/**", &["/a/b", "/a/b/c"], &["/a", "/ab/c"]);
        check("**/b", &["/a/b", "b", "/a/c/b"], &["/a/cb"]);
        check("/a/**/b", &["/a/b", "/a/c/d/b"], &["/ab"]);
    }

    #[test]
    fn classes_and_alternatives_work() {
        check("orders-[0-9]", &["orders-7"], &["orders-x", "orders-"]);
        check("orders-[!0-9]", &["orders-x"], &["orders-7"]);
        check("{orders,billing}@*", &["orders@eu", "billing@"], &["stock@eu"]);
        check("orders{,-*}", &["orders", "orders-7"], &["orders7"]);
    }

    #[test]
    fn a_backslash_is_an_ordinary_character() {
        check(r"a\x2db.service", &[r"a\x2db.service"], &["a-b.service", "ax2db.service"]);
        check(r"a\x2d*.service", &[r"a\x2db.service"], &["a-b.service", r"a\*.service"]);
        check("[*]", &["*"], &["a"]);
    }

    #[test]
    fn a_literal_pattern_matches_itself_alone() {
        check(
            "/system.slice/orders.service",
            &["/system.slice/orders.service"],
            &["/system_slice/orders.service", "/system.slice/orders.service/"],
        );
        assert_eq!("orders".parse::<Glob>().unwrap().literal(), Some("orders"));
        assert_eq!("orders*".parse::<Glob>().unwrap().literal(), None);
    }

    #[test]
    fn an_illegal_pattern_says_what_is_wrong() {
        for (pattern, says) in [
            ("", "empty"),
            ("[a", "unclosed"),
            ("{a", "unclosed"),
            ("a}", "unopened"),
            ("[z-a]", "range"),
            (&"a".repeat(1025), "1025"),
            (&format!("{}{}", "{".repeat(300), "}".repeat(300)), "deep"),
        ] {
            let error = pattern.parse::<Glob>().unwrap_err().to_string();
            assert!(error.contains(says), "{pattern}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_and_no_text_panics(pattern in r"[a/*?!{},\[\]\\^.ä-]{0,40}|\PC{0,40}", text in "[a/.-]{0,12}") {
            if let Ok(glob) = pattern.parse::<Glob>() {
                glob.is_match(&text);
            }
        }

        #[test]
        fn the_prefix_check_changes_no_answer(pattern in r"[ab/]{0,3}[ab/*?{},\[\]!]{0,5}", text in "[ab/]{0,5}") {
            if let Ok(glob) = pattern.parse::<Glob>() {
                let whole = dialect(&pattern).build();
                prop_assert_eq!(glob.is_match(&text), whole.unwrap().compile_matcher().is_match(&text));
            }
        }
    }
}
