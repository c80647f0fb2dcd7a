//! The engine's side of the socket, played by a fixture: one recorded answer of a real engine, and every
//! way in which an answer can be bad.

#![cfg(test)]

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use docker::{ContainerSeen, Engine, EngineError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};
use workload::ContainerId;

/// The container of the recorded exchange.
const ID: &str = include_str!("recorded/podman-4.3.1.id");
/// What `podman system service` 4.3.1 sent for it, byte for byte.
const RECORDED: &[u8] = include_bytes!("recorded/podman-4.3.1.http");

fn id() -> ContainerId {
    ID.trim().parse().unwrap()
}

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "rolecall-engine-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Answers the connections one by one with `answers` and hangs up after each; returns what the engine's
/// client made of it and the request lines.
async fn ask(answers: Vec<Vec<u8>>) -> (Result<ContainerSeen, EngineError>, Vec<String>) {
    let folder = Folder::new();
    let socket = folder.0.join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let fixture = tokio::spawn(async move {
        let mut lines = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let line = String::from_utf8(request).unwrap();
            lines.push(line.lines().next().unwrap().to_owned());
            // A client that has seen enough hangs up, which is its right.
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
        lines
    });
    let seen = Engine::new(&socket).with_limit(Duration::from_secs(20)).container(&id()).await;
    (seen, fixture.await.unwrap())
}

fn http(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn inspect(rest: &str) -> Vec<u8> {
    http("200 OK", &format!(r#"{{"Id":"{}",{rest}}}"#, id()))
}

/// What one answer is taken for: `seen`, or the error's text up to the first colon.
#[track_caller]
fn check(answer: Vec<u8>, says: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = match runtime.block_on(ask(vec![answer])).0 {
        Ok(_) => "seen".to_owned(),
        Err(error) => error.to_string(),
    };
    assert!(found.starts_with(says), "{found}");
}

#[tokio::test]
async fn a_recorded_answer_of_podman_is_understood() {
    let (seen, lines) = ask(vec![RECORDED.to_vec()]).await;
    let seen = seen.unwrap();
    assert_eq!(lines, [format!("GET /v1.41/containers/{}/json HTTP/1.1", id())]);
    assert_eq!((&seen.container.id, seen.container.name.as_str()), (&id(), "web"));
    let labels: Vec<_> =
        seen.container.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("rolecall.application", "orders"), ("rolecall.empty", "")]);
    assert!(seen.running && seen.pid.is_some());
    assert_eq!(seen.sandbox, None);
}

#[tokio::test]
async fn a_sandbox_is_reported_where_the_engine_made_one() {
    let answer = inspect(
        r#""Name":"/web","State":{"Running":true,"Pid":7},
        "NetworkSettings":{"SandboxKey":"/run/docker/netns/0123456789ab"}"#,
    );
    let seen = ask(vec![answer]).await.0.unwrap();
    assert_eq!(seen.sandbox, Some(PathBuf::from("/run/docker/netns/0123456789ab")));
    assert_eq!(seen.pid.map(u32::from), Some(7));
}

#[tokio::test]
async fn a_container_that_does_not_run_has_no_pid() {
    let answer = inspect(r#""State":{"Running":false,"Pid":7},"Config":{"Labels":null}"#);
    let seen = ask(vec![answer]).await.0.unwrap();
    assert_eq!((seen.running, seen.pid), (false, None));
    assert!(seen.container.labels.is_empty() && seen.container.name.is_empty());
}

#[tokio::test]
async fn an_engine_that_calls_the_version_too_old_is_asked_in_a_newer_one() {
    let old = http("400 Bad Request", r#"{"message":"client version 1.41 is too old"}"#);
    let (seen, lines) = ask(vec![old, inspect(r#""State":{"Running":true,"Pid":7}"#)]).await;
    assert!(seen.is_ok(), "{seen:?}");
    assert!(lines[0].contains("/v1.41/") && lines[1].contains("/v1.44/"), "{lines:?}");
}

#[tokio::test]
async fn an_engine_that_takes_no_version_is_believed() {
    let old = http("400 Bad Request", r#"{"message":"client version is too old"}"#);
    let error = ask(vec![old.clone(), old]).await.0.unwrap_err();
    let message = "client version is too old".to_owned();
    assert_eq!(error, EngineError::Refused { status: 400, message });
}

#[test]
fn a_container_that_is_not_there_is_named() {
    let none = "engine knows no container";
    check(http("404 Not Found", r#"{"message":"No such container: 37dd"}"#), none);
    check(
        http(
            "404 Not Found",
            r#"{"message":"no container with name or ID found: no such container"}"#,
        ),
        none,
    );
}

#[test]
fn an_error_of_the_engine_is_passed_on_with_its_message() {
    check(
        http("500 Internal Server Error", r#"{"message":"disk\nfull"}"#),
        "engine answered 500: diskfull",
    );
    check(http("404 Not Found", "Not Found"), "engine answered 404: Not Found");
    check(http("301 Moved Permanently", ""), "engine answered 301");
}

#[test]
fn the_answer_to_another_question_is_refused() {
    let other = "b2a102854b4969b2ce98dc329c86b4fb2b06e4ad2cc8da9d8a7578c9cd2004a2";
    let state = r#""State":{"Running":true,"Pid":7}"#;
    let name = id();
    check(
        http("200 OK", &format!(r#"{{"Id":"{other}","Name":"/{name}",{state}}}"#)),
        "engine's answer cannot be used: asked for",
    );
}

#[test]
fn garbage_is_refused() {
    let unusable = "engine's answer cannot be used";
    check(http("200 OK", "<html>"), unusable);
    check(http("200 OK", ""), unusable);
    check(http("200 OK", &format!(r#"{{"Id":"{}"}}"#, id())), unusable);
    check(inspect(r#""State":{"Running":"yes","Pid":7}"#), unusable);
    check(inspect(r#""State":{"Running":true,"Pid":-1}"#), unusable);
    check(inspect(r#""State":{"Running":true,"Pid":7},"Config":{"Labels":{"a":1}}"#), unusable);
    check(http("200 OK", &"[".repeat(10_000)), unusable);
    check(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), unusable);
    check(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}".to_vec(), unusable);
}

#[test]
fn an_engine_that_hangs_up_is_unreachable() {
    check(Vec::new(), "engine behind");
    check(b"HTTP/1.1 200".to_vec(), "engine behind");
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let large = " ".repeat(Engine::ANSWER_MAX + 1);
    check(http("200 OK", &large), "engine's answer is larger than");
    let mut endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..20 {
        endless.extend(b"10000\r\n");
        endless.extend([b' '; 0x10000]);
        endless.extend(b"\r\n");
    }
    check(endless, "engine's answer is larger than");
    let header = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    check(header.into_bytes(), "engine's answer cannot be used");
}

#[test]
fn a_large_answer_within_the_limit_is_read() {
    let label = "x".repeat(900_000);
    let rest =
        format!(r#""State":{{"Running":true,"Pid":7}},"Config":{{"Labels":{{"a":"{label}"}}}}"#);
    check(inspect(&rest), "seen");
}

/// The clock of these runtimes is the test's own: it jumps to the time limit once nobody has work.
async fn slow(sent: &'static [u8]) -> EngineError {
    let folder = Folder::new();
    let socket = folder.0.join("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let held = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(sent).await.unwrap();
        stream
    });
    let error = Engine::new(&socket).container(&id()).await.unwrap_err();
    held.abort();
    error
}

#[tokio::test(start_paused = true)]
async fn a_silent_engine_is_given_up_at_the_limit() {
    for sent in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
    {
        let start = tokio::time::Instant::now();
        let error = slow(sent).await;
        assert!(matches!(error, EngineError::Slow { .. }), "{error}");
        assert!(error.may_pass());
        assert!(start.elapsed() >= Engine::LIMIT, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_missing_socket_is_named() {
    let folder = Folder::new();
    let socket = folder.0.join("engine.sock");
    let error = Engine::new(&socket).container(&id()).await.unwrap_err();
    assert_eq!(error, EngineError::SocketMissing(socket));
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_unreachable() {
    let folder = Folder::new();
    let socket = folder.0.join("engine.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let error = Engine::new(&socket).container(&id()).await.unwrap_err();
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn an_engine_that_comes_back_is_reached_again() {
    let folder = Folder::new();
    let socket = folder.0.join("engine.sock");
    let engine = Engine::new(&socket).with_limit(Duration::from_secs(20));
    assert!(engine.container(&id()).await.unwrap_err().may_pass());
    let listener = UnixListener::bind(&socket).unwrap();
    let answer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(RECORDED).await.unwrap();
        stream
    });
    assert!(engine.container(&id()).await.is_ok());
    drop(answer.await.unwrap());
}
