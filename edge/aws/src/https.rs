//! One way to speak HTTPS, and one small question and answer over it.

use std::time::Duration;

use aws_smithy_http_client::{Builder, Connector, tls};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use aws_smithy_types::{body::SdkBody, timeout::TimeoutConfig};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};

/// The largest answer that is read, in bytes. What is asked for has a few hundred.
const ANSWER_MAX: usize = 64 * 1024;

/// How long a connection to AWS may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What the SDK's clients speak through.
pub(crate) fn https() -> SharedHttpClient {
    Builder::new().tls_provider(ring()).build_https()
}

/// The timeouts of an SDK's client whose calls may take that long.
pub(crate) fn timeouts(timeout: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(timeout.min(CONNECT_TIMEOUT))
        .operation_timeout(timeout)
        .build()
}

/// An answer of AWS, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Sends requests as they are: no proxy, no redirect, no retry.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    connector: SharedHttpConnector,
    timeout: Duration,
}

impl Post {
    pub(crate) fn new(timeout: Duration) -> Self {
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(timeout.min(CONNECT_TIMEOUT))
            .read_timeout(timeout)
            .build();
        let connector =
            Connector::builder().connector_settings(settings).tls_provider(ring()).build();
        Self { connector: SharedHttpConnector::new(connector), timeout }
    }

    /// The answer, or in words why there is none.
    pub(crate) async fn send(&self, request: http::Request<SdkBody>) -> Result<Answer, String> {
        let request = HttpRequest::try_from(request).map_err(|error| error.to_string())?;
        let exchange = async {
            let answer = self.connector.call(request).await.map_err(|error| innermost(&error))?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
            let body = body.map_err(|error| format!("the answer cannot be read: {error}"))?;
            Ok(Answer { status, body: body.to_bytes() })
        };
        let late = |_| format!("no answer within {:?}", self.timeout);
        tokio::time::timeout(self.timeout, exchange).await.map_err(late)?
    }
}

fn ring() -> tls::Provider {
    tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)
}

/// What was wrong in the first place.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    let mut text = error.to_string();
    while let Some(source) = error.source() {
        error = source;
        text = error.to_string();
    }
    text
}
