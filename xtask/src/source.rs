//! Rust source with its comments and texts taken out, so that rules look at code alone.

/// The same source with every comment, string and character literal replaced by spaces. Lines keep
/// their numbers.
pub(crate) fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let rest = chars.get(at..).unwrap_or_default();
        let length = comment(rest).or_else(|| literal(rest, code.chars().next_back()));
        match length {
            None => {
                code.push(c);
                at += 1;
            }
            Some(length) => {
                let taken = rest.iter().take(length);
                code.extend(taken.map(|&c| if c == '\n' { '\n' } else { ' ' }));
                at += length;
            }
        }
    }
    code
}

/// The length of the comment that `rest` begins with.
fn comment(rest: &[char]) -> Option<usize> {
    if rest.starts_with(&['/', '/']) {
        return Some(rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with(&['/', '*']) {
        return None;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(pair) = rest.get(at..at + 2) {
        match pair {
            ['/', '*'] => (depth, at) = (depth + 1, at + 2),
            ['*', '/'] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    Some(rest.len())
}

/// The length of the string or character that `rest` begins with, its prefix included.
fn literal(rest: &[char], before: Option<char>) -> Option<usize> {
    let in_a_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let prefix = rest.iter().take_while(|c| matches!(c, 'b' | 'c' | 'r')).count();
    if prefix > 0 && (in_a_word || prefix > 2) {
        return None;
    }
    let raw = rest.iter().take(prefix).any(|&c| c == 'r');
    let body = rest.get(prefix..)?;
    let hashes = body.iter().take_while(|&&c| c == '#').count();
    if raw && body.get(hashes) == Some(&'"') {
        let mut end = vec!['"'];
        end.extend(std::iter::repeat_n('#', hashes));
        let inside = body.get(hashes + 1..)?;
        let length = inside.windows(end.len()).position(|window| window == end);
        return Some(length.map_or(rest.len(), |at| prefix + hashes + 1 + at + end.len()));
    }
    match (body.first()?, body.get(1), body.get(2)) {
        ('"', ..) => Some(prefix + quoted(body, '"')),
        ('\'', Some('\\'), _) => Some(prefix + quoted(body, '\'')),
        ('\'', Some(_), Some('\'')) => Some(prefix + 3),
        // A lifetime.
        _ => None,
    }
}

/// The length of a literal that may escape its own mark.
fn quoted(body: &[char], mark: char) -> usize {
    let mut at = 1;
    while let Some(&c) = body.get(at) {
        at += if c == '\\' { 2 } else { 1 };
        if c == mark {
            return at;
        }
    }
    body.len()
}

/// The words of a line of code: runs of letters, digits and `_`.
pub(crate) fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, kept: &str) {
        let code = code_only(source);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), kept);
        assert_eq!(code.matches('\n').count(), source.matches('\n').count());
    }

    #[test]
    fn comments_are_taken_out() {
        check("a // unsafe\nb", "a b");
        check("a /* unsafe /* nested */ still */ b", "a b");
        check("//! unsafe\nfn", "fn");
        check("a /* never closed", "a");
    }

    #[test]
    fn texts_are_taken_out() {
        check(r#"a("unsafe \" more", b)"#, "a( , b)");
        check(r##"a(r#"unsafe " more"#, b)"##, "a( , b)");
        check(r#"a(b"bytes", c"c", br"raw")"#, "a( , , )");
        check("a(\"two\nlines\")", "a( )");
        check("a(\"// no comment\") b", "a( ) b");
    }

    #[test]
    fn characters_are_told_from_lifetimes() {
        check(r"f('x', '\'', '\\', b'y')", "f( , , , )");
        check("fn f<'a>(x: &'a str) -> &'static str", "fn f<'a>(x: &'a str) -> &'static str");
        check("f('\"', a)", "f( , a)");
    }

    #[test]
    fn a_word_that_ends_in_a_prefix_is_no_literal() {
        check("attribute b rb", "attribute b rb");
        check("r#type", "r#type");
    }
}
