//! How fast frames become durable, beside a bare write and sync of the same bytes in the same run.
//!
//! Both write to the same disk, as many bytes before each sync. What the spool adds is its headers, check sums,
//! numbers and segments. Rounds take turns, and the ratio is the median of theirs. With `--quick` it is a look.

use std::{
    error::Error,
    fs::{self, File},
    io::Write,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use practice::measure::{Goal, Measure, step, tell};
use spool::{Appended, Epoch, Limits, Seq, Spool};

/// What comes of a step. The benchmark ends at the first that fails: half a table misleads.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// How much is done.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// How often both take turns.
    rounds: usize,
    /// How many bytes of payload each writes in a turn.
    bytes: usize,
}

impl Size {
    const FULL: Self = Self { rounds: 15, bytes: 64 << 20 };
    const QUICK: Self = Self { rounds: 3, bytes: 4 << 20 };
}

/// What frames are like.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    /// The payload of each, in bytes.
    payload: usize,
    /// How many calls each stands for: at 12 bytes a call.
    calls: u32,
    /// The least ratio that is promised.
    ratio_min: Option<f64>,
}

const KINDS: [Kind; 2] = [
    Kind { name: "frames of 64 KiB", payload: 65_536, calls: 5461, ratio_min: Some(0.7) },
    Kind { name: "frames of 1 KiB", payload: 1024, calls: 85, ratio_min: None },
];

fn main() -> ExitCode {
    // `cargo bench` says `--bench` to every benchmark.
    let quick = std::env::args().any(|word| word == "--quick");
    match run(if quick { Size::QUICK } else { Size::FULL }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark could not be run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(size: Size) -> Outcome<()> {
    let scratch = env!("CARGO_TARGET_TMPDIR");
    let mut measures = Vec::new();
    for kind in KINDS {
        let mut rounds = Vec::new();
        for round in 1..=size.rounds {
            step(&format!("{}: round {round} of {}", kind.name, size.rounds));
            rounds.push([through_spool(scratch, size, kind)?, bare(scratch, size, kind)?]);
        }
        let name = format!("{} made durable", kind.name);
        let goal = kind.ratio_min.map_or(Goal::None, Goal::AtLeast);
        measures.push(Measure::beside(name, "MB/s", &rounds, &goal));
        let calls: Vec<f64> = rounds.iter().map(|[ours, _]| ours * 1e6 / 12.0).collect();
        let name = format!("calls of 12 bytes in {}", kind.name);
        measures.push(Measure::told(name, "1/s", practice::measure::median(calls)));
    }
    tell(scratch, "spool", &measures)?;
    Ok(())
}

/// Bytes that no file system can make smaller.
fn payload(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(byte).take(len).collect()
}

/// Megabytes a second of payload through a spool whose receiver keeps up.
fn through_spool(scratch: &str, size: Size, kind: Kind) -> Outcome<f64> {
    let place = tempfile::tempdir_in(scratch)?;
    let limits = Limits { budget_bytes: 4 << 30, ..Limits::default() };
    let (mut spool, _) = Spool::open(&place.path().join("spool"), Epoch([1; 16]), limits)?;
    let payload = payload(kind.payload);
    let frames = size.bytes / kind.payload;
    let began = Instant::now();
    let mut waiting = 0;
    for _ in 0..frames {
        let Appended::Waiting(_) = spool.append(&payload, kind.calls, Duration::ZERO)? else {
            return Err("the budget is used up".into());
        };
        waiting += payload.len();
        if waiting >= limits.commit_bytes {
            spool.sync()?;
            waiting = 0;
        }
    }
    let durable = spool.sync()?;
    let speed = megabytes(frames * kind.payload, began);
    if durable.seq != Seq(frames as u64 + 1) {
        return Err("not all frames are durable".into());
    }
    Ok(speed)
}

/// The same with nothing but a file.
fn bare(scratch: &str, size: Size, kind: Kind) -> Outcome<f64> {
    let place = tempfile::tempdir_in(scratch)?;
    let path: &Path = &place.path().join("bare");
    let mut file = File::create(path)?;
    let payload = payload(kind.payload);
    let batch = payload.repeat((Limits::default().commit_bytes / kind.payload).max(1));
    let began = Instant::now();
    for _ in 0..size.bytes / batch.len() {
        file.write_all(&batch)?;
        file.sync_data()?;
    }
    let speed = megabytes(size.bytes, began);
    fs::remove_file(path)?;
    Ok(speed)
}

fn megabytes(bytes: usize, began: Instant) -> f64 {
    bytes as f64 / 1e6 / began.elapsed().as_secs_f64()
}
