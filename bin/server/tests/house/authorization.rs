//! Every endpoint there is, asked by whoever may not.

use api::{Access, Described, ENDPOINTS};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::place::{As, HostIdentity, House, Said};

/// Endpoints that the tests below do not reach. There are none.
const UNCOVERED: &[&str] = &[];

/// What is put where a path varies.
const PARTS: &[(&str, &str)] = &[
    ("{application}", "orders"),
    ("{environment}", "prod"),
    ("{version}", "1"),
    ("{account}", "111122223333"),
    ("{host}", "h1"),
    ("{group}", "web"),
    ("{rule}", "web"),
    ("{id}", "1"),
    ("{kid}", "k1"),
    ("{person}", "ann"),
];

fn target(endpoint: &Described) -> String {
    let path = PARTS
        .iter()
        .fold(endpoint.path.to_owned(), |path, (part, value)| path.replace(part, value));
    assert!(!path.contains('{'), "`{path}` has a part that the test does not know");
    match endpoint.name {
        "clear-position" | "delete-group" | "delete-join-rule" | "revoke-join-token"
        | "retire-issuer-key" => {
            format!("{path}?reason=test")
        }
        "explain" => format!("{path}?workload=orders/prod/i-1"),
        _ => path,
    }
}

/// A body that the endpoint takes: what is refused is refused for who asks alone.
fn body(name: &str) -> Option<Value> {
    let role = "arn:aws:iam::111122223333:role/orders";
    let reason = json!({ "reason": "test" });
    let binding = json!({
        "application": "orders", "environment": "prod", "role": role,
        "match": { "unit": "orders.service" }, "reason": "test",
    });
    let flip = json!({ "scope": { "application": "orders" }, "position": "on", "reason": "test" });
    Some(match name {
        "login-by-token" => json!({ "token": "rca_none" }),
        "poll-device-login" => json!({ "handle": "none" }),
        "put-application" => json!({ "owner": "team", "tier": 1, "environments": ["prod"] }),
        "put-account" => json!({ "name": "orders" }),
        "revoke-host" | "disable-person" | "withdraw-binding" => reason,
        "rotate-issuer" => json!({ "reason": "test" }),
        "put-group" => json!({ "selector": { "pool": "web" }, "may_run": ["orders/prod"] }),
        "make-join-token" => json!({}),
        "put-join-rule" => json!({ "account": "111122223333", "role_name": "web" }),
        "propose-binding" | "dry-run-binding" => binding,
        "review-binding" => json!({ "approve": true, "reason": "test" }),
        "set-position" | "dry-run-position" => flip,
        "put-groups-of-person" => json!({ "groups": [], "reason": "test" }),
        "add-issuer-key" => json!({ "algorithm": "ES256" }),
        "put-policies" => json!({ "text": server::policies::SHIPPED, "reason": "test" }),
        "dry-run-policies" => json!({ "text": server::policies::SHIPPED }),
        _ => return None,
    })
}

fn ask(house: &House, who: &As<'_>, endpoint: &Described) -> Said {
    house.ask(who, endpoint.method.clone(), &target(endpoint), body(endpoint.name).as_ref())
}

#[track_caller]
fn check(endpoint: &Described, said: &Said, status: StatusCode, problem: &str) {
    let detail = String::from_utf8_lossy(&said.body);
    assert_eq!(
        (said.status, said.problem().as_str()),
        (status, problem),
        "{}: {detail}",
        endpoint.name
    );
    assert!(said.header("x-request-id")[0].starts_with("r-"));
}

#[test]
fn whoever_may_not_is_refused_at_every_endpoint() {
    let house = House::new("[limits]\nopen_burst = 10000\n");
    let admin = house.admin();
    let nobody = As::default();
    let stranger = house.person("stranger", &[]);
    let stranger = As { bearer: Some(&stranger), ..As::default() };
    let ended = As { bearer: Some("rcs_none"), ..As::default() };
    let working = house.host(&admin);
    let working = As { host: Some(&working), ..As::default() };
    let revoked: HostIdentity = house.host(&admin);
    let admin = As { bearer: Some(&admin), ..As::default() };
    let path = format!("/v1/hosts/{}/revoke", revoked.id);
    let said = house.ask(&admin, Method::POST, &path, Some(&json!({ "reason": "test" })));
    assert_eq!(said.status, StatusCode::OK, "{said:?}");
    let revoked = As { host: Some(&revoked), ..As::default() };

    let mut uncovered = Vec::new();
    for endpoint in ENDPOINTS {
        match endpoint.access {
            Access::Open => {
                let said = ask(&house, &nobody, endpoint);
                let asked_who = ["not-signed-in", "not-a-host", "not-allowed"];
                assert!(!asked_who.contains(&said.problem().as_str()), "{}", endpoint.name);
            }
            Access::Agent => {
                for who in [&nobody, &stranger, &admin] {
                    let said = ask(&house, who, endpoint);
                    check(endpoint, &said, StatusCode::UNAUTHORIZED, "not-a-host");
                }
                let said = ask(&house, &revoked, endpoint);
                check(endpoint, &said, StatusCode::FORBIDDEN, "revoked");
            }
            Access::Person(_) => {
                for who in [&nobody, &ended, &working, &revoked] {
                    let said = ask(&house, who, endpoint);
                    check(endpoint, &said, StatusCode::UNAUTHORIZED, "not-signed-in");
                }
                // Ending one's own session needs no group; the stranger's is still needed.
                if endpoint.name != "logout" {
                    let said = ask(&house, &stranger, endpoint);
                    check(endpoint, &said, StatusCode::FORBIDDEN, "not-allowed");
                }
            }
        }
        let has_body = !matches!(endpoint.method, Method::GET | Method::DELETE);
        let needs_one = has_body && matches!(endpoint.access, Access::Person(_));
        let takes_none = ["logout", "make-checkpoint"];
        if needs_one && body(endpoint.name).is_none() && !takes_none.contains(&endpoint.name) {
            uncovered.push(endpoint.name);
        }
    }
    assert_eq!(uncovered, UNCOVERED);
    let events = house.events();
    assert_eq!(events.get("policies.put"), None);
    assert_eq!(events.get("host.revoked"), Some(&1));
}

#[test]
fn every_endpoint_is_answered_exactly_once() {
    assert_eq!(server::routes::routes().missing(), Vec::<&str>::new());
    server::routes::routes().table().unwrap();
}
