//! The same, typed: two people sign in with a code, bind, flip, and are told how far it is.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use practice::{
    agent::built,
    people::Browser,
    program::{Finished, Invocation},
};
use serde_json::Value;

use crate::{
    deployment::Deployment,
    host::{PATIENCE, until},
    joined,
};

/// Somebody at a terminal, who is signed in.
struct Typist {
    home: PathBuf,
}

impl Typist {
    /// Signs in as on a machine without a browser: the address is opened elsewhere.
    fn sign_in(deployment: &Deployment, folder: &Path, name: &str) -> Self {
        let typist = Self { home: folder.join(name) };
        let url = format!("https://{}", deployment.address());
        let fingerprint = deployment.server.fingerprint().unwrap();
        let words = ["login", "--server", &url, "--fingerprint", &fingerprint];
        // The address is told on standard error.
        let all = typist.words(&words).through("sh", ["-c", "exec \"$@\" 2>&1", "sh"]);
        let mut login = all.start().unwrap();
        let line = login.line(PATIENCE, |line| line.starts_with("open ")).unwrap();
        Browser::default().sign_in(line.split(' ').nth(1).unwrap(), name).unwrap();
        login.wait(PATIENCE).unwrap().success().unwrap();
        typist
    }

    fn words(&self, words: &[&str]) -> Invocation {
        let rolecall = Invocation::new(built("rolecall").unwrap());
        rolecall.args(words.iter().copied()).env("ROLECALL_CONFIG_DIR", &self.home)
    }

    fn types(&self, words: &[&str]) -> Finished {
        self.words(words).run(PATIENCE).unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        let said = self.types(&[words, &["-o", "json"]].concat()).success().unwrap();
        serde_json::from_str(&said.stdout).unwrap()
    }
}

#[test]
fn two_people_bind_from_the_command_line_and_are_told_how_far_a_flip_is() {
    let (deployment, folder) = (Deployment::new(), tempfile::tempdir().unwrap());
    let ada = Typist::sign_in(&deployment, folder.path(), "ada");
    let bob = Typist::sign_in(&deployment, folder.path(), "bob");
    let host = joined(&deployment);
    let role = deployment.cloud.application("orders").unwrap().role_arn.clone().unwrap();
    ada.json(&["apps", "put", "orders", "--owner", "team-a", "--env", "prod"]);
    let words = ["bind", "propose", "--app", "orders", "--env", "prod", "--role", &role];
    ada.json(&[&words[..], &["--match-netns", "orders-*", "--reason", "a test"]].concat());
    let review = ["bind", "review", "orders/prod/1", "--approve", "--reason", "it is right"];
    assert_ne!(ada.types(&review).code, Some(0));
    bob.json(&review);
    until("the host tells of its workload", || deployment.seen().is_some());

    // The workload goes on as workloads do: it asks for credentials now and then.
    let over = AtomicBool::new(false);
    let mut client = host.client();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                client.credentials();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let on = ["switch", "on", "--fleet", "--reason", "a test", "--wait"];
        let set = ada.types(&[&on[..], &["--wait-at-most", "6s", "-o", "json"]].concat());
        over.store(true, Ordering::Relaxed);
        // It has asked, but nobody knows which credentials it had before the agent came: so it is told
        // until when some of them may live, and that this was too long to wait for.
        assert_eq!(set.code, Some(1), "{}", set.stderr);
        let told: Value = serde_json::from_str(&set.stdout).unwrap();
        assert_eq!((&told["in_scope"], &told["on"]), (&1.into(), &1.into()), "{told}");
        let (status, position) = (&told["status"], &told["position"]["position"]);
        assert_eq!((position, &status["flipped"]), (&"on".into(), &1.into()), "{told}");
        assert_eq!((&status["workloads"], &status["in_effect"]), (&1.into(), &0.into()), "{told}");
    });
    // Where nothing runs, there is nothing to wait for.
    let elsewhere = ["switch", "off", "--app", "orders", "--env", "prod", "--region", "us-east-1"];
    let set = ada.json(&[&elsewhere[..], &["--reason", "a test", "--wait"]].concat());
    assert_eq!((&set["in_scope"], &set["status"]["workloads"]), (&0.into(), &0.into()), "{set}");
    let explained = bob.json(&["token", "explain", "orders/prod/1"]);
    assert!(explained.to_string().contains(&role), "{explained}");
}
