//! What comes in and what goes out.

use std::time::Duration;

use api::{Kind, Problem};
use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;

/// What goes out.
pub type Reply = Response<Full<Bytes>>;

/// What a browser is told: where to go, and what to keep.
#[derive(Debug)]
pub struct Browser {
    /// Where to go.
    pub location: String,
    /// `Set-Cookie` headers.
    pub cookies: Vec<String>,
}

/// Reads a body of at most `max` bytes within `limit`.
pub(super) async fn read(body: Incoming, max: usize, limit: Duration) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(Kind::TooLarge, format!("the body must be at most {max} bytes long"));
    let collected = tokio::time::timeout(limit, Limited::new(body, max).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::malformed("the body ended before it was whole")),
        Err(_) => {
            Err(Problem::malformed(format!("the body did not come within {} s", limit.as_secs())))
        }
    }
}

/// A good answer as JSON; without content where there is nothing to say.
pub(super) fn json(answer: &impl serde::Serialize) -> Result<Reply, Problem> {
    let text = serde_json::to_vec(answer).map_err(|error| {
        Problem::new(Kind::Internal, format!("cannot write the answer: {error}"))
    })?;
    if text == b"null" {
        return Ok(reply(StatusCode::NO_CONTENT, Bytes::new()));
    }
    let mut reply = reply(StatusCode::OK, text.into());
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(reply)
}

/// Sends a browser on.
pub(super) fn browser(answer: &Browser) -> Result<Reply, Problem> {
    let fault = |_| Problem::new(Kind::Internal, "a browser cannot be sent there");
    let mut reply = reply(StatusCode::SEE_OTHER, Bytes::new());
    let headers = reply.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_str(&answer.location).map_err(fault)?);
    for cookie in &answer.cookies {
        headers.append(SET_COOKIE, HeaderValue::from_str(cookie).map_err(fault)?);
    }
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    Ok(reply)
}

/// A public document, which anybody may keep for `seconds`.
pub(crate) fn public(text: String, seconds: u32) -> Reply {
    let mut reply = reply(StatusCode::OK, text.into());
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(kept) = HeaderValue::from_str(&format!("public, max-age={seconds}")) {
        headers.insert(CACHE_CONTROL, kept);
    }
    reply
}

/// A problem, for a program.
pub(crate) fn problem(problem: &Problem, retry_after: Option<u64>) -> Reply {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = serde_json::to_vec(problem).unwrap_or_default();
    let mut reply = reply(status, text.into());
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    hurry(&mut reply, status, retry_after);
    reply
}

/// A problem, for a person's browser.
pub(super) fn page(problem: &Problem, retry_after: Option<u64>) -> Reply {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (title, detail) = (escaped(&problem.title), escaped(&problem.to_string()));
    let request = escaped(problem.instance.as_deref().unwrap_or_default());
    let text = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Rolecall</title><h1>{title}</h1><p>{detail}</p>\
         <p>Request {request}</p>\n"
    );
    let mut reply = reply(status, text.into());
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let policy = "default-src 'none'; frame-ancestors 'none'";
    headers.insert("content-security-policy", HeaderValue::from_static(policy));
    hurry(&mut reply, status, retry_after);
    reply
}

/// Says when to come again, where that is of use.
fn hurry(reply: &mut Reply, status: StatusCode, retry_after: Option<u64>) {
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after.unwrap_or(1)));
    }
}

fn reply(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}
