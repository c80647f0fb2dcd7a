//! The agent, put together and kept running.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use aws::{HostCredentials, Sts, StsSettings};
use disk::Folder;
use issuer::{Algorithm, InvalidIssuerUrl, IssuerUrl};
use linux::{Cgroups, Diag, HopLimit, Mark, Plan, Redirect, Watch};
use metadata::{Door, TokenKey};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use secret::SecretText;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{Notify, oneshot, watch},
};
use workload::CgroupPath;

use crate::{
    access::{self, AccessLog},
    admin::{self, Ask},
    budget::TOTAL_MAX,
    calls::{Calls, Threads, collector::Limits, ear, shown, store, who::Judge},
    clock,
    config::{
        CallsSection, Config, ConfigError, IssuerSection, ObjectKeys, OnStop, SigningAlgorithm,
    },
    control::{Control, Line, line::OpenError},
    engine::{Engine, Standing},
    explain,
    fetch::{Fetcher, Signer},
    host::Host,
    identify::{Kernel, Origin},
    places::{How, Places},
    reload::{ReloadError, Reloaded, Reloader},
    report,
    serve::Server,
    settings::Settings,
    status,
};

/// How long the start waits for the namespaces that are there already.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// The agent cannot start. The host's operator must act.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys cannot be kept.
    #[error(transparent)]
    Disk(#[from] disk::DiskError),
    /// The issuer's address is wrong.
    #[error("[issuer] url: {0}")]
    Issuer(#[from] InvalidIssuerUrl),
    /// The server's orders cannot be followed.
    #[error(transparent)]
    Control(#[from] OpenError),
    /// A socket cannot be opened.
    #[error("cannot listen at {at}: {source}")]
    Listen {
        /// Where.
        at: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file cannot be used.
    #[error("cannot use {what}: {source}")]
    File {
        /// Which.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The redirect cannot be installed.
    #[error(transparent)]
    Redirect(#[from] linux::RedirectError),
    /// The kernel cannot be asked about sockets.
    #[error(transparent)]
    Diag(#[from] linux::DiagError),
    /// Namespaces cannot be watched.
    #[error(transparent)]
    Watch(#[from] linux::WatchError),
    /// Calls cannot be recorded.
    #[error(transparent)]
    Calls(#[from] store::OpenError),
}

/// A running agent.
struct Agent {
    reloader: Arc<Reloader>,
    /// The line to the server, where the file names one.
    control: Option<Arc<Control>>,
    engine: Arc<Engine>,
    fetcher: Arc<Fetcher>,
    server: Arc<Server>,
    kernel: Arc<Kernel>,
    places: Arc<Places>,
    /// What records calls, where the file says so, and its threads.
    calls: Option<Arc<Calls>>,
    threads: Mutex<Option<Threads>>,
    /// For the thread of the operator's commands, which is none of the runtime's.
    runtime: tokio::runtime::Handle,
}

/// What the system tells the agent to do.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn receive() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Runs the agent with the file at `path` until it is told to stop. The access log is whole once
/// the runtime is gone and its writer was joined.
///
/// # Errors
/// When it cannot start. Once it runs, faults are reported and survived.
pub async fn run(path: &Path) -> Result<access::Writer, StartError> {
    // Neither a core, wherever the system sends it, nor a debugger of the same user shall see
    // credentials. That includes cores that are piped, which a limit of zero does not stop.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        report(&format!("a crash may leave credentials in a core: {error}"));
    }
    if let Err(error) = linux::raise_open_files() {
        report(&format!("the limit of open files stays as it is: {error}"));
    }
    let settings = Settings::read(path, 1)?;
    let log = settings.config.log.access.clone();
    let start =
        access::Start { time: clock::now().wall.to_string(), started: env!("CARGO_PKG_VERSION") };
    let opened = AccessLog::open(log.as_deref(), &start);
    let (log, writer) = opened.map_err(|source| StartError::File {
        what: format!("the access log at {}", log.unwrap_or_default().display()),
        source,
    })?;
    let agent = Agent::build(path, settings, log).await?;
    agent.serve().await?;
    Ok(writer)
}

impl Agent {
    async fn build(
        path: &Path,
        settings: Settings,
        log: AccessLog,
    ) -> Result<Arc<Self>, StartError> {
        let config = Arc::clone(&settings.config);
        let config = config.as_ref();
        let folder = Folder::open(&config.data)?;
        let control = match &config.server {
            Some(section) => {
                let addresses = &section.get_ref().addresses;
                Some(Arc::new(Control::open(Folder::open(&config.data)?, addresses)?))
            }
            None => None,
        };
        let settings = match control.as_ref().and_then(|control| control.look()) {
            Some((orders, at)) => settings.obeying(&orders, at, settings.generation),
            None => settings,
        };
        let boot_id = linux::clock::boot_id()
            .map_err(|source| StartError::File { what: "the boot id".to_owned(), source })?;
        let tokens = TokenKey::new(&folder.secret_key("token.key")?, boot_id);
        let signer = config.issuer.as_ref().map(|section| signer(&folder, section)).transpose()?;
        let mark = config.metadata.redirect.as_ref().map(|_| Mark::AGENT.0);
        let sts = Sts::new(&sts_settings(config, mark)?).await;
        let host = Host::new(config.host.metadata.as_deref(), mark);
        let containers = config.docker.as_ref().map(|section| docker::Engine::new(&section.socket));
        let cgroups =
            Cgroups::open().map_err(|error| report(&format!("no cgroup evidence: {error}")));
        let kernel = Arc::new(Kernel::new(cgroups.ok(), containers));
        let plan = Plan {
            hops: HopLimit::new(config.metadata.hop_limit).unwrap_or(HopLimit::ONE),
            port: config.metadata.port.get(),
            ..Plan::default()
        };
        let connections_max = config.metadata.connections_max;

        let seed = u64::from_le_bytes(first_eight(crate::fetch::random()));
        let engine = Arc::new(Engine::new(settings, tokens, seed));
        let (leases_changed, changes) = watch::channel(0);
        let nudge = Arc::new(Notify::new());
        let fetcher = Arc::new(Fetcher {
            engine: Arc::clone(&engine),
            sts,
            signer,
            control: control.clone(),
            nudge: Arc::clone(&nudge),
            leases_changed,
            calls: OnceLock::new(),
        });
        let server = Arc::new(Server {
            engine: Arc::clone(&engine),
            log,
            host,
            control: control.clone(),
            nudge,
            leases_changed: changes,
            budget: Arc::default(),
        });
        let places =
            Arc::new(Places::new(Arc::clone(&server), Arc::clone(&kernel), plan, connections_max));
        let reloader = Arc::new(Reloader::new(path.to_owned(), folder, Arc::clone(&fetcher)));
        let runtime = tokio::runtime::Handle::current();
        let judge = Judge {
            engine: Arc::clone(&engine),
            kernel: Arc::clone(&kernel),
            places: Arc::clone(&places),
        };
        let recording = config.calls.as_ref().map(|section| record(section, config, judge));
        let (calls, threads) = recording.transpose()?.unzip();
        if let Some(calls) = &calls {
            // Before anything is served: it is set once.
            let _ = fetcher.calls.set(Arc::clone(calls));
            places.record(Arc::clone(calls));
        }
        let threads = Mutex::new(threads);
        Ok(Arc::new(Self {
            reloader,
            control,
            engine,
            fetcher,
            server,
            kernel,
            places,
            calls,
            threads,
            runtime,
        }))
    }

    async fn serve(self: &Arc<Self>) -> Result<(), StartError> {
        let settings = self.engine.settings();
        let config = &settings.config;
        // First: a reload that comes while the agent starts must not end it.
        let signals = Signals::receive()
            .map_err(|source| StartError::File { what: "signals".to_owned(), source })?;
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Arc::clone(&self.fetcher).run());
        self.listen_for_development(config, &mut tasks).await?;
        self.listen_for_redirect(config, &mut tasks).await?;
        let seen = self.follow_namespaces(config)?;
        self.listen_for_commands(config)?;
        // Who is started after the agent must find its doors open.
        if tokio::time::timeout(FIRST_LOOK, seen).await.is_err() {
            report("not every namespace was tried yet; the agent goes on without waiting");
        }
        if let Some(line) = self.line() {
            tasks.spawn(line.run());
        }
        notify_supervisor("READY=1");
        self.until_told_to_stop(signals).await;
        notify_supervisor("STOPPING=1");
        if config.metadata.redirect.as_ref().is_some_and(|r| r.on_stop == OnStop::Remove) {
            Redirect::remove()?;
        }
        // Best effort: a socket file without an agent is found out by the next start.
        let _ = std::fs::remove_file(&config.admin.socket);
        self.end_recording().await;
        Ok(())
    }

    /// What was counted is told and made durable, however long the disk takes; a supervisor has a limit for it.
    async fn end_recording(&self) {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(calls), Some(threads)) = (&self.calls, threads) {
            calls.stop();
            // A thread that panicked has ended the process already.
            let _ = tokio::task::spawn_blocking(|| threads.join()).await;
        }
    }

    /// What keeps the agent and its server at one.
    fn line(&self) -> Option<Line> {
        Some(Line {
            control: Arc::clone(self.control.as_ref()?),
            engine: Arc::clone(&self.engine),
            reloader: Arc::clone(&self.reloader),
            places: Arc::clone(&self.places),
            kernel: Arc::clone(&self.kernel),
            nudge: Arc::clone(&self.fetcher.nudge),
            seed: u64::from_le_bytes(first_eight(crate::fetch::random())),
        })
    }

    /// Serves what is in the watched folder. The answer comes when all that is there now was tried.
    fn follow_namespaces(&self, config: &Config) -> Result<oneshot::Receiver<()>, StartError> {
        let (tell, seen) = oneshot::channel();
        // The agent may have ceased to wait.
        let tell = move || tell.send(()).unwrap_or_default();
        let Some(namespaces) = config.metadata.watched() else {
            tell();
            return Ok(seen);
        };
        let (watch, places) = (Watch::open(namespaces)?, Arc::downgrade(&self.places));
        let thread = std::thread::Builder::new().name("namespaces".to_owned());
        thread.spawn(move || Places::follow(&places, watch, tell)).map_err(|source| {
            StartError::File { what: "a thread for namespaces".to_owned(), source }
        })?;
        Ok(seen)
    }

    async fn until_told_to_stop(&self, signals: Signals) {
        let Signals { mut terminate, mut interrupt, mut hangup } = signals;
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = hangup.recv() => match self.reload() {
                    Ok(reloaded) => report(&reloaded.words()),
                    Err(error) => report(&format!("the old file stays in force: {error}")),
                },
            }
        }
    }

    async fn listen_for_development(
        self: &Arc<Self>,
        config: &Config,
        tasks: &mut tokio::task::JoinSet<()>,
    ) -> Result<(), StartError> {
        let metadata = &config.metadata;
        let doors = [
            (Door::Instance, &metadata.listen),
            (Door::Container, &metadata.listen_container),
            (Door::PodIdentity, &metadata.listen_pod_identity),
        ];
        for (door, addresses) in doors {
            for address in addresses {
                let listener = bind(*address).await?;
                let origin = Arc::new(Origin::Development { door });
                let server = Arc::clone(&self.server);
                tasks.spawn(server.accept(listener, origin, metadata.connections_max));
            }
        }
        if !metadata.listen.is_empty() {
            self.engine.prefetch(clock::now(), &self.engine.vouched());
        }
        Ok(())
    }

    async fn listen_for_redirect(
        self: &Arc<Self>,
        config: &Config,
        tasks: &mut tokio::task::JoinSet<()>,
    ) -> Result<(), StartError> {
        let Some(section) = &config.metadata.redirect else {
            refuse_forwarded(config);
            return Ok(());
        };
        let loopbacks = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, section.port.get())),
            SocketAddr::from((Ipv6Addr::LOCALHOST, section.port.get())),
        ];
        let mut listening = 0;
        for address in loopbacks {
            let listener = match bind(address).await {
                Ok(listener) => listener,
                // A host without IPv6 has no such loopback, and nothing to redirect there.
                Err(StartError::Listen { source, .. })
                    if address.is_ipv6()
                        && source.kind() == std::io::ErrorKind::AddrNotAvailable =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let diag = Diag::here()?;
            let origin = Origin::Redirected { diag, kernel: Arc::clone(&self.kernel) };
            let server = Arc::clone(&self.server);
            // All processes of the host share it: only what each of them may hold bounds it.
            tasks.spawn(server.accept(listener, Arc::new(origin), TOTAL_MAX));
            listening += 1;
        }
        debug_assert!(listening > 0, "the IPv4 loopback is there or its error was returned");
        // Last, so that nobody is redirected to a port where nothing listens yet.
        config.metadata.rules().map_or(Ok(()), |rules| rules.install().map_err(Into::into))
    }

    fn listen_for_commands(self: &Arc<Self>, config: &Config) -> Result<(), StartError> {
        let path = &config.admin.socket;
        let failed = |source| StartError::Listen { at: format!("`{}`", path.display()), source };
        let listener = admin::listen(path).map_err(failed)?;
        // The thread must not keep a stopped agent alive.
        let agent = Arc::downgrade(self);
        let thread = std::thread::Builder::new().name("admin".to_owned());
        let answer = move || {
            admin::answer_all(&listener, |ask, descriptor| match agent.upgrade() {
                Some(agent) => agent.command(ask, descriptor),
                None => Err("the agent is stopping".to_owned()),
            });
        };
        thread.spawn(answer).map_err(failed)?;
        Ok(())
    }

    fn command(&self, ask: Ask, descriptor: Option<OwnedFd>) -> Result<Value, String> {
        match ask {
            Ask::Attach { name, pinned } => self.attach(&name, pinned, descriptor),
            Ask::Detach { name, remove_addresses } => {
                let removed = self.places.detach(&name, remove_addresses);
                let removed = removed.map_err(|error| error.to_string())?;
                Ok(json!({ "detached": name, "removed_addresses": removed }))
            }
            Ask::Explain { pid } => {
                Ok(explain::explain(&self.engine.settings(), &self.look_at(pid)?))
            }
            Ask::Environment { pid } => self.environment(pid),
            Ask::Calls { from } => {
                let none = "calls are not recorded: the agent's file has no [calls]";
                let calls = self.calls.as_ref().ok_or(none)?;
                self.runtime.block_on(shown::read(calls.store(), from))
            }
            Ask::Status => Ok(self.status()),
            Ask::Reload => {
                let reloaded = self.reload().map_err(|error| error.to_string())?;
                serde_json::to_value(reloaded).map_err(|error| error.to_string())
            }
        }
    }

    fn reload(&self) -> Result<Reloaded, ReloadError> {
        let reloaded = self.reloader.reload()?;
        self.places.judge_again();
        Ok(reloaded)
    }

    fn attach(
        &self,
        name: &str,
        pinned: Option<String>,
        descriptor: Option<OwnedFd>,
    ) -> Result<Value, String> {
        let descriptor = descriptor.ok_or("no namespace came along")?;
        let pinned = pinned.map(|path| path.parse::<CgroupPath>()).transpose();
        let pinned = pinned.map_err(|error| error.to_string())?;
        let namespace =
            linux::Namespace::from_fd(descriptor, name).map_err(|error| error.to_string())?;
        let served = self.places.serve(&namespace, name, pinned, How::Attached);
        let served = served.map_err(|error| error.to_string())?;
        serde_json::to_value(served).map_err(|error| error.to_string())
    }

    /// What a connection of a process would show, the labels of its container included.
    fn look_at(&self, pid: u32) -> Result<explain::Seen, String> {
        let seen = explain::look_at(pid, |inode| self.places.evidence_of(inode));
        let mut seen = seen.map_err(|error| error.to_string())?;
        if self.engine.settings().needs_labels {
            let asked = self.kernel.container(seen.evidence.cgroup.as_ref());
            seen.evidence.container = self.runtime.block_on(asked);
        }
        Ok(seen)
    }

    fn environment(&self, pid: Option<u32>) -> Result<Value, String> {
        let (caller, nobody) = match pid {
            Some(pid) => {
                let evidence = self.look_at(pid)?.evidence;
                let why = format!("`rolecall-agent explain --pid {pid}` says why");
                (self.engine.identify(evidence), format!("process {pid} is no workload: {why}"))
            }
            None => {
                let nobody = "no workload is behind development listeners: name it in [metadata]";
                (self.engine.vouched(), nobody.to_owned())
            }
        };
        let Standing::Known(known) = &caller.standing else { return Err(nobody) };
        let (tokens, settings) = (self.engine.tokens(), self.engine.settings());
        let metadata = &settings.config.metadata;
        Ok(json!({
            "workload": known.id,
            "id": metadata::container_id(tokens, &known.id).expose(),
            "token": metadata::container_token(tokens, &known.id).expose(),
            "container_listeners": metadata.listen_container,
            "pod_identity_listeners": metadata.listen_pod_identity,
        }))
    }

    fn status(&self) -> Value {
        let settings = self.engine.settings();
        let mut status = json!({
            "generation": settings.generation,
            "bindings": settings.bindings(),
            "namespaces": self.places.summaries(),
            "unserved": self.places.unserved(),
            "watch_fault": self.places.blind(),
            "connections": self.server.budget.connections(),
            "log_writable": self.server.log.is_writable(),
            "log_lines_lost": self.server.log.lost(),
            "counters": self.engine.counters.read(),
        });
        if let Value::Object(status) = &mut status {
            status.append(&mut status::leases(&self.engine, clock::now()));
            if let Some(control) = &self.control {
                status.insert("server".to_owned(), control.status());
            }
            if let Some(calls) = &self.calls {
                status.insert("calls".to_owned(), self.runtime.block_on(calls.status()));
            }
        }
        status
    }
}

/// Keeps containers that are not served from the host's own metadata. Where the host has no packet
/// filter the agent is of use all the same, so its operator is told and it goes on.
fn refuse_forwarded(config: &Config) {
    if let Some(Err(error)) = config.metadata.rules().map(|rules| rules.install()) {
        report(&format!(
            "containers that are not served can reach the host's own metadata: {error}; set the \
             instance's hop limit to 1, or `metadata.refuse_forwarded = false` to say that it is so"
        ));
    }
}

/// Starts what records calls.
fn record(
    section: &CallsSection,
    config: &Config,
    judge: Judge,
) -> Result<(Arc<Calls>, Threads), StartError> {
    let limits = Limits {
        table_bytes: section.table_mib << 20,
        count: Duration::from_secs(section.count_s),
        objects: match section.objects {
            ObjectKeys::FirstSegment => ::calls::Objects::FirstSegment,
            ObjectKeys::Whole => ::calls::Objects::Whole,
        },
    };
    let settings = ear::Settings {
        socket: section.socket.clone(),
        port: section.monitoring_port,
        lines_per_second: section.lines_per_second,
        limits,
    };
    let place = store::Place {
        folder: Folder::open(&config.data)?,
        budget_bytes: section.spool_mib << 20,
        // No server takes them yet.
        server: false,
    };
    let (calls, threads) = ear::start(settings, place, judge)?;
    Ok((Arc::new(calls), threads))
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| StartError::Listen { at: format!("`{address}`"), source })
}

fn signer(folder: &Folder, section: &IssuerSection) -> Result<Signer, StartError> {
    let url = section.url.get_ref();
    let issuer = match section.allow_http {
        true => IssuerUrl::practice(url)?,
        false => url.parse()?,
    };
    let keys = folder.issuer_keys(algorithm(section.algorithm), clock::now().wall)?;
    Ok(Signer { issuer, keys: RwLock::new(keys) })
}

const fn algorithm(written: SigningAlgorithm) -> Algorithm {
    match written {
        SigningAlgorithm::Es256 => Algorithm::Es256,
        SigningAlgorithm::Rs256 => Algorithm::Rs256,
    }
}

/// How STS is asked, and by whom.
///
/// # Errors
/// When the file of the host's key cannot be used.
pub fn sts_settings(config: &Config, mark: Option<u32>) -> Result<StsSettings, StartError> {
    let host_credentials = match &config.sts.host_key_file {
        Some(path) => host_key(path)?,
        None => HostCredentials::DefaultChain { metadata_endpoint: config.host.metadata.clone() },
    };
    Ok(StsSettings {
        region: config.region.clone(),
        endpoint: config.sts.endpoint.clone(),
        timeout: Duration::from_secs(config.sts.timeout_s),
        mark,
        host_credentials,
    })
}

fn host_key(path: &Path) -> Result<HostCredentials, StartError> {
    let failed = |source| StartError::File { what: format!("`{}`", path.display()), source };
    let text = SecretText::new(std::fs::read_to_string(path).map_err(failed)?);
    match text.expose().lines().map(str::trim).collect::<Vec<_>>().as_slice() {
        [id, secret] if !id.is_empty() && !secret.is_empty() => Ok(HostCredentials::Fixed {
            access_key_id: (*id).to_owned(),
            secret_access_key: SecretText::new((*secret).to_owned()),
        }),
        _ => Err(failed(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "it must have two lines: an access key id and its secret",
        ))),
    }
}

fn first_eight(bytes: [u8; 16]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    [a, b, c, d, e, f, g, h]
}

/// Tells systemd, where it started us. [sd_notify(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html)
fn notify_supervisor(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() {
        // A supervisor that does not listen restarts us by its own time limit.
        let _ = socket.send_to(state.as_bytes(), path);
    }
}
