//! Plain HTTP for link-local addresses, from sockets that carry the agent's mark.
//!
//! The agent's redirect sends the host's metadata address to the agent. Its own requests must
//! reach the real service, so their sockets carry a mark that the redirect lets through.

use std::{io, net::SocketAddr, time::Duration};

use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    shared::IntoShared,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};

/// The largest answer that is read from a metadata service, in bytes.
const ANSWER_MAX: usize = 256 * 1024;

/// How long a connection to a link-local address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// An HTTP client without TLS, proxies or pools.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    /// The firewall mark of its sockets; setting one needs `CAP_NET_ADMIN`.
    pub(crate) mark: Option<u32>,
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlainError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no connection to `{0}` within {CONNECT_TIMEOUT:?}")]
    ConnectTimeout(SocketAddr),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("`{0}` is not an http:// address with an IP or host name")]
    Address(http::Uri),
    #[error("the answer is longer than {ANSWER_MAX} bytes")]
    TooLong,
}

impl Plain {
    pub(crate) async fn send<B>(
        &self,
        mut request: http::Request<B>,
    ) -> Result<http::Response<Bytes>, PlainError>
    where
        B: hyper::body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let uri = request.uri().clone();
        let stream = self.connect(resolve(&uri).await?).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);

        if let Some(authority) = uri.authority() {
            let host = http::HeaderValue::from_str(authority.as_str());
            let host = host.map_err(|_| PlainError::Address(uri.clone()))?;
            request.headers_mut().insert(http::header::HOST, host);
        }
        let origin = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        *request.uri_mut() = origin.parse().map_err(|_| PlainError::Address(uri.clone()))?;

        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        let body = body.map_err(|_| PlainError::TooLong)?.to_bytes();
        driver.abort();
        Ok(http::Response::from_parts(head, body))
    }

    async fn connect(&self, address: SocketAddr) -> Result<tokio::net::TcpStream, PlainError> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        let connecting = tokio::net::TcpSocket::from_std_stream(socket.into()).connect(address);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        Ok(connected.map_err(|_| PlainError::ConnectTimeout(address))??)
    }
}

async fn resolve(uri: &http::Uri) -> Result<SocketAddr, PlainError> {
    let invalid = || PlainError::Address(uri.clone());
    let host = uri.host().ok_or_else(invalid)?.trim_matches(['[', ']']);
    if uri.scheme_str().is_some_and(|scheme| scheme != "http") {
        return Err(invalid());
    }
    let port = uri.port_u16().unwrap_or(80);
    tokio::net::lookup_host((host, port)).await?.next().ok_or_else(invalid)
}

impl HttpConnector for Plain {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let plain = *self;
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x();
            let request = request.map_err(|error| ConnectorError::user(error.into()))?;
            match plain.send(request).await {
                Ok(answer) => HttpResponse::try_from(answer.map(SdkBody::from))
                    .map_err(|error| ConnectorError::other(error.into(), None)),
                Err(error @ PlainError::ConnectTimeout(_)) => {
                    Err(ConnectorError::timeout(error.into()))
                }
                Err(error) => Err(ConnectorError::io(error.into())),
            }
        })
    }
}

impl HttpClient for Plain {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        (*self).into_shared()
    }
}
