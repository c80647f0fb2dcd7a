//! Who asks: a process of its own, inside of a workload, the same for the agent and for its peer.
//!
//! It is told what to do on standard input, an [`Order`] a line, and says what came of it.

use std::{
    io::{self, BufRead},
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Outcome,
    client::{Line, Sample, whole},
};

/// How often somebody knocks who waits for the agent to come up.
const KNOCK: Duration = Duration::from_micros(100);
/// How long an agent may take to come up.
const UP: Duration = Duration::from_secs(20);
/// How long the connections of a load are warmed up, in milliseconds.
const WARM: u64 = 200;

/// What is to be done, with the server at `at`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Knock until there are credentials; the answer is a [`Came`].
    First { at: SocketAddr },
    /// Connect so many times, and ask once on each connection; the answer is a [`Came`].
    Connect { at: SocketAddr, times: usize, request: String },
    /// Ask on so many connections at once for so long; the answer is a [`Borne`].
    Load { at: SocketAddr, connections: usize, milliseconds: u64, sample: Sample },
}

/// The answer that was waited for came.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Came {
    /// When, in time since boot: the same clock for every process.
    pub(crate) at: Duration,
    /// What was asked and answered last.
    pub(crate) sample: Sample,
}

/// How a load was borne.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Borne {
    /// Requests with the right answer, each connection's first ones among them. A wrong answer ends
    /// the benchmark.
    pub(crate) all: u32,
    /// Of these, how many began after the connections were warm.
    pub(crate) requests: u32,
    /// The time those took.
    pub(crate) seconds: f64,
    /// The slowest of the fastest 99 in 100, in microseconds.
    pub(crate) p99_us: f64,
}

/// Does what it is told until standard input ends.
pub(crate) fn run() -> Outcome<()> {
    for line in io::stdin().lock().lines() {
        match serde_json::from_str(&line?)? {
            Order::First { at } => say(&first(at)?)?,
            Order::Connect { at, times, request } => say(&connect(at, times, &request)?)?,
            Order::Load { at, connections, milliseconds, sample } => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let life = Duration::from_millis(milliseconds);
                say(&runtime.block_on(load(at, connections, life, sample))?)?;
            }
        }
    }
    Ok(())
}

fn say(what: &impl Serialize) -> Outcome<()> {
    println!("{}", serde_json::to_string(what)?);
    Ok(())
}

fn first(at: SocketAddr) -> Outcome<Came> {
    let limit = Instant::now() + UP;
    loop {
        match Line::connect(at).and_then(|mut line| line.credentials()) {
            Ok(sample) => return Ok(Came { at: linux::clock::boot(), sample }),
            Err(error) if Instant::now() > limit => return Err(error.into()),
            Err(_) => std::thread::sleep(KNOCK),
        }
    }
}

fn connect(at: SocketAddr, times: usize, request: &str) -> Outcome<Came> {
    let mut answer = Line::connect(at)?.ask(request)?;
    for _ in 1..times {
        answer = Line::connect(at)?.ask(request)?;
    }
    let sample = Sample { request: request.to_owned(), answer };
    Ok(Came { at: linux::clock::boot(), sample })
}

async fn load(
    at: SocketAddr,
    connections: usize,
    life: Duration,
    sample: Sample,
) -> Outcome<Borne> {
    let sample: &'static Sample = Box::leak(Box::new(sample));
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let from = Instant::now() + Duration::from_millis(WARM);
    let mut asking = tokio::task::JoinSet::new();
    for stream in streams {
        asking.spawn(ask(stream, sample, from, from + life));
    }
    let (mut all, mut took) = (0, Vec::new());
    while let Some(one) = asking.join_next().await {
        let (count, warm) = one??;
        all += count;
        took.extend(warm);
    }
    let seconds = from.elapsed().as_secs_f64();
    took.sort_unstable();
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default();
    let requests = u32::try_from(took.len())?;
    Ok(Borne { all, requests, seconds, p99_us: p99.as_secs_f64() * 1e6 })
}

/// One connection: the next request goes out when the last answer is there, and is right.
async fn ask(
    mut stream: TcpStream,
    sample: &Sample,
    from: Instant,
    until: Instant,
) -> io::Result<(u32, Vec<Duration>)> {
    let (mut all, mut took) = (0, Vec::with_capacity(1 << 12));
    let mut said = vec![0; 8192];
    loop {
        let began = Instant::now();
        if began >= until {
            return Ok((all, took));
        }
        stream.write_all(sample.request.as_bytes()).await?;
        let mut length = 0;
        loop {
            let read = stream.read(said.get_mut(length..).unwrap_or_default()).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            length += read;
            let so_far = said.get(..length).unwrap_or_default();
            if whole(so_far).is_some_and(|whole| whole <= length) {
                break;
            }
        }
        let took_now = began.elapsed();
        let answer = said.get(..length).unwrap_or_default();
        if !answer.starts_with(b"HTTP/1.1 200 ") || !answer.ends_with(sample.answer.body.as_bytes())
        {
            return Err(io::Error::other(String::from_utf8_lossy(answer).into_owned()));
        }
        all += 1;
        if began >= from {
            took.push(took_now);
        }
    }
}
