use std::fmt;

/// An answer as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct AnswerSeen {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// The body. Empty for HEAD.
    pub body: Vec<u8>,
}

/// The bytes are no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnswer {
    /// The connection was closed without a byte.
    #[error("connection closed without an answer")]
    Nothing,
    /// More than [`AnswerSeen::BYTES_MAX`] bytes or [`AnswerSeen::HEADERS_MAX`] headers.
    #[error("answer is longer than is read here")]
    TooLong,
    /// It ends before it should.
    #[error("answer ends too early")]
    Truncated,
    /// The first line is not `HTTP/1.x 200 …`.
    #[error("answer has no status line of HTTP/1")]
    StatusLine,
    /// A header without a colon or with bytes that are no text.
    #[error("answer has a broken header")]
    Header,
    /// A length or a chunk that cannot be understood.
    #[error("answer has a body of unknown length")]
    Length,
}

impl AnswerSeen {
    /// The longest answer that is read, in bytes.
    pub const BYTES_MAX: usize = 1 << 20;
    /// The most headers that are read.
    pub const HEADERS_MAX: usize = 64;

    /// Reads everything that came on a connection, up to its end. `head` says that the request was
    /// HEAD, so that no body follows whatever the length says.
    ///
    /// ```
    /// # use conformance::AnswerSeen;
    /// let answer = AnswerSeen::parse(b"HTTP/1.1 200 OK\r\nServer: EC2ws\r\n\r\nlatest", false).unwrap();
    /// assert_eq!((answer.status, answer.header("server")), (200, Some("EC2ws")));
    /// assert_eq!(answer.body, b"latest");
    /// ```
    pub fn parse(bytes: &[u8], head: bool) -> Result<Self, InvalidAnswer> {
        if bytes.is_empty() {
            return Err(InvalidAnswer::Nothing);
        }
        if bytes.len() > Self::BYTES_MAX {
            return Err(InvalidAnswer::TooLong);
        }
        let (line, mut rest) = line(bytes)?;
        let status = status(line)?;
        let mut headers = Vec::new();
        loop {
            let (header, after) = self::line(rest)?;
            rest = after;
            if header.is_empty() {
                break;
            }
            if headers.len() == Self::HEADERS_MAX {
                return Err(InvalidAnswer::TooLong);
            }
            let (name, value) = header.split_once(':').ok_or(InvalidAnswer::Header)?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Self { status, headers, body: Vec::new() };
        if !head && !matches!(status, 204 | 304) {
            answer.body = answer.framed(rest)?;
        }
        Ok(answer)
    }

    /// The first header of this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn framed(&self, rest: &[u8]) -> Result<Vec<u8>, InvalidAnswer> {
        if self.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            return chunks(rest);
        }
        let Some(length) = self.header("content-length") else {
            return Ok(rest.to_vec());
        };
        let length = length.parse().map_err(|_| InvalidAnswer::Length)?;
        rest.get(..length).map(<[u8]>::to_vec).ok_or(InvalidAnswer::Truncated)
    }
}

impl fmt::Debug for AnswerSeen {
    /// Without the values of body and headers, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let bytes = format_args!("{} bytes", self.body.len());
        let mut shown = f.debug_struct("AnswerSeen");
        shown.field("status", &self.status).field("headers", &names).field("body", &bytes).finish()
    }
}

/// The line at the beginning, without its end, and what follows.
fn line(bytes: &[u8]) -> Result<(&str, &[u8]), InvalidAnswer> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(InvalidAnswer::Truncated)?;
    let (line, rest) = bytes.split_at_checked(end).ok_or(InvalidAnswer::Truncated)?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(|_| InvalidAnswer::Header)?;
    Ok((line, rest.get(1..).unwrap_or_default()))
}

fn status(line: &str) -> Result<u16, InvalidAnswer> {
    let mut words = line.splitn(3, ' ');
    let version = words.next().filter(|version| matches!(*version, "HTTP/1.1" | "HTTP/1.0"));
    let status = words.next().filter(|status| status.len() == 3);
    match (version, status.and_then(|status| status.parse().ok())) {
        (Some(_), Some(status)) if status >= 100 => Ok(status),
        _ => Err(InvalidAnswer::StatusLine),
    }
}

fn chunks(mut rest: &[u8]) -> Result<Vec<u8>, InvalidAnswer> {
    let mut body = Vec::new();
    loop {
        let (size, after) = line(rest)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| InvalidAnswer::Length)?;
        if size == 0 {
            return Ok(body);
        }
        let (chunk, after) = after.split_at_checked(size).ok_or(InvalidAnswer::Truncated)?;
        body.extend_from_slice(chunk);
        let (end, after) = line(after)?;
        if !end.is_empty() {
            return Err(InvalidAnswer::Length);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(bytes: &str, expected: Result<(u16, &str), InvalidAnswer>) {
        let seen = AnswerSeen::parse(bytes.as_bytes(), false);
        let seen = seen.map(|seen| (seen.status, String::from_utf8(seen.body).unwrap()));
        assert_eq!(seen, expected.map(|(status, body)| (status, body.to_owned())));
    }

    #[test]
    fn a_body_ends_where_its_length_or_the_connection_ends() {
        check("HTTP/1.1 200 OK\r\n\r\nabc", Ok((200, "abc")));
        check("HTTP/1.0 404\r\nA: b\r\nContent-Length: 2\r\n\r\nabc", Ok((404, "ab")));
        check("HTTP/1.1 200 OK\nContent-Length: 0\n\n", Ok((200, "")));
        check("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", Ok((204, "")));
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
            Ok((200, "abcd")),
        );
    }

    #[test]
    fn head_has_a_length_and_no_body() {
        let seen =
            AnswerSeen::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true).unwrap();
        assert_eq!(
            (seen.header("content-length"), seen.body.as_slice()),
            (Some("9"), [].as_slice())
        );
    }

    #[test]
    fn what_is_no_answer_says_why() {
        check("", Err(InvalidAnswer::Nothing));
        check("SSH-2.0-x\r\n\r\n", Err(InvalidAnswer::StatusLine));
        check("HTTP/2 200 OK\r\n\r\n", Err(InvalidAnswer::StatusLine));
        check("HTTP/1.1 2000 OK\r\n\r\n", Err(InvalidAnswer::StatusLine));
        check("HTTP/1.1 200 OK\r\nA: b\r\n", Err(InvalidAnswer::Truncated));
        check("HTTP/1.1 200 OK\r\nA\r\n\r\n", Err(InvalidAnswer::Header));
        check("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", Err(InvalidAnswer::Truncated));
        check("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Err(InvalidAnswer::Length));
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
            Err(InvalidAnswer::Length),
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
            Err(InvalidAnswer::Truncated),
        );
        check(
            &format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(65)),
            Err(InvalidAnswer::TooLong),
        );
        check(&" ".repeat(AnswerSeen::BYTES_MAX + 1), Err(InvalidAnswer::TooLong));
    }

    #[test]
    fn an_answer_is_printed_without_its_secrets() {
        let seen = AnswerSeen::parse(b"HTTP/1.1 200 OK\r\nX-Token: hunter2\r\n\r\nhunter3", false);
        let printed = format!("{seen:?}");
        assert!(!printed.contains("hunter") && printed.contains("x-token"), "{printed}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), head: bool) {
            let _ = AnswerSeen::parse(&bytes, head);
            let mut framed = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            framed.extend_from_slice(&bytes);
            let _ = AnswerSeen::parse(&framed, head);
        }
    }
}
