//! Sockets to requests: every connection of every door, over the one [`Engine`].

use std::{
    borrow::Cow,
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use metadata::{Answer, Body, Door};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use secret::SecretBytes;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, watch},
    time::timeout_at,
};
use tokio_io_timeout::TimeoutWriter;

use crate::{
    access::{self, AccessLog},
    budget::{Budget, Holder},
    clock,
    control::Control,
    engine::{Caller, Engine, Progress, Seen, Standing, Wanted},
    fetch,
    host::{self, Host},
    identify::{Identity, Origin},
};

/// How long a client waits for a lease before it is told to come back. The whole chain of an SDK's
/// attempt has one second.
pub const WAIT_MAX: Duration = Duration::from_millis(800);
/// How long the head of a request may take to arrive, or an idle connection may be kept.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may leave an answer unread. Without, one that asks and never reads would be held
/// for ever.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a request's head that are held.
pub const HEAD_MAX: usize = 16 * 1024;
/// What the kernel keeps of a connection in each direction, of which it makes twice as much. By itself
/// it would keep up to megabytes, and the agent's memory limit counts them.
const SOCKET_BUFFER: usize = 4 * 1024;
/// The status in the access log of a request whose client hung up before there was an answer.
const HUNG_UP: u16 = 499;

/// Everything that a connection needs.
#[derive(Debug)]
pub struct Server {
    /// The agent's state.
    pub engine: Arc<Engine>,
    /// Where requests are recorded.
    pub log: AccessLog,
    /// The host's own metadata service, for allow-listed paths.
    pub host: Host,
    /// The line to the server, where there is one: it is told what went to whom.
    pub control: Option<Arc<Control>>,
    /// Wakes the task that fetches leases.
    pub nudge: Arc<Notify>,
    /// Changes whenever a lease does.
    pub leases_changed: watch::Receiver<u64>,
    /// How many connections may be held.
    pub budget: Arc<Budget>,
}

impl Server {
    /// Accepts connections until the future is dropped. At most `connections_max` at once: the
    /// others wait in the kernel's queue, as they do while the agent holds as many as it may.
    pub async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        origin: Arc<Origin>,
        connections_max: usize,
    ) {
        let places = Arc::new(Semaphore::new(connections_max.clamp(1, Semaphore::MAX_PERMITS)));
        let mut connections = tokio::task::JoinSet::new();
        bound_buffers(&listener);
        loop {
            // Never closed, so a place always comes.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Only now: doors where nobody knocks must not hold places.
                    let Some(among_all) = self.budget.place().await else { return };
                    let (server, origin) = (Arc::clone(&self), Arc::clone(&origin));
                    connections.spawn(async move {
                        server.connection(stream, peer, &origin).await;
                        drop((place, among_all));
                    });
                }
                // Out of descriptors or memory: give others time to end instead of spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn connection(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, origin: &Origin) {
        let accepted = Instant::now();
        let Identity { caller, door, uid } = origin.identify(&self.engine, &stream, peer).await;
        let judged_in = accepted.elapsed();
        self.saw(&caller);
        let Some(_share) = self.budget.share(Holder::of(&caller, uid)) else {
            return self.over_budget(&caller);
        };
        // Small answers must not wait for the client's acknowledgements.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(WRITE_TIMEOUT));
        let connection = Connection { server: Arc::clone(self), door, uid, caller, judged_in };
        let connection = Arc::new(tokio::sync::Mutex::new(connection));
        let service = service_fn(move |request| {
            let connection = Arc::clone(&connection);
            // HTTP/1 requests of one connection come one after the other: the lock is never waited for.
            async move { Ok::<_, Infallible>(connection.lock().await.answer(request).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(Box::pin(stream)), service)
            .await;
        if served.is_err() {
            // Abandoned, too slow, or not HTTP: hyper has answered what can be answered.
            self.engine.counters.broken_connection();
        }
    }

    fn saw(&self, caller: &Caller) {
        if let Some(control) = &self.control {
            control.saw(&self.engine, caller);
        }
    }

    /// A connection is closed because its caller holds as many as it may.
    fn over_budget(&self, caller: &Caller) {
        self.engine.counters.over_budget();
        if let Standing::Known(known) = &caller.standing {
            self.engine.counters.note(&known.id, "over budget");
        }
    }
}

/// Bounds what the kernel keeps of each connection of a listener: they have it from there.
fn bound_buffers(listener: &TcpListener) {
    // Without, all works the same and only costs more memory.
    let _ = set_socket_recv_buffer_size(listener, SOCKET_BUFFER);
    let _ = set_socket_send_buffer_size(listener, SOCKET_BUFFER);
}

/// One connection, whose other end does not change.
struct Connection {
    server: Arc<Server>,
    door: Door,
    uid: Option<u32>,
    caller: Caller,
    judged_in: Duration,
}

impl Connection {
    async fn answer(&mut self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let started = Instant::now();
        if self.server.engine.refresh(&mut self.caller) {
            self.server.saw(&self.caller);
        }
        let (progress, mut seen) = self.ask(&request);
        let (from_host, hosts_own) = match &progress {
            Progress::Host(path, left) => (Some(*left), host::gives_credentials(path)),
            Progress::Answer(_) | Progress::Wait(_) => (None, false),
        };
        let method = known_method(request.method().as_str());
        let waiting = Waiting { connection: self, method, class: seen.class, started };
        let mut answer = waiting.connection.finish(progress, &mut seen).await;
        waiting.answered();
        if !self.server.log.is_writable() {
            self.server.withhold(&mut answer, &mut seen, from_host);
        }
        if !self.record(method, answer.status, &seen, started) {
            self.server.withhold(&mut answer, &mut seen, from_host);
        }
        if let Some(control) = &self.server.control {
            match &seen.lease {
                Some(lease) => control.served(&self.caller, lease),
                None if hosts_own && answer.status == 200 => {
                    control.passed(&self.caller, host::end_of_credentials(&answer));
                }
                None => {}
            }
        }
        respond(answer)
    }

    fn ask(&self, request: &Request<Incoming>) -> (Progress, Seen) {
        let target = match request.uri().authority() {
            None => Cow::from(request.uri().path_and_query().map_or("/", |target| target.as_str())),
            Some(_) => Cow::from(request.uri().to_string()),
        };
        let headers =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let asked = metadata::Request::new(request.method().as_str(), &target, headers);
        // Only a session token needs it, and only PUT makes one: this spares a system call.
        let random = if request.method() == Method::PUT { fetch::random() } else { [0; 16] };
        self.server.engine.request(clock::now(), &self.caller, self.door, &asked, random)
    }

    async fn finish(&self, progress: Progress, seen: &mut Seen) -> Answer {
        match progress {
            Progress::Answer(answer) => answer,
            Progress::Wait(wanted) => self.server.wait(wanted, seen).await,
            // Among what the host says may be its own credentials.
            Progress::Host(_, left) if !self.server.log.is_writable() => Host::silent(left),
            Progress::Host(path, left) => self.server.host.answer(&path, left).await,
        }
    }

    /// Records the request, and says whether it could be.
    fn record(&self, method: &str, status: u16, seen: &Seen, started: Instant) -> bool {
        let (workload, role, verdict) = match &self.caller.standing {
            Standing::Known(known) => {
                (Some(known.id.as_str()), Some(known.bound.role_text.as_str()), "attested")
            }
            Standing::Refused(refusal) => (None, None, refusal.word()),
        };
        let evidence = &self.caller.evidence;
        self.server.log.record(&access::Entry {
            time: clock::now().wall,
            workload,
            evidence: access::Evidence {
                netns: evidence.namespace.as_ref().map(|namespace| namespace.name.as_str()),
                cgroup: evidence.cgroup.as_ref().map(workload::CgroupPath::as_str),
                container: evidence.container.as_ref().map(|container| container.id.as_str()),
                uid: self.uid,
            },
            verdict,
            verdict_us: microseconds(self.judged_in),
            door: door_name(self.door),
            method,
            class: seen.class,
            status,
            notes: &seen.notes,
            role: seen.lease.as_ref().and(role),
            lease: seen.lease.as_ref().map(|lease| lease.id),
            lease_age_s: seen.lease.as_ref().map(|lease| lease.age.as_secs()),
            access_key_id: seen
                .lease
                .as_ref()
                .map(|lease| lease.credentials.access_key_id.as_str()),
            duration_us: microseconds(started.elapsed()),
        })
    }
}

/// A request without an answer so far. If its client hangs up, hyper drops it together with the
/// future that works on it, and it is recorded all the same.
struct Waiting<'a> {
    connection: &'a Connection,
    method: &'static str,
    class: &'static str,
    started: Instant,
}

impl Waiting<'_> {
    /// There is an answer, which its receiver records.
    fn answered(self) {
        std::mem::forget(self);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let seen = Seen { class: self.class, ..Seen::default() };
        self.connection.record(self.method, HUNG_UP, &seen, self.started);
    }
}

impl Server {
    /// Takes credentials out of an answer that cannot be recorded. What `from_host` came from the host,
    /// with what is left of the session token then, may be its own credentials.
    fn withhold(&self, answer: &mut Answer, seen: &mut Seen, from_host: Option<Option<u16>>) {
        *answer = match (seen.lease.take(), from_host) {
            (Some(lease), _) => self.engine.withheld(clock::now(), &lease),
            (None, Some(left)) => Host::silent(left),
            (None, None) => return,
        };
        seen.notes.push("unrecorded");
    }

    /// Waits for a lease, but not longer than an SDK does. The fetch does not belong to the
    /// client: it goes on when the client hangs up.
    async fn wait(&self, wanted: Wanted, seen: &mut Seen) -> Answer {
        let deadline = tokio::time::Instant::now() + WAIT_MAX;
        let mut changed = self.leases_changed.clone();
        loop {
            changed.mark_unchanged();
            if let Some(answer) = self.engine.serve(clock::now(), &wanted, seen) {
                return answer;
            }
            self.nudge.notify_one();
            if !matches!(timeout_at(deadline, changed.changed()).await, Ok(Ok(()))) {
                return self.engine.not_ready(clock::now(), &wanted);
            }
        }
    }
}

/// A body that hyper sends without copying it into memory of its own first; secret bytes are wiped
/// when the last connection is done with them.
#[derive(Debug)]
struct SharedSecret(Arc<SecretBytes>);

impl AsRef<[u8]> for SharedSecret {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

fn respond(answer: Answer) -> Response<Full<Bytes>> {
    let body = match answer.body {
        Body::Empty => Bytes::new(),
        Body::Text(text) => uncopied(text),
        Body::Secret(bytes) => Bytes::from_owner(SharedSecret(bytes)),
    };
    let mut response = Response::new(Full::new(body));
    // Statuses and headers come from our own tables: a value that does not fit is our fault, and
    // must still not become an answer that looks like success.
    *response.status_mut() = hyper::StatusCode::from_u16(answer.status)
        .unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let (Some(name), Ok(value)) =
            (header_name(name), HeaderValue::from_maybe_shared(uncopied(value)))
        {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// The names of nearly every answer are ready made.
fn header_name(name: &'static str) -> Option<HeaderName> {
    static TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
    match name {
        "content-type" => Some(header::CONTENT_TYPE),
        "server" => Some(header::SERVER),
        "accept-ranges" => Some(header::ACCEPT_RANGES),
        "x-aws-ec2-metadata-token-ttl-seconds" => Some(TOKEN_TTL.clone()),
        other => HeaderName::from_bytes(other.as_bytes()).ok(),
    }
}

fn uncopied(text: Cow<'static, str>) -> Bytes {
    match text {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The name of a door in logs.
pub const fn door_name(door: Door) -> &'static str {
    match door {
        Door::Instance => "instance",
        Door::Container => "container",
        Door::PodIdentity => "pod-identity",
    }
}

/// Methods are the client's words; only known ones go into the log.
fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 9] =
        ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("other")
}
