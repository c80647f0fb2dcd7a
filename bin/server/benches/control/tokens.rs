//! Tokens, beside the bare signature of the library that signs them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use issuer::{Algorithm, SigningKey};
use practice::{
    measure::{Goal, Measure, step},
    server::Server,
};
use tokio::task::JoinSet;

use crate::{
    Size,
    crowd::{Ground, ROLE, cpu_of, workload},
    host::Host,
};

/// How many hosts ask at once.
const ASKING: u32 = 64;
/// As many bytes as the claims of a token have, about.
const MESSAGE: usize = 700;

pub(crate) async fn measure(size: Size) -> Vec<Measure> {
    let ground = Ground::prepare(ASKING).await;
    let key = SigningKey::generate(Algorithm::Es256, &mut getrandom::SysRng).unwrap();
    let length = Duration::from_millis(size.milliseconds);
    let (mut rounds, mut by_clock) = (Vec::new(), Vec::new());
    for round in 0..size.rounds {
        step(&format!("round {} of {}", round + 1, size.rounds));
        let (per_core, per_second) = minted(&ground.server, &ground.hosts, length).await;
        rounds.push([per_core, signed(&key, length)]);
        by_clock.push(per_second);
    }
    let mut measures = vec![Measure::beside(
        format!("tokens (ES256) a second of a core, beside bare signatures, {ASKING} hosts"),
        "1/s",
        &rounds,
        &Goal::AtLeast(0.5),
    )];
    let median = practice::measure::median(by_clock);
    measures.push(Measure::told("tokens a second by the clock, askers beside it", "1/s", median));
    measures
}

/// Tokens a second of the server's CPU time, and of the clock.
async fn minted(server: &Server, hosts: &[Arc<Host>], length: Duration) -> (f64, f64) {
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

/// Signatures a second of one core, by this thread's CPU time.
fn signed(key: &SigningKey, length: Duration) -> f64 {
    let message = vec![b'm'; MESSAGE];
    let (began, cpu, mut count) = (Instant::now(), thread_cpu(), 0_u32);
    while began.elapsed() < length {
        for _ in 0..100 {
            std::hint::black_box(key.sign(&message, &mut getrandom::SysRng).unwrap());
        }
        count += 100;
    }
    f64::from(count) / (thread_cpu() - cpu)
}

fn thread_cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap().as_secs_f64()
}
