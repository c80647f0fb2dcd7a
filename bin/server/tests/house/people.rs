//! People: sessions, groups, policies.

use api::login::{COOKIE, CSRF_HEADER};
use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::json;

use crate::place::{As, House};

const ME: &str = "/v1/me";

#[track_caller]
fn check(house: &House, session: &str, problem: &str) {
    let said = house.ask(&As { bearer: Some(session), ..As::default() }, Method::GET, ME, None);
    assert_eq!(said.problem(), problem, "{said:?}");
}

#[test]
fn a_one_time_token_works_once_and_the_ledger_knows_of_both_tries() {
    let house = House::new("");
    house.admin();
    let asked = json!({ "token": house.first_admin });
    let again = house.ask(&As::default(), Method::POST, "/v1/login/token", Some(&asked));
    assert_eq!(again.problem(), "login-refused");
    let events = house.events();
    assert_eq!((events["login.done"], events["login.refused"]), (1, 1));
    assert!(house.ledger().iter().all(|entry| !format!("{entry:?}").contains(&house.first_admin)));
}

#[test]
fn wrong_one_time_tokens_are_counted_in_the_ledger_and_do_not_fill_it() {
    let house = House::new("");
    let wrong = || {
        let asked = json!({ "token": "rca_made-up" });
        let said = house.ask(&As::default(), Method::POST, "/v1/login/token", Some(&asked));
        assert_eq!(said.problem(), "login-refused");
    };
    (0..20).for_each(|_| wrong());
    assert_eq!(house.events()["login.refused"], 1);
    house.later(SignedDuration::from_mins(1));
    wrong();
    let ledger = house.ledger();
    let told = ledger.iter().filter(|entry| entry.event == "login.refused");
    let unsaid: Vec<_> = told.map(|entry| entry.detail["unsaid"].as_u64()).collect();
    assert_eq!(unsaid, [Some(0), Some(19)]);
}

#[test]
fn a_one_time_token_ends_after_a_day() {
    let house = House::new("");
    house.later(SignedDuration::from_hours(25));
    let asked = json!({ "token": house.first_admin });
    let said = house.ask(&As::default(), Method::POST, "/v1/login/token", Some(&asked));
    assert_eq!(said.problem(), "login-refused");
}

#[test]
fn a_session_ends_when_it_rests_and_not_while_it_is_used() {
    let house = House::new("");
    let session = house.person("ann", &["viewer"]);
    for _ in 0..3 {
        check(&house, &session, "");
        house.later(SignedDuration::from_mins(50));
    }
    check(&house, &session, "");
    house.later(SignedDuration::from_mins(61));
    check(&house, &session, "not-signed-in");
}

#[test]
fn a_logout_ends_the_session_at_once() {
    let house = House::new("");
    let session = house.person("ann", &["viewer"]);
    let who = As { bearer: Some(&session), ..As::default() };
    let said = house.ask(&who, Method::POST, "/v1/logout", None);
    assert_eq!(said.status, StatusCode::NO_CONTENT);
    check(&house, &session, "not-signed-in");
    assert_eq!(house.events()["logout.done"], 1);
}

#[test]
fn a_cookie_alone_changes_nothing() {
    let house = House::new("");
    let session = house.person("ann", &["viewer"]);
    let cookie = format!("{COOKIE}={session}");
    let with_cookie = As { headers: vec![("cookie", &cookie)], ..As::default() };
    let me = house.ask(&with_cookie, Method::GET, ME, None);
    assert_eq!(me.status, StatusCode::OK);
    let csrf = me.json()["csrf"].as_str().unwrap().to_owned();
    let said = house.ask(&with_cookie, Method::POST, "/v1/logout", None);
    assert_eq!(said.problem(), "cross-site");
    for wrong in ["", "wrong", &session] {
        let mut who = with_cookie.clone();
        who.headers.push((CSRF_HEADER, wrong));
        assert_eq!(house.ask(&who, Method::POST, "/v1/logout", None).problem(), "cross-site");
    }
    let mut who = with_cookie.clone();
    who.headers.push((CSRF_HEADER, &csrf));
    assert_eq!(house.ask(&who, Method::POST, "/v1/logout", None).status, StatusCode::NO_CONTENT);
    assert_eq!(house.ask(&with_cookie, Method::GET, ME, None).problem(), "not-signed-in");
}

#[test]
fn groups_and_shutting_out_count_from_the_next_request_on() {
    let house = House::new("");
    let (admin, session) = (house.admin(), house.person("ann", &[]));
    check(&house, &session, "not-allowed");
    let who = As { bearer: Some(&admin), ..As::default() };
    let asked = json!({ "groups": ["viewer"], "reason": "new colleague" });
    let said = house.ask(&who, Method::PUT, "/v1/people/ann/groups", Some(&asked));
    assert_eq!(said.json()["groups"], json!(["viewer"]));
    check(&house, &session, "");
    let asked = json!({ "reason": "left" });
    let said = house.ask(&who, Method::POST, "/v1/people/ann/disable", Some(&asked));
    assert_eq!(said.status, StatusCode::OK);
    check(&house, &session, "not-signed-in");
    let said = house.ask(&who, Method::POST, "/v1/people/nobody/disable", Some(&asked));
    assert_eq!(said.problem(), "not-found");
    let listed = house.ask(&who, Method::GET, "/v1/people?limit=1", None).json();
    assert_eq!((listed["items"].as_array().unwrap().len(), listed["next"].is_string()), (1, true));
}

#[test]
fn policies_that_lock_everybody_out_or_are_none_are_refused() {
    let house = House::new("");
    let admin = house.admin();
    let who = As { bearer: Some(&admin), ..As::default() };
    for text in ["", "permit (", "permit (principal, action == Action::\"Vew\", resource);"] {
        let asked = json!({ "text": text, "reason": "test" });
        let said = house.ask(&who, Method::PUT, "/v1/policies", Some(&asked));
        assert_eq!(said.problem(), "invalid", "{text}");
        assert!(said.json()["fields"]["text"].is_string());
    }
    let shown = house.ask(&who, Method::GET, "/v1/policies", None).json();
    assert_eq!(
        (shown["version"].as_u64(), shown["text"].as_str()),
        (Some(1), Some(server::policies::SHIPPED))
    );
    assert_eq!(house.events().get("policies.put"), None);
}

#[test]
fn new_policies_count_at_once_and_a_dry_run_tells_whom_they_touch() {
    let house = House::new("");
    let (admin, viewer) = (house.admin(), house.person("ann", &["viewer"]));
    let who = As { bearer: Some(&admin), ..As::default() };
    let ann = As { bearer: Some(&viewer), ..As::default() };
    assert_eq!(house.ask(&ann, Method::GET, "/v1/ledger", None).problem(), "not-allowed");
    let more = format!(
        "{}\npermit (principal == Person::\"ann\", action == Action::\"ReadLedger\", resource);\n",
        server::policies::SHIPPED
    );
    let asked = json!({ "text": more });
    let tried = house.ask(&who, Method::POST, "/v1/policies/dry-run", Some(&asked)).json();
    let changes = tried["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{tried}");
    assert_eq!(changes[0]["person"], "ann");
    assert_eq!(
        (changes[0]["was_allowed"].as_bool(), changes[0]["would_be_allowed"].as_bool()),
        (Some(false), Some(true))
    );
    assert_eq!(house.ask(&ann, Method::GET, "/v1/ledger", None).problem(), "not-allowed");
    let asked = json!({ "text": more, "reason": "the auditor" });
    let put = house.ask(&who, Method::PUT, "/v1/policies", Some(&asked));
    assert_eq!(put.json()["version"], 2);
    assert_eq!(house.ask(&ann, Method::GET, "/v1/ledger", None).status, StatusCode::OK);
    let wrong = json!({ "text": "permit (" });
    let tried = house.ask(&who, Method::POST, "/v1/policies/dry-run", Some(&wrong)).json();
    assert!(!tried["errors"].as_array().unwrap().is_empty());
}
