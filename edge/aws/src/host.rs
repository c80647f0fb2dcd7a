use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use tokio::sync::Mutex;

use crate::plain::{Plain, PlainError};

/// The host's own instance metadata service, asked by the agent for allow-listed paths.
#[derive(Debug)]
pub struct HostMetadata {
    plain: Plain,
    endpoint: String,
    token: Mutex<Option<Token>>,
}

/// What the host's service said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The type of the body, where one was named.
    pub content_type: Option<String>,
    /// The body, at most 256 KiB.
    pub body: Bytes,
}

/// The host's service did not answer. The host's operator must act, or nobody on another cloud.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Nothing answered in time.
    #[error("the host's metadata service at `{endpoint}` did not answer within {TIMEOUT:?}")]
    Timeout {
        /// Where it was expected.
        endpoint: String,
    },
    /// The connection or the exchange failed.
    #[error("cannot ask the host's metadata service at `{endpoint}`: {reason}")]
    Failed {
        /// Where it was expected.
        endpoint: String,
        /// What went wrong.
        reason: String,
    },
}

#[derive(Clone, Debug)]
struct Token {
    text: http::HeaderValue,
    until: tokio::time::Instant,
}

/// How long one question to the host's service may take: well below the second that SDKs wait.
const TIMEOUT: Duration = Duration::from_millis(700);
/// How long a session token of the host's service is asked for, in seconds.
const TOKEN_TTL_S: u64 = 21_600;
/// A token is replaced this long before it ends.
const TOKEN_MARGIN_S: u64 = 60;

const _: () = assert!(TOKEN_MARGIN_S < TOKEN_TTL_S);

impl HostMetadata {
    /// Where EC2 answers.
    pub const ENDPOINT: &str = "http://169.254.169.254";

    /// A client of the service at `endpoint`, whose sockets carry `mark` where there is one.
    pub fn new(endpoint: &str, mark: Option<u32>) -> Self {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Self { plain: Plain { mark }, endpoint, token: Mutex::new(None) }
    }

    /// Asks for `path`, which starts with a slash, with a session token (IMDSv2).
    ///
    /// # Errors
    /// When the service cannot be reached or does not answer in time. A refusal by the service is
    /// an answer.
    pub async fn get(&self, path: &str) -> Result<HostAnswer, HostError> {
        let answered = tokio::time::timeout(TIMEOUT, self.ask(path)).await;
        let timeout = HostError::Timeout { endpoint: self.endpoint.clone() };
        answered.map_err(|_| timeout)?.map_err(|error| HostError::Failed {
            endpoint: self.endpoint.clone(),
            reason: error.to_string(),
        })
    }

    async fn ask(&self, path: &str) -> Result<HostAnswer, PlainError> {
        let mut answer = self.ask_with(path, self.token().await?).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            *self.token.lock().await = None;
            answer = self.ask_with(path, self.token().await?).await?;
        }
        Ok(answer)
    }

    async fn ask_with(
        &self,
        path: &str,
        token: http::HeaderValue,
    ) -> Result<HostAnswer, PlainError> {
        let mut request = self.request(Method::GET, path)?;
        request.headers_mut().insert("x-aws-ec2-metadata-token", token);
        let answer = self.plain.send(request).await?;
        let content_type = answer.headers().get(http::header::CONTENT_TYPE);
        Ok(HostAnswer {
            status: answer.status().as_u16(),
            content_type: content_type.and_then(|value| value.to_str().ok()).map(str::to_owned),
            body: answer.into_body(),
        })
    }

    async fn token(&self) -> Result<http::HeaderValue, PlainError> {
        // The lock is held while asking: many callers cost the host one token.
        let mut held = self.token.lock().await;
        let now = tokio::time::Instant::now();
        if let Some(token) = held.as_ref().filter(|token| now < token.until) {
            return Ok(token.text.clone());
        }
        let mut request = self.request(Method::PUT, "/latest/api/token")?;
        request.headers_mut().insert("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL_S.into());
        let answer = self.plain.send(request).await?;
        let refused = || std::io::Error::other(format!("no token: status {}", answer.status()));
        let mut text = match answer.status() {
            StatusCode::OK => {
                http::HeaderValue::from_bytes(answer.body()).map_err(|_| refused())?
            }
            _ => return Err(refused().into()),
        };
        text.set_sensitive(true);
        let until = now + Duration::from_secs(TOKEN_TTL_S - TOKEN_MARGIN_S);
        *held = Some(Token { text: text.clone(), until });
        Ok(text)
    }

    fn request(&self, method: Method, path: &str) -> Result<Request<Empty<Bytes>>, PlainError> {
        let uri = format!("{}{path}", self.endpoint);
        let request = Request::builder().method(method).uri(uri).body(Empty::new());
        request.map_err(|error| std::io::Error::other(error).into())
    }
}
