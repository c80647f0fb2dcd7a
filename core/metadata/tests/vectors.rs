//! The cases of `conformance/metadata`, answered by `decide` and `render` without a server.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, helpers included"
)]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use cloud::RoleArn;
use conformance::{
    AnswerSeen, Case, Exchange, Outcome, Report, Requirement, Run, Targets, metadata_cases,
};
use metadata::{
    AllowList, Answer, Credentials, Door, Facts, Request, Step, Subject, TokenKey,
    answer_credentials, container_id, container_token, decide, render,
};
use secret::{SecretKey, SecretText};

const WORKLOAD: &str = "orders/prod/i-1";
const BOOT: Duration = Duration::from_secs(1_000);

/// One workload as a whole implementation: what an agent does, without the sockets.
struct Implementation {
    key: TokenKey,
    role: Option<RoleArn>,
    v1: bool,
    facts: Facts,
}

fn implementation() -> Implementation {
    Implementation {
        key: TokenKey::new(&SecretKey::new([7; 32]), [1; 16]),
        role: "arn:aws:iam::111122223333:role/apps/orders".parse().ok(),
        v1: false,
        facts: Facts {
            instance_id: Some("i-0123456789abcdef0".into()),
            instance_type: Some("m7i.large".into()),
            ami_id: Some("ami-0123456789abcdef0".into()),
            architecture: Some("x86_64".into()),
            account: "444455556666".parse().ok(),
            partition: "aws".parse().ok(),
            region: "eu-central-1".parse().ok(),
            availability_zone: Some("eu-central-1a".into()),
            availability_zone_id: Some("euc1-az2".into()),
            hostname: Some("ip-10-0-0-7.eu-central-1.compute.internal".into()),
            local_ipv4: Some([10, 0, 0, 7].into()),
            mac: Some("0a:1b:2c:3d:4e:5f".into()),
            pending_time: "2026-01-01T00:00:00Z".parse().ok(),
        },
    }
}

impl Implementation {
    fn targets(&self) -> Targets {
        let id = container_id(&self.key, WORKLOAD);
        let token = container_token(&self.key, WORKLOAD);
        let container = format!("http://169.254.170.2/v2/credentials/{}", id.expose());
        // Dates and the like are the server's.
        Targets::new("http://169.254.169.254")
            .and_then(|targets| targets.with_container(&container, Some(token.expose())))
            .and_then(|targets| {
                targets.with_pod_identity("http://169.254.170.23/v1/credentials", token.expose())
            })
            .unwrap()
            .without(Requirement::Http)
    }

    fn answer(&self, exchange: &Exchange, random: [u8; 16]) -> Answer {
        let door = match exchange.door {
            conformance::Door::Instance => Door::Instance,
            conformance::Door::Container => Door::Container,
            conformance::Door::PodIdentity => Door::PodIdentity,
        };
        let headers =
            exchange.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let request = Request::new(&exchange.method, &exchange.target, headers);
        let subject = Subject {
            workload: WORKLOAD,
            role: self.role.as_ref(),
            v1: self.v1,
            facts: &self.facts,
            allow: &AllowList::default(),
        };
        let decision = decide(door, &request, &subject, &self.key, BOOT, random);
        match decision.step {
            Step::Answer(answer) => answer,
            Step::Host(path) => panic!("`{}` went to the host", path.as_str()),
            Step::Credentials(form) => {
                let [secret, token] = ["wJalrXUtnFEMI/K7MDENG", "IQoJb3JpZ2luX2VjE=="]
                    .map(|text| SecretText::new(text.into()));
                let body = render(
                    form,
                    &Credentials {
                        access_key_id: "ASIAIOSFODNN7EXAMPLE",
                        secret_access_key: &secret,
                        session_token: &token,
                        expiration: "2026-01-01T01:00:00Z".parse().unwrap(),
                        last_updated: "2026-01-01T00:00:00Z".parse().unwrap(),
                        role: subject.role.unwrap(),
                    },
                );
                answer_credentials(form, Arc::new(body), decision.token_ttl_left)
            }
        }
    }

    fn run(&self, cases: &[Case], targets: Targets) -> Report {
        let mut run = Run::new(cases, targets);
        let mut random = 0_u128;
        while let Some(exchange) = run.next_exchange() {
            random += 1;
            run.judge(&seen(
                &self.answer(&exchange, random.to_be_bytes()),
                exchange.method == "HEAD",
            ));
        }
        run.report().clone()
    }
}

/// As an HTTP server sends it.
fn seen(answer: &Answer, head: bool) -> AnswerSeen {
    let body = answer.body.expose();
    let mut headers: Vec<(String, String)> = answer
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone().into_owned()))
        .collect();
    headers.push(("content-length".to_owned(), body.len().to_string()));
    let body = if head { Vec::new() } else { body.to_vec() };
    AnswerSeen { status: answer.status, headers, body }
}

#[track_caller]
fn check(implementation: &Implementation, targets: Targets) -> BTreeSet<String> {
    let report = implementation.run(&metadata_cases().unwrap(), targets);
    for case in &report.cases {
        assert!(!matches!(case.outcome, Outcome::Failed { .. }), "{report}");
    }
    let passed = report.cases.into_iter().filter(|case| case.outcome == Outcome::Passed);
    passed.map(|case| case.name).collect()
}

#[test]
fn every_case_passes_for_a_workload_with_a_role_without_one_and_with_v1() {
    let with_role = implementation();
    let mut passed = check(&with_role, with_role.targets());

    let without_role = Implementation { role: None, ..implementation() };
    let targets = Targets::new("http://[fd00:ec2::254]").unwrap();
    let targets =
        targets.with(Requirement::NoRole).without(Requirement::Role).without(Requirement::Http);
    passed.extend(check(&without_role, targets));

    let v1 = Implementation { v1: true, ..implementation() };
    let targets = v1.targets().with(Requirement::V1Allowed).without(Requirement::TokensRequired);
    passed.extend(check(&v1, targets));

    for case in metadata_cases().unwrap() {
        let over_http = case.requires.contains(&Requirement::Http);
        assert!(over_http || passed.contains(&case.name), "`{}` was never run", case.name);
    }
}

#[test]
fn an_implementation_that_knows_no_facts_conforms_as_well() {
    let bare = Implementation { facts: Facts::default(), ..implementation() };
    check(&bare, bare.targets());
}

#[test]
fn the_kit_fails_an_implementation_that_does_not_ask_for_tokens() {
    let careless = Implementation { v1: true, ..implementation() };
    let report = careless.run(&metadata_cases().unwrap(), careless.targets());
    assert!(!report.conforms());
    assert!(report.failed(conformance::Severity::Must) >= 10, "{report}");
}
