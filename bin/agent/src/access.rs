//! The access log: one JSON line for every request, written by a thread of its own.
//!
//! A slow disk must not slow the data plane, so lines wait in a bounded queue. What does not fit is
//! counted, and the count is itself a line: a loss is never silent. An [`Entry`] has no field that
//! could hold a secret.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

use serde::Serialize;

/// How many lines wait for the disk at the most.
pub const QUEUE_MAX: usize = 65_536;

/// What is recorded of one request.
#[derive(Debug, Default, Serialize)]
pub struct Entry<'a> {
    /// When the request came, in UTC.
    pub time: String,
    /// Who asked, where the verdict named somebody: `application/environment/instance`.
    pub workload: Option<&'a str>,
    /// What the kernel showed of the asker.
    pub evidence: Evidence<'a>,
    /// `attested`, or why not.
    pub verdict: &'a str,
    /// The protocol: `instance`, `container` or `pod-identity`.
    pub door: &'a str,
    /// The request's method, as far as it is a known one.
    pub method: &'a str,
    /// What kind of path was asked; never the path itself, which may carry a bearer id.
    pub class: &'a str,
    /// The answer's status.
    pub status: u16,
    /// What was remarkable: `v1`, `wrong role`, `forwarded` …
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub notes: &'a [&'a str],
    /// The role, where credentials were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'a str>,
    /// The lease that was served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<u64>,
    /// How old the lease was, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_age_s: Option<u64>,
    /// The access key that was served: an identifier, which CloudTrail shows as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<&'a str>,
    /// From the request's head to the answer's, in microseconds.
    pub duration_us: u64,
}

/// What the kernel showed of an asker.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Evidence<'a> {
    /// The network namespace's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<&'a str>,
    /// The cgroup's path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<&'a str>,
    /// The container's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<&'a str>,
    /// The client's user, where the kernel still knew it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

/// Takes entries from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    lines: SyncSender<Vec<u8>>,
    lost: Arc<AtomicU64>,
}

/// The writing end; joining it waits until all lines are on the file.
#[derive(Debug)]
pub struct Writer(JoinHandle<()>);

impl AccessLog {
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
        let counter = Arc::clone(&lost);
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        let thread = thread.spawn(move || write_all(&queue, &counter, BufWriter::new(out)))?;
        Ok((Self { lines, lost }, Writer(thread)))
    }

    /// Queues one line. Never waits.
    pub fn record(&self, entry: &Entry<'_>) {
        let mut line = Vec::with_capacity(384);
        if serde_json::to_writer(&mut line, entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        line.push(b'\n');
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.lines.try_send(line)
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines were lost and not yet recorded as lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Waits until every line is written; all [`AccessLog`] clones must be gone.
    pub fn join(self) {
        // A panic of the writer has nothing left to write.
        let _ = self.0.join();
    }
}

fn write_all(queue: &Receiver<Vec<u8>>, lost: &AtomicU64, mut out: impl Write) {
    loop {
        let line = match queue.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                // Nothing waits: what was written becomes visible before the thread sleeps.
                count_failure(&out.flush(), lost, 0);
                match queue.recv() {
                    Ok(line) => line,
                    Err(_) => break,
                }
            }
        };
        count_failure(&out.write_all(&line), lost, 1);
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let line = format!("{{\"lost\":{missing}}}\n");
            count_failure(&out.write_all(line.as_bytes()), lost, missing);
        }
    }
    count_failure(&out.flush(), lost, 0);
}

fn count_failure(result: &io::Result<()>, lost: &AtomicU64, lines: u64) {
    if result.is_err() {
        lost.fetch_add(lines, Ordering::Relaxed);
    }
}
