//! The file read again by a running agent: all of it is in force then, or nothing.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers included"
)]

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use agent::{engine::Engine, fetch::Fetcher, reload::Reloader, settings::Settings};
use aws::{HostCredentials, Sts, StsSettings};
use disk::Folder;
use issuer::{Algorithm, Lead};
use jiff::Timestamp;
use metadata::TokenKey;
use practice::agent::{Agent, Plan};
use rustix::process::{Pid, Signal, kill_process};
use secret::SecretKey;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(20);
const REGION: &str = "eu-central-1";
/// Nothing is served, so that no right is needed.
const NOTHING: &str = "[metadata]\nnamespaces = \"\"\n";
const ISSUER: &str = "[issuer]\nurl = \"https://issuer.example.com\"\n";
const DOCKER: &str = "[docker]\nsocket = \"/nonexistent/docker.sock\"\n";

fn binding(source: &str, condition: &str) -> String {
    format!(
        "[[binding]]\napplication = \"orders\"\nenvironment = \"prod\"\n\
         role = \"arn:aws:iam::222222222222:role/orders\"\nsource = {source:?}\n\
         match = {{ {condition} }}\n"
    )
}

/// An agent in a folder of its own, both gone at the end.
struct Desk {
    agent: Agent,
    folder: PathBuf,
}

impl Desk {
    fn new(file: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rolecall-reload-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let plan = Plan::new(env!("CARGO_BIN_EXE_rolecall-agent"), &folder).unwrap();
        plan.write(REGION, &format!("{NOTHING}{file}")).unwrap();
        Self { agent: plan.start().unwrap(), folder }
    }

    fn write(&self, file: &str) {
        self.agent.plan().write(REGION, &format!("{NOTHING}{file}")).unwrap();
    }

    /// The line of the file that begins like this.
    fn line(&self, start: &str) -> usize {
        let text = fs::read_to_string(self.agent.plan().config()).unwrap();
        1 + text.lines().position(|line| line.starts_with(start)).unwrap()
    }

    fn bindings(&self) -> u64 {
        self.agent.command(&["status"]).unwrap()["bindings"].as_u64().unwrap()
    }

    /// The new file is refused for this reason, and the old one stays in force.
    #[track_caller]
    fn refused(&self, reason: &str) {
        let before = self.agent.command(&["status"]).unwrap();
        let refused = self.agent.attempt(&["reload"]).unwrap();
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
        let after = self.agent.command(&["status"]).unwrap();
        for key in ["generation", "bindings"] {
            assert_eq!(before[key], after[key], "{key}");
        }
    }

    fn hang_up(&self) {
        let id = i32::try_from(self.agent.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::HUP).unwrap();
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // The folder goes in any case.
        let _ = self.agent.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < limit, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn after_a_rotation_to_another_algorithm_the_agent_starts_again() {
    let mut desk = Desk::new(ISSUER);
    let (folder, now) = (Folder::open(&desk.agent.plan().data()).unwrap(), Timestamp::now());
    let mut ring = folder.existing_issuer_keys().unwrap().unwrap();
    assert_eq!(ring.active().algorithm(), Algorithm::Es256);
    ring.publish(folder.new_issuer_key(Algorithm::Rs256).unwrap(), now).unwrap();
    ring.rotate(now, Lead::Waived).unwrap();
    folder.keep_issuer_keys(&ring).unwrap();
    desk.agent.command(&["reload"]).unwrap();
    desk.agent.stop().unwrap();
    desk.agent.resume().unwrap();
    let kept = folder.existing_issuer_keys().unwrap().unwrap();
    assert_eq!(kept.active().kid(), ring.active().kid());
}

#[test]
fn a_binding_that_needs_a_restart_is_refused_by_a_reload() {
    let desk = Desk::new("");
    let signed = binding("web-identity", "netns = \"orders\"");
    desk.write(&format!("{ISSUER}{signed}"));
    let line = desk.line("source");
    let reason = "`source = \"web-identity\"` needs a restart: the agent was started without an \
                  [issuer]";
    desk.refused(&format!("agent.toml:{line}:1: {reason}"));

    let labelled = binding("assume-role", "netns = \"orders\", labels = { app = \"orders\" }");
    desk.write(&format!("{DOCKER}{labelled}"));
    let line = desk.line("match");
    let reason = "`labels` needs a restart: the agent was started without a [docker] section";
    desk.refused(&format!("agent.toml:{line}:29: {reason}"));

    // What needs neither is in force at once.
    desk.write(&binding("assume-role", "netns = \"orders\""));
    assert_eq!(desk.agent.command(&["reload"]).unwrap()["needs_restart"], json!([]));
    assert_eq!(desk.bindings(), 1);
}

#[test]
fn a_binding_that_needs_what_the_agent_was_started_with_is_put_in_force_by_a_reload() {
    let desk = Desk::new(&format!("{ISSUER}{DOCKER}"));
    let labelled = binding("web-identity", "labels = { app = \"orders\" }, netns = \"orders\"");
    desk.write(&format!("{ISSUER}{DOCKER}{labelled}"));
    desk.agent.command(&["reload"]).unwrap();
    assert_eq!(desk.bindings(), 1);
}

#[test]
fn what_needs_a_restart_is_named_by_every_reload_until_then_and_after_a_signal() {
    let desk = Desk::new("");
    desk.hang_up();
    until("a report", || desk.agent.said().contains("is in force"));
    assert!(!desk.agent.said().contains("needs a restart"), "{}", desk.agent.said());
    desk.write("[sts]\ntimeout_s = 3\n[host]\nmetadata = \"http://127.0.0.1:9\"\n");
    for _ in 0..2 {
        let said = desk.agent.command(&["reload"]).unwrap();
        assert_eq!(said["needs_restart"], json!(["host.metadata", "sts"]));
    }
    desk.hang_up();
    let words = "is in force, but what changed in host.metadata, sts needs a restart";
    until("the report", || desk.agent.said().contains(words));
}

#[test]
fn a_reload_never_makes_a_new_key_of_the_issuer() {
    let desk = Desk::new(ISSUER);
    let data = desk.agent.plan().data();
    fs::rename(data.join("issuer.json"), data.join("away.json")).unwrap();
    desk.refused("the issuer's keys are gone from");
    assert!(!data.join("issuer.json").exists());
    fs::rename(data.join("away.json"), data.join("issuer.json")).unwrap();
    desk.agent.command(&["reload"]).unwrap();
}

#[test]
fn reloads_that_cross_come_one_after_the_other() {
    let desk = Desk::new("");
    let plan = desk.agent.plan();
    let settings = Settings::read(&plan.config(), 1).unwrap();
    let region = settings.config.region.clone();
    let tokens = TokenKey::new(&SecretKey::new([7; 32]), [1; 16]);
    let sts = StsSettings {
        region,
        endpoint: None,
        timeout: PATIENCE,
        mark: None,
        host_credentials: HostCredentials::None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fetcher = Arc::new(Fetcher {
        engine: Arc::new(Engine::new(settings, tokens, 7)),
        sts: runtime.block_on(Sts::new(&sts)),
        signer: None,
        control: None,
        nudge: Arc::default(),
        leases_changed: tokio::sync::watch::channel(0).0,
        calls: std::sync::OnceLock::new(),
    });
    let folder = Folder::open(&plan.data()).unwrap();
    let reloader = Reloader::new(plan.config(), folder, Arc::clone(&fetcher));
    let mut generations = thread::scope(|scope| {
        let reload = || (0..50).map(|_| reloader.reload().unwrap().generation).collect::<Vec<_>>();
        let running: Vec<_> = (0..4).map(|_| scope.spawn(reload)).collect();
        running.into_iter().flat_map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    generations.sort_unstable();
    assert_eq!(generations, (2..=201).collect::<Vec<_>>());
    assert_eq!(fetcher.engine.settings().generation, 201);
}
