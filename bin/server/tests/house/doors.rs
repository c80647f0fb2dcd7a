//! What the doors bear, and what they say.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::SignedDuration;
use serde_json::json;

use crate::place::{As, House};

/// What a connection waits for at most.
const PATIENCE: Duration = Duration::from_secs(60);
/// The shortest rest that a file may set.
const RESTS_SHORT: &str = "[limits]\nidle_s = 5\n";

#[track_caller]
fn check(
    house: &House,
    method: Method,
    target: &str,
    body: Option<&serde_json::Value>,
    problem: &str,
) {
    let said = house.ask(&As::default(), method, target, body);
    assert_eq!(said.problem(), problem, "{said:?}");
    assert_eq!(said.header("content-type"), ["application/problem+json"]);
    assert_eq!(said.header("cache-control"), ["no-store"]);
    assert_eq!(said.json()["instance"].as_str(), Some(said.header("x-request-id")[0]));
}

#[test]
fn what_cannot_be_answered_is_a_problem_that_names_the_request() {
    let house = House::new("");
    check(&house, Method::GET, "/", None, "not-found");
    check(&house, Method::GET, "/v1/nothing", None, "not-found");
    check(&house, Method::POST, "/v1/health", None, "wrong-method");
    check(&house, Method::GET, "/v1/health?a=b", None, "malformed");
    check(&house, Method::POST, "/v1/login/token", Some(&json!({ "tokn": "a" })), "malformed");
    let long = json!({ "token": "a".repeat(api::BODY_MAX) });
    check(&house, Method::POST, "/v1/login/token", Some(&long), "too-large");
    let other = As { headers: vec![("content-length", "0")], ..As::default() };
    let said = house.ask(&other, Method::POST, "/v1/login/token", None);
    assert_eq!(said.problem(), "malformed");
}

#[test]
fn a_body_that_is_not_said_to_be_json_is_not_read_as_json() {
    let house = House::new("");
    let mut tcp = Tls::open(&house);
    let body = "{\"token\":\"a\"}";
    let request = format!(
        "POST /v1/login/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    assert!(tcp.say(&request).contains("/problems/wrong-media-type"));
}

#[test]
fn whoever_asks_too_often_is_told_for_how_long_to_wait() {
    let house = House::new("[limits]\nopen_burst = 3\nopen_per_s = 1\n");
    let said: Vec<_> =
        (0..8).map(|_| house.ask(&As::default(), Method::GET, "/v1/trust", None)).collect();
    let refused: Vec<_> =
        said.iter().filter(|said| said.status == StatusCode::TOO_MANY_REQUESTS).collect();
    assert!(!refused.is_empty());
    for said in refused {
        assert_eq!(said.problem(), "rate-limited");
        assert!(said.header("retry-after")[0].parse::<u64>().unwrap() >= 1);
    }
    // Whether the server works can always be asked.
    let said = house.ask(&As::default(), Method::GET, "/v1/health", None);
    assert_eq!(said.status, StatusCode::OK);
}

#[test]
fn whoever_makes_up_sessions_is_slowed_and_whoever_has_one_is_not() {
    let house = House::new("[limits]\nopen_burst = 3\nopen_per_s = 1\n");
    let session = house.person("ann", &["viewer"]);
    let me = |session: &str| {
        let who = As { bearer: Some(session), ..As::default() };
        house.ask(&who, Method::GET, "/v1/me", None).problem()
    };
    assert_eq!(me(&session), "");
    let said: Vec<String> = (0..12).map(|_| me("rcs_none")).collect();
    assert_eq!(said[0], "not-signed-in");
    assert!(said.iter().any(|problem| problem == "rate-limited"), "{said:?}");
    assert_eq!(me(&session), "");
}

#[test]
fn whoever_connects_and_says_nothing_is_cut_off() {
    let house = House::new(RESTS_SHORT);
    let mut plain = connect(house.issuer);
    let mut begun = connect(house.issuer);
    // As HTTP/2 begins, and no further.
    begun.write_all(b"PRI * HTTP/2.0\r\n").unwrap();
    let mut tls = Tls::open(&house);
    tls.stream.flush().unwrap();
    let began = Instant::now();
    end(&mut plain);
    assert!(began.elapsed() > Duration::from_secs(3), "{:?}", began.elapsed());
    end(&mut begun);
    end(&mut tls.stream);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn whoever_speaks_http_2_and_asks_nothing_more_is_cut_off() {
    let house = House::new(RESTS_SHORT);
    let issuer = house.issuer;
    house.wait(async {
        let tcp = tokio::net::TcpStream::connect(issuer).await.unwrap();
        let (executor, io) = (TokioExecutor::new(), TokioIo::new(tcp));
        let opened = handshake::<_, _, Full<bytes::Bytes>>(executor, io).await;
        let (mut asking, connection) = opened.unwrap();
        // It answers pings for as long as it is driven.
        let connection = tokio::spawn(connection);
        let request = http::Request::get("http://issuer/.well-known/jwks.json");
        let request = request.body(Full::default()).unwrap();
        let reply = asking.send_request(request).await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK);
        reply.into_body().collect().await.unwrap();
        let began = Instant::now();
        let _ = tokio::time::timeout(PATIENCE, connection).await.unwrap();
        let after = began.elapsed();
        assert!(after > Duration::from_secs(3) && after < Duration::from_secs(30), "{after:?}");
        drop(asking);
    });
}

#[test]
fn a_request_that_waits_for_its_answer_is_no_rest() {
    let house = House::new(RESTS_SHORT);
    let host = house.host(&house.admin());
    let who = As { host: Some(&host), ..As::default() };
    let began = Instant::now();
    let target = format!("/v1/agents/orders?after={}&wait_s=12", u64::MAX / 2);
    let said = house.ask(&who, Method::GET, &target, None);
    assert!(said.status.is_success(), "{said:?}");
    assert!(began.elapsed() > Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn one_address_holds_no_more_connections_than_its_share() {
    let house = House::new("[limits]\nconnections_per_address = 2\n");
    let held = [connect(house.issuer), connect(house.issuer)];
    let answered = || {
        let mut tcp = connect(house.issuer);
        let request =
            "GET /.well-known/jwks.json HTTP/1.1\r\nhost: issuer\r\nconnection: close\r\n\r\n";
        let mut said = Vec::new();
        // A connection that is closed at once may not even take the request.
        let _ = tcp.write_all(request.as_bytes());
        let _ = tcp.read_to_end(&mut said);
        said.starts_with(b"HTTP/1.1 200")
    };
    assert!(!answered());
    drop(held);
    let began = Instant::now();
    while !answered() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_certificate_of_somebody_else_or_one_that_has_ended_makes_no_connection() {
    let house = House::new("");
    let admin = house.admin();
    let host = house.host(&admin);
    let as_host = As { host: Some(&host), ..As::default() };
    let asked = |who: &As<'_>| house.try_ask(who, Method::GET, "/v1/agents/orders", None);
    assert!(asked(&as_host).unwrap().status.is_success());

    let other = House::new("");
    let foreign = other.host(&other.admin());
    // What the client sees of it is the server's alert, or that the connection is gone.
    asked(&As { host: Some(&foreign), ..As::default() }).unwrap_err();

    // The certificate was checked when the connection was made; its end is looked at at every request.
    house.later(SignedDuration::from_hours(25));
    assert_eq!(asked(&as_host).unwrap().problem(), "not-a-host");
}

#[test]
fn the_request_log_has_a_line_for_each_request_and_no_secret() {
    let house = House::new("");
    let admin = house.admin();
    let who = As { bearer: Some(&admin), ..As::default() };
    assert_eq!(house.ask(&who, Method::GET, "/v1/me", None).status, StatusCode::OK);
    let target = "/v1/login/callback?code=planted-code&state=planted-state";
    house.ask(&As::default(), Method::GET, target, None);
    let token = house.first_admin.clone();
    let folder = house.stop();
    // The log's own thread writes what came together.
    let read = || std::fs::read_to_string(folder.path().join("requests.log")).unwrap();
    let began = std::time::Instant::now();
    while !read().contains("finish-browser-login") && began.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    let log = read();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let endpoints: Vec<&str> = lines.iter().filter_map(|line| line["endpoint"].as_str()).collect();
    assert_eq!(endpoints, ["login-by-token", "me", "finish-browser-login"]);
    assert_eq!(lines[1]["caller"], "person:local:admin");
    for secret in [admin.as_str(), &token, "planted-code", "planted-state"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_stop_ends_a_request_that_waits_and_lets_it_have_its_answer() {
    let house = House::new("");
    let host = house.host(&house.admin());
    let who = As { host: Some(&host), ..As::default() };
    let first = house.ask(&who, Method::GET, "/v1/agents/orders", None);
    let text: serde_json::Value =
        serde_json::from_str(first.json()["orders"].as_str().unwrap_or("{}")).unwrap_or_default();
    let revision = text["revision"].as_u64().unwrap_or(u64::MAX / 2);
    let get = |target: &str| {
        let uri = format!("https://localhost:{}{target}", house.api.port());
        http::Request::get(uri).body(Full::default()).unwrap()
    };
    let client = house.client(Some(&host));
    house.wait(async {
        let health = client.request(get("/v1/health")).await.unwrap();
        assert_eq!(health.version(), http::Version::HTTP_2, "both requests share a connection");
        let waiting = client.request(get(&format!("/v1/agents/orders?after={revision}&wait_s=30")));
        let waiting = tokio::spawn(waiting);
        // What is sent later on one connection comes later: once this is answered, the other is in the house.
        tokio::task::yield_now().await;
        client.request(get("/v1/health")).await.unwrap();
        let began = Instant::now();
        house.server.stop();
        let status = waiting.await.unwrap().unwrap().status();
        assert!(began.elapsed() < Duration::from_secs(20), "{status}");
        let ended = [StatusCode::NO_CONTENT, StatusCode::SERVICE_UNAVAILABLE];
        assert!(ended.contains(&status), "{status}");
    });
}

#[test]
fn the_issuers_documents_are_public_and_may_be_kept_for_a_while() {
    let house = House::new("");
    let get = |path: &str| {
        let mut tcp = TcpStream::connect(house.issuer).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: issuer\r\nconnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).unwrap();
        let mut said = String::new();
        tcp.read_to_string(&mut said).unwrap();
        said
    };
    let discovery = get("/.well-known/openid-configuration");
    assert!(discovery.starts_with("HTTP/1.1 200"), "{discovery}");
    assert!(discovery.contains("cache-control: public, max-age=300"));
    assert!(discovery.contains("http://issuer.test/.well-known/jwks.json"));
    assert!(get("/.well-known/jwks.json").contains("\"ES256\""));
    assert!(get("/v1/health").contains("/problems/not-found"));
}

/// A connection to a door that speaks plain HTTP.
fn connect(door: std::net::SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(door).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp
}

/// Waits until a connection ends. How it does is no matter.
fn end(connection: &mut impl Read) {
    let _ = connection.read_to_end(&mut Vec::new());
}

/// One connection, spoken to byte by byte.
struct Tls<'a> {
    stream: rustls::StreamOwned<rustls::ClientConnection, TcpStream>,
    _house: &'a House,
}

impl<'a> Tls<'a> {
    fn open(house: &'a House) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(house.server.authority.certificate().clone()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "localhost".try_into().unwrap();
        let session = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
        let tcp = connect(house.api);
        Self { stream: rustls::StreamOwned::new(session, tcp), _house: house }
    }

    fn say(&mut self, request: &str) -> String {
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut said = Vec::new();
        // A peer that closes without a word has said all it will.
        let _ = self.stream.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    }
}
