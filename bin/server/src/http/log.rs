//! The request log: one JSON line for every request, written by a thread of its own.
//!
//! An [`Entry`] has no field that could hold a secret: no query, no body, no header. What does not fit into
//! the queue is counted, and the count is a line itself.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde::Serialize;

/// How many lines wait for the disk at most.
const QUEUE_MAX: usize = 10_000;

/// How long the first line waits for others.
const GATHER: Duration = Duration::from_millis(10);

/// What is recorded of one request.
#[derive(Debug, Serialize)]
pub(super) struct Entry<'a> {
    /// When the answer was ready, in UTC.
    pub time: String,
    /// The request's id.
    pub request: &'a str,
    /// Where it came from.
    pub peer: String,
    /// Who asked, as the ledger names them; absent where nobody was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The endpoint; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<&'static str>,
    /// The path.
    pub path: &'a str,
    /// The answer's status.
    pub status: u16,
    /// Which kind of problem, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<&'static str>,
    /// From the request's head to the answer's, in microseconds.
    pub took_us: u64,
}

/// Takes entries from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestLog {
    lines: SyncSender<Vec<u8>>,
    lost: Arc<AtomicU64>,
}

/// The writing end; joining it waits until all lines are written.
#[derive(Debug)]
pub struct Writer(JoinHandle<()>);

impl RequestLog {
    /// Opens the log at `path`, or on standard output.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(path: Option<&Path>) -> io::Result<(Self, Writer)> {
        let out: Box<dyn Write + Send> = match path {
            Some(path) => {
                Box::new(OpenOptions::new().append(true).create(true).mode(0o640).open(path)?)
            }
            None => Box::new(io::stdout()),
        };
        let (lines, queue) = sync_channel(QUEUE_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let thread = std::thread::Builder::new().name("request-log".to_owned());
        let thread = thread.spawn(move || write_all(&queue, &counted, BufWriter::new(out)))?;
        Ok((Self { lines, lost }, Writer(thread)))
    }

    /// Queues one line. Never waits for the disk.
    pub(super) fn record(&self, entry: &Entry<'_>) {
        let mut line = serde_json::to_vec(entry).unwrap_or_default();
        line.push(b'\n');
        if self.lines.try_send(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Writer {
    /// Waits until all lines are written, once nobody records any more.
    pub fn join(self) {
        // A writer that panicked has nothing left to write.
        let _ = self.0.join();
    }
}

fn write_all(queue: &Receiver<Vec<u8>>, lost: &AtomicU64, mut out: impl Write) {
    let mut failing = false;
    while let Ok(first) = queue.recv() {
        // What comes meanwhile is written with it: to be woken for each line costs a busy server more than the line.
        std::thread::sleep(GATHER);
        let written = out.write_all(&first).and_then(|()| {
            while let Ok(line) = queue.try_recv() {
                out.write_all(&line)?;
            }
            let lost = lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                writeln!(out, "{{\"lost\":{lost}}}")?;
            }
            out.flush()
        });
        match written {
            Err(error) if !std::mem::replace(&mut failing, true) => {
                crate::report(&format!("the request log cannot be written: {error}"));
            }
            Err(_) => {}
            Ok(()) => failing = false,
        }
    }
}
