use std::{borrow::Cow, sync::Arc};

use secret::SecretBytes;

use crate::{Door, decide::Refusal, request::TOKEN_TTL};

/// An answer, complete but for `Date` and `Content-Length`, which HTTP servers add.
///
/// For a HEAD request the body is the one that GET would have: the server sends its length alone.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values that are legal as they are.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body.
    pub body: Body,
}

/// The body of an answer.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// What anybody may read.
    Text(Cow<'static, str>),
    /// What only the workload may read: credentials, tokens, everything that the host said.
    Secret(Arc<SecretBytes>),
}

impl Body {
    /// The bytes to send.
    pub fn expose(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Text(text) => text.as_bytes(),
            Self::Secret(bytes) => bytes.expose(),
        }
    }
}

/// The answer to give where no workload could be attested: 403 in the words of the door, whatever
/// was asked. It is never the host's.
pub fn unattested(door: Door) -> Answer {
    Refusal::Unattested.answer(door)
}

/// Passes an answer of the host's own metadata service on. Headers other than `Content-Type` are
/// ours; of a status that is no plain outcome (a redirect, for example) nothing is passed on, and
/// an empty 200 is 404: a client would take it for a name or a key.
pub fn answer_host(
    status: u16,
    content_type: Option<&str>,
    body: Arc<SecretBytes>,
    token_ttl_left: Option<u16>,
) -> Answer {
    let mut answer = match status {
        200 if !body.expose().is_empty() => {
            let legal = |text: &&str| text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
            let content_type = content_type.filter(legal).unwrap_or("text/plain").to_owned();
            let headers = vec![("content-type", content_type.into()), SERVER, RANGES];
            Answer { status, headers, body: Body::Secret(body) }
        }
        200 | 400..=499 => Refusal::Unknown.answer(Door::Instance),
        _ => page(503),
    };
    answer.headers.extend(token_ttl(token_ttl_left));
    answer
}

/// A 200 of instance metadata: `text/plain` whatever the body is, as on EC2.
pub(crate) fn plain(body: Body, token_ttl_left: Option<u16>) -> Answer {
    let mut headers = Vec::with_capacity(4);
    headers.extend([("content-type", Cow::Borrowed("text/plain")), SERVER, RANGES]);
    headers.extend(token_ttl(token_ttl_left));
    Answer { status: 200, headers, body }
}

/// JSON of the container doors.
pub(crate) fn json(status: u16, body: Body) -> Answer {
    Answer { status, headers: vec![("content-type", "application/json".into())], body }
}

/// An error in the words of the ECS container endpoint.
pub(crate) fn json_error(status: u16, code: &str, message: &str) -> Answer {
    let body = serde_json::json!({ "code": code, "message": message, "HTTPErrorCode": status });
    json(status, Body::Text(body.to_string().into()))
}

/// An error in the words of the Pod Identity endpoint.
pub(crate) fn text_error(status: u16, message: impl Into<Cow<'static, str>>) -> Answer {
    let headers = vec![("content-type", "text/plain; charset=utf-8".into())];
    Answer { status, headers, body: Body::Text(message.into()) }
}

macro_rules! xhtml {
    ($title:literal) => {
        concat!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
            "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\" ",
            "\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd\">\n",
            "<html xmlns=\"http://www.w3.org/1999/xhtml\">\n",
            "<head><title>",
            $title,
            "</title></head>\n<body><h1>",
            $title,
            "</h1></body>\n</html>\n"
        )
    };
}

/// An error page of instance metadata.
pub(crate) fn page(status: u16) -> Answer {
    let page = match status {
        400 => xhtml!("400 - Bad Request"),
        401 => xhtml!("401 - Unauthorized"),
        403 => xhtml!("403 - Forbidden"),
        404 => xhtml!("404 - Not Found"),
        405 => xhtml!("405 - Method Not Allowed"),
        _ => xhtml!("503 - Service Unavailable"),
    };
    let headers = vec![("content-type", "text/html".into()), SERVER];
    Answer { status, headers, body: Body::Text(page.into()) }
}

/// What a valid token has left, repeated on every answer.
pub(crate) fn token_ttl(left: Option<u16>) -> Option<(&'static str, Cow<'static, str>)> {
    left.map(|left| (TOKEN_TTL, left.to_string().into()))
}

/// Some clients look for `EC2` in it before they believe that they are on EC2.
const SERVER: (&str, Cow<'static, str>) = ("server", Cow::Borrowed("EC2ws"));
const RANGES: (&str, Cow<'static, str>) = ("accept-ranges", Cow::Borrowed("none"));
