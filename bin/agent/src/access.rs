//! The access log: one JSON line for every request, written by a thread of its own.
//!
//! A slow disk must not slow the data plane, so lines wait in a bounded queue, and all that wait are
//! written at once. What does not fit is counted, and the count is itself a line: a loss is never
//! silent. An [`Entry`] has no field that could hold a secret.
//!
//! INVARIANT (NothingUnrecorded): while lines cannot be written, no credentials are given out. Each
//! refused request has a line of its own, and the first one that can be written ends the refusal.

use std::{
    cell::RefCell,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// How many bytes of lines wait for the disk at the most: some 10,000 requests. As many again are
/// kept while the disk does not take them.
pub const QUEUE_MAX: usize = 4 * 1024 * 1024;
/// How long the writer rests between two writes, so that a crowd of requests does not cost a write
/// and a wake-up each.
pub const REST: Duration = Duration::from_millis(1);
/// How long it rests when the disk does not take the lines.
pub const RETRY: Duration = Duration::from_millis(100);
/// How much memory is kept for the next lines when many were written.
const KEPT: usize = 256 * 1024;

thread_local! {
    /// The line that is being made, kept for the next one.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is recorded of one request.
#[derive(Debug, Default, Serialize)]
pub struct Entry<'a> {
    /// When the answer was ready, in UTC.
    #[serde(serialize_with = "text")]
    pub time: Timestamp,
    /// Who asked, where the verdict named somebody: `application/environment/instance`.
    pub workload: Option<&'a str>,
    /// What the kernel showed of the asker.
    pub evidence: Evidence<'a>,
    /// `attested`, or why not.
    pub verdict: &'a str,
    /// How long that took to find out when the connection came, in microseconds.
    pub verdict_us: u64,
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

/// The first line of a run.
#[derive(Debug, Serialize)]
pub struct Start {
    /// When the agent started, in UTC.
    pub time: String,
    /// Its version.
    pub started: &'static str,
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
pub struct AccessLog(Arc<Inlet>);

/// Shared by all clones of a log: when the last one goes, the writer may end.
#[derive(Debug)]
struct Inlet(Arc<Shared>);

/// What whoever records and the writer share.
#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    health: Health,
}

/// Lines that wait for the writer.
#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    /// Whether the writer must be woken.
    asleep: bool,
    /// Whether no more lines will come.
    ended: bool,
}

/// How the writing goes.
#[derive(Debug, Default)]
struct Health {
    lost: AtomicU64,
    failing: AtomicBool,
}

/// The writing end; joining it waits until all lines are on the file.
#[derive(Debug)]
pub struct Writer(JoinHandle<()>);

impl AccessLog {
    /// Opens the log at `path`, or on standard output, and writes its first line: the agent's start.
    /// With that it is known whether lines can be written before anybody asks for credentials.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(path: Option<&Path>, start: &Start) -> io::Result<(Self, Writer)> {
        let mut out: Box<dyn Write + Send> = match path {
            Some(path) => {
                Box::new(OpenOptions::new().append(true).create(true).mode(0o640).open(path)?)
            }
            None => Box::new(io::stdout()),
        };
        let shared = Arc::new(Shared::default());
        let mut lines = serde_json::to_vec(start)?;
        lines.push(b'\n');
        shared.health.wrote(&write_out(&mut out, &mut lines));
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        let thread = thread.spawn(move || write_all(&theirs, lines, out))?;
        Ok((Self(Arc::new(Inlet(shared))), Writer(thread)))
    }

    /// Queues one line, and says whether there was room. Never waits for the disk.
    pub fn record(&self, entry: &Entry<'_>) -> bool {
        let queued = LINE.with_borrow_mut(|line| {
            line.clear();
            let written = serde_json::to_writer(&mut *line, entry).is_ok();
            line.push(b'\n');
            written && self.shared().take_in(line)
        });
        if !queued {
            self.shared().health.lost.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }

    /// Whether the last lines could be written.
    pub fn is_writable(&self) -> bool {
        !self.shared().health.failing.load(Ordering::Acquire)
    }

    /// How many lines were lost and not yet recorded as lost.
    pub fn lost(&self) -> u64 {
        self.shared().health.lost.load(Ordering::Relaxed)
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.0.queue().ended = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a line if there is room. A writer that is awake comes by itself.
    fn take_in(&self, line: &[u8]) -> bool {
        let mut queue = self.queue();
        if queue.lines.len() + line.len() > QUEUE_MAX {
            return false;
        }
        queue.lines.extend_from_slice(line);
        if std::mem::take(&mut queue.asleep) {
            drop(queue);
            self.changed.notify_one();
        }
        true
    }

    /// Waits until there are lines to write and takes them, behind those that could not be written
    /// yet. Says whether more may come.
    fn hand_out(&self, lines: &mut Vec<u8>) -> bool {
        let mut queue = self.queue();
        while queue.lines.is_empty() && lines.is_empty() && !queue.ended {
            queue.asleep = true;
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if lines.is_empty() {
            std::mem::swap(lines, &mut queue.lines);
        } else if lines.len() < QUEUE_MAX {
            lines.append(&mut queue.lines);
        }
        !queue.ended
    }
}

impl Health {
    /// Adds the line that says how many others were lost, if any were.
    fn count_lost(&self, lines: &mut Vec<u8>) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            lines.extend_from_slice(format!("{{\"lost\":{lost}}}\n").as_bytes());
        }
    }

    /// Takes in how the last write went.
    fn wrote(&self, result: &io::Result<()>) {
        match result {
            Err(error) if !self.failing.swap(true, Ordering::AcqRel) => {
                crate::report(&format!(
                    "the access log cannot be written ({error}): no credentials are given out until it can"
                ));
            }
            Ok(()) if self.failing.swap(false, Ordering::AcqRel) => {
                crate::report("the access log can be written again");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

impl Writer {
    /// Waits until every line is written; all [`AccessLog`] clones must be gone.
    pub fn join(self) {
        // A panic of the writer has nothing left to write.
        let _ = self.0.join();
    }
}

/// Writes what comes until no more can. What the disk does not take is tried again.
fn write_all(shared: &Shared, mut lines: Vec<u8>, mut out: impl Write) {
    while shared.hand_out(&mut lines) {
        if !shared.health.failing.load(Ordering::Acquire) {
            shared.health.count_lost(&mut lines);
        }
        let written = write_out(&mut out, &mut lines);
        shared.health.wrote(&written);
        std::thread::sleep(if written.is_ok() { REST } else { RETRY });
    }
    shared.health.count_lost(&mut lines);
    shared.health.wrote(&write_out(&mut out, &mut lines));
}

/// Writes as much as goes; what is left stays in `lines`.
fn write_out(out: &mut impl Write, lines: &mut Vec<u8>) -> io::Result<()> {
    let (mut left, mut result) = (lines.as_slice(), Ok(()));
    while !left.is_empty() && result.is_ok() {
        result = match out.write(left) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                left = left.get(count..).unwrap_or_default();
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        };
    }
    let done = lines.len() - left.len();
    lines.drain(..done);
    lines.shrink_to(KEPT);
    result.and_then(|()| out.flush())
}

fn text<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that takes so many bytes in all, refuses so often, and then takes everything.
    #[derive(Default)]
    struct Disk {
        room: usize,
        refusals: usize,
        taken: Vec<u8>,
    }

    impl Write for &mut Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 && self.refusals > 0 {
                self.refusals -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = if self.refusals > 0 { bytes.len().min(self.room) } else { bytes.len() };
            self.room = self.room.saturating_sub(count);
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[track_caller]
    fn check(mut disk: Disk, lines: &[&str], lost: u64, expected: &str) {
        let shared = Shared::default();
        shared.health.lost.store(lost, Ordering::Relaxed);
        for line in lines {
            assert!(shared.take_in(line.as_bytes()));
        }
        shared.queue().ended = true;
        std::thread::scope(|scope| {
            scope.spawn(|| write_all(&shared, Vec::new(), &mut disk));
        });
        assert_eq!(String::from_utf8(disk.taken).unwrap(), expected);
    }

    #[test]
    fn lines_that_wait_at_the_end_are_written_in_their_order() {
        check(Disk::default(), &["a\n", "b\n", "c\n"], 0, "a\nb\nc\n");
        check(Disk::default(), &[], 0, "");
    }

    #[test]
    fn how_many_lines_were_lost_is_a_line_itself() {
        check(Disk::default(), &["a\n"], 7, "a\n{\"lost\":7}\n");
    }

    #[test]
    fn what_the_disk_does_not_take_is_kept_and_written_in_full_later() {
        let mut disk = Disk { room: 3, refusals: 2, taken: Vec::new() };
        let mut lines = b"one\ntwo\n".to_vec();
        assert!(write_out(&mut &mut disk, &mut lines).is_err());
        assert!(write_out(&mut &mut disk, &mut lines).is_err());
        assert_eq!((disk.taken.as_slice(), lines.as_slice()), (&b"one"[..], &b"\ntwo\n"[..]));
        assert!(write_out(&mut &mut disk, &mut lines).is_ok());
        assert_eq!((disk.taken.as_slice(), lines.as_slice()), (&b"one\ntwo\n"[..], &b""[..]));
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let shared = Shared::default();
        let line = vec![b'x'; QUEUE_MAX / 2];
        assert!(shared.take_in(&line) && shared.take_in(&line));
        assert!(!shared.take_in(b"y"));
        let mut lines = Vec::new();
        assert!(shared.hand_out(&mut lines) && lines.len() == QUEUE_MAX);
        assert!(shared.take_in(b"y"));
    }

    #[test]
    fn a_disk_that_is_full_is_noticed_before_anybody_asks() {
        let start = Start { time: String::new(), started: "0" };
        let (log, writer) = AccessLog::open(Some(Path::new("/dev/full")), &start).unwrap();
        assert!(!log.is_writable());
        drop(log);
        writer.join();
    }

    #[test]
    fn an_entry_is_one_line_of_json_with_its_time_in_utc() {
        let entry = Entry { verdict: "attested", verdict_us: 7, ..Entry::default() };
        let line = serde_json::to_value(&entry).unwrap();
        assert_eq!(line["time"], "1970-01-01T00:00:00Z");
        assert_eq!((&line["verdict"], &line["verdict_us"]), (&"attested".into(), &7.into()));
    }
}
