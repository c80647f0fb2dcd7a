//! The client against real TLS servers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking, helpers included"
)]

#[path = "client/host.rs"]
mod host;

use std::{sync::atomic::Ordering, time::Duration};

use api::{
    Client, Kind, Problem,
    agents::{OrdersAsked, ReadOrders},
    client::{Address, AskError, Identity, InvalidSettings, Settings, Trust},
    health::ReadHealth,
    issuer::{AddIssuerKey, Algorithm, KeyFacts},
    login::{Logout, ReadMe},
    trust::Fingerprint,
};
use host::{Authority, Life, Says, Server};
use secret::SecretText;

const HEALTH: &str = r#"{"version":"1","started":"2026-01-01T00:00:00Z","revision":7,"later":1}"#;

/// Long enough for a machine that is busy with other tests.
const TIMEOUT: Duration = Duration::from_secs(20);

fn settings(addresses: &[&Server], trust: Trust) -> Settings {
    let addresses = addresses.iter().map(|server| server.address()).collect();
    Settings { addresses, trust, identity: None, bearer: None, timeout: TIMEOUT }
}

fn client(addresses: &[&Server], authority: &Authority) -> Client {
    Client::new(settings(addresses, Trust::Authority(authority.pem()))).unwrap()
}

/// An address at which nobody listens.
fn nowhere() -> Address {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("https://{}", listener.local_addr().unwrap()).parse().unwrap()
}

async fn revision(client: &Client) -> Result<u64, AskError> {
    client.ask::<ReadHealth>(&(), &(), &()).await.map(|health| health.revision)
}

#[track_caller]
fn check_untrusted(error: Result<u64, AskError>, words: &str) {
    let Err(AskError::Untrusted { why, .. }) = error else { panic!("{error:?}") };
    assert!(why.contains(words), "{why}");
}

#[tokio::test]
async fn an_answer_is_read_and_what_is_new_in_it_passed_over() {
    let authority = Authority::new();
    let server = Server::start(&authority, Life::Now, vec![Says::json(HEALTH)]).await;
    let client = client(&[&server], &authority);
    assert_eq!(revision(&client).await.unwrap(), 7);
    let healthy = client.health().await.unwrap();
    let time = healthy.time.expect("the server says what its clock says");
    assert!(jiff::Timestamp::now().duration_since(time).abs() < jiff::SignedDuration::from_mins(1));
}

#[tokio::test]
async fn a_server_is_known_by_pin_fingerprint_or_authority_and_by_nothing_else() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let server = Server::start(&authority, Life::Now, vec![Says::json(HEALTH)]).await;
    let ask = async |trust| revision(&Client::new(settings(&[&server], trust)).unwrap()).await;
    let (ours, theirs) = (authority.fingerprint(), foreign.fingerprint());

    for trust in [
        Trust::Authority(authority.pem()),
        Trust::Authority(foreign.pem() + &authority.pem()),
        Trust::Pin(ours.pin()),
        Trust::Fingerprint(ours),
    ] {
        assert_eq!(ask(trust).await.unwrap(), 7);
    }
    check_untrusted(ask(Trust::Authority(foreign.pem())).await, "not of the authority");
    check_untrusted(ask(Trust::Pin(theirs.pin())).await, "expected fingerprint");
    check_untrusted(ask(Trust::Fingerprint(theirs)).await, "expected fingerprint");
    // The leaf's own fingerprint is not that of an authority.
    let leaf = Fingerprint::of_der(server.leaf());
    check_untrusted(ask(Trust::Fingerprint(leaf)).await, "expected fingerprint");
}

#[tokio::test]
async fn an_authority_that_is_shown_but_did_not_sign_vouches_for_nobody() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let server = Server::showing(&foreign, &authority, vec![Says::json(HEALTH)]).await;
    let pinned = Trust::Pin(authority.fingerprint().pin());
    let client = Client::new(settings(&[&server], pinned)).unwrap();
    let error = revision(&client).await;
    assert!(matches!(error, Err(AskError::Untrusted { .. })), "{error:?}");
    assert_eq!(server.asked.load(Ordering::Relaxed), 0, "nothing was sent");
}

#[tokio::test]
async fn a_certificate_that_has_ended_or_names_another_server_is_not_trusted() {
    let authority = Authority::new();
    for (life, words) in [(Life::Ended, "expired"), (Life::OtherName, "not valid for name")] {
        let server = Server::start(&authority, life, vec![Says::json(HEALTH)]).await;
        let pin = authority.fingerprint().pin();
        for trust in [Trust::Authority(authority.pem()), Trust::Pin(pin)] {
            let client = Client::new(settings(&[&server], trust)).unwrap();
            check_untrusted(revision(&client).await, words);
        }
    }
}

#[tokio::test]
async fn a_host_shows_its_certificate_and_a_new_one_without_dropping_what_is_under_way() {
    let authority = Authority::new();
    let server = Server::start(&authority, Life::Now, vec![Says::Subject]).await;
    let held = Server::start(&authority, Life::Now, vec![Says::Held]).await;
    let subject = async |client: &Client| {
        let me = client.ask::<ReadMe>(&(), &(), &()).await.unwrap();
        me.person.id
    };
    let plain = client(&[&server], &authority);
    assert_eq!(subject(&plain).await, "nobody");

    let (first, second) = (authority.identity("host-1"), authority.identity("host-2"));
    let mut with = settings(&[&server], Trust::Authority(authority.pem()));
    with.identity = Some(first.clone());
    let client = Client::new(with.clone()).unwrap();
    assert_eq!(subject(&client).await, "host-1");
    client.set_identity(&second).unwrap();
    assert_eq!(subject(&client.clone()).await, "host-2");

    with.addresses = vec![held.address()];
    let client = Client::new(with).unwrap();
    let under_way = tokio::spawn(client.ask::<ReadMe>(&(), &(), &()));
    held.was_asked().await;
    client.set_identity(&second).unwrap();
    held.release.add_permits(1);
    assert_eq!(under_way.await.unwrap().unwrap().person.id, "host-1");

    let (certificate_pem, key_pem) = (first.certificate_pem, second.key_pem);
    let mixed = client.set_identity(&Identity { certificate_pem, key_pem });
    assert!(matches!(mixed, Err(InvalidSettings::Identity(_))), "{mixed:?}");
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority_is_refused_and_said_so() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let server = Server::start(&authority, Life::Now, vec![Says::Subject]).await;
    let mut settings = settings(&[&server], Trust::Authority(authority.pem()));
    settings.identity = Some(foreign.identity("host-1"));
    let error = Client::new(settings).unwrap().ask::<ReadMe>(&(), &(), &()).await.unwrap_err();
    assert!(matches!(error, AskError::IdentityRefused { .. }), "{error:?}");
}

#[tokio::test]
async fn the_client_goes_to_the_next_address_and_stays_there() {
    let authority = Authority::new();
    let busy = Says::problem(&Problem::new(Kind::Busy, "stopping"));
    let bad_gateway = Says::Text(502, "text/html", "<h1>Bad Gateway</h1>".to_owned());
    for first in [busy, bad_gateway, Says::Nothing] {
        let first = Server::start(&authority, Life::Now, vec![first]).await;
        let second = Server::start(&authority, Life::Now, vec![Says::json(HEALTH)]).await;
        let client = client(&[&first, &second], &authority);
        for _ in 0..2 {
            assert_eq!(revision(&client).await.unwrap(), 7);
        }
        assert_eq!(first.asked.load(Ordering::Relaxed), 1);
        assert_eq!(second.asked.load(Ordering::Relaxed), 2);
        assert_eq!(client.address(), &second.address());
    }
}

#[tokio::test]
async fn an_address_where_nobody_or_a_stranger_answers_is_passed_over() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let stranger = Server::start(&foreign, Life::Now, vec![Says::json(HEALTH)]).await;
    let good = Server::start(&authority, Life::Now, vec![Says::json(HEALTH)]).await;
    for first in [nowhere(), stranger.address()] {
        let mut settings = settings(&[&good], Trust::Authority(authority.pem()));
        settings.addresses.insert(0, first);
        assert_eq!(revision(&Client::new(settings).unwrap()).await.unwrap(), 7);
    }
    let mut settings = settings(&[&stranger], Trust::Authority(authority.pem()));
    settings.addresses.push(nowhere());
    check_untrusted(
        revision(&Client::new(settings.clone()).unwrap()).await,
        "not of the authority",
    );
    settings.addresses.remove(0);
    let error = revision(&Client::new(settings).unwrap()).await.unwrap_err();
    let AskError::Unreachable(tried) = &error else { panic!("{error:?}") };
    assert_eq!(tried.len(), 1);
    assert!(error.to_string().contains(&tried[0].address.to_string()), "{error}");
}

#[tokio::test]
async fn what_may_have_been_done_is_not_asked_again() {
    let authority = Authority::new();
    let facts = KeyFacts { algorithm: Algorithm::Es256, kms_key: None };
    for first in [Says::Nothing, Says::Text(502, "text/html", String::new())] {
        let first = Server::start(&authority, Life::Now, vec![first]).await;
        let second = Server::start(&authority, Life::Now, vec![Says::json("{}")]).await;
        let client = client(&[&first, &second], &authority);
        let error = client.ask::<AddIssuerKey>(&(), &(), &facts).await.unwrap_err();
        assert!(matches!(error, AskError::Lost { .. } | AskError::Illegible { .. }), "{error:?}");
        assert_eq!(second.asked.load(Ordering::Relaxed), 0);
    }
    // What the first server says that it did not do, the second one may.
    let busy = Says::problem(&Problem::new(Kind::LedgerUnavailable, "the disk is full"));
    let first = Server::start(&authority, Life::Now, vec![busy]).await;
    let key = r#"{"kid":"k","algorithm":"ES256","state":"next","made":"2026-01-01T00:00:00Z","ready":"2026-01-02T00:00:00Z"}"#;
    let second = Server::start(&authority, Life::Now, vec![Says::json(key)]).await;
    let client = client(&[&first, &second], &authority);
    assert_eq!(client.ask::<AddIssuerKey>(&(), &(), &facts).await.unwrap().kid, "k");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_in_time_for_the_next() {
    let authority = Authority::new();
    // One takes the request and is silent, one does not even shake hands.
    let silent = Server::start(&authority, Life::Now, vec![Says::Held]).await;
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("https://{}", mute.local_addr().unwrap()).parse().unwrap();
    let good = Server::start(&authority, Life::Now, vec![Says::json(HEALTH)]).await;
    let mut settings = settings(&[&silent, &good], Trust::Authority(authority.pem()));
    settings.addresses.insert(0, mute);
    settings.timeout = Duration::from_secs(3);
    assert_eq!(revision(&Client::new(settings.clone()).unwrap()).await.unwrap(), 7);

    settings.addresses = vec![silent.address()];
    settings.timeout = Duration::from_millis(200);
    let error = revision(&Client::new(settings).unwrap()).await.unwrap_err();
    assert!(matches!(error, AskError::Lost { .. }), "{error:?}");
}

#[tokio::test]
async fn a_question_that_may_wait_is_waited_for() {
    let authority = Authority::new();
    let server = Server::start(&authority, Life::Now, vec![Says::Empty]).await;
    let asked = OrdersAsked { after: Some(3), wait_s: Some(api::Within::new(20).unwrap()) };
    let client = client(&[&server], &authority);
    let wait = Duration::from_secs(20);
    assert_eq!(client.wait::<ReadOrders>(&(), &asked, &(), wait).await.unwrap(), None);
    let target = server.last.lock().unwrap().clone();
    assert_eq!(target, "GET /v1/agents/orders?after=3&wait_s=20");
}

#[tokio::test]
async fn a_refusal_comes_back_as_the_servers_own_words() {
    let authority = Authority::new();
    let problem = Problem::not_allowed("ask an admin").with_instance("r-1").with_field("a", "b");
    let server = Server::start(&authority, Life::Now, vec![Says::problem(&problem)]).await;
    let error = client(&[&server, &server], &authority);
    let error = error.ask::<Logout>(&(), &(), &()).await.unwrap_err();
    assert_eq!(error.problem(), Some(&problem));
    assert_eq!(error.to_string(), "ask an admin; `a`: b");
    assert_eq!(server.asked.load(Ordering::Relaxed), 1, "another replica would say the same");
}

#[tokio::test]
async fn an_answer_that_is_none_is_said_to_be_none() {
    let authority = Authority::new();
    let long = format!("\"{}\"", "x".repeat(api::client::ANSWER_MAX));
    for (says, words) in [
        (Says::Text(200, "text/html", "<html>sign in</html>".to_owned()), "not JSON"),
        (Says::json("{"), "not what was expected"),
        (Says::json(r#"{"revision":"s3cret"}"#), "not what was expected"),
        (Says::json(&long), "more than"),
        (Says::Text(302, "text/plain", "moved".to_owned()), "302"),
        (Says::Text(500, "text/plain", "a\u{1b}[31mb".to_owned()), r"a\u{1b}[31mb"),
    ] {
        let server = Server::start(&authority, Life::Now, vec![says]).await;
        let error = revision(&client(&[&server], &authority)).await.unwrap_err();
        assert!(matches!(error, AskError::Illegible { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn a_person_shows_a_session_and_nobody_can_print_it() {
    let authority = Authority::new();
    let server = Server::start(&authority, Life::Now, vec![Says::Empty]).await;
    let mut settings = settings(&[&server], Trust::Authority(authority.pem()));
    settings.bearer = Some(SecretText::new("rcs_hunter2".to_owned()));
    let client = Client::new(settings.clone()).unwrap();
    client.ask::<Logout>(&(), &(), &()).await.unwrap();
    assert_eq!(server.bearer.lock().unwrap().as_deref(), Some("Bearer rcs_hunter2"));
    assert!(!format!("{client:?} {settings:?}").contains("hunter2"));

    client.set_bearer(None).unwrap();
    client.ask::<Logout>(&(), &(), &()).await.unwrap();
    assert_eq!(server.bearer.lock().unwrap().as_deref(), None);
    let broken = SecretText::new("rcs_\n".to_owned());
    assert_eq!(client.set_bearer(Some(&broken)), Err(InvalidSettings::Bearer));
}

#[test]
fn settings_that_cannot_be_used_say_what_is_wrong() {
    let address: Address = "https://127.0.0.1:1".parse().unwrap();
    let settings = |addresses, pem: &str| Settings {
        addresses,
        trust: Trust::Authority(pem.to_owned()),
        identity: None,
        bearer: None,
        timeout: TIMEOUT,
    };
    let none = Client::new(settings(vec![], &Authority::new().pem())).unwrap_err();
    assert_eq!(none, InvalidSettings::NoAddress);
    let empty = Client::new(settings(vec![address], "no certificate")).unwrap_err();
    assert!(matches!(empty, InvalidSettings::Authority(_)), "{empty:?}");
}
