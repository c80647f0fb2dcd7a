//! What a test plays on, and how it waits.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use practice::{
    cloud::CloudError,
    host::{HostError, Plan, Visit, within},
    stage::{Scene, Stage, StageError},
};

use crate::caller::Guest;

/// Far more than any of these tests needs.
const LIMIT: Duration = Duration::from_secs(150);
/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);

/// The whole name of the test that this is written in.
macro_rules! name {
    () => {{
        fn here() {}
        let whole = std::any::type_name_of_val(&here);
        let (_, test) = whole.split_once("::").unwrap();
        test.strip_suffix("::here").unwrap()
    }};
}
pub(crate) use name;

/// Runs `body` on a stage in a private host; says so where there can be none here.
#[track_caller]
pub(crate) fn play(test: &str, scene: &Scene, body: impl FnOnce(Stage)) {
    let visit = within(test, LIMIT, || match Stage::set(scene) {
        Ok(stage) => body(stage),
        Err(
            error @ (StageError::Host(HostError::Missing(_))
            | StageError::Cloud(CloudError::Missing(_))),
        ) => println!("skipped: {error}"),
        Err(error) => panic!("{error}"),
    });
    match visit {
        Ok(Visit::Done) => {}
        Ok(Visit::Skipped { why }) => println!("skipped: {why}"),
        Err(error) => panic!("{error}"),
    }
}

/// As [`play`], for what can only be told apart by cgroup.
#[track_caller]
pub(crate) fn play_with_cgroups(test: &str, scene: &Scene, body: impl FnOnce(Stage)) {
    play(test, scene, |stage| match stage.workspace.cgroups() {
        Ok(_) => body(stage),
        Err(why) => println!("skipped: no cgroups: {why}"),
    });
}

/// A workload that reaches nothing but what listens in its own namespace.
pub(crate) fn guest(stage: &Stage, name: &str) -> Guest {
    Guest::new(stage.workspace.add(&Plan::new(name).without_link()).unwrap()).served()
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < limit, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The ARN of an application's role for web identity tokens.
pub(crate) fn role_of(stage: &Stage, application: &str) -> String {
    stage.cloud.application(application).unwrap().role_arn.clone().unwrap()
}

/// How many STS calls brought credentials for a role.
pub(crate) fn calls_for(stage: &Stage, role: &str) -> usize {
    let calls = stage.cloud.sts_calls().unwrap();
    calls.iter().filter(|call| call.allowed() && call.role == role).count()
}

/// A number that nothing else in this process has.
pub(crate) fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
