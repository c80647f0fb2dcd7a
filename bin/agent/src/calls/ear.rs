//! The thread that hears: streams of shims, datagrams of monitoring.
//!
//! All of it runs on one thread, in turns. A stream that is read slowly costs nothing: its shim counts what it cannot send.
//! Datagrams that come too fast are dropped by the kernel, which counts them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    net::{SocketAddr, UdpSocket as StdSocket},
    os::unix::{fs::PermissionsExt, net::UnixListener as StdListener},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use calls::{Line, Refused, Trust};
use linux::datagrams::{self, Drops, Room};
use serde_json::{Value, json};
use spool::Stage;
use tokio::{
    io::Interest,
    net::{UdpSocket, UnixListener, UnixStream},
    sync::mpsc,
    task::{AbortHandle, LocalSet, spawn_local},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use workload::Workload;

use super::{
    Calls, Command, DATAGRAM_ROOM, LOOPBACK, Threads,
    collector::{Collector, Limits, Source},
    lines::{Lines, Piece},
    store::{self, Store},
    who::Judge,
};
use crate::{clock, report, run::StartError};

/// How many streams are open at once.
const STREAMS_MAX: usize = 4096;
/// How many of them one workload has.
const STREAMS_OF_ONE_MAX: usize = 512;
/// How much is read of a stream in one turn, in bytes.
const TURN: usize = 64 * 1024;
/// How often what was made is given to the disk.
const TICK: Duration = Duration::from_millis(50);
/// Over how long lines are counted against what a workload may send.
const WINDOW: Duration = Duration::from_millis(100);
/// How long to wait when nobody can be let in.
const PAUSE: Duration = Duration::from_millis(50);

/// How the ear hears.
#[derive(Debug)]
pub struct Settings {
    /// Where shims connect.
    pub socket: PathBuf,
    /// Where monitoring is heard, in every namespace; 0 for nowhere.
    pub port: u16,
    /// How many lines a second are taken from one workload.
    pub lines_per_second: u32,
    /// The collector's.
    pub limits: Limits,
}

/// Opens the spool and the sockets, and starts to hear.
///
/// # Errors
/// When the spool cannot be opened, or somebody else listens at the socket. The operator must act.
pub fn start(
    settings: Settings,
    place: store::Place,
    judge: Judge,
) -> Result<(Calls, Threads), StartError> {
    let listener = listen(&settings.socket).map_err(|source| StartError::Listen {
        at: format!("`{}`", settings.socket.display()),
        source,
    })?;
    let (store, store_thread, found) = Store::open(place)?;
    let store = Arc::new(store);
    let collector = Collector::new(settings.limits, &found.keys, found.crashed);
    let ((commands, told), (leases, leased)) =
        (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let port = settings.port;
    let host = host_datagrams(port);
    let thread = std::thread::Builder::new().name("calls".to_owned());
    let ear_store = Arc::clone(&store);
    let run = move || {
        let ear = Rc::new(Ear {
            collector: RefCell::new(collector),
            leased: RefCell::new(leased),
            store: ear_store,
            judge,
            settings,
            room: RefCell::default(),
            turn: RefCell::new(vec![0; TURN]),
            streams: RefCell::default(),
            heard: RefCell::default(),
            sockets: RefCell::default(),
            refused_streams: Cell::default(),
        });
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let local = LocalSet::new();
                runtime.block_on(local.run_until(ear.run(listener, host, told)));
            }
            Err(error) => report(&format!("no calls are heard: {error}")),
        }
    };
    let failed = |source| StartError::File { what: "a thread for calls".to_owned(), source };
    let ear = thread.spawn(run).map_err(failed)?;
    let calls = Calls { commands, leases, store, port };
    Ok((calls, Threads { ear, store: store_thread }))
}

/// Anybody may tell of their own calls: the kernel says who does.
fn listen(path: &Path) -> io::Result<StdListener> {
    let listener = crate::admin::listen(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Monitoring of the host's own namespace. Another collector may be there already: then it has it.
fn host_datagrams(port: u16) -> Option<StdSocket> {
    if port == 0 {
        return None;
    }
    let address = SocketAddr::from((LOOPBACK, port));
    let opened = datagrams::listen(address, DATAGRAM_ROOM);
    opened.map_err(|error| report(&format!("monitoring is not heard at `{address}`: {error}"))).ok()
}

/// What all tasks of the thread share.
struct Ear {
    collector: RefCell<Collector>,
    leased: RefCell<mpsc::UnboundedReceiver<calls::Leased>>,
    store: Arc<Store>,
    judge: Judge,
    settings: Settings,
    room: RefCell<Room>,
    /// Where a turn of a stream is read to.
    turn: RefCell<Vec<u8>>,
    /// How many streams each workload has open, and how many lines it sent in this window.
    streams: RefCell<BTreeMap<Option<Workload>, Share>>,
    /// By language and SDK, how many streams began.
    heard: RefCell<BTreeMap<String, u64>>,
    /// Where datagrams are heard.
    sockets: RefCell<BTreeMap<String, Socket>>,
    refused_streams: Cell<u64>,
}

/// What one workload does.
#[derive(Debug, Default)]
struct Share {
    streams: usize,
    window: Option<Instant>,
    lines: u32,
}

struct Socket {
    socket: Rc<UdpSocket>,
    drops: RefCell<Drops>,
    task: AbortHandle,
}

impl Ear {
    async fn run(
        self: Rc<Self>,
        listener: StdListener,
        host: Option<StdSocket>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) {
        match UnixListener::from_std(listener) {
            Ok(listener) => {
                spawn_local(Rc::clone(&self).accept(listener));
            }
            Err(error) => report(&format!("no shim is heard: {error}")),
        }
        if let Some(socket) = host {
            self.hear(String::new(), None, socket);
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Hear(namespace, socket)) => {
                        let name = namespace.name.clone();
                        self.hear(name, Some(namespace), socket);
                    }
                    Some(Command::Forget(name)) => self.forget(&name),
                    Some(Command::Status(answer)) => answer.send(self.status()).unwrap_or_default(),
                    Some(Command::Stop) | None => return self.stop(),
                },
                _ = ticks.tick() => self.tick(),
            }
        }
    }

    /// Gives to the disk what was made since.
    fn tick(&self) {
        self.learn();
        let now = clock::now();
        self.take_drops();
        let ledger = self.store.ledger();
        let mut collector = self.collector.borrow_mut();
        collector.set_stage(ledger.stage);
        collector.count(now, &ledger);
        if let Some(keys) = collector.keys_changed(now.wall) {
            self.store.keep(keys);
        }
        let mut frames = collector.frames(ledger.stage < Stage::Drop).into_iter();
        while let Some(frame) = frames.next() {
            if let Err(frame) = self.store.store(frame) {
                collector.put_back(std::iter::once(frame).chain(frames).collect());
                break;
            }
        }
    }

    /// Tells all that is counted. The disk is waited for.
    fn stop(&self) {
        self.learn();
        self.take_drops();
        let (now, mut collector) = (clock::now(), self.collector.borrow_mut());
        collector.tell_all(now, &self.store.ledger());
        let keys = collector.keys_changed(now.wall);
        let mut frames = collector.frames(true);
        while let Some(frame) = (!frames.is_empty()).then(|| frames.remove(0)) {
            if let Err(frame) = self.store.store(frame) {
                frames.insert(0, frame);
                std::thread::sleep(PAUSE);
            }
        }
        if let Some(keys) = keys {
            self.store.keep(keys);
        }
        self.store.stop();
        // A socket file without an agent is found out by the next start, and by every shim.
        let _ = std::fs::remove_file(&self.settings.socket);
    }

    /// Leases come before the calls that are made with them.
    fn learn(&self) {
        let (now, mut collector) = (clock::now(), self.collector.borrow_mut());
        while let Ok(leased) = self.leased.borrow_mut().try_recv() {
            collector.leased(leased, now);
        }
    }

    async fn accept(self: Rc<Self>, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let open: usize =
                        self.streams.borrow().values().map(|share| share.streams).sum();
                    if open < STREAMS_MAX {
                        spawn_local(Rc::clone(&self).stream(stream));
                    } else {
                        self.refused_streams.set(self.refused_streams.get() + 1);
                    }
                }
                // Out of descriptors: give others time to end instead of spinning.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn stream(self: Rc<Self>, stream: UnixStream) {
        let mut caller = self.judge.caller(&stream).await;
        let first = self.judge.workload(&mut caller);
        let Some(_open) = Open::new(&self, first) else {
            self.refused_streams.set(self.refused_streams.get() + 1);
            return;
        };
        let (mut lines, mut ended_well) = (Lines::default(), true);
        while stream.readable().await.is_ok() {
            let workload = self.judge.workload(&mut caller);
            let source = Source { workload, trust: Trust::Shim };
            let taken = self.take_turn(&stream, |bytes| {
                self.lines(&source, &mut ended_well, |each| lines.push(bytes, each))
            });
            let Some(count) = taken else { break };
            self.pace(&source.workload, count).await;
        }
        let source = Source { workload: self.judge.workload(&mut caller), trust: Trust::Shim };
        self.lines(&source, &mut ended_well, |each| lines.finish(each));
        if !ended_well {
            self.collector.borrow_mut().cut_off();
        }
    }

    /// Reads what is there, once. Nothing at the stream's end.
    fn take_turn(&self, stream: &UnixStream, take: impl FnOnce(&[u8]) -> u32) -> Option<u32> {
        let mut turn = self.turn.borrow_mut();
        match stream.try_read(&mut turn) {
            Ok(0) => None,
            Ok(read) => Some(take(turn.get(..read).unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(0),
            Err(_) => None,
        }
    }

    /// Takes in lines; answers how many. What a stream says last is that it ends, unless it is cut off.
    fn lines(
        &self,
        source: &Source,
        ended_well: &mut bool,
        cut: impl FnOnce(&mut dyn FnMut(Piece<'_>)),
    ) -> u32 {
        self.learn();
        let (now, mut collector) = (clock::now(), self.collector.borrow_mut());
        let mut count = 0;
        cut(&mut |piece| {
            count += 1;
            match piece {
                Piece::Line(line) => {
                    *ended_well = self.note(line);
                    collector.line(source, line, now);
                }
                Piece::TooLong => collector.refused(Refused::TooLong),
            }
        });
        count
    }

    /// Whether the line is a last word. Counts first words.
    fn note(&self, line: &[u8]) -> bool {
        // Only a short line can be either, and most are neither.
        let is = |kind: &[u8]| line.windows(kind.len()).any(|window| window == kind);
        if line.len() > 1024 || !(is(b"\"Hello\"") || is(b"\"Bye\"")) {
            return false;
        }
        match calls::decode(line).map(|decoded| decoded.line) {
            Ok(Line::Hello(hello)) => {
                let mut heard = self.heard.borrow_mut();
                let sdk = format!("{} {}", hello.language, hello.sdk);
                let known = heard.len() < STREAMS_MAX || heard.contains_key(&sdk);
                *heard.entry(if known { sdk } else { "(others)".to_owned() }).or_default() += 1;
                false
            }
            Ok(Line::Bye(_)) => true,
            _ => false,
        }
    }

    /// Lets others have their turn; waits where the workload sends more than it may, or the disk is behind.
    async fn pace(&self, workload: &Option<Workload>, count: u32) {
        let now = Instant::now();
        let until = {
            let mut streams = self.streams.borrow_mut();
            let share = streams.entry(workload.clone()).or_default();
            let window = share.window.filter(|window| *window + WINDOW > now);
            share.lines = if window.is_some() { share.lines } else { 0 }.saturating_add(count);
            let began = *share.window.insert(window.unwrap_or(now));
            let of_window = self.settings.lines_per_second / 10;
            (share.lines > of_window).then_some(began + WINDOW)
        };
        if let Some(until) = until {
            sleep_until(until).await;
        }
        while self.collector.borrow().is_congested() {
            tokio::time::sleep(TICK).await;
        }
        tokio::task::yield_now().await;
    }

    fn hear(
        self: &Rc<Self>,
        name: String,
        namespace: Option<workload::Namespace>,
        socket: StdSocket,
    ) {
        let socket = match UdpSocket::from_std(socket) {
            Ok(socket) => Rc::new(socket),
            Err(error) => return report(&format!("monitoring is not heard: {error}")),
        };
        let task = spawn_local(Rc::clone(self).datagrams(namespace, Rc::clone(&socket)));
        let socket = Socket { socket, drops: RefCell::default(), task: task.abort_handle() };
        if let Some(before) = self.sockets.borrow_mut().insert(name, socket) {
            before.task.abort();
        }
    }

    fn forget(&self, name: &str) {
        self.take_drops();
        if let Some(socket) = self.sockets.borrow_mut().remove(name) {
            socket.task.abort();
        }
    }

    async fn datagrams(
        self: Rc<Self>,
        namespace: Option<workload::Namespace>,
        socket: Rc<UdpSocket>,
    ) {
        // Nobody is known of what comes from the host's own namespace: a port says too little of who had it.
        let mut caller = namespace.map(|namespace| self.judge.inside(namespace));
        loop {
            let workload = caller.as_mut().and_then(|caller| self.judge.workload(caller));
            let source = Source { workload, trust: Trust::Monitoring };
            match self.receive(&socket, &source).await {
                Ok(count) => self.pace(&source.workload, count).await,
                Err(error) => {
                    report(&format!("monitoring is not heard any more: {error}"));
                    return;
                }
            }
        }
    }

    async fn receive(&self, socket: &UdpSocket, source: &Source) -> io::Result<u32> {
        socket.readable().await?;
        self.learn();
        let (now, mut collector) = (clock::now(), self.collector.borrow_mut());
        let each = |datagram: &[u8]| collector.datagram(source, datagram, now);
        let receive = || datagrams::receive(socket, &mut self.room.borrow_mut(), each);
        match socket.try_io(Interest::READABLE, receive) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            received => Ok(u32::try_from(received?).unwrap_or(u32::MAX)),
        }
    }

    fn take_drops(&self) {
        let mut collector = self.collector.borrow_mut();
        for socket in self.sockets.borrow().values() {
            if let Ok(dropped) = socket.drops.borrow_mut().since(&*socket.socket) {
                collector.dropped_by_kernel(dropped);
            }
        }
    }

    fn status(&self) -> Value {
        self.learn();
        self.take_drops();
        let (ledger, collector) = (self.store.ledger(), self.collector.borrow());
        let (coverage, held) = collector.coverage(&ledger);
        let ends: BTreeMap<_, _> = calls::Loss::ALL
            .into_iter()
            .map(|loss| (loss.as_str(), coverage.of(calls::End::Lost(loss))))
            .filter(|(_, count)| *count > 0)
            .collect();
        let refused: BTreeMap<_, _> = Refused::ALL
            .into_iter()
            .map(|why| (why.as_str(), collector.refusals().of(why)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let (keys, forgotten) = collector.table();
        let sockets = self.sockets.borrow();
        let monitored: Vec<_> = sockets
            .keys()
            .map(|name| if name.is_empty() { "(the host)" } else { name.as_str() })
            .collect();
        json!({
            "socket": self.settings.socket,
            "streams": self.streams.borrow().values().map(|share| share.streams).sum::<usize>(),
            "streams_refused": self.refused_streams.get(),
            "shims": *self.heard.borrow(),
            "monitored": monitored,
            "coverage": {
                "sent": coverage.sent_in_all(),
                "stored": coverage.of(calls::End::Stored),
                "folded": coverage.of(calls::End::Folded),
                "attempts": coverage.of(calls::End::Attempt),
                "held": held,
                "lost": ends,
                "adds_up": coverage.balance(held).is_ok(),
            },
            "refused": refused,
            "noticed": collector.noticed(),
            "table": { "keys": keys, "forgotten": forgotten },
            "spool": self.store.told(),
        })
    }
}

/// A stream that is open, by its workload when it began.
struct Open<'a> {
    ear: &'a Ear,
    workload: Option<Workload>,
}

impl<'a> Open<'a> {
    fn new(ear: &'a Ear, workload: Option<Workload>) -> Option<Self> {
        let mut streams = ear.streams.borrow_mut();
        let share = streams.entry(workload.clone()).or_default();
        if share.streams >= STREAMS_OF_ONE_MAX {
            return None;
        }
        share.streams += 1;
        Some(Self { ear, workload })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut streams = self.ear.streams.borrow_mut();
        if let Some(share) = streams.get_mut(&self.workload) {
            share.streams -= 1;
            if share.streams == 0 {
                streams.remove(&self.workload);
            }
        }
    }
}
