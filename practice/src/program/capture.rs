//! What a program prints, as it prints it.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A pipe that is read to its end in the background, so that the program never waits for us.
#[derive(Clone, Debug)]
pub(super) struct Capture(Arc<(Mutex<Text>, Condvar)>);

#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    /// How much of it has been given out as lines.
    given: usize,
    ended: bool,
}

/// What there is to say about the next line.
pub(super) enum Next {
    Line(String),
    End,
    Late,
}

impl Capture {
    pub(super) fn start(pipe: OwnedFd) -> Self {
        let capture = Self(Arc::default());
        let filled = capture.clone();
        thread::spawn(move || filled.fill(File::from(pipe)));
        capture
    }

    fn fill(&self, mut pipe: File) {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = pipe.read(&mut buffer).unwrap_or(0);
            let mut text = self.lock();
            text.bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
            text.ended = read == 0;
            self.0.1.notify_all();
            if read == 0 {
                return;
            }
        }
    }

    /// The next line; what follows the last line break counts as one once the pipe has ended.
    pub(super) fn line(&self, until: Instant) -> Next {
        let mut text = self.lock();
        loop {
            let rest = text.bytes.get(text.given..).unwrap_or_default();
            let end = rest.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
            let end = end.or(if text.ended && !rest.is_empty() { Some(rest.len()) } else { None });
            if let Some(end) = end {
                let line = String::from_utf8_lossy(rest.get(..end).unwrap_or_default())
                    .trim_end()
                    .to_owned();
                text.given += end;
                return Next::Line(line);
            }
            if text.ended {
                return Next::End;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Late;
            }
            text = self.0.1.wait_timeout(text, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything so far, once the pipe has ended or `grace` is over: a grandchild that left the
    /// process group may hold the pipe open for ever.
    pub(super) fn all(&self, grace: Duration) -> String {
        let waited = self.0.1.wait_timeout_while(self.lock(), grace, |text| !text.ended);
        let (text, _) = waited.unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text.bytes).into_owned()
    }

    fn lock(&self) -> MutexGuard<'_, Text> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
