//! What a test plays on, and how it reads what was recorded.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use practice::{
    agent::Agent,
    host::{Visit, within},
    stage::{Scene, Stage},
    tools::{Missing, Tools},
};
use serde_json::Value;

/// Far more than any of these tests needs.
const LIMIT: Duration = Duration::from_secs(300);
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

/// Runs `body` on a stage of its own, unless that cannot be had here or something of `needs` is missing.
#[track_caller]
pub(crate) fn on_stage(
    name: &str,
    needs: impl FnOnce(&Tools) -> Vec<Result<PathBuf, Missing>>,
    scene: &Scene,
    body: impl FnOnce(Stage),
) {
    let tools = Tools::find();
    let stage = [tools.moto(), tools.ip(), tools.unshare(), tools.nsenter()].into_iter();
    if let Some(missing) = stage.chain(needs(&tools)).find_map(Result::err) {
        println!("skipped: {missing}");
        return;
    }
    match within(name, LIMIT, || body(Stage::set(scene).unwrap())).unwrap() {
        Visit::Done => {}
        Visit::Skipped { why } => println!("skipped: {why}"),
    }
}

/// Waits until something holds, and gives it.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < limit, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Everything that is in the agent's spool, by `rolecall-agent calls`.
pub(crate) fn recorded(agent: &Agent) -> Vec<Value> {
    agent.lines(&["calls"]).unwrap()
}

/// The entries of one kind.
pub(crate) fn of_kind<'a>(entries: &'a [Value], kind: &str) -> Vec<&'a Value> {
    entries.iter().filter(|entry| entry["entry"] == kind).collect()
}

/// What the agent says of calls.
pub(crate) fn status(agent: &Agent) -> Value {
    agent.command(&["status"]).unwrap()["calls"].clone()
}
