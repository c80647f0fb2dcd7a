//! Tokens, beside the bare signature of the library that signs them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use api::agents::TokenRequest;
use issuer::{Algorithm, SigningKey};
use practice::{
    measure::{Goal, Measure, step},
    server::Server,
};
use rustix::time::ClockId;
use server::{clock::Clock, config::Config, mint::Mint, works::Works};
use tokio::task::JoinSet;

use crate::{
    Size,
    crowd::{Ground, ROLE, cpu_of, workload},
    host::Host,
};

/// How many hosts ask at once.
const ASKING: u32 = 256;
/// As many bytes as the claims of a token have, about.
const MESSAGE: usize = 700;

pub(crate) async fn measure(size: Size) -> Vec<Measure> {
    let ground = Ground::prepare(ASKING).await;
    let key = SigningKey::generate(Algorithm::Es256, &mut getrandom::SysRng).unwrap();
    let length = Duration::from_millis(size.milliseconds);
    let mint = beside(&ground.server).await;
    let (mut rounds, mut whole, mut by_clock) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..size.rounds {
        step(&format!("round {} of {}", round + 1, size.rounds));
        let (per_core, per_second) = served(&ground.server, &ground.hosts, length).await;
        let bare = signed(&key, length);
        rounds.push([minted(&mint, &ground.hosts, length).await, bare]);
        whole.push([per_core, bare]);
        by_clock.push(per_second);
    }
    let mut measures = vec![
        Measure::beside(
            "tokens (ES256) minted a second of a core: judged, recorded, signed; beside bare signatures",
            "1/s",
            &rounds,
            &Goal::AtLeast(0.5),
        ),
        Measure::beside(
            format!("the same, asked for by {ASKING} hosts over mTLS and HTTP/2"),
            "1/s",
            &whole,
            &Goal::None,
        ),
    ];
    let median = practice::measure::median(by_clock);
    measures.push(Measure::told("tokens a second by the clock, askers beside it", "1/s", median));
    measures
}

/// Tokens a second of the server's CPU time, and of the clock.
async fn served(server: &Server, hosts: &[Arc<Host>], length: Duration) -> (f64, f64) {
    let (stop, given) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut asking = JoinSet::new();
    for (number, host) in hosts.iter().enumerate() {
        let (host, stop, given) = (Arc::clone(host), Arc::clone(&stop), Arc::clone(&given));
        let workload = workload(u32::try_from(number).unwrap());
        asking.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                host.token(&workload, ROLE).await.unwrap();
                given.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    // The first moments open connections, which is not what is measured.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (began, cpu, from) = (Instant::now(), cpu_of(server), given.load(Ordering::Relaxed));
    tokio::time::sleep(length).await;
    let (count, spent) = (given.load(Ordering::Relaxed) - from, cpu_of(server) - cpu);
    let elapsed = began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    asking.join_all().await;
    #[expect(clippy::cast_precision_loss, reason = "counts of seconds fit")]
    let count = count as f64;
    (count / spent, count / elapsed)
}

/// A second replica's mint over the server's database, in this process: the mint without its transport.
async fn beside(server: &Server) -> Mint {
    let (config, clock) = (Config::read(&server.plan().config()).unwrap(), Clock::system());
    let found = server::found::find(&config, &clock).await.unwrap();
    let opened = Works::open(&config, &found.state, &found.seal, &clock).await;
    let (works, minter) = opened.unwrap();
    tokio::spawn(minter.run());
    works.mint
}

/// Tokens a second of this process's CPU time, whoever asks included.
async fn minted(mint: &Mint, hosts: &[Arc<Host>], length: Duration) -> f64 {
    let (stop, given) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut asking = JoinSet::new();
    let (began, cpu) = (Instant::now(), cpu(ClockId::ProcessCPUTime));
    for (number, host) in hosts.iter().enumerate() {
        let (mint, stop, given) = (mint.clone(), Arc::clone(&stop), Arc::clone(&given));
        let workload = workload(u32::try_from(number).unwrap()).parse().unwrap();
        let request = TokenRequest { workload, role: ROLE.parse().unwrap() };
        let host = host.joined.host.clone();
        asking.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                mint.token(host.clone(), request.clone()).await.unwrap();
                given.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(length.saturating_sub(began.elapsed())).await;
    stop.store(true, Ordering::Relaxed);
    asking.join_all().await;
    #[expect(clippy::cast_precision_loss, reason = "counts of seconds fit")]
    let count = given.load(Ordering::Relaxed) as f64;
    count / (self::cpu(ClockId::ProcessCPUTime) - cpu)
}

/// Signatures a second of one core, by this thread's CPU time.
fn signed(key: &SigningKey, length: Duration) -> f64 {
    let message = vec![b'm'; MESSAGE];
    let (began, from, mut count) = (Instant::now(), cpu(ClockId::ThreadCPUTime), 0_u32);
    while began.elapsed() < length {
        for _ in 0..100 {
            std::hint::black_box(key.sign(&message, &mut getrandom::SysRng).unwrap());
        }
        count += 100;
    }
    f64::from(count) / (cpu(ClockId::ThreadCPUTime) - from)
}

/// CPU time in seconds.
fn cpu(whose: ClockId) -> f64 {
    Duration::try_from(rustix::time::clock_gettime(whose)).unwrap().as_secs_f64()
}
