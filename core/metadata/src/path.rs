use std::borrow::Cow;

/// A request target, taken apart and normalised: the one way from bytes on the wire to a path that
/// any rule may look at.
///
/// Percent escapes are decoded first, then `//`, `/./` and `/../` are resolved (never above the
/// root), so that no spelling of a path can pass a rule that another spelling would not.
/// Normalising is idempotent: what it yields, it yields again.
///
/// ```
/// # use metadata::Target;
/// let target = Target::parse("/latest//user%2Ddata/../meta-data/ami-id/?x=1").unwrap();
/// assert_eq!(target.path(), "/latest/meta-data/ami-id");
/// assert!(Target::parse("/latest/%252e%252e/").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    path: Cow<'a, str>,
    query: Option<&'a str>,
    authority: Option<&'a str>,
}

/// The target cannot be a metadata path in any spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// Longer than [`Target::LENGTH_MAX`].
    #[error("target must not be longer than {max} bytes", max = Target::LENGTH_MAX)]
    TooLong,
    /// Neither `/path` nor `http://authority/path`.
    #[error("target must start with `/` or be an `http://` address")]
    Shape,
    /// A `%` without two hexadecimal digits.
    #[error("percent escape at byte {at} is broken")]
    Escape {
        /// Where the `%` stands.
        at: usize,
    },
    /// A byte that no metadata path has, plain or escaped: control bytes, spaces, backslashes,
    /// everything beyond ASCII, and `%`, `?` or `#` behind an escape (a second decoding would
    /// change their meaning).
    #[error("byte 0x{byte:02x} does not belong in a metadata path")]
    Byte {
        /// The byte, decoded.
        byte: u8,
    },
}

impl<'a> Target<'a> {
    /// The longest target that is looked at, in bytes as sent.
    pub const LENGTH_MAX: usize = 2048;

    /// Takes a target apart and normalises its path.
    pub fn parse(target: &'a str) -> Result<Self, InvalidTarget> {
        if target.len() > Self::LENGTH_MAX {
            return Err(InvalidTarget::TooLong);
        }
        let (authority, rest) = split_authority(target)?;
        if let Some(path) = already_normal(rest) {
            return Ok(Self { path: Cow::Borrowed(path), query: None, authority });
        }
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (raw, query) = match rest.split_once('?') {
            Some((raw, query)) => (raw, Some(query)),
            None => (rest, None),
        };
        Ok(Self { path: normalise(raw)?, query, authority })
    }

    /// The normalised path: starts with `/`, has no empty, `.` or `..` segment, no escape, and no
    /// slash at its end unless it is the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What follows `?`, as it was sent.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// The host and port of an absolute target.
    pub fn authority(&self) -> Option<&'a str> {
        self.authority
    }

    /// The version prefix and what lies below it, without slashes around it. `None` where the
    /// first segment is no version.
    pub(crate) fn versioned(&self) -> Option<(Version, &str)> {
        let path = self.path.strip_prefix('/')?;
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        Some((Version::parse(first)?, rest))
    }
}

/// A version of the metadata tree. All have the same content; tokens are made under `latest` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Latest,
    /// `1.0` or a date. Every date is taken: some clients probe dates of their own.
    Numbered,
}

impl Version {
    fn parse(segment: &str) -> Option<Self> {
        match segment {
            "latest" => Some(Self::Latest),
            "1.0" => Some(Self::Numbered),
            _ => {
                let dated = segment.len() == 10
                    && segment.bytes().enumerate().all(|(at, byte)| match at {
                        4 | 7 => byte == b'-',
                        _ => byte.is_ascii_digit(),
                    });
                dated.then_some(Self::Numbered)
            }
        }
    }
}

fn split_authority(target: &str) -> Result<(Option<&str>, &str), InvalidTarget> {
    if target.starts_with('/') {
        return Ok((None, target));
    }
    let (scheme, rest) = target.split_once("://").ok_or(InvalidTarget::Shape)?;
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(InvalidTarget::Shape);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).ok_or(InvalidTarget::Shape)?;
    Ok((Some(authority), path))
}

fn normalise(raw: &str) -> Result<Cow<'_, str>, InvalidTarget> {
    if let Some(path) = already_normal(raw) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(raw)?;
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut path = String::with_capacity(decoded.len() + 1);
    for segment in segments {
        path.push('/');
        path.push_str(segment);
    }
    if path.is_empty() {
        path.push('/');
    }
    Ok(Cow::Owned(path))
}

/// The common case without an allocation: nothing to decode or to resolve but a slash at the end.
fn already_normal(raw: &str) -> Option<&str> {
    let below = raw.strip_prefix('/')?;
    if below.is_empty() {
        return Some(raw);
    }
    let mut previous = b'/';
    for byte in below.bytes() {
        if !legal(byte) || (previous == b'/' && matches!(byte, b'/' | b'.')) {
            return None;
        }
        previous = byte;
    }
    Some(raw.strip_suffix('/').unwrap_or(raw))
}

fn decode(raw: &str) -> Result<String, InvalidTarget> {
    let mut decoded = String::with_capacity(raw.len());
    let mut bytes = raw.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        let byte = if byte == b'%' {
            let mut digit = || {
                let (_, byte) = bytes.next()?;
                char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
            };
            match (digit(), digit()) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(InvalidTarget::Escape { at }),
            }
        } else {
            byte
        };
        if !legal(byte) {
            return Err(InvalidTarget::Byte { byte });
        }
        decoded.push(char::from(byte));
    }
    Ok(decoded)
}

fn legal(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'%' | b'?' | b'#' | b'\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(target: &str, expected: &str) {
        assert_eq!(Target::parse(target).as_ref().map(Target::path), Ok(expected), "`{target}`");
    }

    #[track_caller]
    fn check_invalid(target: &str, expected: InvalidTarget) {
        assert_eq!(Target::parse(target), Err(expected), "`{target}`");
    }

    #[test]
    fn a_slash_at_the_end_means_nothing() {
        check("/", "/");
        check("/latest", "/latest");
        check("/latest/", "/latest");
        check("/latest/meta-data/iam///", "/latest/meta-data/iam");
    }

    #[test]
    fn doubled_slashes_and_dots_are_resolved() {
        check("//latest//meta-data", "/latest/meta-data");
        check("/./latest/././meta-data/.", "/latest/meta-data");
        check("/1.0/../latest/meta-data/x/..", "/latest/meta-data");
        check("/../../latest", "/latest");
        check("/..", "/");
        check("/latest/...", "/latest/...");
        check("/latest/.hidden", "/latest/.hidden");
    }

    #[test]
    fn escapes_are_decoded_before_anything_is_resolved() {
        check("/%6catest/%2e%2e/1.0/meta%2Ddata", "/1.0/meta-data");
        check("/latest%2f%2fmeta-data%2F..%2Fuser-data", "/latest/user-data");
        check("/latest/iam%5f", "/latest/iam_");
    }

    #[test]
    fn what_a_second_decoding_would_change_is_refused() {
        check_invalid("/%252e%252e/", InvalidTarget::Byte { byte: b'%' });
        check_invalid("/latest%3fx", InvalidTarget::Byte { byte: b'?' });
        check_invalid("/latest%23x", InvalidTarget::Byte { byte: b'#' });
    }

    #[test]
    fn control_bytes_spaces_and_foreign_letters_are_refused() {
        check_invalid("/latest%00/", InvalidTarget::Byte { byte: 0 });
        check_invalid("/latest/\u{1}", InvalidTarget::Byte { byte: 1 });
        check_invalid("/latest%0d%0aX: y", InvalidTarget::Byte { byte: b'\r' });
        check_invalid("/latest/a%20b", InvalidTarget::Byte { byte: b' ' });
        check_invalid("/latest\\meta-data", InvalidTarget::Byte { byte: b'\\' });
        check_invalid("/lat\u{e9}st", InvalidTarget::Byte { byte: 0xc3 });
        check_invalid("/lat%e9st", InvalidTarget::Byte { byte: 0xe9 });
    }

    #[test]
    fn broken_escapes_are_refused() {
        check_invalid("/a%", InvalidTarget::Escape { at: 2 });
        check_invalid("/a%2", InvalidTarget::Escape { at: 2 });
        check_invalid("/a%zz", InvalidTarget::Escape { at: 2 });
        check_invalid("/a%+1", InvalidTarget::Escape { at: 2 });
    }

    #[test]
    fn an_absolute_target_yields_its_host() {
        let target = Target::parse("HTTP://169.254.169.254:80/latest?x").unwrap();
        assert_eq!(target.authority(), Some("169.254.169.254:80"));
        assert_eq!((target.path(), target.query()), ("/latest", Some("x")));
        let bare = Target::parse("http://attacker.example").unwrap();
        assert_eq!((bare.authority(), bare.path()), (Some("attacker.example"), "/"));
        for other in ["", "*", "latest", "169.254.169.254:80", "ftp://h/", "://h/"] {
            check_invalid(other, InvalidTarget::Shape);
        }
    }

    #[test]
    fn query_and_fragment_are_no_part_of_the_path() {
        check("/latest?a=/../user-data", "/latest");
        check("/latest/#?", "/latest");
        assert_eq!(Target::parse("/v1/credentials?id=7#x").unwrap().query(), Some("id=7"));
    }

    #[test]
    fn the_length_is_bounded() {
        let longest = format!("/{}", "a".repeat(Target::LENGTH_MAX - 1));
        check(&longest, &longest);
        check_invalid(&format!("{longest}a"), InvalidTarget::TooLong);
    }

    #[test]
    fn versions_are_latest_one_and_dates() {
        let versioned = |path| Target::parse(path).unwrap().versioned().map(|(version, _)| version);
        assert_eq!(versioned("/latest/x"), Some(Version::Latest));
        assert_eq!(versioned("/1.0"), Some(Version::Numbered));
        assert_eq!(versioned("/2021-03-23/x"), Some(Version::Numbered));
        for other in ["/", "/2.0", "/Latest", "/2021-3-23", "/2021-03-233", "/20210-3-23"] {
            assert_eq!(versioned(other), None, "`{other}`");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn normalising_twice_changes_nothing(raw in "/([/.%a-c2eEfF?#\\\\ -]|%2[eEfF]|\\.\\.){0,24}") {
            if let Ok(target) = Target::parse(&raw) {
                let again = Target::parse(target.path()).unwrap();
                prop_assert_eq!(again.path(), target.path());
            }
        }

        #[test]
        fn a_normal_path_has_nothing_left_to_resolve(raw in "\\PC{0,40}") {
            if let Ok(target) = Target::parse(&raw) {
                let path = target.path();
                prop_assert!(path.starts_with('/'), "{}", path);
                prop_assert!(path.bytes().all(legal), "{}", path);
                let mut segments = path.split('/').skip(1);
                prop_assert!(path == "/" || segments.all(|s| !["", ".", ".."].contains(&s)), "{}", path);
            }
        }

        #[test]
        fn a_slash_more_or_an_escape_more_changes_nothing(
            segments in prop::collection::vec("[a-z0-9.-]{1,6}", 1..5),
            escaped in any::<prop::sample::Index>(),
        ) {
            let plain = format!("/{}", segments.join("/"));
            let doubled = plain.replace('/', "//");
            let at = escaped.index(plain.len());
            let escape = |(n, byte): (usize, u8)| {
                if n == at { format!("%{byte:02x}") } else { char::from(byte).to_string() }
            };
            let escaped: String = plain.bytes().enumerate().map(escape).collect();
            let normal = Target::parse(&plain).unwrap();
            let doubled = Target::parse(&doubled).unwrap();
            prop_assert_eq!(doubled.path(), normal.path());
            if at > 0 {
                let escaped = Target::parse(&escaped).unwrap();
                prop_assert_eq!(escaped.path(), normal.path());
            }
        }
    }
}
