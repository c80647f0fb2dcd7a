//! `rolecall-agent environment`: what a launcher gives to a workload that uses a container door.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Output};

use practice::agent::built;
use practice::clients::{Client, Errand};
use practice::program::Invocation;
use practice::stage::{ENVIRONMENT, Scene, Stage};

use crate::cast::{Actor, LIMIT, Way, held, name, on_stage, until};

/// What is typed, as it is typed.
fn environment(stage: &Stage, options: &[&str]) -> Output {
    let mut command = Command::new(built("rolecall-agent").unwrap());
    command.arg("environment").args(options);
    command.arg("--config").arg(stage.agent.plan().config()).output().unwrap()
}

#[track_caller]
fn lines(output: &Output) -> Vec<(String, String)> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let line = |line: &str| {
        let (name, value) = line.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    text.lines().map(line).collect()
}

#[test]
fn each_line_is_a_variable_of_an_environment_file() {
    on_stage(name!(), &[Client::Go], &Scene::default(), |stage| {
        let actor = Actor::leased(&stage, "orders-1");
        let pid = actor.pid().to_string();
        let file = stage.workspace.folder().join("a token");
        let said = environment(&stage, &["--pid", &pid, "--token-file", file.to_str().unwrap()]);
        // In which order they come means nothing.
        let mut said = lines(&said);
        said.sort();
        let [(token, path), (address, relative)] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(token, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        assert_eq!(path, file.to_str().unwrap());
        assert_eq!(address, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        assert!(relative.starts_with("/v2/credentials/"), "{relative}");
        let errand = stage.errand("lines").unwrap().bucket(&actor.account(&stage).bucket);
        let errand = said.iter().fold(errand, |errand, (name, value)| errand.env(name, value));
        let place = |invocation| actor.workload.place(invocation);
        let answer = Client::Go.run(&stage.tools, &errand, &place, LIMIT).unwrap();
        actor.check_answer(&stage, Client::Go, &answer);
        until(|| actor.served_at(&stage) == ["container"]);
    });
}

/// Another user than root, unless a user namespace has no other.
fn another_user() -> u32 {
    const NOBODY: u32 = 65_534;
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    let has = |line: &str| {
        let numbers: Vec<u32> = line.split_whitespace().map(|it| it.parse().unwrap()).collect();
        NOBODY.checked_sub(numbers[0]).is_some_and(|above| above < numbers[2])
    };
    if map.lines().any(has) { NOBODY } else { 0 }
}

#[test]
fn the_token_file_is_for_the_user_of_the_process_alone() {
    on_stage(name!(), &[], &Scene::default(), |stage| {
        let actor = Actor::known(&stage, "orders-1");
        let user = another_user();
        let other = Invocation::new("sh").args(["-c", "echo here; exec cat"]);
        let other = other.through("setpriv", [format!("--reuid={user}")]);
        check_token_file(&stage, &actor, user, other);
        // Whoever becomes another user while running hides its memory: its folder in `/proc` is root's.
        let hides = format!("import os; os.setuid({user}); print('here', flush=True); input()");
        let hides = Invocation::new(stage.tools.python().unwrap()).args(["-c", &hides]);
        check_token_file(&stage, &actor, user, hides);
        let folder = fs::read_dir(stage.workspace.folder()).unwrap();
        let left = folder.flatten().any(|it| it.file_name().to_string_lossy().ends_with(".new"));
        assert!(!left, "a fresh file was left behind");
    });
}

/// Writes a token file for a program that runs as `user`, and looks whose it is.
#[track_caller]
fn check_token_file(stage: &Stage, actor: &Actor, user: u32, program: Invocation) {
    let mut program = actor.workload.start(program).unwrap();
    program.line(LIMIT, |line| line == "here").unwrap();
    let (pid, file) = (program.id().to_string(), stage.workspace.folder().join("token"));
    let options = ["--pid", &pid, "--token-file", file.to_str().unwrap()];
    for _ in 0..2 {
        let said = environment(stage, &options);
        lines(&said);
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!((metadata.uid(), metadata.permissions().mode() & 0o7777), (user, 0o400));
        let token = fs::read_to_string(&file).unwrap();
        assert!(token.len() >= 32 && !token.contains(char::is_whitespace));
        // The file is there so that it need not be shown.
        assert!(!String::from_utf8(said.stdout).unwrap().contains(&token));
    }
}

#[test]
fn who_has_no_variables_is_told_why() {
    on_stage(name!(), &[], &Scene::default(), |mut stage| {
        let here = std::process::id().to_string();
        let refused = |stage: &Stage, options: &[&str], code: i32, words: &str| {
            let said = environment(stage, options);
            let error = String::from_utf8(said.stderr).unwrap();
            assert_eq!((said.status.code(), said.stdout.as_slice()), (Some(code), &[][..]));
            assert!(error.contains(words), "{options:?}: {error}");
        };
        refused(&stage, &["--pid", &here], 1, "is no workload");
        refused(&stage, &["--pid", "4194304"], 1, "does not exist");
        refused(&stage, &["--development"], 1, "[metadata]");
        refused(&stage, &[], 2, "--development");
        let actor = Actor::known(&stage, "orders-1");
        let pid = actor.pid().to_string();
        refused(&stage, &["--pid", &pid, "--token-file", "/absent/token"], 1, "/absent/token");
        refused(&stage, &["--pid", &pid, "--token-file", "a\nb"], 1, "on one line");
        stage.agent.stop().unwrap();
        refused(&stage, &["--pid", &pid], 1, "no agent listens");
    });
}

const DEVELOPMENT: &str = "\
workload = \"orders/practice/laptop\"
listen = [\"127.0.0.1:1338\"]
listen_container = [\"127.0.0.1:1339\"]
listen_pod_identity = [\"127.0.0.1:1340\", \"[::1]:1340\"]";

/// What a client finds behind a development listener.
#[track_caller]
fn check_development(stage: &Stage, client: Client, errand: Errand) {
    let account = stage.cloud.application("orders").unwrap();
    let errand = errand.bucket(&account.bucket);
    let answer = client.run(&stage.tools, &errand, &|it| it, LIMIT).unwrap();
    let arn =
        format!("arn:aws:sts::{}:assumed-role/orders/orders,{ENVIRONMENT},laptop", account.account);
    assert_eq!(answer.arn, arn);
}

#[test]
fn every_sdk_finds_the_development_workload() {
    on_stage(name!(), &Client::ALL, &Scene::default().rest(DEVELOPMENT), |stage| {
        until(|| held(&stage) == 1);
        let token = stage.workspace.folder().join("token");
        let with_file = ["--token-file", token.to_str().unwrap()];
        for client in Client::ALL {
            let errand = stage.errand(client.name()).unwrap();
            let instance = "http://127.0.0.1:1338";
            let at = errand.clone().env("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance);
            check_development(&stage, client, at);
            let doors = ["ecs", "pod-identity", "pod-identity-ipv6"];
            // A program that starts slowly shows no more by the last of them.
            let quick = [Client::Js, Client::Go, Client::Rust].contains(&client);
            for door in doors.into_iter().take(if quick { 3 } else { 2 }) {
                let options = [&["--development", "--door", door], with_file.as_slice()].concat();
                let said = lines(&environment(&stage, &options));
                let at = said.iter().fold(errand.clone(), |at, (name, value)| at.env(name, value));
                check_development(&stage, client, at);
            }
        }
        for door in [Way::Instance, Way::Ecs, Way::PodIdentity].map(Way::door) {
            let served = |line: &&serde_json::Value| line["door"] == door && line["lease"].is_u64();
            until(|| stage.agent.access().unwrap().iter().filter(served).count() >= 6);
        }
    });
}
