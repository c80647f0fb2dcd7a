//! What a client is told when AWS says no, in AWS's own words as far as its SDK passes them on.

use std::process::Command;

use practice::agent::built;
use practice::clients::Client;
use practice::stage::{ENVIRONMENT, Scene, Stage};

use crate::cast::{Actor, LIMIT, Way, name, on_stage, until};

/// Lets the role of `orders` trust another application, as somebody does who takes the wrong line
/// from a list.
fn trust(stage: &Stage, application: &str) {
    let role = stage.cloud.application("orders").unwrap().role_arn.as_ref().unwrap();
    let said = Command::new(built("rolecall").unwrap())
        .args(["issuer", "trust", "--role", role, "--application", application])
        .args(["--environment", ENVIRONMENT, "--config"])
        .arg(stage.agent.plan().config())
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    stage.cloud.set_trust(role, &serde_json::from_slice(&said.stdout).unwrap()).unwrap();
}

/// What SDKs pass on of a refusal. The others say no more than that there are no credentials.
const PASSED_ON: [(Client, Way); 8] = [
    (Client::Python, Way::Ecs),
    (Client::Python, Way::PodIdentity),
    (Client::Cli, Way::Ecs),
    (Client::Cli, Way::PodIdentity),
    (Client::Go, Way::Instance),
    (Client::Go, Way::Ecs),
    (Client::Go, Way::PodIdentity),
    (Client::Rust, Way::Instance),
];

#[test]
fn a_role_that_trusts_another_application_stays_shut_and_the_client_is_told() {
    on_stage(name!(), &Client::ALL, &Scene::default(), |stage| {
        trust(&stage, "billing");
        let actor = Actor::known(&stage, "orders-1");
        until(|| !actor.sts_calls(&stage).is_empty());
        for client in Client::ALL {
            for way in [Way::Instance, Way::Ecs, Way::PodIdentity] {
                let error = actor.run(&stage, client, way).unwrap_err().to_string();
                if PASSED_ON.contains(&(client, way)) {
                    let words = "AccessDenied";
                    assert!(error.contains(words), "{client} by {way:?}: {error}");
                    assert!(error.contains(NO), "{client} by {way:?}: {error}");
                }
            }
        }
        for call in actor.sts_calls(&stage) {
            assert_eq!(
                (call.verdict.as_str(), call.message.as_deref()),
                ("AccessDenied", Some(NO))
            );
            // The token was good: it is the role that does not trust who it names.
            let subject = "application:orders:environment:practice:instance:orders-1";
            assert_eq!(call.subject.as_deref(), Some(subject));
        }
        // The operator is told as well, of which workload and role.
        let said = stage.agent.said();
        let role = stage.cloud.application("orders").unwrap().role_arn.as_deref().unwrap();
        let line = said.lines().find(|line| line.contains(NO)).unwrap();
        assert!(line.contains("orders/practice/orders-1") && line.contains(role), "{line}");
    });
}

#[test]
fn a_workload_gets_nothing_with_the_variables_of_another() {
    on_stage(name!(), &[Client::Go], &Scene::default(), |stage| {
        let [orders, billing] = ["orders-1", "billing-1"].map(|name| Actor::leased(&stage, name));
        for (way, word) in [(Way::Ecs, "InvalidIdInRequest"), (Way::PodIdentity, "not valid for")] {
            let stolen = billing.errand(&stage, way);
            let place = |invocation| orders.workload.place(invocation);
            let error = Client::Go.run(&stage.tools, &stolen, &place, LIMIT).unwrap_err();
            assert!(error.to_string().contains(word), "{way:?}: {error}");
        }
        // Lines come in order: with the last refusal, all that came before is in the log.
        let refused = |line: &&serde_json::Value| line["status"].as_u64() >= Some(400);
        let doors = ["container", "pod-identity"];
        until(|| {
            let lines = stage.agent.access().unwrap();
            let refused: Vec<_> = lines.iter().filter(refused).collect();
            doors.iter().all(|door| refused.iter().any(|line| line["door"] == *door))
        });
        assert!(orders.served_at(&stage).is_empty());
    });
}

/// AWS's own words.
const NO: &str = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
