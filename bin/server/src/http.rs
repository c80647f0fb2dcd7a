//! The doors: TLS, HTTP, and what one connection may take.

mod body;
mod log;
mod rate;
mod rest;
mod routes;
mod share;
mod tls;

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
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

use rest::Work;
use share::Shares;

pub use body::{Browser, Reply};
pub(crate) use body::{problem, public};
pub use log::{RequestLog, Writer};
pub use rate::Rate;
pub(crate) use routes::not_too_often;
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

/// How a socket is spoken to.
#[derive(Clone, Debug)]
pub enum Door {
    /// HTTP as it is.
    Plain,
    /// HTTP over TLS.
    Tls(Arc<ServerConfig>),
}

/// Serves the API at a socket until the server stops; then waits for what is in flight.
pub async fn serve(server: Arc<Server>, listener: TcpListener, table: Arc<Table>, door: Door) {
    let answer = {
        let server = Arc::clone(&server);
        move |connection, request| {
            let (server, table) = (Arc::clone(&server), Arc::clone(&table));
            async move { table.answer(server, connection, request).await }
        }
    };
    accept(server, listener, door, answer).await;
}

/// Takes connections until the server stops, and lets `answer` answer their requests; then waits for what is
/// in flight.
pub(crate) async fn accept<A, T>(server: Arc<Server>, listener: TcpListener, door: Door, answer: A)
where
    A: Fn(Arc<Connection>, Request<Incoming>) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = Reply> + Send + 'static,
{
    let limits = server.config.limits;
    let places = usize::try_from(limits.connections_max.get()).unwrap_or(usize::MAX);
    let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
    let shares = Shares::new(limits.connections_per_address.get());
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
        // Closed at once: whoever holds so many has no claim on a place that another could have.
        let Some(share) = shares.take(peer.ip()) else { continue };
        let (server, door, answer) = (Arc::clone(&server), door.clone(), answer.clone());
        connections.spawn(async move {
            let _held = (place, share);
            enter(server, door, stream, peer, answer).await;
        });
    }
    drop(listener);
    let limit = Duration::from_secs(limits.stop_s.get());
    let rest = async { while connections.join_next().await.is_some() {} };
    if timeout(limit, rest).await.is_err() {
        report("requests that were still in flight are cut off");
    }
}

/// Finds out who connected, where the door asks for that, and serves them.
async fn enter<A, T>(
    server: Arc<Server>,
    door: Door,
    stream: TcpStream,
    peer: SocketAddr,
    answer: A,
) where
    A: Fn(Arc<Connection>, Request<Incoming>) -> T + Send + Sync + 'static,
    T: Future<Output = Reply> + Send + 'static,
{
    // Answers are small and waited for; where the system will not hurry, they come all the same.
    let _ = stream.set_nodelay(true);
    let config = match door {
        Door::Plain => {
            return connection(server, stream, Connection { peer, shown: None }, answer).await;
        }
        Door::Tls(config) => config,
    };
    let limit = Duration::from_secs(server.config.limits.handshake_s.get());
    let handshake = timeout(limit, TlsAcceptor::from(config).accept(stream)).await;
    // Who does not finish a handshake is nobody yet: there is nothing to tell them.
    if let Ok(Ok(stream)) = handshake {
        let certificates = stream.get_ref().1.peer_certificates();
        let shown = certificates.and_then(<[_]>::first).and_then(Shown::read);
        connection(server, stream, Connection { peer, shown }, answer).await;
    }
}

/// Serves one connection, until its client leaves it, or asks nothing for too long.
async fn connection<S, A, T>(server: Arc<Server>, stream: S, connection: Connection, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Arc<Connection>, Request<Incoming>) -> T + Send + Sync + 'static,
    T: Future<Output = Reply> + Send + 'static,
{
    let idle = Duration::from_secs(server.config.limits.idle_s.get());
    let (connection, work) = (Arc::new(connection), Work::new());
    let asked = work.clone();
    let service = service_fn(move |request| {
        let in_flight = asked.begin();
        let answering = answer(Arc::clone(&connection), request);
        async move {
            let _in_flight = in_flight;
            Ok::<_, Infallible>(answering.await)
        }
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
    // A connection that breaks is its client's affair. One that asks nothing is ended by us: until the client's
    // first bytes tell its version there is no other timer, and HTTP/2 lets whoever answers pings stay for ever.
    let ended = tokio::select! {
        _ = serving.as_mut() => true,
        () = server.stopping() => false,
        () = work.rested(idle) => false,
    };
    if !ended {
        serving.as_mut().graceful_shutdown();
        // What came at the last moment is still answered. Whoever does not read that, or does not let go of the
        // connection, is cut off.
        tokio::select! {
            _ = serving => {}
            () = work.rested(idle * 2) => {}
        }
    }
}
