//! What is heard goes in, frames for the spool come out.
//!
//! Nothing here waits, reads a clock or opens a file. The threads are in [`super::ear`] and [`super::store`].

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use calls::{
    Access, Batch, Coverage, Covered, Decoded, End, Entry, Event, Fold, Heard, Hello, Key, Leased,
    Line, Loss, Objects, Outcome, Record, Refusals, Refused, Sighting, Tell, Trust, Why,
};
use jiff::{SignedDuration, Timestamp};
use spool::Stage;
use workload::Workload;

use super::keys::Keys;
use crate::engine::Now;

/// The most calls that one frame stands for: the spool counts them in 32 bits.
const FRAME_CALLS_MAX: u64 = 1 << 31;
/// How many frames wait for the disk before nothing more is made for it.
const FRAMES_MAX: usize = 8;
/// How far a call may lie behind the clock of this host before its time is taken for a mistake.
const LATE_MAX: SignedDuration = SignedDuration::from_hours(48);
/// How far it may lie ahead.
const EARLY_MAX: SignedDuration = SignedDuration::from_mins(5);
/// The most shims that are remembered to have been told of.
const HEARD_MAX: usize = 4096;
/// How long a shim is remembered; then it is told of again.
const HEARD_FOR: Duration = Duration::from_secs(60 * 60);

/// Who sends.
#[derive(Clone, Debug)]
pub struct Source {
    /// In which workload it is, if in any.
    pub workload: Option<Workload>,
    /// What its word is worth at most, by the way that it comes.
    pub trust: Trust,
}

/// What goes into one frame of the spool.
#[derive(Debug)]
pub struct Frame {
    /// The entries.
    pub payload: Vec<u8>,
    /// How many calls they stand for.
    pub calls: u32,
    /// How many records they have.
    pub records: u64,
    /// The state of the ledger that they tell of, if they do.
    pub reports: Option<Box<Reported>>,
}

/// A state of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// When it was so.
    pub at: Option<Timestamp>,
    /// What was sent, and what became of it.
    pub coverage: Coverage,
    /// Why lines were refused.
    pub refusals: Refusals,
    /// How many streams ended without a last word.
    pub cut_off: u64,
    /// How many runs before this one did.
    pub crashes: u64,
}

/// What is counted besides the coverage ledger, for the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Noticed {
    /// Values that a shim should have redacted.
    pub redacted: u64,
    /// Members of lines that nobody knows.
    pub ignored: u64,
    /// Calls whose time could not be, and was taken to be now.
    pub retimed: u64,
    /// Calls made with a key that was not leased here.
    pub foreign: u64,
    /// Calls made with a key that was leased to another workload.
    pub passed_on: u64,
    /// Calls whose actions no table knows.
    pub unnamed: u64,
}

/// The collector's limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many bytes the table of equal calls may take.
    pub table_bytes: usize,
    /// How often counts are told.
    pub count: Duration,
    /// How much of an object's key is told.
    pub objects: Objects,
}

/// Makes records of lines, and frames of records.
#[derive(Debug)]
pub struct Collector {
    limits: Limits,
    fold: Fold,
    keys: Keys,
    /// What ended here. What ends in the store is counted there.
    coverage: Coverage,
    refusals: Refusals,
    noticed: Noticed,
    heard: BTreeMap<Heard, Duration>,
    batch: Batch,
    reports: Option<Box<Reported>>,
    frames: Vec<Frame>,
    stage: Stage,
    next_count: Option<Duration>,
    cut_off: u64,
    crashes: u64,
}

impl Collector {
    /// With the keys that an earlier run leased, and whether that run ended without a last word.
    pub fn new(limits: Limits, keys: &[u8], crashed: bool) -> Self {
        Self {
            limits,
            fold: Fold::new(limits.table_bytes),
            keys: Keys::read(keys),
            coverage: Coverage::default(),
            refusals: Refusals::default(),
            noticed: Noticed::default(),
            heard: BTreeMap::new(),
            batch: Batch::default(),
            reports: None,
            frames: Vec::new(),
            stage: Stage::Normal,
            next_count: None,
            cut_off: 0,
            crashes: crashed.into(),
        }
    }

    /// A lease was fetched. It is known before it is served, so that no call with it is foreign.
    pub fn leased(&mut self, leased: Leased, now: Now) {
        self.keys.learn(&leased, now.wall);
        self.push(&Entry::Leased(leased));
    }

    /// Takes in what a source says: one line, or one object of a datagram.
    pub fn line(&mut self, source: &Source, line: &[u8], now: Now) {
        match calls::decode(line) {
            Ok(Decoded { line, ignored }) => {
                self.noticed.ignored += u64::from(ignored);
                match line {
                    Line::Event(event) => self.event(source, event, now),
                    Line::Hello(hello) => self.hello(source, &hello, now),
                    Line::Losses(losses) | Line::Bye(losses) => self.coverage.told(&losses),
                }
            }
            Err(refused) => self.refused(refused),
        }
    }

    /// Takes in a datagram.
    pub fn datagram(&mut self, source: &Source, datagram: &[u8], now: Now) {
        calls::lines(datagram).for_each(|line| self.line(source, line, now));
    }

    /// A line could not be read.
    pub fn refused(&mut self, refused: Refused) {
        self.refusals.count(refused);
        self.coverage.never_came(Loss::Malformed, 1);
    }

    /// So many datagrams did not come.
    pub fn dropped_by_kernel(&mut self, count: u64) {
        self.coverage.never_came(Loss::KernelDrop, count);
    }

    /// A stream ended without a last word.
    pub fn cut_off(&mut self) {
        self.cut_off += 1;
    }

    fn hello(&mut self, source: &Source, hello: &Hello<'_>, now: Now) {
        let heard = Heard {
            workload: source.workload.clone(),
            // So that equal ones are equal.
            at: Timestamp::UNIX_EPOCH,
            language: hello.language.to_string(),
            sdk: hello.sdk.to_string(),
            sdk_version: hello.sdk_version.to_string(),
            shim_version: hello.shim_version.to_string(),
        };
        if self.heard.get(&heard).is_some_and(|told| now.boot.saturating_sub(*told) < HEARD_FOR) {
            return;
        }
        if self.heard.len() >= HEARD_MAX {
            self.heard.clear();
        }
        self.heard.insert(heard.clone(), now.boot);
        self.push(&Entry::Heard(Heard { at: now.wall, ..heard }));
    }

    fn event(&mut self, source: &Source, mut event: Event<'_>, now: Now) {
        event.trust = event.trust.min(source.trust);
        self.noticed.redacted += calls::redact(&mut event) as u64;
        self.coverage.sent(event.count);
        self.repair_time(&mut event, now.wall);
        let Some(sighting) = Sighting::of(&event) else {
            return self.coverage.ended(End::Attempt, event.count);
        };
        let key = self.key(source, &event);
        let tell = self.tell(&key);
        let told = self.fold.take(key, sighting, tell, now.boot);
        told.first.into_iter().chain(told.evicted).for_each(|record| self.record(&record));
    }

    fn key(&mut self, source: &Source, event: &Event<'_>) -> Key {
        let signer = self.keys.signer(event.key.as_ref());
        let account = match &signer {
            calls::Signer::Leased { role, .. } => Some(role.account()),
            _ => None,
        };
        let named = calls::name(event, account.as_ref(), self.limits.objects);
        self.noticed.unnamed += if named.needs == calls::Needs::Unknown { event.count } else { 0 };
        match &signer {
            calls::Signer::Leased { to, .. } if source.workload.as_ref() != Some(to) => {
                self.noticed.passed_on += event.count;
            }
            calls::Signer::Foreign => self.noticed.foreign += event.count,
            _ => {}
        }
        Key::of(event, source.workload.clone(), signer, named)
    }

    /// A process says what it likes of its times, and records are kept by day.
    fn repair_time(&mut self, event: &mut Event<'_>, wall: Timestamp) {
        let off = |time: Timestamp| {
            let ahead = time.duration_since(wall);
            ahead > EARLY_MAX || ahead < -LATE_MAX
        };
        if off(event.first) || off(event.last) {
            (event.first, event.last) = (wall, wall);
            self.noticed.retimed += event.count;
        }
    }

    /// When a first sight of this key is told: at once, unless there is little room. A denial waits last.
    fn tell(&self, key: &Key) -> Tell {
        let denied = key.outcome == Outcome::Denied;
        let reads = matches!(key.named.access, Some(Access::List | Access::Read));
        let at_once = match self.stage {
            _ if self.is_congested() => false,
            Stage::Normal => true,
            Stage::FoldReads => !reads || denied,
            Stage::FoldAll => denied,
            Stage::Drop => false,
        };
        if at_once { Tell::AtOnce } else { Tell::Later }
    }

    fn record(&mut self, record: &Record) {
        if self.is_congested() {
            let lost = End::Lost(Loss::DiskRefused);
            return self.coverage.ended(lost, record.sighting.count);
        }
        self.store(record);
    }

    fn store(&mut self, record: &Record) {
        let mut left = record.sighting.count;
        while left > 0 {
            let count = left.min(FRAME_CALLS_MAX);
            left -= count;
            let sighting = Sighting { count, ..record.sighting.clone() };
            let why = if left == 0 { record.why } else { Why::Repeats };
            if self.batch.calls() + count > FRAME_CALLS_MAX {
                self.seal();
            }
            self.push(&Entry::Calls(Record { sighting, why, key: Arc::clone(&record.key) }));
        }
    }

    fn push(&mut self, entry: &Entry) {
        self.batch.push(entry);
        if self.batch.is_full() {
            self.seal();
        }
    }

    fn seal(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let (records, reports) = (self.batch.records(), self.reports.take());
        // It is bounded above, so this never cuts anything off.
        let calls = u32::try_from(self.batch.calls()).unwrap_or(u32::MAX);
        self.frames.push(Frame { payload: self.batch.finish(), calls, records, reports });
    }

    /// Whether the disk is so slow that nothing more is made for it.
    pub fn is_congested(&self) -> bool {
        self.frames.len() >= FRAMES_MAX
    }

    /// How full the spool is.
    pub fn set_stage(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// Tells what was counted, when its time has come; then, that of the ledger what is new since `reported`. `in_flight` are calls
    /// that are on their way to the disk, `stored` what ended there.
    pub fn count(&mut self, now: Now, ledger: &Shared) {
        let due = *self.next_count.get_or_insert(now.boot + self.limits.count);
        // A clock that went back makes it due: waiting for it could take for ever.
        let jumped = due.saturating_sub(now.boot) > self.limits.count * FOLD_ALL_FACTOR;
        if (now.boot >= due || jumped) && self.stage < Stage::Drop && !self.is_congested() {
            self.tell_all(now, ledger);
        }
    }

    /// Tells all that was counted.
    pub fn tell_all(&mut self, now: Now, ledger: &Shared) {
        let factor = if self.stage >= Stage::FoldAll { FOLD_ALL_FACTOR } else { 1 };
        self.next_count = Some(now.boot + self.limits.count * factor);
        // All of it, however slow the disk is: it takes no more room than it took in the table.
        for record in self.fold.drain(now.boot) {
            self.store(&record);
        }
        self.report(now, ledger);
        self.seal();
    }

    fn report(&mut self, now: Now, ledger: &Shared) {
        let state = self.state(now.wall, ledger);
        let before = &ledger.reported;
        let covered = Covered {
            from: before.at.unwrap_or(ledger.started),
            to: now.wall,
            coverage: state.coverage.since(&before.coverage),
            refusals: state.refusals.since(&before.refusals),
            held: self.held(ledger),
            cut_off: state.cut_off.saturating_sub(before.cut_off),
            crashes: state.crashes.saturating_sub(before.crashes),
        };
        self.push(&Entry::Covered(covered));
        self.reports = Some(Box::new(state));
    }

    fn state(&self, at: Timestamp, ledger: &Shared) -> Reported {
        let mut coverage = self.coverage.clone();
        coverage.merge(&ledger.stored);
        let (refusals, cut_off) = (self.refusals.clone(), self.cut_off);
        Reported { at: Some(at), coverage, refusals, cut_off, crashes: self.crashes }
    }

    /// How many calls have no end yet.
    fn held(&self, ledger: &Shared) -> u64 {
        let frames = self.frames.iter().map(|frame| u64::from(frame.calls));
        self.fold.held() + self.batch.calls() + frames.sum::<u64>() + ledger.in_flight
    }

    /// The whole ledger of this run, and how many calls have no end yet. The one balances with the other.
    pub fn coverage(&self, ledger: &Shared) -> (Coverage, u64) {
        (self.state(Timestamp::UNIX_EPOCH, ledger).coverage, self.held(ledger))
    }

    /// What else was noticed.
    pub fn noticed(&self) -> Noticed {
        self.noticed
    }

    /// Why lines were refused.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// How many keys are remembered, and how often one had to be forgotten to make room.
    pub fn table(&self) -> (usize, u64) {
        (self.fold.keys(), self.fold.evictions().keys)
    }

    /// The frames that are ready. With `all`, also what was begun.
    pub fn frames(&mut self, all: bool) -> Vec<Frame> {
        if all {
            self.seal();
        }
        mem::take(&mut self.frames)
    }

    /// Puts frames back that the disk has no time for, in their order.
    pub fn put_back(&mut self, mut frames: Vec<Frame>) {
        frames.append(&mut self.frames);
        self.frames = frames;
    }

    /// The file of leased keys, if it has changed.
    pub fn keys_changed(&mut self, wall: Timestamp) -> Option<Vec<u8>> {
        self.keys.changed(wall)
    }
}

/// How many times less often counts are told where the spool has little room.
const FOLD_ALL_FACTOR: u32 = 5;

/// What the thread that stores says of what it was given.
#[derive(Clone, Debug)]
pub struct Shared {
    /// When this run began.
    pub started: Timestamp,
    /// What became of records that were given to it.
    pub stored: Coverage,
    /// How many calls it was given and has not told of.
    pub in_flight: u64,
    /// The last state of the ledger that is in the spool.
    pub reported: Reported,
    /// How full the spool is.
    pub stage: Stage,
}

impl Shared {
    /// At the beginning of a run.
    pub fn new(started: Timestamp) -> Self {
        Self {
            started,
            stored: Coverage::default(),
            in_flight: 0,
            reported: Reported::default(),
            stage: Stage::Normal,
        }
    }
}
