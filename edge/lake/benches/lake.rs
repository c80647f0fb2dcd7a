//! How fast records become files, how small they are there, and how long a question takes.
//!
//! The mix: 20 applications in as many accounts, 200 workloads on 20 hosts, 40 operations, 300 resources. Each application uses
//! a few of both, as they do, and each workload has 18 keys. Records are folded: each key gives one a minute, which stands for
//! the calls of that minute. None has a request id, which is 16 random
//! bytes and more. With `--quick` it is a look.

use std::{
    collections::BTreeMap,
    error::Error,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use calls::{
    Access, AccessKeyId, Basis, Entry, Key, Named, NamedBy, Names, Needs, Outcome, Plane, Record,
    Sighting, Signer, Trust, Why,
};
use jiff::{SignedDuration, Timestamp};
use lake::{Engine, Frame, Lake, Limits, Piece, Place, Sender, Sent, Snapshot};
use practice::measure::{Measure, median, step, tell};

/// What comes of a step. The benchmark ends at the first that fails: half a table misleads.
type Step<T> = Result<T, Box<dyn Error>>;

/// How much is done.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// How many records are stored in all.
    records: usize,
    /// In how many steps.
    seals: usize,
    /// How often each question is asked.
    questions: usize,
}

impl Size {
    const FULL: Self = Self { records: 1_000_000, seals: 10, questions: 15 };
    const QUICK: Self = Self { records: 100_000, seals: 4, questions: 3 };
}

/// The most bytes that a record may cost. Half of it are its times and its id.
const BYTES_MAX: f64 = 18.0;

fn main() -> ExitCode {
    // `cargo bench` says `--bench` to every benchmark.
    let quick = std::env::args().any(|word| word == "--quick");
    let runtime = tokio::runtime::Runtime::new().map_err(Into::into);
    match runtime.and_then(|it| it.block_on(run(if quick { Size::QUICK } else { Size::FULL }))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark could not be run: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(size: Size) -> Step<()> {
    let scratch = env!("CARGO_TARGET_TMPDIR");
    let place = tempfile::tempdir_in(scratch)?;
    let lake = Lake::open(&Place::Folder(place.path().join("lake")))?;
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let cast = cast(&mut chance)?;
    let mut manifest = Snapshot::default();
    let mut speeds = Vec::new();
    for seal in 0..size.seals {
        step(&format!("sealing: {} of {}", seal + 1, size.seals));
        let sent = frames(&mut chance, &cast, seal, size)?;
        let began = Instant::now();
        manifest.0.extend(lake.seal(sent).await?);
        speeds.push((size.records / size.seals) as f64 / began.elapsed().as_secs_f64());
    }
    let sealed = bytes_each(&manifest.0);
    step("merging");
    let now: Timestamp = "2026-11-26T12:00:00Z".parse()?;
    let mut merged = Vec::new();
    let began = Instant::now();
    for group in lake::due(&manifest.0, now) {
        let compacted = lake.compact(&group).await?;
        manifest.0.retain(|piece| !compacted.removed.contains(piece));
        merged.extend(compacted.added);
    }
    let merging = size.records as f64 / began.elapsed().as_secs_f64();
    manifest.0.extend(merged);
    let rows: u64 = manifest.0.iter().map(|piece| piece.rows).sum();
    if rows != size.records as u64 {
        return Err(format!("{rows} records are in the lake").into());
    }
    let engine = Engine::new(lake, Limits::default());
    let mut measures = vec![
        Measure::told("records sealed", "1/s", median(speeds)),
        Measure::told("records merged", "1/s", merging),
        Measure::told("a record in a file as it was sealed", "B", sealed),
        Measure::told("a call in a file of a day", "B", bytes_a_call(&manifest.0)),
        Measure::at_most("a record in a file of a day", "B", bytes_each(&manifest.0), BYTES_MAX),
    ];
    for (name, sql) in QUESTIONS {
        step(name);
        let mut took = Vec::new();
        for _ in 0..size.questions {
            let began = Instant::now();
            engine.query(sql, now, &manifest).await?.rest().await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
        measures.push(Measure::told(*name, "ms", median(took)));
    }
    tell(scratch, "lake", &measures)?;
    Ok(())
}

const QUESTIONS: &[(&str, &str)] = &[
    (
        "denials of one account in ten minutes",
        "SELECT role, operation, resources, sum(count) FROM calls WHERE account = '200000000007' AND outcome = 'denied' \
         AND time >= '2026-11-25T08:10:00Z' AND time < '2026-11-25T08:20:00Z' GROUP BY role, operation, resources",
    ),
    (
        "calls by operation and outcome",
        "SELECT operation, outcome, sum(count) FROM calls GROUP BY operation, outcome",
    ),
    (
        "who used one resource",
        "SELECT * FROM resource_roles WHERE resource = 'arn:aws:s3:::bucket-42/data/*'",
    ),
    ("when everything was last used", "SELECT count(*) FROM last_used"),
];

fn bytes_each(pieces: &[Piece]) -> f64 {
    let sum = |of: fn(&Piece) -> u64| pieces.iter().map(of).sum::<u64>() as f64;
    sum(|piece| piece.bytes) / sum(|piece| piece.rows)
}

fn bytes_a_call(pieces: &[Piece]) -> f64 {
    let sum = |of: fn(&Piece) -> u64| pieces.iter().map(of).sum::<u64>() as f64;
    sum(|piece| piece.bytes) / sum(|piece| piece.calls)
}

/// Chances that are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % end
    }
}

const APPLICATIONS: usize = 20;
const HOSTS: usize = 20;

/// What each workload calls: the keys of its records, by host.
fn cast(chance: &mut Chance) -> Step<Vec<Vec<Arc<Key>>>> {
    let mut hosts = vec![Vec::new(); HOSTS];
    for application in 0..APPLICATIONS {
        let role: cloud::RoleArn =
            format!("arn:aws:iam::{}:role/app-{application}", 200_000_000_000 + application)
                .parse()?;
        let uses: Vec<_> = (0..18).map(|_| (chance.below(40), chance.below(300))).collect();
        for instance in 0..10 {
            let workload: workload::Workload =
                format!("app-{application}/prod/i-{instance}").parse()?;
            for (operation, resource) in &uses {
                let outcome = if chance.below(50) == 0 { Outcome::Denied } else { Outcome::Done };
                let access = if operation % 3 == 0 { Access::Write } else { Access::Read };
                let arn = format!("arn:aws:s3:::bucket-{resource}/data/*");
                let needs = BTreeMap::from([(
                    format!("s3:Operation{operation}"),
                    Names::These([arn].into()),
                )]);
                let key = Key {
                    workload: Some(workload.clone()),
                    access_key: AccessKeyId::parse(format!("ASIA{application:08}{instance:08}")),
                    signer: Signer::Leased { role: role.clone(), to: workload.clone() },
                    trust: Trust::Shim,
                    service: format!("Service{}", operation % 8).into(),
                    operation: format!("Operation{operation}").into(),
                    region: Some("eu-west-1".parse()?),
                    named: Named {
                        needs: Needs::These(needs),
                        basis: Some(Basis::Listed),
                        access: Some(access),
                        plane: Some(Plane::Data),
                        by: Some(NamedBy::Bare),
                    },
                    unnamed: BTreeMap::new(),
                    outcome,
                };
                if let Some(host) = hosts.get_mut((application * 10 + instance) % HOSTS) {
                    host.push(Arc::new(key));
                }
            }
        }
    }
    Ok(hosts)
}

/// What all hosts send for a part of the day.
fn frames(chance: &mut Chance, cast: &[Vec<Arc<Key>>], seal: usize, size: Size) -> Step<Vec<Sent>> {
    let morning: Timestamp = "2026-11-25T08:00:00Z".parse()?;
    let keys: usize = cast.iter().map(Vec::len).sum();
    // One record of each key a minute.
    let span = size.records / size.seals * 60_000 / keys;
    let each = size.records / size.seals / cast.len();
    let mut all = Vec::new();
    for (host, keys) in cast.iter().enumerate() {
        let mut frames = Vec::new();
        let entries: Vec<Entry> = (0..each)
            .map(|number| {
                // A fold tells of what it has in turns, so a host's records are nearly in the order of time.
                let at = seal * span + number * span / each + chance.below(2000);
                let first =
                    morning + SignedDuration::from_millis(i64::try_from(at).unwrap_or_default());
                let count = 1 + chance.below(30) as u64;
                let lasted = if count == 1 { 0 } else { 50_000 + chance.below(10_000) };
                let key = keys.get(chance.below(keys.len())).cloned();
                key.map(|key| {
                    Entry::Calls(Record {
                        sighting: Sighting {
                            count,
                            first,
                            last: first
                                + SignedDuration::from_millis(
                                    i64::try_from(lasted).unwrap_or_default(),
                                ),
                            request_id: None,
                            exception: (key.outcome == Outcome::Denied)
                                .then(|| "AccessDenied".to_owned()),
                            user_agent: Some(
                                "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux lang/python#3.13"
                                    .to_owned(),
                            ),
                            host: Some(format!(
                                "{}.eu-west-1.amazonaws.com",
                                key.service.to_lowercase()
                            )),
                            longest: Some(Duration::from_millis(3 + chance.below(200) as u64)),
                        },
                        key,
                        why: Why::Repeats,
                    })
                })
            })
            .collect::<Option<_>>()
            .ok_or("a host without workloads")?;
        for (number, entries) in entries.chunks(2000).enumerate() {
            frames.push(Frame { seq: (seal * 1000 + number) as u64, entries: entries.to_vec() });
        }
        all.push(Sent {
            sender: Sender { agent: format!("host-{host:02}"), epoch: [u8::try_from(host)?; 16] },
            frames,
        });
    }
    Ok(all)
}
