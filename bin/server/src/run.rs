//! A replica, put together and kept running.

use std::{net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use api::Problem;
use ledger::Draft;
use serde_json::json;
use state::StateError;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    VERSION,
    authority::{AuthorityError, SERVER_RENEW},
    clock::Clock,
    config::Config,
    found::{self, Found, FoundError},
    http::{self, Door, OwnCertificate, RequestLog, Table, Unrouted, Writer},
    login::Provider,
    mint::Minter,
    publish, report,
    routes::routes,
    server::{Parts, Server},
    works::{self, Works},
};

/// The server cannot start. Its operator must act.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something cannot be found or made.
    #[error(transparent)]
    Found(#[from] FoundError),
    /// The database cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The server's certificate cannot be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// TLS cannot be spoken.
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A socket cannot be opened.
    #[error("cannot listen at `{at}`: {source}")]
    Listen {
        /// Where.
        at: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The request log or the signals cannot be had.
    #[error("cannot use {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something could not be done that a start does.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// The program's endpoints are not complete.
    #[error(transparent)]
    Unrouted(#[from] Unrouted),
}

/// A replica whose sockets are open.
#[derive(Debug)]
pub struct Replica {
    /// What its requests share.
    pub server: Arc<Server>,
    /// Where its API is.
    pub api: SocketAddr,
    /// Where the issuer's documents are, where they are served.
    pub issuer: Option<SocketAddr>,
    /// The first admin's one-time token, at the first start ever. The operator was told of it already.
    pub first_admin: Option<secret::SecretText>,
    doors: Vec<(TcpListener, Door, Purpose)>,
    own: Arc<OwnCertificate>,
    minter: Minter,
    table: Arc<Table>,
    writer: Writer,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Api,
    Issuer,
}

/// Runs a replica until it is told to stop by a signal.
///
/// # Errors
/// When it cannot start.
pub async fn run(config: Config) -> Result<Writer, StartError> {
    let failed = |source| StartError::System { what: "signals", source };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let replica = Replica::open(config, Clock::system()).await?;
    replica.greet();
    let server = Arc::clone(&replica.server);
    let serving = tokio::spawn(replica.serve());
    notify_supervisor("READY=1");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    notify_supervisor("STOPPING=1");
    server.stop();
    drop(server);
    serving.await.map_err(|error| StartError::System {
        what: "the serving task",
        source: std::io::Error::other(error),
    })
}

impl Replica {
    /// Finds or makes what it works with, and opens its sockets. It serves once [`Replica::serve`] runs.
    ///
    /// # Errors
    /// When something is missing.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, StartError> {
        let table = Arc::new(routes().table()?);
        let Found { state, seal, authority, first_admin } = found::find(&config, &clock).await?;
        // Now: nobody makes it a second time, should anything below fail.
        if let Some(token) = &first_admin {
            greet_admin(token);
        }
        let provider = config.oidc.as_ref().map(Provider::new).transpose()?;
        let own = Arc::new(OwnCertificate::new(authority.server(&config.names, clock.now())?)?);
        let tls = Arc::new(http::tls(&authority, Arc::clone(&own))?);
        let mut doors = Vec::new();
        let (listener, api) = listen(config.listen).await?;
        doors.push((listener, Door::Tls(tls), Purpose::Api));
        let mut issuer = None;
        if let Some(at) = config.issuer.listen {
            let section = &config.issuer;
            let door = match (&section.certificate_file, &section.certificate_key_file) {
                (Some(certificate), Some(key)) => {
                    Door::Tls(Arc::new(publish::tls(certificate, key)?))
                }
                _ => Door::Plain,
            };
            let (listener, at) = listen(at).await?;
            issuer = Some(at);
            doors.push((listener, door, Purpose::Issuer));
        }
        let opened = RequestLog::open(config.log.requests.as_deref());
        let what = "the request log";
        let (log, writer) = opened.map_err(|source| StartError::System { what, source })?;
        let (works, minter) = Works::open(&config, &state, &seal, &clock).await?;
        let mut act = state.act().await?;
        let detail = json!({ "version": VERSION, "api": api.to_string() });
        let draft = Draft::new("server", "server.started", "server", detail);
        act.record(draft.map_err(StateError::from)?, clock.now()).await?;
        act.renew_revision();
        act.commit(clock.now()).await?;
        let parts = Parts { config, clock, state, seal, authority, works, log, provider };
        let server = Arc::new(Server::new(parts)?);
        works::first_key(&server).await?;
        Ok(Self { server, api, issuer, first_admin, doors, own, minter, table, writer })
    }

    /// Tells the operator what is needed to reach it.
    fn greet(&self) {
        let fingerprint = self.server.authority.fingerprint();
        report(&format!("version {VERSION} serves at {}, known by {fingerprint}", self.api));
        if let Some(issuer) = self.issuer {
            report(&format!("the issuer's documents are at {issuer}"));
        }
    }

    /// Serves until the server stops; then finishes what is in flight. Answers the request log's writer, which ends
    /// once nobody uses the server any more.
    pub async fn serve(self) -> Writer {
        let Self { server, doors, own, minter, table, writer, .. } = self;
        let mut tasks = tokio::task::JoinSet::new();
        for (listener, door, purpose) in doors {
            let (server, table) = (Arc::clone(&server), Arc::clone(&table));
            match purpose {
                Purpose::Api => tasks.spawn(http::serve(server, listener, table, door)),
                Purpose::Issuer => tasks.spawn(publish::serve(server, listener, door)),
            };
        }
        let chores = tokio::spawn(vital(works::chores(Arc::clone(&server))));
        let minting = tokio::spawn(vital(minter.run()));
        let renewing = tokio::spawn(vital(renew(Arc::clone(&server), own)));
        while tasks.join_next().await.is_some() {}
        // Only now, so that a token which was asked for before is still minted.
        minting.abort();
        renewing.abort();
        // It ends because the server stops; where its code panicked, nobody is left to ask.
        let _ = chores.await;
        server.state.close().await;
        writer
    }
}

/// Work without which a replica is of no use. Where its code panics the process ends, so that agents turn to
/// another replica and whoever supervises this one starts it anew; a request that panics fails alone.
async fn vital(work: impl Future<Output = ()>) {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        let polled = AssertUnwindSafe(|| work.as_mut().poll(context));
        std::panic::catch_unwind(polled).unwrap_or_else(|_| std::process::abort())
    })
    .await;
}

/// Tells the operator, who alone reads this, the one secret that is printed.
pub(crate) fn greet_admin(token: &secret::SecretText) {
    let hours = found::ADMIN_TOKEN_LIFE.as_hours();
    report(&format!(
        "sign in once, within {hours} hours, as the first admin: rolecall login --token {}",
        token.expose()
    ));
}

/// Makes the server's own certificate anew, long before it ends.
async fn renew(server: Arc<Server>, own: Arc<OwnCertificate>) {
    let mut rest = SERVER_RENEW;
    loop {
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = server.stopping() => return,
        }
        let made = server.authority.server(&server.config.names, server.clock.now());
        let shown = made
            .map_err(|error| error.to_string())
            .and_then(|certificate| own.replace(certificate).map_err(|error| error.to_string()));
        rest = match shown {
            Ok(()) => SERVER_RENEW,
            Err(error) => {
                report(&format!("the server's certificate cannot be renewed: {error}"));
                Duration::from_hours(1)
            }
        };
    }
}

async fn listen(at: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { at, source };
    let listener = TcpListener::bind(at).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    Ok((listener, at))
}

/// Tells systemd, where it started us. [sd_notify(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html)
fn notify_supervisor(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() {
        // A supervisor that does not listen restarts us by its own time limit.
        let _ = socket.send_to(state.as_bytes(), path);
    }
}
