//! The thread that has the spool: it waits for the disk, so that nobody else must.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use calls::{End, Loss};
use disk::Folder;
use spool::{Epoch, Limits, NextSync, Seq, Spool, SpoolError, Stage};
use tokio::sync::oneshot;

use super::collector::{Frame, Reported, Shared};
use crate::{clock, report};

/// The name of the file of leased keys, in the agent's folder.
pub const KEYS_FILE: &str = "leased-keys";
/// There while an agent runs: who finds it at the start knows that the one before ended without a last word.
const RUNNING_FILE: &str = "calls-running";
/// How many messages wait for the disk.
const MESSAGES_MAX: usize = 16;
/// How long the thread sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(1);

/// What the thread is told.
enum Message {
    Frame(Frame),
    /// The file of leased keys.
    Keys(Vec<u8>),
    /// Frames from a number on, of so many bytes together.
    Read(Seq, usize, oneshot::Sender<Result<Vec<spool::Frame>, String>>),
    /// Everything up to a frame is stored by the server.
    Acknowledge(Seq, oneshot::Sender<Result<(), String>>),
    /// Make all of it durable and end.
    Stop,
}

/// The way to the thread, and what it says.
#[derive(Debug)]
pub struct Store {
    messages: SyncSender<Message>,
    shared: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    ledger: Shared,
    told: Told,
}

/// What is said of the spool.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Told {
    /// Its epoch.
    pub epoch: String,
    /// The number of the next frame.
    pub next: u64,
    /// Everything before this number is stored by the server, or lost.
    pub watermark: u64,
    /// How many bytes it takes.
    pub bytes: u64,
    /// How many it may take.
    pub budget_bytes: u64,
    /// How full it is.
    pub stage: &'static str,
    /// Calls that it could not take or keep, in its whole life.
    pub lost: u64,
    /// Why the disk refuses, while it does.
    pub fault: Option<String>,
}

/// Where the spool is, and who reads it.
#[derive(Debug)]
pub struct Place {
    /// The agent's folder.
    pub folder: Folder,
    /// How many bytes the spool may take.
    pub budget_bytes: u64,
    /// Whether a server takes frames. Where none does, the oldest make room for new ones.
    pub server: bool,
}

/// What the start found.
#[derive(Debug)]
pub struct Found {
    /// The file of leased keys.
    pub keys: Vec<u8>,
    /// Whether the run before ended without a last word.
    pub crashed: bool,
}

/// The collector cannot be started. The operator must act.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The agent's folder cannot be used.
    #[error(transparent)]
    Disk(#[from] disk::DiskError),
    /// The system has no thread left.
    #[error("cannot start a thread for the spool: {0}")]
    Thread(std::io::Error),
}

impl Store {
    /// Opens the spool and starts the thread.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(place: Place) -> Result<(Self, JoinHandle<()>, Found), OpenError> {
        let folder = place.folder.path().join("spool");
        let limits = Limits { budget_bytes: place.budget_bytes, ..Limits::default() };
        let spool = open_spool(&folder, limits)?;
        let crashed = place.folder.read(RUNNING_FILE)?.is_some();
        place.folder.write(RUNNING_FILE, b"")?;
        let keys = place.folder.read_up_to(KEYS_FILE, super::keys::FILE_MAX)?;
        let keys = keys.map(|keys| keys.expose().to_vec()).unwrap_or_default();
        let (messages, received) = sync_channel(MESSAGES_MAX);
        let told = told(&spool, place.budget_bytes, None);
        let shared = Arc::new(Mutex::new(State { ledger: Shared::new(clock::now().wall), told }));
        let worker = Worker::new(spool, place, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("spool".to_owned());
        let thread = thread.spawn(move || worker.run(&received)).map_err(OpenError::Thread)?;
        Ok((Self { messages, shared }, thread, Found { keys, crashed }))
    }

    /// Gives it a frame; gives the frame back where the disk is behind.
    ///
    /// # Errors
    /// The frame.
    pub fn store(&self, frame: Frame) -> Result<(), Frame> {
        let calls = u64::from(frame.calls);
        self.state().ledger.in_flight += calls;
        let Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) =
            self.messages.try_send(Message::Frame(frame))
        else {
            return Ok(());
        };
        self.state().ledger.in_flight -= calls;
        match message {
            Message::Frame(frame) => Err(frame),
            // Only a frame was sent.
            _ => Ok(()),
        }
    }

    /// Keeps the file of leased keys. `false` where the disk is behind.
    pub fn keep(&self, keys: Vec<u8>) -> bool {
        self.messages.try_send(Message::Keys(keys)).is_ok()
    }

    /// Frames from a number on, of about so many bytes together.
    ///
    /// # Errors
    /// In words for the operator.
    pub async fn read(&self, from: Seq, bytes_max: usize) -> Result<Vec<spool::Frame>, String> {
        self.ask(|answer| Message::Read(from, bytes_max, answer)).await?
    }

    /// Takes note that everything up to a frame is stored elsewhere.
    ///
    /// # Errors
    /// In words for the operator.
    pub async fn acknowledge(&self, up_to: Seq) -> Result<(), String> {
        self.ask(|answer| Message::Acknowledge(up_to, answer)).await?
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, String> {
        let (answer, answered) = oneshot::channel();
        match self.messages.try_send(message(answer)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err("the disk is behind; ask again".to_owned()),
            Err(TrySendError::Disconnected(_)) => return Err("the agent is stopping".to_owned()),
        }
        answered.await.map_err(|_| "the agent is stopping".to_owned())
    }

    /// What it says now.
    pub fn ledger(&self) -> Shared {
        self.state().ledger.clone()
    }

    /// What is said of the spool now.
    pub fn told(&self) -> Told {
        self.state().told.clone()
    }

    /// Makes all that it was given durable, and ends its thread. Blocks while the disk does.
    pub fn stop(&self) {
        // Where the thread has gone already there is nothing to wait for.
        let _ = self.messages.send(Message::Stop);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_spool(folder: &Path, limits: Limits) -> Result<Spool, SpoolError> {
    let epoch = Epoch(crate::fetch::random());
    let (spool, recovery) = Spool::open(folder, epoch, limits)?;
    if recovery.damaged_frames > 0 || recovery.marks_lost {
        let place = folder.display();
        let spool::Recovery { damaged_frames, damaged_calls, .. } = recovery;
        report(&format!(
            "the spool at `{place}` was damaged: {damaged_frames} frames with {damaged_calls} calls cannot be read any \
             more; they are counted as lost"
        ));
    }
    Ok(spool)
}

/// A frame that the spool took and that is not durable yet.
struct Waiting {
    /// The number behind it.
    end: Seq,
    calls: u64,
    records: u64,
    reports: Option<Box<Reported>>,
}

struct Worker {
    spool: Spool,
    place: Place,
    shared: Arc<Mutex<State>>,
    waiting: VecDeque<Waiting>,
    lost: spool::Losses,
    fault: Option<String>,
}

impl Worker {
    fn new(spool: Spool, place: Place, shared: Arc<Mutex<State>>) -> Self {
        let lost = spool.tally().lost;
        Self { spool, place, shared, waiting: VecDeque::new(), lost, fault: None }
    }

    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let wait = match self.spool.next_sync(clock::now().boot) {
                NextSync::Idle => IDLE,
                NextSync::Now => Duration::ZERO,
                NextSync::In(left) => left.min(IDLE),
            };
            let message = match messages.try_recv() {
                // What comes in batches is made durable as soon as nothing more waits.
                Err(TryRecvError::Empty) => {
                    self.sync();
                    messages.recv_timeout(wait.max(Duration::from_millis(1)))
                }
                received => received.map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => self.obey(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.spool.next_sync(clock::now().boot) == NextSync::Now {
                self.sync();
            }
        }
        self.sync();
        if let Err(error) = self.place.folder.remove(RUNNING_FILE) {
            report(&format!("the next start will take this end for a crash: {error}"));
        }
    }

    fn obey(&mut self, message: Message) {
        match message {
            Message::Frame(frame) => self.append(frame),
            Message::Keys(bytes) => {
                if let Err(error) = self.place.folder.write(KEYS_FILE, &bytes) {
                    self.note(error.to_string());
                }
            }
            Message::Read(from, bytes_max, answer) => {
                let read = self.spool.read(from, bytes_max).map_err(|error| error.to_string());
                // Whoever asked may have gone.
                let _ = answer.send(read);
            }
            Message::Acknowledge(up_to, answer) => {
                let done = self.spool.acknowledge(up_to);
                self.account();
                let _ = answer.send(done.map(drop).map_err(|error| error.to_string()));
            }
            Message::Stop => {}
        }
    }

    fn append(&mut self, frame: Frame) {
        let Frame { payload, calls, records, reports } = frame;
        let appended = self.spool.append(&payload, calls, clock::now().boot);
        // What the spool does not take, it has counted.
        match appended {
            Ok(spool::Appended::Waiting(_)) => {
                let (end, calls) = (self.spool.end().seq, u64::from(calls));
                self.waiting.push_back(Waiting { end, calls, records, reports });
            }
            Ok(spool::Appended::Dropped(_)) => {}
            Err(error) => self.note(error.to_string()),
        }
        self.account();
        self.make_room();
    }

    fn sync(&mut self) {
        if let Err(error) = self.spool.sync() {
            self.note(error.to_string());
        }
        self.account();
    }

    fn note(&mut self, fault: String) {
        if self.fault.as_ref() != Some(&fault) {
            report(&format!("calls are being lost, and counted: {fault}"));
        }
        self.fault = Some(fault);
    }

    /// Tells what became of what it was given. The spool's own count decides.
    fn account(&mut self) {
        let (durable, lost) = (self.spool.durable().seq, self.spool.tally().lost);
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let ledger = &mut state.ledger;
        while let Some(first) = self.waiting.front() {
            if first.end > durable {
                break;
            }
            let Some(Waiting { calls, records, reports, .. }) = self.waiting.pop_front() else {
                break;
            };
            ledger.stored.ended(End::Stored, records);
            ledger.stored.ended(End::Folded, calls.saturating_sub(records));
            ledger.in_flight = ledger.in_flight.saturating_sub(calls);
            if let Some(reported) = reports {
                ledger.reported = *reported;
            }
            if self.fault.take().is_some() {
                report("the disk takes calls again");
            }
        }
        let new = [
            (Loss::SpoolFull, lost.spool_full.saturating_sub(self.lost.spool_full)),
            (Loss::DiskRefused, lost.disk_refused.saturating_sub(self.lost.disk_refused)),
        ];
        for (loss, count) in new {
            ledger.stored.ended(End::Lost(loss), count);
            ledger.in_flight = ledger.in_flight.saturating_sub(count);
        }
        // What was lost has no number any more: the next frame gets it.
        let end = self.spool.end().seq;
        self.waiting.retain(|waiting| waiting.end <= end);
        self.lost = lost;
        ledger.stage = self.spool.stage();
        state.told = told(&self.spool, self.place.budget_bytes, self.fault.clone());
    }

    /// Where no server takes frames, the older half makes room before anything new is lost.
    fn make_room(&mut self) {
        if self.place.server || self.spool.stage() == Stage::Normal {
            return;
        }
        self.sync();
        let (from, to) = (self.spool.watermark().seq.0, self.spool.durable().seq.0);
        if let Some(half) = to.checked_sub(from).filter(|frames| *frames > 1).map(|n| from + n / 2)
        {
            if let Err(error) = self.spool.acknowledge(Seq(half.saturating_sub(1))) {
                self.note(error.to_string());
            }
            self.account();
        }
    }
}

fn told(spool: &Spool, budget_bytes: u64, fault: Option<String>) -> Told {
    Told {
        epoch: spool.epoch().to_string(),
        next: spool.end().seq.0,
        watermark: spool.watermark().seq.0,
        bytes: spool.used(),
        budget_bytes,
        stage: stage(spool.stage()),
        lost: spool.tally().lost.total(),
        fault,
    }
}

const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Normal => "normal",
        Stage::FoldReads => "fold-reads",
        Stage::FoldAll => "fold-all",
        Stage::Drop => "drop",
    }
}
