//! What becomes of those who wait for credentials while the file is read again, and what their
//! operator is told when none come.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that meets the unexpected must fail"
)]

use std::time::Duration;

use agent::{
    engine::{Caller, Engine, Now, Progress, Seen, Wanted},
    settings::Settings,
    status,
};
use credentials::{Credentials, FetchError, Outcome};
use jiff::{SignedDuration, Timestamp};
use metadata::{Door, Request, TokenKey};
use secret::{SecretKey, SecretText};
use serde_json::{Value, json};
use workload::{Evidence, Namespace};

const NOW: Now = Now { boot: Duration::from_secs(60), wall: Timestamp::UNIX_EPOCH };

fn settings(role: &str, switch: &str, generation: u64) -> Settings {
    settings_with(role, switch, "", generation)
}

fn settings_with(role: &str, switch: &str, more: &str, generation: u64) -> Settings {
    let text = format!(
        "region = \"eu-central-1\"\n[[binding]]\napplication = \"orders\"\nenvironment = \"prod\"\n\
         match = {{ netns = \"orders*\" }}\nrole = \"arn:aws:iam::111122223333:role/{role}\"\n\
         source = \"assume-role\"\nswitch = \"{switch}\"\n{more}\n"
    );
    Settings::parse("agent.toml", &text, generation).unwrap()
}

/// An agent with one workload that waits for its first credentials.
fn waiting() -> (Engine, Caller, Wanted) {
    let tokens = TokenKey::new(&SecretKey::new([7; 32]), [1; 16]);
    let engine = Engine::new(settings("old", "on", 1), tokens, 42);
    let namespace = Namespace { name: "orders".to_owned(), inode: 1, pinned: None };
    let caller = engine.identify(Evidence { namespace: Some(namespace), ..Evidence::default() });
    let id = metadata::container_id(engine.tokens(), "orders/prod/orders");
    let target = format!("/v2/credentials/{}", id.expose());
    let request = Request::new("GET", &target, []);
    match engine.request(NOW, &caller, Door::Container, &request, [0; 16]).0 {
        Progress::Wait(wanted) => (engine, caller, wanted),
        other => panic!("{other:?}"),
    }
}

/// After the reload whoever waits is told to ask again, and the old role is not wanted any more.
#[track_caller]
fn check(role: &str, switch: &str) {
    let (engine, caller, wanted) = waiting();
    engine.reload(NOW, settings(role, switch, 2));
    let answer = engine.serve(NOW, &wanted, &mut Seen::default()).map(|answer| answer.status);
    assert_eq!(answer, Some(503));
    // The same for who was judged just before the reload.
    engine.prefetch(NOW, &caller);
    assert!(engine.poll(NOW).0.is_empty(), "{:?}", engine.tally());
}

#[test]
fn who_waits_for_a_role_that_a_reload_took_away_is_told_to_ask_again() {
    check("new", "on");
    check("old", "off");
}

#[test]
fn who_waits_for_a_role_that_a_reload_left_goes_on_waiting() {
    let (engine, _, wanted) = waiting();
    engine.reload(NOW, settings("old", "on", 2));
    assert!(engine.serve(NOW, &wanted, &mut Seen::default()).is_none());
    assert_eq!(engine.poll(NOW).0.len(), 1);
}

/// After a reload that adds `more` to the binding, the lease that is held is still served, and
/// `fetches` are started at once.
#[track_caller]
fn check_held(more: &str, fetches: usize) {
    let (engine, _, wanted) = waiting();
    let started = engine.poll(NOW).0;
    let fetch = started.first().unwrap().id;
    let outcome = engine.fetched(NOW, fetch, Ok(credentials()));
    assert!(matches!(outcome, Outcome::Held { .. }), "{outcome:?}");
    engine.reload(NOW, settings_with("old", "on", more, 2));
    let later = Now { boot: NOW.boot + Duration::from_secs(10), ..NOW };
    let answer = engine.serve(later, &wanted, &mut Seen::default()).unwrap();
    assert_eq!((answer.status, engine.poll(later).0.len()), (200, fetches), "{more}");
}

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "ASIAEXAMPLE".to_owned(),
        secret_access_key: SecretText::new("one".to_owned()),
        session_token: SecretText::new("two".to_owned()),
        requested: Duration::from_secs(3600),
        expiration: Timestamp::from_second(3600).unwrap(),
        fetched: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn a_lease_that_is_to_be_asked_for_in_other_words_is_served_until_the_new_one_is_there() {
    check_held("tags = { team = \"a\" }", 1);
    check_held("duration_minutes = 30", 1);
    check_held("external_id = \"rolecall-orders\"", 1);
}

#[test]
fn what_sts_is_not_told_of_costs_no_call() {
    check_held("", 0);
    check_held("imdsv1 = true", 0);
}

/// Starts the fetch that is due and lets it fail.
fn fail(engine: &Engine, now: Now, error: FetchError) {
    let fetch = engine.poll(now).0.pop().unwrap();
    let outcome = engine.fetched(now, fetch.id, Err(error));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
}

fn refusal() -> FetchError {
    FetchError::HostDenied {
        code: "AccessDenied".to_owned(),
        message: "User: arn:aws:sts::111111111111:assumed-role/host/i-0abc is not authorized"
            .to_owned(),
    }
}

fn later(seconds: u64) -> Now {
    Now { boot: NOW.boot + Duration::from_secs(seconds), ..NOW }
}

#[test]
fn status_names_each_failing_lease_and_why() {
    let (engine, _, _) = waiting();
    assert_eq!(status::leases(&engine, NOW)["failing"], json!([]));
    fail(&engine, NOW, FetchError::Unavailable("connection refused".to_owned()));
    fail(&engine, later(2), refusal());
    let said = status::leases(&engine, later(2));
    assert_eq!(said["leases"]["failing"], 1);
    let mut lease = said["failing"][0].clone();
    let retry = lease.as_object_mut().unwrap().remove("retry_in_s").unwrap().as_u64().unwrap();
    assert!((15..=30).contains(&retry), "{retry}");
    assert_eq!(
        lease,
        json!({
            "workload": "orders/prod/orders",
            "role": "arn:aws:iam::111122223333:role/old",
            "reason": refusal().to_string(),
            "attempts": 2,
            "served_for_s": Value::Null,
        })
    );
    assert!(refusal().to_string().contains("assumed-role/host/i-0abc"));
}

#[test]
fn a_lease_that_is_served_but_cannot_be_renewed_is_named_with_what_is_left_of_it() {
    let (engine, _, _) = waiting();
    let fetch = engine.poll(NOW).0.pop().unwrap();
    let _ = engine.fetched(NOW, fetch.id, Ok(credentials()));
    fail(&engine, later(1800), FetchError::Throttled);
    let said = status::leases(&engine, later(1800));
    assert_eq!((&said["leases"]["failing"], &said["leases"]["strained"]), (&json!(0), &json!(1)));
    assert_eq!(said["failing"][0]["served_for_s"], 1800);
    // While it is tried again it stays in sight.
    assert_eq!(engine.poll(later(1810)).0.len(), 1);
    let said = status::leases(&engine, later(1811));
    assert_eq!(
        (&said["failing"][0]["attempts"], &said["failing"][0]["retry_in_s"]),
        (&json!(1), &json!(0))
    );
}

#[test]
fn status_names_at_most_sixty_four_failing_leases_and_counts_all() {
    let (engine, _, _) = waiting();
    for number in 0..99 {
        let name = format!("orders-{number}");
        let namespace = Namespace { name, inode: number, pinned: None };
        let evidence = Evidence { namespace: Some(namespace), ..Evidence::default() };
        engine.prefetch(NOW, &engine.identify(evidence));
    }
    // Some are started only when others have ended.
    loop {
        let fetches = engine.poll(NOW).0;
        if fetches.is_empty() {
            break;
        }
        for fetch in fetches {
            let _ = engine.fetched(NOW, fetch.id, Err(FetchError::Throttled));
        }
    }
    let said = status::leases(&engine, NOW);
    assert_eq!(said["leases"]["failing"], 100);
    assert_eq!(said["failing"].as_array().map(Vec::len), Some(64));
}

#[test]
fn a_refusal_of_the_hosts_own_role_does_not_tell_the_workload_whose_it_is() {
    let (engine, _, wanted) = waiting();
    fail(&engine, NOW, refusal());
    let answer = engine.serve(NOW, &wanted, &mut Seen::default()).unwrap();
    let body = String::from_utf8(answer.body.expose().to_vec()).unwrap();
    assert!(body.contains("AccessDenied") && body.contains("does not let this host in"), "{body}");
    assert!(!body.contains("111111111111") && !body.contains("i-0abc"), "{body}");
    // What STS says of a workload's own token is for the workload.
    let (engine, _, wanted) = waiting();
    let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity".to_owned();
    fail(&engine, NOW, FetchError::Denied { code: "AccessDenied".to_owned(), message });
    let answer = engine.serve(NOW, &wanted, &mut Seen::default()).unwrap();
    assert!(
        String::from_utf8_lossy(answer.body.expose()).contains("sts:AssumeRoleWithWebIdentity")
    );
}

#[test]
fn a_wall_clock_that_is_off_is_told_to_the_operator() {
    let (engine, _, _) = waiting();
    let mut now = NOW;
    // What the operator is told after a fetch by a clock that is this far behind, and what stands in
    // `status`.
    let mut check = |behind: i64, told: Option<&str>, shown: Value| {
        let fetch = engine.poll(now).0.pop().unwrap();
        let expiration = NOW.wall + SignedDuration::from_secs(3600 + behind);
        let brought = Credentials { expiration, ..credentials() };
        let outcome = engine.fetched(now, fetch.id, Ok(brought));
        let news = engine.skew.saw(&outcome);
        assert_eq!(news.is_some(), told.is_some(), "{behind}: {news:?}");
        assert!(news.unwrap_or_default().contains(told.unwrap_or_default()), "{behind}");
        assert_eq!(status::leases(&engine, now)["clock_skew_s"], shown, "{behind}");
        now.boot += Duration::from_secs(1800);
        // Somebody asks, and the renewal becomes due.
        let namespace = Namespace { name: "orders".to_owned(), inode: 1, pinned: None };
        let evidence = Evidence { namespace: Some(namespace), ..Evidence::default() };
        engine.prefetch(now, &engine.identify(evidence));
    };
    check(0, None, Value::Null);
    check(600, Some("600 s behind STS's"), json!(600));
    // Once for each change, not for each fetch.
    check(610, None, json!(610));
    check(-300, Some("300 s ahead of STS's"), json!(-300));
    check(5, Some("agrees with STS's again"), Value::Null);
    check(0, None, Value::Null);
}
