//! Frames of hosts: read, checked, and handed to who seals them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use api::{Kind, Problem, calls::FramesSent};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use calls::{Entry, NotABatch, read_batch};
use spool::{Epoch, Piece, Position, Scan, Seq};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

/// How many offers wait to be sealed. What comes beyond that is told to come again.
const OFFERS_MAX: usize = 1024;
/// How many seconds' worth of bytes a host may send at once, when it was silent before.
const BURST_S: u64 = 60;

/// Takes frames in.
#[derive(Debug)]
pub struct Intake {
    offers: mpsc::Sender<Offer>,
    hosts: Arc<Mutex<Hosts>>,
    bytes_per_s: u64,
}

/// What is known of hosts that send.
#[derive(Debug, Default)]
struct Hosts {
    /// Those whose frames are being stored.
    busy: BTreeSet<String>,
    /// How many bytes each may send, and as of when.
    left: BTreeMap<String, (u64, Instant)>,
}

/// Frames of one host, and who waits for them.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) host: String,
    pub(super) epoch: Epoch,
    /// The oldest frame that the host still has.
    pub(super) oldest: Seq,
    /// Before the first frame.
    pub(super) from: Position,
    pub(super) frames: Vec<Read>,
    pub(super) answer: oneshot::Sender<Result<Seq, Problem>>,
}

/// A frame that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) at: Position,
    pub(super) calls: u32,
    /// What is in it; nothing where no release of ours wrote that.
    pub(super) entries: Option<Vec<Entry>>,
}

impl Intake {
    pub(super) fn new(bytes_per_s: u64) -> (Self, mpsc::Receiver<Offer>) {
        let (offers, offered) = mpsc::channel(OFFERS_MAX);
        (Self { offers, hosts: Arc::default(), bytes_per_s }, offered)
    }

    /// Stores frames of a host, and answers with the one to go on with, once all before it are durable.
    ///
    /// # Errors
    /// When they cannot be read, the host sends too much or twice at once, or they cannot be stored now.
    pub async fn take(&self, host: &str, sent: FramesSent) -> Result<Seq, Problem> {
        self.charge(host, sent.frames.len() as u64)?;
        let _turn = Turn::begin(&self.hosts, host)?;
        let (answer, answered) = oneshot::channel();
        let host = host.to_owned();
        // Unpacking takes long, and must not hold up what else the thread serves.
        let read = tokio::task::spawn_blocking(move || read(host, &sent, answer)).await;
        let offer = read.map_err(|error| crate::fault::internal(&error))??;
        let busy =
            || Problem::new(Kind::Busy, "too many frames wait to be stored: send them later");
        self.offers.try_send(offer).map_err(|_| busy())?;
        answered.await.map_err(|_| busy())?
    }

    /// A host may send so many bytes a second, and a minute's worth at once.
    fn charge(&self, host: &str, bytes: u64) -> Result<(), Problem> {
        let (most, now) = (self.bytes_per_s.saturating_mul(BURST_S), Instant::now());
        let mut hosts = locked(&self.hosts);
        let (left, since) = hosts.left.get(host).copied().unwrap_or((most, now));
        let gained = now.duration_since(since).as_millis();
        let gained =
            u64::try_from(gained).unwrap_or(u64::MAX).saturating_mul(self.bytes_per_s) / 1000;
        let left = left.saturating_add(gained).min(most);
        // One that is larger than all that may be sent at once is let in when nothing was sent for long enough.
        let needed = bytes.min(most);
        if left < needed {
            let wait = Duration::from_millis(
                (needed - left).saturating_mul(1000) / self.bytes_per_s.max(1),
            );
            let detail = format!(
                "this host sends more than {} KiB of calls a second: send again in {} s",
                self.bytes_per_s / 1024,
                wait.as_secs() + 1
            );
            return Err(Problem::new(Kind::RateLimited, detail));
        }
        hosts.left.insert(host.to_owned(), (left - needed, now));
        Ok(())
    }
}

/// A host whose frames are being stored. It sends one request at a time, so that its frames come in order.
struct Turn {
    hosts: Arc<Mutex<Hosts>>,
    host: String,
}

impl Turn {
    fn begin(hosts: &Arc<Mutex<Hosts>>, host: &str) -> Result<Self, Problem> {
        if locked(hosts).busy.insert(host.to_owned()) {
            return Ok(Self { hosts: Arc::clone(hosts), host: host.to_owned() });
        }
        Err(Problem::new(Kind::Busy, "this host's frames are being stored: wait for the answer"))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        locked(&self.hosts).busy.remove(&self.host);
    }
}

fn locked(hosts: &Mutex<Hosts>) -> MutexGuard<'_, Hosts> {
    hosts.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(
    host: String,
    sent: &FramesSent,
    answer: oneshot::Sender<Result<Seq, Problem>>,
) -> Result<Offer, Problem> {
    let wrong = |field: &str, reason: String| {
        Problem::invalid("the frames cannot be read").with_field(field, reason)
    };
    let epoch = epoch(&sent.epoch);
    let epoch = epoch.ok_or_else(|| wrong("epoch", "must be 32 hexadecimal digits".to_owned()))?;
    let bytes = STANDARD.decode(&sent.frames);
    let bytes = bytes.map_err(|error| wrong("frames", error.to_string()))?;
    if sent.first == 0 || sent.oldest == 0 || sent.oldest > sent.first {
        return Err(wrong("first", "must be 1 or more, and not before `oldest`".to_owned()));
    }
    let from = Position { seq: Seq(sent.first), calls: sent.calls_before };
    let mut frames = Vec::new();
    for piece in Scan::new(epoch, from, &bytes) {
        match piece {
            Piece::Frame(frame) => frames.push(unpack(frame)?),
            Piece::Bad { offset, len } => {
                let reason = format!("{len} bytes at {offset} are no frame of this epoch");
                return Err(wrong("frames", reason));
            }
        }
    }
    if frames.first().is_none_or(|frame| frame.at != from) {
        let reason = "must begin with frame `first`, after `calls_before` calls".to_owned();
        return Err(wrong("frames", reason));
    }
    Ok(Offer { host, epoch, oldest: Seq(sent.oldest), from, frames, answer })
}

fn unpack(frame: spool::Frame) -> Result<Read, Problem> {
    let entries = match read_batch(&frame.payload) {
        Ok(entries) => Some(entries),
        // It waits in the host's spool until the server can read it.
        Err(error @ NotABatch::Version(_)) => {
            return Err(Problem::invalid("the agent is newer than this server")
                .with_field("frames", format!("frame {}: {error}", frame.at.seq)));
        }
        // Whatever wrote it, it will never be read: it is counted as missing, and what is behind it goes on.
        Err(error) => {
            crate::report(&format!(
                "a frame of calls is of no use: frame {}: {error}",
                frame.at.seq
            ));
            None
        }
    };
    Ok(Read { at: frame.at, calls: frame.calls, entries })
}

fn epoch(text: &str) -> Option<Epoch> {
    let mut bytes = [0; 16];
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    (digits && text.len() == 32).then_some(Epoch(bytes))
}

#[cfg(test)]
mod tests {
    use calls::{Batch, Heard};

    use super::*;

    const EPOCH: Epoch = Epoch([0xab; 16]);

    fn payload(version: u8) -> Vec<u8> {
        let mut batch = Batch::default();
        batch.push(&Entry::Heard(Heard {
            workload: None,
            at: jiff::Timestamp::UNIX_EPOCH,
            language: "python".to_owned(),
            sdk: "botocore".to_owned(),
            sdk_version: "1".to_owned(),
            shim_version: "1".to_owned(),
        }));
        let mut bytes = batch.finish();
        bytes.splice(..1, [version]);
        bytes
    }

    fn sent(payloads: &[Vec<u8>]) -> FramesSent {
        let mut at = Position { seq: Seq(5), calls: 40 };
        let mut bytes = Vec::new();
        for payload in payloads {
            let frame = spool::Frame { at, calls: 2, payload: payload.clone() };
            bytes.extend(frame.to_bytes(EPOCH));
            at = frame.end().unwrap();
        }
        FramesSent {
            epoch: EPOCH.to_string(),
            oldest: 5,
            first: 5,
            calls_before: 40,
            frames: STANDARD.encode(bytes),
        }
    }

    #[track_caller]
    fn check(sent: &FramesSent, expected: Result<&[bool], &str>) {
        let (answer, _answered) = oneshot::channel();
        match (read("h".to_owned(), sent, answer), expected) {
            (Ok(offer), Ok(readable)) => {
                let read = offer.frames.iter().map(|frame| frame.entries.is_some());
                assert_eq!(read.collect::<Vec<_>>(), readable);
            }
            (Err(problem), Err(part)) => assert!(problem.to_string().contains(part), "{problem}"),
            (read, expected) => panic!("{read:?}, not {expected:?}"),
        }
    }

    #[test]
    fn frames_are_read_and_one_of_no_use_holds_up_no_other() {
        check(&sent(&[payload(1), payload(1)]), Ok(&[true, true]));
        check(&sent(&[payload(1), b"\x01nonsense".to_vec(), payload(1)]), Ok(&[true, false, true]));
        check(&sent(&[payload(2)]), Err("upgrade the server"));
    }

    #[test]
    fn what_is_no_frame_is_refused_with_its_place() {
        let good = sent(&[payload(1)]);
        check(&FramesSent { frames: "?".to_owned(), ..good.clone() }, Err("`frames`"));
        check(&FramesSent { epoch: "AB".repeat(16), ..good.clone() }, Err("32 hexadecimal"));
        check(&FramesSent { epoch: "0".repeat(32), ..good.clone() }, Err("no frame of this epoch"));
        check(&FramesSent { calls_before: 41, ..good.clone() }, Err("no frame of this epoch"));
        check(&FramesSent { first: 4, oldest: 4, ..good.clone() }, Err("must begin with"));
        check(&FramesSent { oldest: 6, ..good.clone() }, Err("not before `oldest`"));
        check(&FramesSent { frames: String::new(), ..good }, Err("must begin with"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_sends_too_much_is_told_when_to_come_again() {
        let (intake, _offered) = Intake::new(1024);
        assert!(intake.charge("h1", 60 * 1024).is_ok());
        let problem = intake.charge("h1", 2048).unwrap_err();
        assert!(problem.to_string().contains("send again in 3 s"), "{problem}");
        assert!(intake.charge("h2", 2048).is_ok());
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(intake.charge("h1", 2048).is_ok());
    }

    #[test]
    fn a_host_stores_one_request_at_a_time() {
        let hosts = Arc::default();
        let turn = Turn::begin(&hosts, "h1").unwrap();
        assert!(Turn::begin(&hosts, "h1").is_err());
        assert!(Turn::begin(&hosts, "h2").is_ok());
        drop(turn);
        assert!(Turn::begin(&hosts, "h1").is_ok());
    }
}
