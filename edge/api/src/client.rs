//! How the server is asked.
//!
//! A [`Client`] knows one or more addresses of one deployment and goes to the next one when the one that
//! worked last does not answer. Which failures let it go on is decided by one question: *can it have been
//! done?* Where it cannot, the next address is asked; where it can, only an endpoint that may be asked twice.

mod address;
mod connect;
mod tls;
mod trouble;

use std::{
    future::Future,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use jiff::Timestamp;
use secret::SecretText;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use crate::{Endpoint, Problem, endpoint::NOTHING, health};
use connect::Connector;
use trouble::{Cause, cause};

pub use address::{Address, InvalidAddress};
pub use tls::{Identity, InvalidSettings, Trust};
pub use trouble::{AskError, Tried};

/// The largest answer that is read, in bytes: orders, escaped once more, have twice their own size at most.
pub const ANSWER_MAX: usize = 16 * 1024 * 1024;

const _: () = assert!(ANSWER_MAX > 2 * crate::orders::ORDERS_MAX);

/// The longest that an address may take to become a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How often a connection on which an answer is awaited is asked whether it still lives, and for how long.
const ALIVE_EVERY: Duration = Duration::from_secs(15);
const ALIVE_WITHIN: Duration = Duration::from_secs(10);

/// As much of what a server said as an error repeats, in characters.
const EXCERPT: usize = 200;

/// What a client goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the servers of one deployment answer, at least one.
    pub addresses: Vec<Address>,
    /// By what they are known.
    pub trust: Trust,
    /// What a host shows of itself.
    pub identity: Option<Identity>,
    /// A person's session.
    pub bearer: Option<SecretText>,
    /// How long one question may take, over all addresses.
    pub timeout: Duration,
}

/// Asks the server. Clones share connections, and what one learns all know.
#[derive(Clone, Debug)]
pub struct Client {
    addresses: Arc<[Address]>,
    /// Which address answered last.
    preferred: Arc<AtomicUsize>,
    trust: Arc<Trust>,
    timeout: Duration,
    line: Arc<RwLock<Line>>,
}

/// What questions go out by. A question keeps the one that it began with.
#[derive(Clone, Debug)]
struct Line {
    http: legacy::Client<Connector, Full<Bytes>>,
    bearer: Option<HeaderValue>,
}

/// A question, ready to be sent to any address.
struct Question {
    method: Method,
    target: String,
    body: Bytes,
    repeatable: bool,
    /// How long the server may let it wait, beside the time that everything else takes.
    wait: Duration,
}

/// What a server answered.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Why an address gave no reply.
enum Missed {
    /// The request did not reach the server.
    Unsent(AskError, String),
    /// It may have.
    Sent(AskError),
}

/// A server that says that it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthy {
    /// What it says.
    pub health: health::Health,
    /// What its clock says, to the second; absent where the answer does not tell.
    pub time: Option<Timestamp>,
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// When the settings cannot be used, which who wrote them must mend.
    pub fn new(settings: Settings) -> Result<Self, InvalidSettings> {
        let Settings { addresses, trust, identity, bearer, timeout } = settings;
        if addresses.is_empty() {
            return Err(InvalidSettings::NoAddress);
        }
        let each = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let connect = CONNECT_MAX.min(timeout / each);
        let http = http_client(&trust, identity.as_ref(), connect)?;
        let bearer = bearer.as_ref().map(authorization).transpose()?;
        Ok(Self {
            addresses: addresses.into(),
            preferred: Arc::default(),
            trust: Arc::new(trust),
            timeout,
            line: Arc::new(RwLock::new(Line { http, bearer })),
        })
    }

    /// Shows another certificate from the next question on. What is under way ends as it began.
    ///
    /// # Errors
    /// When the certificate and its key cannot be used; then nothing changes.
    pub fn set_identity(&self, identity: &Identity) -> Result<(), InvalidSettings> {
        let each = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX);
        let http = http_client(&self.trust, Some(identity), CONNECT_MAX.min(self.timeout / each))?;
        self.line.write().unwrap_or_else(PoisonError::into_inner).http = http;
        Ok(())
    }

    /// Asks as another person, or as nobody, from the next question on.
    ///
    /// # Errors
    /// When the token cannot stand in a header; then nothing changes.
    pub fn set_bearer(&self, bearer: Option<&SecretText>) -> Result<(), InvalidSettings> {
        let bearer = bearer.map(authorization).transpose()?;
        self.line.write().unwrap_or_else(PoisonError::into_inner).bearer = bearer;
        Ok(())
    }

    /// The address that is asked first.
    pub fn address(&self) -> &Address {
        let (first, rest) = (self.preferred.load(Ordering::Relaxed), &self.addresses);
        #[expect(clippy::indexing_slicing, reason = "`new` refuses to have no address")]
        rest.get(first).unwrap_or(&rest[0])
    }

    /// Asks the endpoint `E`.
    ///
    /// # Errors
    /// See [`AskError`]: it says who must act, and whether nothing was done.
    pub fn ask<E: Endpoint>(
        &self,
        path: &E::Path,
        query: &E::Query,
        body: &E::Body,
    ) -> impl Future<Output = Result<E::Answer, AskError>> + Send + use<E> {
        self.wait::<E>(path, query, body, Duration::ZERO)
    }

    /// Asks the endpoint `E`, which the server may let wait for so long besides.
    ///
    /// # Errors
    /// See [`AskError`]: it says who must act, and whether nothing was done.
    pub fn wait<E: Endpoint>(
        &self,
        path: &E::Path,
        query: &E::Query,
        body: &E::Body,
        wait: Duration,
    ) -> impl Future<Output = Result<E::Answer, AskError>> + Send + use<E> {
        // The parts need not be fit for another thread, so they are written before anything waits.
        let question = Question::new::<E>(path, query, body, wait);
        let client = self.clone();
        async move { Ok(client.put::<E::Answer>(&question?).await?.0) }
    }

    /// Asks whether a server works, and what its clock says.
    ///
    /// # Errors
    /// See [`AskError`]: it says who must act.
    pub async fn health(&self) -> Result<Healthy, AskError> {
        let question = Question::new::<health::ReadHealth>(&(), &(), &(), Duration::ZERO)?;
        let (health, headers) = self.put::<health::Health>(&question).await?;
        let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
        let time = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        Ok(Healthy { health, time: time.map(|time| time.timestamp()) })
    }

    /// Puts a question to one address after the other until one has answered it.
    async fn put<A: DeserializeOwned>(
        &self,
        question: &Question,
    ) -> Result<(A, HeaderMap), AskError> {
        let line = self.line.read().unwrap_or_else(PoisonError::into_inner).clone();
        let end = Instant::now() + self.timeout + question.wait;
        let first = self.preferred.load(Ordering::Relaxed);
        let count = self.addresses.len();
        let mut tried = Vec::new();
        let mut telling = None;
        for (at, left) in (0..count).map(|step| ((first + step) % count, count - step)) {
            let Some(address) = self.addresses.get(at) else { continue };
            let share = self.timeout / u32::try_from(left).unwrap_or(u32::MAX);
            // Only who may ask again can give up early.
            let patience = if question.repeatable { question.wait + share } else { self.timeout };
            let until = end.min(Instant::now() + patience);
            let error = match line.send(address, question, until).await {
                Ok(reply) => match reply.read(address) {
                    Ok(answer) => {
                        self.preferred.store(at, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err((error, Onward::Never)) => {
                        self.preferred.store(at, Ordering::Relaxed);
                        return Err(error);
                    }
                    Err((error, Onward::Repeatable)) if !question.repeatable => return Err(error),
                    Err((error, _)) => error,
                },
                Err(Missed::Sent(error)) if !question.repeatable => return Err(error),
                Err(Missed::Sent(error)) => error,
                Err(Missed::Unsent(error, why)) => {
                    tried.push(Tried { address: address.clone(), why });
                    error
                }
            };
            // What a server said tells more than that another one is not there.
            if !matches!(error, AskError::Unreachable(_)) {
                telling.get_or_insert(error);
            }
            if Instant::now() >= end {
                break;
            }
        }
        // Let the next question begin elsewhere: this one found nobody here.
        self.preferred.store((first + 1) % count, Ordering::Relaxed);
        Err(telling.unwrap_or(AskError::Unreachable(tried)))
    }
}

fn http_client(
    trust: &Trust,
    identity: Option<&Identity>,
    connect: Duration,
) -> Result<legacy::Client<Connector, Full<Bytes>>, InvalidSettings> {
    let connector = Connector::new(tls::config(trust, identity)?, connect);
    Ok(legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(ALIVE_EVERY)
        .http2_keep_alive_timeout(ALIVE_WITHIN)
        .build(connector))
}

fn authorization(token: &SecretText) -> Result<HeaderValue, InvalidSettings> {
    let text = SecretText::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(text.expose()).map_err(|_| InvalidSettings::Bearer)?;
    value.set_sensitive(true);
    Ok(value)
}

impl Question {
    fn new<E: Endpoint>(
        path: &E::Path,
        query: &E::Query,
        body: &E::Body,
        wait: Duration,
    ) -> Result<Self, AskError> {
        let target = E::target(path, query)?;
        let body = serde_json::to_vec(body)
            .map_err(|error| crate::Unfit::Value(error.to_string()))
            .map(|body| if body == NOTHING { Bytes::new() } else { Bytes::from(body) })?;
        Ok(Self { method: E::METHOD, target, body, repeatable: E::repeatable(), wait })
    }
}

impl Line {
    async fn send(
        &self,
        address: &Address,
        question: &Question,
        until: Instant,
    ) -> Result<Reply, Missed> {
        let request = self.request(address, question).map_err(|error| {
            let error = AskError::Unfit(crate::Unfit::Value(error.to_string()));
            Missed::Sent(error)
        })?;
        let lost = |why: String| Missed::Sent(AskError::Lost { address: address.clone(), why });
        let response = match timeout_at(until, self.http.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(missed(address, &error)),
            Err(_) => return Err(lost("no answer in time".to_owned())),
        };
        let (head, body) = response.into_parts();
        let body = match timeout_at(until, Limited::new(body, ANSWER_MAX).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let why = format!("it has more than {ANSWER_MAX} bytes");
                return Err(Missed::Sent(AskError::Illegible { address: address.clone(), why }));
            }
            Ok(Err(error)) => return Err(lost(format!("the answer broke off: {error}"))),
            Err(_) => return Err(lost("the answer did not end in time".to_owned())),
        };
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    fn request(
        &self,
        address: &Address,
        question: &Question,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder()
            .method(question.method.clone())
            .uri(address.join(&question.target)?)
            .header(header::ACCEPT, "application/json, application/problem+json")
            .header(header::USER_AGENT, concat!("rolecall/", env!("CARGO_PKG_VERSION")));
        if !question.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(bearer) = &self.bearer {
            request = request.header(header::AUTHORIZATION, bearer.clone());
        }
        request.body(Full::new(question.body.clone()))
    }
}

fn missed(address: &Address, error: &legacy::Error) -> Missed {
    let address = address.clone();
    match cause(error) {
        Cause::Untrusted(why) => {
            Missed::Unsent(AskError::Untrusted { address, why: why.clone() }, why)
        }
        Cause::IdentityRefused(why) => {
            Missed::Unsent(AskError::IdentityRefused { address, why: why.clone() }, why)
        }
        Cause::Other(why) if error.is_connect() => {
            Missed::Unsent(AskError::Unreachable(Vec::new()), why)
        }
        Cause::Other(why) => Missed::Sent(AskError::Lost { address, why }),
    }
}

/// Whether another server may be asked after an answer that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Onward {
    /// It would say the same.
    Never,
    /// Nothing was done.
    Always,
    /// It may have been done.
    Repeatable,
}

impl Reply {
    fn read<A: DeserializeOwned>(
        self,
        address: &Address,
    ) -> Result<(A, HeaderMap), (AskError, Onward)> {
        let illegible =
            |why: String, onward| (AskError::Illegible { address: address.clone(), why }, onward);
        let Self { status, headers, body } = self;
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        let media_type = media_type.trim().to_ascii_lowercase();
        if status == StatusCode::OK || status == StatusCode::NO_CONTENT {
            let json = media_type == "application/json";
            if !json && status == StatusCode::OK {
                let why = format!("it is `{}` and not JSON", excerpt(&media_type));
                return Err(illegible(why, Onward::Never));
            }
            let body = if status == StatusCode::NO_CONTENT { NOTHING } else { &body };
            return match serde_json::from_slice(body) {
                Ok(answer) => Ok((answer, headers)),
                // The message may repeat what stands in the answer, so it names the place alone.
                Err(error) => {
                    let (line, column) = (error.line(), error.column());
                    let why = format!("what it says at {line}:{column} is not what was expected");
                    Err(illegible(why, Onward::Never))
                }
            };
        }
        // What stands in front of a server may say that it cannot reach it, in its own words.
        let gateway = matches!(status.as_u16(), 502..=504);
        if media_type == Problem::MEDIA_TYPE
            && let Ok(problem) = serde_json::from_slice::<Problem>(&body)
        {
            let onward = match status.as_u16() {
                502 | 503 if problem.kind.undone() => Onward::Always,
                502..=504 => Onward::Repeatable,
                _ => Onward::Never,
            };
            return Err((AskError::Refused(problem), onward));
        }
        let said = excerpt(&String::from_utf8_lossy(&body));
        let why = format!("its status is {status}, and it says `{said}`");
        Err(illegible(why, if gateway { Onward::Repeatable } else { Onward::Never }))
    }
}

/// As much of a foreign text as an error message should repeat.
fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT).flat_map(char::escape_debug).collect()
}
