//! What is decided about a request, beyond what the conformance cases can see from outside.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

use std::{sync::Arc, time::Duration};

use cloud::RoleArn;
use metadata::{
    AllowList, Answer, Decision, Door, Facts, Form, Note, PathClass, Request, Step, Subject,
    TokenKey, TokenLife, answer_host, container_id, container_token, decide, unattested,
};
use proptest::prelude::*;
use secret::{SecretBytes, SecretKey};

const BOOT: Duration = Duration::from_secs(1_000);
const WORKLOAD: &str = "orders/prod/i-1";

/// A workload and what it sends; the doors are asked through it.
#[derive(Clone)]
struct Caller {
    role: Option<RoleArn>,
    v1: bool,
    allow: AllowList,
    facts: Facts,
    headers: Vec<(&'static str, String)>,
}

fn caller() -> Caller {
    Caller {
        role: "arn:aws:iam::111122223333:role/apps/orders".parse().ok(),
        v1: false,
        allow: AllowList::default(),
        facts: Facts { instance_id: Some("i-0abc".into()), ..Facts::default() },
        headers: vec![("Host", "169.254.169.254".into())],
    }
}

fn key() -> TokenKey {
    TokenKey::new(&SecretKey::new([7; 32]), [1; 16])
}

impl Caller {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn with_token(self) -> Self {
        self.with_token_of(WORKLOAD)
    }

    fn with_token_of(self, workload: &str) -> Self {
        let life = TokenLife::parse(b"60").unwrap();
        let token = key().mint(workload, life, BOOT, [0; 16]);
        self.with("X-aws-ec2-metadata-token", token.expose())
    }

    fn allowing(mut self, entries: &[&str]) -> Self {
        self.allow = AllowList::parse(entries).unwrap();
        self
    }

    fn without_role(mut self) -> Self {
        self.role = None;
        self
    }

    fn asks(&self, door: Door, method: &str, target: &str) -> Decision {
        let headers = self.headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let subject = Subject {
            workload: WORKLOAD,
            role: self.role.as_ref(),
            v1: self.v1,
            facts: &self.facts,
            allow: &self.allow,
        };
        decide(door, &Request::new(method, target, headers), &subject, &key(), BOOT, [9; 16])
    }
}

fn step(step: &Step) -> String {
    match step {
        Step::Answer(answer) if answer.status == 200 => {
            format!("200 {}", String::from_utf8_lossy(answer.body.expose()))
        }
        Step::Answer(answer) => answer.status.to_string(),
        Step::Credentials(form) => format!("{form:?}"),
        Step::Host(path) => format!("host {}", path.as_str()),
    }
}

#[track_caller]
fn check(caller: &Caller, door: Door, method: &str, target: &str, expected: &str) -> Decision {
    let decision = caller.asks(door, method, target);
    assert_eq!(step(&decision.step), expected, "{method} {target}");
    decision
}

#[track_caller]
fn check_get(caller: &Caller, target: &str, expected: &str) -> Decision {
    check(caller, Door::Instance, "GET", target, expected)
}

fn notes(decision: &Decision) -> Vec<Note> {
    decision.notes.iter().collect()
}

#[test]
fn a_read_without_a_token_is_401_and_counted_with_every_version_prefix() {
    for prefix in ["/latest", "/1.0", "/2021-03-23", "/2009-04-04", "//1.0", "/%31.0", "/x/../1.0"]
    {
        for leaf in
            ["meta-data/iam/security-credentials/orders", "meta-data/", "user-data", "", "x"]
        {
            let decision = check_get(&caller(), &format!("{prefix}/{leaf}"), "401");
            assert_eq!(notes(&decision), [Note::V1, Note::TokenMissing], "{prefix}/{leaf}");
        }
    }
    check_get(&caller(), "/", "401");
    check_get(&caller(), "/nothing/like/it", "401");
}

#[test]
fn a_workload_that_may_use_v1_is_answered_without_a_token_and_counted() {
    let old = Caller { v1: true, ..caller() };
    let decision = check_get(&old, "/latest/meta-data/iam/security-credentials/orders", "Instance");
    assert_eq!(notes(&decision), [Note::V1]);
    let decision =
        check_get(&old.clone().with_token(), "/latest/meta-data/instance-id", "200 i-0abc");
    assert_eq!(notes(&decision), []);
    check_get(
        &old.with("X-aws-ec2-metadata-token", "wrong"),
        "/latest/meta-data/instance-id",
        "401",
    );
}

#[test]
fn a_token_of_another_workload_is_401_and_counted() {
    let thief = caller().with_token_of("billing/prod/i-2");
    let decision = check_get(&thief, "/latest/meta-data/iam/security-credentials/orders", "401");
    assert_eq!(notes(&decision), [Note::TokenInvalid]);
}

#[test]
fn another_role_is_404_and_counted() {
    for name in ["billing", "orders2", "Orders", "orders/orders", "apps/orders"] {
        let path = format!("/latest/meta-data/iam/security-credentials/{name}");
        let decision = check_get(&caller().with_token(), &path, "404");
        assert_eq!(notes(&decision), [Note::WrongRole], "{name}");
    }
}

#[test]
fn a_workload_without_a_role_sees_an_instance_without_a_role() {
    let bare = caller().without_role().with_token();
    check_get(&bare, "/latest/meta-data/", "200 instance-id");
    for leaf in ["", "/info", "/security-credentials", "/security-credentials/host-role"] {
        check_get(&bare, &format!("/latest/meta-data/iam{leaf}"), "404");
    }
    check(&bare, Door::Container, "GET", "/v2/credentials/x", "400");
}

#[test]
fn the_hosts_own_role_is_lent_only_by_name_and_only_without_a_role_of_ones_own() {
    let path = "/latest/meta-data/iam/security-credentials/host-role";
    let named = caller().with_token().allowing(&["meta-data/iam/**"]);
    check_get(&named.clone().without_role(), path, &format!("host {path}"));
    check_get(&named, path, "404");
    let broad = caller().with_token().allowing(&["meta-data/**"]);
    check_get(&broad.without_role(), path, "404");
}

#[test]
fn what_gives_the_host_away_is_403_and_counted_unless_it_is_named() {
    let broad = caller().with_token().allowing(&["meta-data/**", "dynamic/**"]);
    for leaf in [
        "user-data",
        "meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
        "meta-data/public-keys/0/openssh-key",
        "meta-data/tags/instance/Name",
        "meta-data/iam-ecs-credentials/x",
        "dynamic/instance-identity/pkcs7",
        "dynamic/instance-identity/rsa2048",
        "dynamic/instance-identity/signature",
    ] {
        let path = format!("/latest/{leaf}");
        let decision = check_get(&broad, &path, "403");
        assert_eq!(notes(&decision), [Note::Refused], "{leaf}");
        assert_eq!(decision.class, PathClass::Guarded);
        check_get(&broad.clone().allowing(&[leaf]), &path, &format!("host {path}"));
    }
}

#[test]
fn a_fact_that_is_not_known_goes_to_the_host_where_it_is_allowed() {
    let allowed = caller().with_token().allowing(&["meta-data/placement/**", "dynamic/**"]);
    check_get(
        &allowed,
        "/1.0//meta-data/placement/region/?x",
        "host /1.0/meta-data/placement/region",
    );
    check_get(&allowed, "/latest/meta-data/instance-id", "200 i-0abc");
    check_get(&allowed, "/latest/meta-data/mac", "404");
    let document = "/latest/dynamic/instance-identity/document";
    check_get(&allowed, document, &format!("host {document}"));
    check_get(&caller().with_token(), document, "404");
}

#[test]
fn directories_list_what_can_be_read_below_them() {
    let mut caller = caller().with_token().allowing(&["meta-data/spot/**", "meta-data/events/x"]);
    caller.facts.region = "eu-central-1".parse().ok();
    caller.facts.account = "111122223333".parse().ok();
    check_get(&caller, "/latest", "200 dynamic\nmeta-data\nuser-data");
    check_get(&caller, "/latest/dynamic/", "200 instance-identity/");
    check_get(&caller, "/latest/dynamic/instance-identity", "200 document");
    check_get(&caller, "/latest/meta-data", "200 events/\niam/\ninstance-id\nplacement/\nspot/");
    check_get(&caller, "/latest/meta-data/placement/", "200 region");
    check_get(&caller, "/latest/meta-data/iam", "200 info\nsecurity-credentials/");
    check_get(&caller, "/latest/meta-data/services", "404");
    check_get(
        &caller.without_role(),
        "/latest/meta-data",
        "200 events/\ninstance-id\nplacement/\nspot/",
    );
}

#[test]
fn a_forwarded_request_is_403_and_counted_whatever_it_asks() {
    let forwarded = caller().with_token().with("x-forwarded-FOR", "");
    for (method, target) in
        [("GET", "/latest/meta-data/"), ("PUT", "/latest/api/token"), ("GET", "/")]
    {
        let decision = check(&forwarded, Door::Instance, method, target, "403");
        assert_eq!(notes(&decision), [Note::Forwarded]);
    }
    check(&forwarded, Door::Container, "GET", "/v2/credentials/x", "403");
    check(&forwarded, Door::PodIdentity, "GET", "/v1/credentials", "403");
}

#[test]
fn a_foreign_host_is_403_and_counted_at_every_door() {
    let rebound = Caller { headers: vec![("host", "attacker.example".into())], ..caller() };
    for door in [Door::Instance, Door::Container, Door::PodIdentity] {
        let decision = check(&rebound, door, "GET", "/v1/credentials", "403");
        assert_eq!(notes(&decision), [Note::ForeignHost]);
    }
    check_get(
        &caller().with_token(),
        "http://attacker.example/latest/meta-data/instance-id",
        "403",
    );
    let bare = Caller { headers: Vec::new(), ..caller() }.with_token();
    check_get(&bare, "/latest/meta-data/instance-id", "200 i-0abc");
}

#[test]
fn a_header_that_decides_and_comes_twice_is_400() {
    let twice = |name| caller().with_token().with(name, "1").with(name, "1");
    for name in [
        "Host",
        "X-aws-ec2-metadata-token",
        "Authorization",
        "X-AWS-EC2-Metadata-Token-TTL-Seconds",
    ] {
        let decision = check_get(&twice(name), "/latest/meta-data/instance-id", "400");
        assert_eq!(notes(&decision), [Note::Malformed], "{name}");
    }
    check_get(&twice("Accept"), "/latest/meta-data/instance-id", "200 i-0abc");
}

#[test]
fn a_minted_token_opens_the_tree() {
    let asks = caller().with("X-aws-ec2-metadata-token-ttl-seconds", "300");
    let decision = asks.asks(Door::Instance, "PUT", "/latest/api/token");
    let Step::Answer(answer) = decision.step else { panic!("{:?}", decision.step) };
    assert!(!format!("{answer:?}").contains(std::str::from_utf8(answer.body.expose()).unwrap()));
    let token = String::from_utf8(answer.body.expose().to_vec()).unwrap();
    let caller = caller().with("X-AWS-EC2-METADATA-TOKEN", &token);
    let decision = check_get(&caller, "/latest/meta-data/iam/info", "InstanceInfo");
    assert_eq!(decision.token_ttl_left, Some(300));
    assert_eq!(decision.class.as_str(), "role-info");
}

#[test]
fn a_container_id_is_good_for_its_own_workload_alone() {
    let id = |workload| container_id(&key(), workload).expose().clone();
    let path = |workload| format!("/v2/credentials/{}", id(workload));
    check(&caller(), Door::Container, "GET", &path(WORKLOAD), "Container");
    check(
        &caller(),
        Door::Container,
        "GET",
        &format!("/v1/credentials?id={}", id(WORKLOAD)),
        "Container",
    );
    let decision = check(&caller(), Door::Container, "GET", &path("billing/prod/i-2"), "400");
    assert_eq!(notes(&decision), [Note::TokenInvalid]);
    check(&caller(), Door::Container, "GET", "/v1/credentials?id=1&id=2", "400");
    check(&caller().without_role(), Door::Container, "GET", &path(WORKLOAD), "400");
}

#[test]
fn an_authorization_is_checked_wherever_it_is_sent() {
    let path = format!("/v2/credentials/{}", container_id(&key(), WORKLOAD).expose());
    let [own, other] = [WORKLOAD, "billing/prod/i-2"]
        .map(|workload| caller().with("authorization", container_token(&key(), workload).expose()));
    check(&own, Door::Container, "GET", &path, "Container");
    check(&other, Door::Container, "GET", &path, "401");
    check(&own, Door::PodIdentity, "GET", "/v1/credentials/", "PodIdentity");
    let decision = check(&other, Door::PodIdentity, "GET", "/v1/credentials", "400");
    assert_eq!(notes(&decision), [Note::TokenInvalid]);
    check(&caller(), Door::PodIdentity, "GET", "/v1/credentials", "400");
    check(&own.without_role(), Door::PodIdentity, "GET", "/v1/credentials", "404");
}

#[test]
fn a_caller_that_is_not_attested_is_403_at_every_door() {
    for door in [Door::Instance, Door::Container, Door::PodIdentity] {
        let Answer { status, body, .. } = unattested(door);
        assert!(status == 403 && !body.expose().is_empty());
    }
}

#[track_caller]
fn check_host(status: u16, content_type: &str, expected: u16, says: &str) {
    let body = Arc::new(SecretBytes::new(b"bytes of the host".to_vec()));
    let answer = answer_host(status, Some(content_type), body, Some(7));
    assert_eq!(answer.status, expected);
    assert!(String::from_utf8_lossy(answer.body.expose()).contains(says));
    assert!(answer.headers.contains(&("x-aws-ec2-metadata-token-ttl-seconds", "7".into())));
    assert!(answer.headers.iter().all(|(_, value)| !value.contains('\n')));
}

#[test]
fn of_the_hosts_answers_only_content_and_absence_are_passed_on() {
    check_host(200, "application/octet-stream", 200, "bytes of the host");
    check_host(200, "text/plain\r\nX-Evil: 1", 200, "bytes of the host");
    check_host(404, "text/html", 404, "404 - Not Found");
    check_host(401, "text/html", 404, "404 - Not Found");
    check_host(301, "text/html", 503, "503 - Service Unavailable");
    check_host(500, "text/html", 503, "503 - Service Unavailable");
    let empty = answer_host(200, None, Arc::new(SecretBytes::new(Vec::new())), None);
    assert_eq!(empty.status, 404);
}

#[test]
fn forms_and_classes_have_names_for_the_log() {
    let caller = caller().with_token();
    for (target, class) in [
        ("/latest/api/token", "token"),
        ("/latest/meta-data/iam/security-credentials/", "role-name"),
        ("/latest/meta-data/iam/security-credentials/x", "role-credentials"),
        ("/latest/meta-data/iam/x", "role"),
        ("/latest/meta-data/mac", "fact"),
        ("/latest/meta-data/placement", "listing"),
        ("/latest/dynamic/instance-identity/document", "identity-document"),
        ("/latest/user-data/x", "guarded"),
        ("/wp-admin", "other"),
        ("/%00", "malformed"),
    ] {
        assert_eq!(caller.asks(Door::Instance, "GET", target).class.as_str(), class, "{target}");
    }
    assert_eq!(
        caller.asks(Door::Container, "GET", "/v2/credentials").class.as_str(),
        "container-credentials"
    );
    assert_eq!(
        caller.asks(Door::PodIdentity, "GET", "/v1/credentials").class.as_str(),
        "pod-identity-credentials"
    );
    assert!(Form::Instance < Form::PodIdentity);
}

/// Spellings that a rule could miss.
const SPELLINGS: &str = "/(latest|1\\.0|%6catest|2020-10-27|\\.\\.|\\.|%2e%2e|/|%2f|meta-data|dynamic|user-data|iam\
    |security-credentials|orders|identity-credentials|api|token|instance-identity|pkcs7|/){0,12}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_spelling_of_any_path_is_answered_without_a_token(target in SPELLINGS) {
        let decision = caller().allowing(&["user-data", "meta-data/**"]).asks(Door::Instance, "GET", &target);
        let refused = matches!(&decision.step, Step::Answer(answer) if answer.status >= 400);
        prop_assert!(refused, "{target}: {:?}", decision.step);
    }

    #[test]
    fn no_spelling_of_a_guarded_path_reaches_the_host_by_a_broad_entry(target in SPELLINGS) {
        let caller = caller().with_token().allowing(&["meta-data/**", "dynamic/**"]);
        if let Step::Host(path) = caller.asks(Door::Instance, "GET", &target).step {
            let (_, rest) = path.as_str().split_at(1).1.split_once('/').unwrap();
            let guarded = ["user-data", "meta-data/iam", "meta-data/identity-credentials",
                "dynamic/instance-identity/pkcs7"];
            prop_assert!(!guarded.iter().any(|root| rest.starts_with(root)), "{}", path.as_str());
            prop_assert!(!["..", "//", "%"].iter().any(|part| rest.contains(part)), "{}", path.as_str());
        }
    }

    #[test]
    fn nothing_that_is_sent_makes_it_panic_or_answer_an_empty_200(
        method in "[A-Z]{0,7}", target in "\\PC{0,64}", value in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        for door in [Door::Instance, Door::Container, Door::PodIdentity] {
            for name in ["host", "authorization", "x-aws-ec2-metadata-token"] {
                let (allow, facts) = (AllowList::default(), Facts::default());
                let subject = Subject { workload: WORKLOAD, role: None, v1: true, facts: &facts, allow: &allow };
                let request = Request::new(&method, &target, [(name, value.as_slice())]);
                if let Step::Answer(answer) = decide(door, &request, &subject, &key(), BOOT, [0; 16]).step {
                    prop_assert!(answer.status != 200 || !answer.body.expose().is_empty());
                }
            }
        }
    }
}
