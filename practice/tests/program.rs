//! Programs are started with what they may see, waited for with a bound, and end with all they started.

use std::time::{Duration, Instant};

use practice::program::{Invocation, ProgramError};

const LIMIT: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Invocation {
    Invocation::new("sh").args(["-c", script])
}

#[track_caller]
fn check(script: &str, expected: &str) {
    let said = match shell(script).run(LIMIT).and_then(practice::program::Finished::success) {
        Ok(finished) => finished.stdout,
        Err(error) => error.to_string(),
    };
    assert_eq!(said, expected);
}

#[test]
fn nothing_of_our_environment_reaches_it() {
    check("echo \"$CARGO_MANIFEST_DIR$HOME.\"", ".\n");
}

#[test]
fn an_error_of_its_own_comes_with_its_words() {
    check("echo wrong >&2; exit 7", "`sh` ended with code 7: wrong");
    check("kill -9 $$", "`sh` ended with signal 9: ");
}

#[test]
fn what_takes_too_long_is_killed_with_all_that_it_started() {
    let error =
        shell("sleep 1000 & echo $!; sleep 1000").run(Duration::from_millis(200)).unwrap_err();
    let ProgramError::TooSlow { said, .. } = error else { panic!("{error}") };
    let child: u32 = said.trim().parse().unwrap();
    let until = Instant::now() + LIMIT;
    while std::fs::read_to_string(format!("/proc/{child}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
    {
        assert!(Instant::now() < until, "{child} still runs");
        std::thread::yield_now();
    }
}

#[test]
fn lines_come_as_they_are_printed() {
    let mut running = shell("read word; echo skip; echo got $word; sleep 1000").start().unwrap();
    running.say("this").unwrap();
    assert_eq!(running.line(LIMIT, |line| line.starts_with("got")).unwrap(), "got this");
    assert!(running.is_running());
}

#[test]
fn a_line_that_never_comes_is_not_waited_for() {
    let mut running = shell("echo sorry >&2").start().unwrap();
    let error = running.line(LIMIT, |_| true).unwrap_err();
    assert_eq!(error.to_string(), "`sh` ended early: sorry");
}

#[test]
fn a_program_can_be_asked_to_end() {
    let mut running =
        shell("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done")
            .start()
            .unwrap();
    running.line(LIMIT, |line| line == "ready").unwrap();
    assert_eq!(running.stop(LIMIT).unwrap().success().unwrap().stdout, "ready\nbye\n");
}

#[test]
fn a_process_that_is_killed_leaves_nothing_running() {
    // This test program again, as the one that is killed: it starts a program and says its id.
    if std::env::var_os("PRACTICE_VICTIM").is_some() {
        let running = shell("sleep 1000").start().unwrap();
        println!("started {}", running.id());
        std::thread::sleep(Duration::from_secs(1000));
    }
    let this = std::env::current_exe().unwrap();
    let name = "a_process_that_is_killed_leaves_nothing_running";
    let mut victim = Invocation::new(this)
        .args([name, "--exact", "--nocapture"])
        .env("PRACTICE_VICTIM", "1")
        .start()
        .unwrap();
    let line = victim.line(LIMIT, |line| line.contains("started ")).unwrap();
    let id = line.rsplit(' ').next().unwrap().to_owned();
    assert!(std::path::Path::new(&format!("/proc/{id}")).exists());
    drop(victim);
    let until = Instant::now() + LIMIT;
    while std::fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
    {
        assert!(Instant::now() < until, "{id} still runs");
        std::thread::yield_now();
    }
}
