//! Real folders, real processes and a real disk that is full.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use practice::program::{Invocation, Running};
use spool::{Appended, Limits, Reason, Seq, Spool, SpoolError};

use crate::kept::{ALL, EPOCH, small};

/// How long anything may take that takes a moment.
const WAIT: Duration = Duration::from_secs(60);
/// The variable that names the folder of [`frames_are_written_one_after_the_other`].
const FOLDER: &str = "ROLECALL_TEST_SPOOL";
/// The variable that names a file which holds room on its disk, until that is full.
const BALLAST: &str = "ROLECALL_TEST_BALLAST";

/// Frame n stands for n % 5 calls and has n % 400 bytes.
fn payload(seq: u64) -> (Vec<u8>, u32) {
    let len = usize::try_from(seq % 400).unwrap();
    (vec![u8::try_from(seq % 251).unwrap(); len], u32::try_from(seq % 5).unwrap())
}

fn append(spool: &mut Spool) -> Result<Appended, SpoolError> {
    let (payload, calls) = payload(spool.end().seq.0);
    spool.append(&payload, calls, Duration::ZERO)
}

/// All durable frames are there as they were.
#[track_caller]
fn verify(spool: &mut Spool, from: u64) {
    let mut next = from;
    while next < spool.durable().seq.0 {
        for frame in spool.read(Seq(next), 64 * 1024).unwrap() {
            assert_eq!((frame.at.seq.0, frame.payload, frame.calls), {
                let (payload, calls) = payload(next);
                (next, payload, calls)
            });
            next += 1;
        }
    }
    let tally = spool.tally();
    assert_eq!(tally.taken, tally.stored + tally.waiting + tally.lost.total());
}

fn many_segments() -> Limits {
    Limits { budget_bytes: 64 << 20, segment_bytes: 16 * 1024, commit_bytes: 4096, ..small() }
}

fn open(folder: &Path, limits: Limits) -> Spool {
    Spool::open(folder, EPOCH, limits).unwrap_or_else(|error| panic!("{error}")).0
}

/// On its own it writes a few frames. With [`FOLDER`] it is the half that is killed: it writes until then. With
/// [`BALLAST`] it writes until the disk is full.
#[test]
fn frames_are_written_one_after_the_other() {
    let given = std::env::var(FOLDER).ok();
    let place = tempfile::tempdir().unwrap();
    let folder = given.as_ref().map_or(place.path().join("spool"), PathBuf::from);
    let mut spool = open(&folder, many_segments());
    if let Ok(ballast) = std::env::var(BALLAST) {
        fill(&mut spool, Path::new(&ballast));
        return;
    }
    let mut rounds = 0;
    while given.is_some() || rounds < 5 {
        rounds += 1;
        for _ in 0..rounds % 17 {
            append(&mut spool).unwrap();
        }
        println!("kept {}", spool.sync().unwrap().seq);
    }
    verify(&mut spool, 1);
}

/// Writes until the disk is full, makes room, and goes on.
fn fill(spool: &mut Spool, ballast: &Path) {
    let error = loop {
        let done = append(spool).and_then(|_| spool.sync());
        if let Err(error) = done {
            break error;
        }
    };
    assert!(matches!(error, SpoolError::Disk { .. }), "{error}");
    let tally = spool.tally();
    assert!(tally.stored > 0 && tally.lost.total() == tally.lost.disk_refused);
    verify(spool, 1);
    let full = spool.durable().seq;
    fs::remove_file(ballast).unwrap();
    // Whatever the disk left in doubt is settled, and then it goes on.
    spool.sync().unwrap();
    for _ in 0..100 {
        assert!(matches!(append(spool).unwrap(), Appended::Waiting(_)));
    }
    assert!(spool.sync().unwrap().seq.0 >= full.0 + 100);
    verify(spool, 1);
    println!("kept {full} until the disk was full");
}

/// This very program, as the half that writes.
fn writer(folder: &Path) -> Invocation {
    let words = ["real::frames_are_written_one_after_the_other", "--exact", "--nocapture"];
    Invocation::new(std::env::current_exe().unwrap()).args(words).env(FOLDER, folder)
}

#[test]
fn a_writer_that_is_killed_leaves_all_that_it_said_it_kept() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("spool");
    let mut kept = 1;
    for round in 0..5 {
        let mut running: Running = writer(&folder).start().unwrap();
        let far = |line: &str| {
            let said = line.strip_prefix("kept ").and_then(|said| said.parse::<u64>().ok());
            said.is_some_and(|said| said > kept + 100 + round * 13)
        };
        let line = running.line(WAIT, far).unwrap();
        running.signal(rustix::process::Signal::KILL).unwrap();
        assert_eq!(running.wait(WAIT).unwrap().signal, Some(9));
        let said: u64 = line.strip_prefix("kept ").unwrap().parse().unwrap();
        let mut spool = open(&folder, many_segments());
        assert!(spool.durable().seq.0 >= said, "{} of {said}", spool.durable().seq);
        assert_eq!(spool.tally().lost.total(), 0);
        verify(&mut spool, 1);
        kept = spool.durable().seq.0;
    }
}

/// The disk is a small one in memory, which only the writer sees and which goes with it.
#[test]
fn a_full_disk_keeps_what_was_kept_counts_the_rest_and_goes_on_when_there_is_room() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can mount a small disk");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let at = place.path().display();
    let script = format!(
        "mount -t tmpfs -o size=1m,mode=0700 tmpfs {at} && head -c 300000 /dev/zero > {at}/ballast && exec \"$@\""
    );
    let filler = writer(&place.path().join("spool"))
        .env(BALLAST, format!("{at}/ballast"))
        .through("unshare", ["--mount", "sh", "-ec", &script, "sh"]);
    let said = filler.run(WAIT * 2).unwrap();
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("until the disk was full"), "{}", said.stdout);
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("spool");
    let first = open(&folder, small());
    let error = Spool::open(&folder, EPOCH, small()).unwrap_err();
    assert!(matches!(error, SpoolError::InUse(_)), "{error}");
    assert!(error.to_string().contains("another process has this spool open"), "{error}");
    drop(first);
    open(&folder, small());
}

#[test]
fn the_folder_is_0700_and_every_file_in_it_0600() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("spool");
    let mut spool = open(&folder, small());
    for _ in 0..400 {
        append(&mut spool).unwrap();
    }
    spool.sync().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&folder), 0o700);
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert!(files > 4, "marks, lock and segments");
}

#[test]
fn a_folder_that_others_may_read_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("spool");
    drop(open(&folder, small()));
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let error = Spool::open(&folder, EPOCH, small()).unwrap_err();
    assert!(matches!(error, SpoolError::Exposed { mode: 0o755, .. }), "{error}");
}

#[test]
fn a_link_to_the_folder_and_files_of_others_in_it_do_no_harm() {
    let place = tempfile::tempdir().unwrap();
    let (folder, link) = (place.path().join("spool"), place.path().join("link"));
    drop(open(&folder, small()));
    fs::write(folder.join("README"), "not ours").unwrap();
    fs::write(folder.join("1.segment"), "nor this").unwrap();
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    let mut spool = open(&link, small());
    append(&mut spool).unwrap();
    spool.sync().unwrap();
    assert_eq!(fs::read_to_string(folder.join("README")).unwrap(), "not ours");
    assert_eq!(fs::read_to_string(folder.join("1.segment")).unwrap(), "nor this");
}

#[test]
fn a_full_budget_on_a_real_disk_is_what_the_files_have() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("spool");
    let limits = Limits { budget_bytes: 100_000, ..many_segments() };
    let mut spool = open(&folder, limits);
    while append(&mut spool).unwrap() != Appended::Dropped(Reason::SpoolFull) {}
    spool.sync().unwrap();
    let segments = fs::read_dir(&folder).unwrap().map(Result::unwrap);
    let segments =
        segments.filter(|entry| entry.file_name().to_string_lossy().ends_with(".segment"));
    let on_disk: u64 = segments.map(|entry| entry.metadata().unwrap().len()).sum();
    assert_eq!(on_disk, spool.used());
    assert!((95_000..=100_000).contains(&on_disk), "{on_disk}");
    let frames = spool.read(Seq(1), ALL).unwrap();
    spool.acknowledge(frames.last().unwrap().at.seq).unwrap();
    assert!(spool.used() < 100_000 / 8);
}
