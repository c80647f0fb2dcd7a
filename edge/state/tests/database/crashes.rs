//! Whatever breaks, what was acknowledged is there, and the chain is whole.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ledger::Entry;
use practice::postgres::Postgres;
use practice::program::{Invocation, Running};
use practice::tools::Tools;
use secret::SecretText;
use state::{Database, Settings, State, StateError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{Kind, Place, WAIT, at, draft, recorded, runtime, verified};

fn settings(database: Database, wait: Duration) -> Settings {
    Settings { database, connections_max: 4, wait }
}

fn postgres(url: &str, wait: Duration) -> Settings {
    settings(Database::Postgres(SecretText::new(url.to_owned())), wait)
}

async fn try_record(state: &State) -> Result<Entry, StateError> {
    let mut act = state.act().await?;
    let entry = act.record(draft("test.recorded"), at(1)).await?;
    act.commit(at(1)).await?;
    Ok(entry)
}

/// Breaks a server in the middle of a load and lets it come back.
fn check_load_through(break_it: impl Fn(&Postgres)) {
    let server = Postgres::start(&Tools::find()).unwrap();
    let settings = postgres(&server.database().unwrap(), WAIT);
    runtime().block_on(async {
        let state = State::open(&settings).await.unwrap();
        let (done, enough) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let (state, done, enough) = (state.clone(), done.clone(), enough.clone());
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    while !enough.load(Ordering::Relaxed) {
                        match try_record(&state).await {
                            Ok(entry) => acknowledged.push(entry),
                            // What failed for certain, in the middle of its act.
                            Err(error) => assert!(error.is_retryable(), "{error}"),
                        }
                        done.store(
                            acknowledged.last().map_or(0, |entry| entry.seq),
                            Ordering::Relaxed,
                        );
                    }
                    acknowledged
                })
            })
            .collect();
        for round in 1..=2 {
            reach(&done, round * 50).await;
            break_it(&server);
            server.resume().unwrap();
        }
        let so_far = done.load(Ordering::Relaxed);
        reach(&done, so_far + 50).await;
        enough.store(true, Ordering::Relaxed);
        let whole = {
            let mut acknowledged = Vec::new();
            for writer in writers {
                acknowledged.extend(writer.await.unwrap());
            }
            let mut reading = state.read().await.unwrap();
            for entry in &acknowledged {
                assert_eq!(reading.entry(entry.seq).await.unwrap().as_ref(), Some(entry));
            }
            acknowledged.len() as u64
        };
        let entries = verified(&state).await.entries;
        // Those for which nobody was answered are no more than the writers at each break.
        assert!((whole..=whole + 8).contains(&entries), "{whole} of {entries}");
        state.close().await;
    });
}

async fn reach(count: &AtomicU64, wanted: u64) {
    let reached = async {
        while count.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(WAIT * 2, reached).await.unwrap();
}

#[test]
fn stopping_postgres_under_load_loses_nothing_that_was_acknowledged() {
    check_load_through(|server| server.stop().unwrap());
}

#[test]
fn killing_postgres_under_load_loses_nothing_that_was_acknowledged() {
    check_load_through(|server| server.kill().unwrap());
}

#[test]
fn a_postgres_that_is_away_is_waited_for_and_then_given_up() {
    let server = Postgres::start(&Tools::find()).unwrap();
    let url = server.database().unwrap();
    runtime().block_on(async {
        let patient = State::open(&postgres(&url, WAIT)).await.unwrap();
        let impatient = State::open(&postgres(&url, Duration::from_millis(500))).await.unwrap();
        recorded(&impatient, at(1)).await;
        server.stop().unwrap();
        let error = impatient.act().await.err().unwrap();
        assert!(error.is_retryable(), "{error}");
        let error = impatient.revision().await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        let waiting = tokio::spawn(async move {
            recorded(&patient, at(2)).await;
            patient
        });
        server.resume().unwrap();
        assert_eq!(verified(&waiting.await.unwrap()).await.entries, 2);
    });
}

/// Stands between and, once told, loses the answer to a COMMIT that it let through.
struct Between {
    address: SocketAddr,
    armed: Arc<AtomicBool>,
    shut: Arc<AtomicBool>,
}

impl Between {
    async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (armed, shut) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (is_armed, is_shut) = (armed.clone(), shut.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !is_shut.load(Ordering::SeqCst) {
                    tokio::spawn(pass(client, port, is_armed.clone()));
                }
            }
        });
        Self { address, armed, shut }
    }
}

async fn pass(client: TcpStream, port: u16, armed: Arc<AtomicBool>) {
    let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut bytes = [0; 8192];
    while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
        let loses = bytes[..count].windows(6).any(|word| word == b"COMMIT")
            && armed.swap(false, Ordering::SeqCst);
        if loses {
            back.abort();
        }
        if to_server.write_all(&bytes[..count]).await.is_err() || loses {
            break;
        }
    }
    back.abort();
}

/// Loses the answer to a commit; answers what the caller was told, and how many entries there are.
fn after_a_lost_commit(way_stays_open: bool) -> (Result<u64, StateError>, u64) {
    let server = Postgres::shared(&Tools::find()).unwrap();
    let url = server.database().unwrap();
    runtime().block_on(async {
        let between = Between::start(server.port()).await;
        let through =
            url.replace(&format!(":{}/", server.port()), &format!(":{}/", between.address.port()));
        let state = State::open(&postgres(&through, Duration::from_secs(2))).await.unwrap();
        let mut act = state.act().await.unwrap();
        act.record(draft("test.recorded"), at(1)).await.unwrap();
        act.put_group(&state::GroupRow { name: "web".into(), body: "{}".into(), changed: at(1) })
            .await
            .unwrap();
        between.armed.store(true, Ordering::SeqCst);
        between.shut.store(!way_stays_open, Ordering::SeqCst);
        let told = act.commit(at(1)).await;
        let straight = State::open(&postgres(&url, WAIT)).await.unwrap();
        // Waits for what may still be on its way.
        drop(straight.act().await.unwrap());
        (told, verified(&straight).await.entries)
    })
}

#[test]
fn a_commit_whose_answer_was_lost_is_looked_up() {
    let (told, entries) = after_a_lost_commit(true);
    assert_eq!((told.unwrap(), entries), (1000, 1));
}

#[test]
fn a_commit_that_nobody_can_look_up_is_unsure() {
    let (told, entries) = after_a_lost_commit(false);
    assert!(matches!(told, Err(StateError::Unsure)), "{told:?}");
    assert_eq!(entries, 1);
}

/// The variable that names the database of [`acts_are_written_one_after_the_other`].
const DATABASE: &str = "ROLECALL_TEST_DATABASE";
/// The variable that names a file which holds room on its disk, until that is full.
const BALLAST: &str = "ROLECALL_TEST_BALLAST";

/// On its own it writes a few acts. With [`DATABASE`] it is the half that is killed: it writes until then.
/// With [`BALLAST`] it writes until the disk is full.
#[test]
fn acts_are_written_one_after_the_other() {
    let given = std::env::var(DATABASE).ok();
    let (place, own) = Place::new(Kind::Sqlite);
    let settings = match given.as_deref() {
        Some(url) if url.starts_with("postgres:") => postgres(url, WAIT),
        Some(path) => settings(Database::Sqlite(path.into()), WAIT),
        None => own,
    };
    runtime().block_on(async {
        let state = State::open(&settings).await.unwrap();
        if let Ok(ballast) = std::env::var(BALLAST) {
            fill(&state, Path::new(&ballast)).await;
            return;
        }
        let mut written = 0;
        while given.is_some() || written < 5 {
            written += 1;
            println!("wrote {}", recorded(&state, at(1)).await.seq);
        }
        assert_eq!(verified(&state).await.entries, 5);
    });
    drop(place);
}

/// Writes until the disk is full, makes room, and goes on.
async fn fill(state: &State, ballast: &Path) {
    let text = "x".repeat(60_000);
    let big =
        || ledger::Draft::new("alice", "a.b", "s", serde_json::json!({ "text": text })).unwrap();
    let mut written = 0;
    let error = loop {
        let mut act = state.act().await.unwrap();
        let done = match act.record(big(), at(1)).await {
            Ok(_) => act.commit(at(1)).await.map(|_| ()),
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StateError::Full { .. }), "{error:?}");
    assert!(written > 0);
    assert_eq!(verified(state).await.entries, written);
    std::fs::remove_file(ballast).unwrap();
    recorded(state, at(1)).await;
    assert_eq!(verified(state).await.entries, written + 1);
    println!("wrote {written} until the disk was full");
}

/// This very program, as the half that writes.
fn writer(database: &str) -> Invocation {
    let words = ["crashes::acts_are_written_one_after_the_other", "--exact", "--nocapture"];
    Invocation::new(std::env::current_exe().unwrap()).args(words).env(DATABASE, database)
}

/// Kills a process in the middle of its acts, twice.
fn check_killed_writer(kind: Kind) {
    let (_place, settings) = Place::new(kind);
    let database = match &settings.database {
        Database::Sqlite(path) => path.display().to_string(),
        Database::Postgres(url) => url.expose().clone(),
    };
    let mut acknowledged = 0;
    for _ in 0..2 {
        let mut running: Running = writer(&database).start().unwrap();
        let wanted = format!("wrote {}", acknowledged + 20);
        let line = running.line(WAIT, |line| line.ends_with(&wanted)).unwrap();
        acknowledged = line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        running.signal(rustix::process::Signal::KILL).unwrap();
        assert_eq!(running.wait(WAIT).unwrap().signal, Some(9));
        runtime().block_on(async {
            let state = State::open(&settings).await.unwrap();
            // Waits for what may still be on its way.
            drop(state.act().await.unwrap());
            let entries = verified(&state).await.entries;
            assert!(entries >= acknowledged, "{entries} of {acknowledged}");
            acknowledged = entries;
            state.close().await;
        });
    }
}

#[test]
fn a_process_killed_in_the_middle_of_its_acts_leaves_a_whole_chain_in_sqlite() {
    check_killed_writer(Kind::Sqlite);
}

#[test]
fn a_process_killed_in_the_middle_of_its_acts_leaves_a_whole_chain_in_postgres() {
    check_killed_writer(Kind::Postgres);
}

/// The disk is a small one in memory, which only the writer sees and which goes with it.
#[test]
fn a_full_disk_refuses_the_act_and_keeps_the_chain_whole() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can mount a small disk");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let script = format!(
        "mount -t tmpfs -o size=2m tmpfs {at} && head -c 500000 /dev/zero > {at}/ballast && exec \"$@\""
    );
    let filler =
        writer(&format!("{at}/rolecall.db")).env(BALLAST, format!("{at}/ballast")).through(
            "unshare",
            ["--mount".to_owned(), "sh".to_owned(), "-ec".to_owned(), script, "sh".to_owned()],
        );
    let said = filler.run(WAIT * 2).unwrap();
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("until the disk was full"), "{}", said.stdout);
}
