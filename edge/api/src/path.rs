//! Paths with parts that vary: built by the client, read by the server, by one rule.

use serde::{Serialize, de::DeserializeOwned};

/// A value cannot stand in a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The part is empty, `.` or `..`, which whoever normalises the path would swallow.
    #[error("`{0}` must be a text other than ``, `.` and `..`")]
    Part(String),
    /// The path does not fit the template.
    #[error("it does not look like `{0}`")]
    Shape(&'static str),
    /// The value has a form that a path or query cannot hold.
    #[error("{0}")]
    Value(String),
}

impl From<serde_urlencoded::ser::Error> for Unfit {
    fn from(error: serde_urlencoded::ser::Error) -> Self {
        Self::Value(error.to_string())
    }
}

/// Puts the fields of `parts` where `template` names them.
pub(crate) fn build(template: &'static str, parts: &impl Serialize) -> Result<String, Unfit> {
    // A form is the one notation that writes numbers, texts and names alike as plain text.
    let parts = serde_urlencoded::to_string(parts)?;
    let parts: Vec<(String, String)> =
        serde_urlencoded::from_str(&parts).map_err(|error| Unfit::Value(error.to_string()))?;
    let mut path = String::with_capacity(template.len());
    for segment in template.split('/').skip(1) {
        path.push('/');
        let Some(name) = variable(segment) else {
            path.push_str(segment);
            continue;
        };
        let part = parts.iter().find(|(field, _)| field == name);
        let (_, part) = part.ok_or(Unfit::Shape(template))?;
        if matches!(part.as_str(), "" | "." | "..") {
            return Err(Unfit::Part(name.to_owned()));
        }
        encode(part, &mut path);
    }
    Ok(path)
}

/// Reads the parts that `template` names out of `path`.
pub(crate) fn read<T: DeserializeOwned>(template: &'static str, path: &str) -> Result<T, Unfit> {
    let mut segments = path.split('/');
    let mut parts = Vec::new();
    for wanted in template.split('/') {
        let segment = segments.next().ok_or(Unfit::Shape(template))?;
        match variable(wanted) {
            Some(name) => parts.push((name, decode(segment).ok_or(Unfit::Shape(template))?)),
            None if wanted == segment => {}
            None => return Err(Unfit::Shape(template)),
        }
    }
    if segments.next().is_some() {
        return Err(Unfit::Shape(template));
    }
    let parts = serde_urlencoded::to_string(&parts)?;
    serde_urlencoded::from_str(&parts).map_err(|error| Unfit::Value(error.to_string()))
}

/// The name within the braces of `{name}`.
fn variable(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// Writes every byte but the unreserved ones of RFC 3986, section 2.3, as `%XX`.
fn encode(part: &str, out: &mut String) {
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 0xf] {
                let digit = char::from_digit(nibble.into(), 16).unwrap_or_default();
                out.push(digit.to_ascii_uppercase());
            }
        }
    }
}

/// The text of a segment; `None` when an escape is broken or the text is not UTF-8.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut nibble = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (nibble()?, nibble()?);
            bytes.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    const TEMPLATE: &str = "/v1/people/{person}/version/{version}";

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Parts {
        person: String,
        version: u32,
    }

    #[track_caller]
    fn check(person: &str, path: &str) {
        let parts = Parts { person: person.to_owned(), version: 3 };
        assert_eq!(build(TEMPLATE, &parts).as_deref(), Ok(path));
        assert_eq!(read(TEMPLATE, path), Ok(parts));
    }

    #[test]
    fn odd_characters_stand_in_a_path_and_come_back() {
        check("ann", "/v1/people/ann/version/3");
        check("a/b c+d%", "/v1/people/a%2Fb%20c%2Bd%25/version/3");
        check("ä?#&=", "/v1/people/%C3%A4%3F%23%26%3D/version/3");
    }

    #[test]
    fn what_a_path_would_lose_is_refused() {
        for person in ["", ".", ".."] {
            let parts = Parts { person: person.to_owned(), version: 3 };
            assert_eq!(build(TEMPLATE, &parts), Err(Unfit::Part("person".to_owned())));
        }
    }

    #[test]
    fn a_path_of_another_shape_is_refused() {
        for path in [
            "",
            "/v1/people/ann",
            "/v1/people/ann/version/3/",
            "/v1/people/ann/versions/3",
            "/v1/people/a%2/version/3",
            "/v1/people/%ff/version/3",
        ] {
            assert_eq!(read::<Parts>(TEMPLATE, path), Err(Unfit::Shape(TEMPLATE)), "{path}");
        }
        assert!(matches!(
            read::<Parts>(TEMPLATE, "/v1/people/ann/version/x"),
            Err(Unfit::Value(_))
        ));
    }

    #[test]
    fn a_path_without_parts_needs_none() {
        assert_eq!(build("/v1/health", &()).as_deref(), Ok("/v1/health"));
        assert_eq!(read::<()>("/v1/health", "/v1/health"), Ok(()));
    }

    proptest! {
        #[test]
        fn any_text_comes_back(person in ".{1,40}", version: u32) {
            prop_assume!(person != "." && person != "..");
            let parts = Parts { person, version };
            let path = build(TEMPLATE, &parts).unwrap();
            prop_assert!(path.is_ascii());
            prop_assert_eq!(read::<Parts>(TEMPLATE, &path), Ok(parts));
        }
    }
}
