//! Requests that no SDK sends. Each is refused, and nobody else notices.

use std::{io::ErrorKind, net::Shutdown, time::Instant};

use practice::stage::{Scene, Stage};

use crate::{
    caller::{CONTAINER, Caller, Guest, INSTANCE, POD_IDENTITY, ROLES},
    http::Line,
    stage::{guest, name, play},
};

/// What may come back.
#[derive(Clone, Copy)]
enum Wanted {
    Status(u16),
    /// The connection ends; nothing says success before it does.
    Refusal,
}
use Wanted::{Refusal, Status};

/// Sends `bytes` and reads what comes. Where they are no whole request, nothing follows them.
#[track_caller]
fn check(guest: &Guest, door: std::net::SocketAddr, bytes: &str, wanted: Wanted) {
    let mut line = Line::over(guest.connect(door).unwrap());
    let shown: String = bytes.chars().take(100).collect();
    // Whoever refuses early need not read to the end.
    let _ = line.send(bytes.as_bytes());
    if !bytes.trim_start().contains("\r\n\r\n") {
        line.stream().shutdown(Shutdown::Write).unwrap();
    }
    let said = match line.read() {
        Ok(answer) => answer,
        Err(error) => {
            let ended = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
            assert!(ended.contains(&error.kind()), "{shown:?}: {error}");
            assert!(matches!(wanted, Refusal), "{shown:?}: no answer");
            return;
        }
    };
    match wanted {
        Status(code) => assert_eq!(said.status, code, "{shown:?}: {said:?}"),
        Refusal => assert!((400..500).contains(&said.status), "{shown:?}: {said:?}"),
    }
    assert!(!said.body.contains("AccessKeyId"), "{shown:?}: {said:?}");
}

/// Requests for credentials with one thing wrong, after the right token.
fn wrong(token: &str) -> Vec<(String, Wanted)> {
    let get = |path: &str, more: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: 169.254.169.254\r\n\
             X-aws-ec2-metadata-token: {token}\r\n{more}\r\n"
        )
    };
    let long = "a".repeat(40_000);
    let many: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
    let path = format!("{ROLES}orders");
    vec![
        (get("/latest/%2e%2e%2f%252e", ""), Status(400)),
        (get("/latest/meta-data/%zz", ""), Status(400)),
        (get("/latest/\\meta-data", ""), Status(400)),
        (get(&path, &format!("X-aws-ec2-metadata-token: {token}x\r\n")), Refusal),
        (get(&path, "Host: 169.254.169.254\r\n"), Refusal),
        (get(&path, "X-Forwarded-For: 10.0.0.1\r\n"), Status(403)),
        (get(&path, "x-FORWARDED-for: \r\n"), Status(403)),
        (get(&path, "").replace("Host: 169.254.169.254", "Host: rebound.example"), Status(403)),
        (get("http://rebound.example/latest/", ""), Status(403)),
        (get(&path, "").replace("GET", "POST"), Status(405)),
        (get(&path, "").replace("GET", "BREW"), Status(405)),
        (get(&path, "").replace("HTTP/1.1", "HTTP/9.9"), Refusal),
        (get(&path, &format!("Long: {long}\r\n")), Refusal),
        (get(&format!("/{long}"), ""), Refusal),
        (get(&path, &many), Refusal),
        (get(&path, "Content-Length: -1\r\n"), Refusal),
        (get(&path, "Content-Length: 1\r\nContent-Length: 2\r\n"), Refusal),
        (get(&path, "No colon here\r\n"), Refusal),
        (get(&path, "Sp ace: x\r\n"), Refusal),
        (get(&path, "Nul: a\0b\r\n"), Refusal),
        (get("*", "").replace("GET", "OPTIONS"), Refusal),
        (get("169.254.169.254:80", "").replace("GET", "CONNECT"), Refusal),
        (format!("GET {path}\r\n"), Refusal),
        ("\0\0\0\0\r\n\r\n".to_owned(), Refusal),
        ("\r\n\r\n\r\n\r\n".to_owned(), Refusal),
        // What a TLS client says first.
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".to_owned(), Refusal),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), Refusal),
        (get(&path, "").trim_end().to_owned(), Refusal),
    ]
}

/// Lives of a session token that are none.
fn lives() -> Vec<(String, Wanted)> {
    let put = |path: &str, life: &str| {
        format!("PUT {path} HTTP/1.1\r\nHost: 169.254.169.254\r\n{life}\r\n")
    };
    let life = |text: &str| {
        put("/latest/api/token", &format!("X-aws-ec2-metadata-token-ttl-seconds: {text}\r\n"))
    };
    let mut all: Vec<_> = ["0", "21601", "-1", "+5", "1e3", "", " ", "60s", "99999999999999999999"]
        .map(|text| (life(text), Status(400)))
        .into();
    all.push((put("/latest/api/token", ""), Status(400)));
    let dated = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
    all.push((put("/2021-03-23/api/token", dated), Status(403)));
    all
}

#[test]
fn what_is_no_request_is_refused_and_harms_nobody() {
    play(name!(), &Scene::default(), |stage| {
        let (orders, billing) = (guest(&stage, "orders"), guest(&stage, "billing"));
        // A neighbour whose connection is open all the time, and the same workload's own.
        let mut lines = [billing.line(), orders.line()];
        let tokens = lines.each_mut().map(Line::token);
        let pid = stage.agent.id();
        // Somebody who never comes to the end of a head.
        let (stalled, mut slow) = (Instant::now(), orders.line());
        slow.send(b"GET /latest/ HTTP/1.1\r\nHost: 169.").unwrap();
        for (bytes, wanted) in wrong(&tokens[1]).into_iter().chain(lives()) {
            check(&orders, INSTANCE, &bytes, wanted);
        }
        for door in [CONTAINER, POD_IDENTITY] {
            for (bytes, _) in wrong(&tokens[1]) {
                check(&orders, door, &bytes, Refusal);
            }
        }
        for (line, (token, name)) in lines.iter_mut().zip(tokens.iter().zip(["billing", "orders"]))
        {
            assert_eq!(line.get(ROLES, token).body, name);
        }
        orders.credentials().1.key();
        assert!(slow.read().is_err(), "the end of the connection");
        let took = stalled.elapsed().as_secs();
        assert!((9..14).contains(&took), "{took} s");
        assert_eq!(stage.agent.id(), pid);
        assert!(
            alive(&stage) && !stage.agent.said().contains("panicked"),
            "{}",
            stage.agent.said()
        );
    });
}

#[test]
fn a_target_that_is_too_long_is_refused() {
    play(name!(), &Scene::default(), |stage| {
        let orders = guest(&stage, "orders");
        let mut line = orders.line();
        let token = line.token();
        let path = |length: usize| format!("/latest/{}", "a".repeat(length - 8));
        assert_eq!(line.get(&path(2048), &token).status, 404);
        // Neither ends the connection, nor does what follows suffer.
        assert_eq!(line.get(&path(2049), &token).status, 400);
        assert_eq!(line.get(&format!("{ROLES}?{}", "a".repeat(2048)), &token).status, 400);
        assert_eq!(line.get(ROLES, &token).body, "orders");
    });
}

fn alive(stage: &Stage) -> bool {
    stage.agent.command(&["status"]).is_ok()
}
