use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls::ClientConfig;
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connects within a time that covers the name, the connection and the handshake, so that a server that takes
/// connections and says nothing is left for the next one.
#[derive(Clone)]
pub(super) struct Connector {
    tls: HttpsConnector<HttpConnector>,
    within: Duration,
}

impl Connector {
    pub(super) fn new(config: ClientConfig, within: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        // TLS refuses what is not HTTPS; TCP below it sees the address as it is.
        tcp.enforce_http(false);
        // Head and body of a request are written one after the other. Without this the body waits until the server
        // acknowledges the head, which a system puts off for 40 milliseconds.
        tcp.set_nodelay(true);
        let tls = HttpsConnectorBuilder::new().with_tls_config(config).https_only();
        Self { tls: tls.enable_all_versions().wrap_connector(tcp), within }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tls.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, within) = (self.tls.call(uri), self.within);
        Box::pin(async move {
            timeout(within, connecting).await.unwrap_or_else(|_| {
                let words = format!("no connection within {within:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, words).into())
            })
        })
    }
}
