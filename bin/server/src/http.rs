//! The doors: TLS, HTTP, and what one connection may take.

mod body;
mod log;
mod rate;
mod routes;
mod tls;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{authority::Shown, report, server::Server};

pub use body::{Browser, Reply};
pub use log::{RequestLog, Writer};
pub use rate::Rate;
pub use routes::{Handler, Routes, Table, Unrouted};
pub use tls::{OwnCertificate, tls};

/// How long the door rests when the system has no socket left.
const REST: Duration = Duration::from_millis(100);
/// The most requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// The largest head of a request, in bytes.
const HEAD_MAX: usize = 32 * 1024;
/// The same, as HTTP/2 counts.
const HEADERS_MAX: u32 = 32 * 1024;

/// What is known of a connection.
#[derive(Debug)]
pub struct Connection {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Which host's certificate it showed; our authority signed it.
    pub shown: Option<Shown>,
}

/// Serves the API at a socket until the server stops; then waits for what is in flight.
pub async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    table: Arc<Table>,
    tls: Arc<ServerConfig>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let limits = server.config.limits;
    let places = usize::try_from(limits.connections_max.get()).unwrap_or(usize::MAX);
    let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = server.stopping() => break,
        };
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                report(&format!("cannot take a connection: {error}"));
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let (server, table, acceptor) = (Arc::clone(&server), Arc::clone(&table), acceptor.clone());
        connections.spawn(async move {
            let _place = place;
            let limit = Duration::from_secs(limits.handshake_s.get());
            // Who does not finish a handshake is nobody yet: there is nothing to tell them.
            if let Ok(Some((stream, shown))) = timeout(limit, handshake(&acceptor, stream)).await {
                connection(server, stream, Connection { peer, shown }, table).await;
            }
        });
    }
    drop(listener);
    let limit = Duration::from_secs(limits.stop_s.get());
    let rest = async { while connections.join_next().await.is_some() {} };
    if timeout(limit, rest).await.is_err() {
        report("requests that were still in flight are cut off");
    }
}

type Tls = tokio_rustls::server::TlsStream<TcpStream>;

async fn handshake(acceptor: &TlsAcceptor, stream: TcpStream) -> Option<(Tls, Option<Shown>)> {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let stream = acceptor.accept(stream).await.ok()?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).and_then(Shown::read);
    Some((stream, shown))
}

async fn connection<S>(server: Arc<Server>, stream: S, connection: Connection, table: Arc<Table>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let idle = Duration::from_secs(server.config.limits.idle_s.get());
    let connection = Arc::new(connection);
    let stopping = Arc::clone(&server);
    let service = service_fn(move |request| {
        let (server, connection) = (Arc::clone(&server), Arc::clone(&connection));
        let table = Arc::clone(&table);
        async move { Ok::<_, std::convert::Infallible>(table.answer(server, connection, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(HEAD_MAX)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_MAX)
        .keep_alive_interval(idle)
        .keep_alive_timeout(Duration::from_secs(20));
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    // A connection that breaks is its client's affair.
    let ended = tokio::select! {
        _ = serving.as_mut() => true,
        () = stopping.stopping() => false,
    };
    if !ended {
        serving.as_mut().graceful_shutdown();
        let _ = serving.await;
    }
}
