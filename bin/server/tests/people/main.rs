//! People sign in by a real provider: with a browser, and with a device. And who is not who they say does not.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers included"
)]

#[path = "../house/place.rs"]
#[expect(dead_code, reason = "the tests of the house use more of it")]
mod place;

use std::time::{Duration, Instant};

use api::login::COOKIE;
use http::{Method, StatusCode};
use place::{As, House, Said};
use practice::{
    people::{Browser, Provider},
    tools::Tools,
};
use serde_json::json;

/// Where the provider sends browsers back to. Nobody listens there: the tests are the browser.
const BACK: &str = "https://rolecall.test/v1/login/callback";
const BEGIN: &str = "/v1/login/browser";

/// A deployment whose people are known to a provider.
struct Stage {
    provider: Provider,
    house: House,
}

/// A browser: what it holds of ours, and what it does at the provider.
#[derive(Default)]
struct Person {
    browser: Browser,
    cookies: Vec<String>,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let people: [(&str, &[&str]); 3] =
            [("ann", &["operator", "team-orders"]), ("bob", &[]), ("local:admin", &["admin"])];
        let provider =
            Provider::start(&Tools::find(), folder.path().join("people"), BACK, &people).unwrap();
        let section = provider.section(BACK).unwrap();
        Self { provider, house: House::within(folder, &section) }
    }

    fn get(&self, person: &Person, target: &str) -> Said {
        let cookies = person.cookies.join("; ");
        let who = As { headers: vec![("cookie", &cookies)], ..As::default() };
        self.house.ask(&who, Method::GET, target, None)
    }

    /// Begins a sign-in; answers the provider's address that the browser is sent to.
    fn begin(&self, person: &mut Person, target: &str) -> String {
        let said = self.get(person, target);
        assert_eq!(said.status, StatusCode::SEE_OTHER, "{said:?}");
        person.keep(&said);
        let location = said.header("location")[0].to_owned();
        assert!(location.starts_with(&self.provider.issuer), "{location}");
        for part in ["code_challenge_method=S256", "response_type=code", "state=", "nonce="] {
            assert!(location.contains(part), "{location}");
        }
        location
    }

    /// Does what the provider asks; answers the path of ours that it sends the browser back to.
    fn consent(&self, person: &mut Person, at: &str, name: &str) -> String {
        let location = person.browser.sign_in(at, name).unwrap().unwrap();
        location.strip_prefix("https://rolecall.test").unwrap().to_owned()
    }
}

impl Person {
    /// Keeps cookies as a browser does, and holds the server to their flags.
    fn keep(&mut self, said: &Said) {
        for cookie in said.header("set-cookie") {
            for flag in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
                assert!(cookie.split("; ").any(|part| part == flag), "{cookie}");
            }
            assert!(cookie.starts_with("__Host-") && !cookie.contains("Domain"), "{cookie}");
            let pair = cookie.split(';').next().unwrap().to_owned();
            let name = pair.split('=').next().unwrap();
            self.cookies.retain(|kept| !kept.starts_with(&format!("{name}=")));
            if !pair.ends_with('=') {
                self.cookies.push(pair);
            }
        }
    }

    fn session(&self) -> Option<&str> {
        self.cookies.iter().find_map(|pair| pair.strip_prefix(&format!("{COOKIE}=")))
    }
}

/// A sign-in that must come to nothing: a page for a person, and no session.
#[track_caller]
fn check(said: &Said, words: &str) {
    let text = String::from_utf8_lossy(&said.body);
    assert_eq!(said.status, StatusCode::FORBIDDEN, "{text}");
    assert!(text.contains(words), "{text}");
    assert_eq!(said.header("content-type"), ["text/html; charset=utf-8"]);
    assert!(said.header("set-cookie").is_empty());
}

#[test]
fn a_browser_signs_in_and_has_the_groups_that_the_provider_says() {
    let (stage, mut ann) = (Stage::new(), Person::default());
    let at = stage.begin(&mut ann, "/v1/login/browser?back=/bindings");
    let back = stage.consent(&mut ann, &at, "ann");
    let said = stage.get(&ann, &back);
    assert_eq!(said.status, StatusCode::SEE_OTHER, "{}", String::from_utf8_lossy(&said.body));
    assert_eq!(said.header("location"), ["/bindings"]);
    ann.keep(&said);
    assert!(ann.session().is_some());
    assert_eq!(ann.cookies.len(), 1, "the cookie of the sign-in is over: {:?}", ann.cookies);
    let me = stage.get(&ann, "/v1/me").json();
    assert_eq!(me["person"]["id"], "ann");
    assert_eq!(me["person"]["groups"], json!(["operator", "team-orders"]));
    assert!(me["csrf"].is_string());

    // What came back once comes to nothing a second time, in the same browser or another.
    check(&stage.get(&ann, &back), "over, or was never begun here");
    assert_eq!(stage.house.events()["login.done"], 1);
}

#[test]
fn who_is_in_no_group_is_signed_in_and_may_nothing() {
    let (stage, mut bob) = (Stage::new(), Person::default());
    let at = stage.begin(&mut bob, BEGIN);
    let back = stage.consent(&mut bob, &at, "bob");
    let said = stage.get(&bob, &back);
    assert_eq!(said.header("location"), ["/"]);
    bob.keep(&said);
    assert_eq!(stage.get(&bob, "/v1/me").problem(), "not-allowed");
}

#[test]
fn another_browser_cannot_be_made_to_finish_a_sign_in() {
    let (stage, mut ann, mut eve) = (Stage::new(), Person::default(), Person::default());
    let at = stage.begin(&mut eve, BEGIN);
    let back = stage.consent(&mut eve, &at, "bob");
    check(&stage.get(&ann, &back), "another browser");
    // Nor by one that has begun a sign-in of its own.
    let at = stage.begin(&mut eve, BEGIN);
    let back = stage.consent(&mut eve, &at, "bob");
    stage.begin(&mut ann, BEGIN);
    check(&stage.get(&ann, &back), "another browser");
}

#[test]
fn a_token_for_another_nonce_a_foreign_state_and_a_no_are_refused() {
    let (stage, mut ann) = (Stage::new(), Person::default());
    let at = stage.begin(&mut ann, BEGIN);
    let nonce = at.split("nonce=").nth(1).unwrap().split('&').next().unwrap();
    let back = stage.consent(&mut ann, &at.replace(nonce, "another"), "ann");
    check(&stage.get(&ann, &back), "id token is not good");

    check(&stage.get(&ann, "/v1/login/callback?code=a&state=b"), "never begun here");
    check(&stage.get(&ann, "/v1/login/callback?code=a"), "begin again");

    let at = stage.begin(&mut ann, BEGIN);
    let state = at.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let forged = format!("/v1/login/callback?code=forged&state={state}");
    check(&stage.get(&ann, &forged), "took the code back");

    let mut other = Person::default();
    let at = stage.begin(&mut other, BEGIN);
    let back = other.browser.cancel(&at).unwrap().unwrap();
    let back = back.strip_prefix("https://rolecall.test").unwrap();
    check(&stage.get(&other, back), "said no: `access_denied`");
    assert_eq!(stage.house.events().get("login.done"), None);
}

#[test]
fn nobody_gets_an_id_that_only_this_server_gives() {
    let (stage, mut eve) = (Stage::new(), Person::default());
    let at = stage.begin(&mut eve, BEGIN);
    let back = stage.consent(&mut eve, &at, "local:admin");
    check(&stage.get(&eve, &back), "an id that nobody can have here");
}

#[test]
fn a_browser_is_sent_back_to_this_server_alone() {
    let (stage, ann) = (Stage::new(), Person::default());
    for back in ["https://evil.example.com/", "//evil.example.com", "/%5Cevil.example.com"] {
        let said = stage.get(&ann, &format!("{BEGIN}?back={back}"));
        assert_eq!(said.status, StatusCode::UNPROCESSABLE_ENTITY, "{back}");
    }
}

#[test]
fn a_device_signs_in_once_its_person_has_allowed_it() {
    let stage = Stage::new();
    let post = |target: &str, body: Option<&serde_json::Value>| {
        stage.house.ask(&As::default(), Method::POST, target, body)
    };
    let begun = post("/v1/login/device", None).json();
    let asked = json!({ "handle": begun["handle"] });
    let poll = || post("/v1/login/device/poll", Some(&asked));
    assert_eq!(poll().json()["state"], "pending");
    let mut browser = Browser::default();
    let page = begun["verification_uri_complete"].as_str().unwrap();
    assert_eq!(browser.sign_in(page, "ann").unwrap(), None);
    let began = Instant::now();
    let session = loop {
        let said = poll();
        assert_eq!(said.status, StatusCode::OK, "{}", String::from_utf8_lossy(&said.body));
        let said = said.json();
        if said["state"] == "signed-in" {
            break said["session"].clone();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{said}");
    };
    let token = session["token"].as_str().unwrap();
    let who = As { bearer: Some(token), ..As::default() };
    let me = stage.house.ask(&who, Method::GET, "/v1/me", None).json();
    assert_eq!((me["person"]["id"].as_str(), me["csrf"].is_null()), (Some("ann"), true));
    assert_eq!(poll().problem(), "login-refused");
    let unknown = json!({ "handle": "unknown" });
    assert_eq!(post("/v1/login/device/poll", Some(&unknown)).problem(), "login-refused");
}

#[test]
fn who_was_shut_out_cannot_sign_in_again() {
    let stage = Stage::new();
    let admin = stage.house.admin();
    let mut ann = Person::default();
    let at = stage.begin(&mut ann, BEGIN);
    let back = stage.consent(&mut ann, &at, "ann");
    ann.keep(&stage.get(&ann, &back));
    let who = As { bearer: Some(&admin), ..As::default() };
    let reason = json!({ "reason": "left" });
    let said = stage.house.ask(&who, Method::POST, "/v1/people/ann/disable", Some(&reason));
    assert_eq!(said.status, StatusCode::OK);
    assert_eq!(stage.get(&ann, "/v1/me").problem(), "not-signed-in");
    let at = stage.begin(&mut ann, BEGIN);
    let back = stage.consent(&mut ann, &at, "ann");
    check(&stage.get(&ann, &back), "shut out");
    assert_eq!(stage.house.events()["login.refused"], 1);
}

#[test]
fn a_provider_that_is_gone_is_a_problem_that_says_so() {
    let Stage { provider, house } = Stage::new();
    drop(provider);
    let said = house.ask(&As::default(), Method::GET, BEGIN, None);
    assert_eq!(said.status, StatusCode::BAD_GATEWAY);
    let said = house.ask(&As::default(), Method::POST, "/v1/login/device", None);
    assert_eq!(said.problem(), "upstream-unavailable");
}
