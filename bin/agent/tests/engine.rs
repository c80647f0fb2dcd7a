//! What becomes of those who wait for credentials while the file is read again.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that meets the unexpected must fail"
)]

use std::time::Duration;

use agent::{
    engine::{Caller, Engine, Now, Progress, Seen, Wanted},
    settings::Settings,
};
use credentials::{Credentials, Outcome};
use jiff::Timestamp;
use metadata::{Door, Request, TokenKey};
use secret::{SecretKey, SecretText};
use workload::{Evidence, Namespace};

const NOW: Now = Now { boot: Duration::from_secs(60), wall: Timestamp::UNIX_EPOCH };

fn settings(role: &str, switch: &str, generation: u64) -> Settings {
    settings_with(role, switch, "", generation)
}

fn settings_with(role: &str, switch: &str, more: &str, generation: u64) -> Settings {
    let text = format!(
        "region = \"eu-central-1\"\n[[binding]]\napplication = \"orders\"\nenvironment = \"prod\"\n\
         match = {{ netns = \"orders\" }}\nrole = \"arn:aws:iam::111122223333:role/{role}\"\n\
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
