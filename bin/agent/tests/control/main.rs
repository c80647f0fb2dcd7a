//! A host joined to the real server, with a cloud that is as strict as AWS: whose credentials a workload
//! gets, how soon a flip is in force, and what a host may have that was stolen or revoked.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, helpers included"
)]

mod deployment;
#[path = "../joined/host.rs"]
mod host;
mod typed;

use std::time::{Duration, Instant};

use api::{
    Client, Kind,
    agents::{Asked, InEffect, MintToken, TokenRequest},
    bindings::Because,
    client::{AskError, Identity, Settings, Trust},
    hosts::{HostPath, RevokeHost},
};
use deployment::Deployment;
use host::{Client as Connection, Host, PATIENCE, until};
use practice::{
    clients::{Client as Sdk, Errand},
    tools::Tools,
};
use secret::SecretText;
use serde_json::Value;

/// A host that has joined and runs.
fn joined(deployment: &Deployment) -> Host {
    let mut host = Host::new(deployment.address(), deployment.cloud.endpoint());
    host.join(&deployment.token(), &[]).success().unwrap();
    host.start().unwrap();
    host
}

/// Waits until a workload has a lease.
#[track_caller]
fn until_leased(host: &Host, client: &mut Connection) {
    let began = Instant::now();
    while !client.credentials().1.contains("ASIA") {
        assert!(began.elapsed() < PATIENCE, "no lease: {:#}", host.status());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Who boto3 says that the workload is.
fn who(deployment: &Deployment, host: &Host) -> Result<(String, String), String> {
    let folder = tempfile::tempdir().unwrap();
    let errand = Errand::new(deployment.cloud.endpoint(), "eu-west-1", folder.path()).unwrap();
    let at = format!("http://{}", host.listen);
    let errand = errand.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &at);
    let answer = Sdk::Python.run(&Tools::find(), &errand, &|invocation| invocation, PATIENCE);
    answer.map(|answer| (answer.account, answer.arn)).map_err(|error| error.to_string())
}

#[test]
fn a_flip_gives_a_workload_its_own_account_and_leases_outlive_the_server() {
    let mut deployment = Deployment::new();
    let mut host = joined(&deployment);
    deployment.bind("orders");
    deployment.until_asked(Asked::Off);
    let mut client = host.client();
    assert!(client.credentials().1.contains("HOSTKEY"));

    deployment.flip(Asked::On);
    until_leased(&host, &mut client);
    let (account, arn) = who(&deployment, &host).unwrap();
    assert_eq!(account, "222222222222");
    assert!(arn.contains("assumed-role/orders/"), "{arn}");
    let calls = deployment.cloud.sts_calls().unwrap();
    let call = calls.iter().find(|call| call.action == "AssumeRoleWithWebIdentity").unwrap();
    let subject = "application:orders:environment:prod:instance:1";
    assert_eq!((call.verdict.as_str(), call.subject.as_deref()), ("Allowed", Some(subject)));
    assert_eq!(call.tags.get("instance").map(String::as_str), Some("1"));
    until("the lease is reported", || {
        let seen = deployment.seen().unwrap();
        seen.lease.is_some() && seen.in_effect != InEffect::Off
    });

    // Off, and on again: each in force at the host within two seconds.
    for (asked, key) in [(Asked::Off, "HOSTKEY"), (Asked::On, "ASIA")] {
        let began = Instant::now();
        deployment.flip(asked);
        let on = u64::from(asked == Asked::On);
        until("the flip is in force", || host.status()["server"]["workloads"]["on"] == on);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(2), "{asked:?} took {took:?}");
        until("the workload hears of it", || client.credentials().1.contains(key));
    }

    // The server crashes: what is held is served on.
    deployment.server.kill().unwrap();
    until("the server is missed", || {
        host.status()["server"]["line"]["unreachable_since"].is_string()
    });
    let (status, body) = client.credentials();
    assert_eq!((status, body.contains("ASIA")), (200, true), "{body}");
    // A restart without a server knows from the disk who is who, and can fetch nothing.
    host.stop();
    host.start().unwrap();
    let status = host.status();
    assert!(status["server"]["orders"]["revision"].as_u64().is_some(), "{status}");
    assert_eq!(status["server"]["workloads"]["on"], 1);
    let mut client = host.client();
    assert_eq!(client.credentials().0, 503);
    // And goes on as soon as there is one again.
    deployment.server.resume().unwrap();
    until_leased(&host, &mut client);
}

#[test]
fn a_host_joins_as_its_aws_role_and_its_workload_gets_its_own_account() {
    let deployment = Deployment::new();
    deployment.bind("orders");
    deployment.flip(Asked::On);
    let mut host = Host::new(deployment.address(), deployment.cloud.endpoint());
    let fingerprint = deployment.server.fingerprint().unwrap();
    let server = format!("https://{}", deployment.address());
    let words = ["join", "--aws", "--server", &server, "--fingerprint", &fingerprint];
    let join = || host.words(&words).envs(deployment.role_of_a_host()).run(PATIENCE).unwrap();

    // No rule knows the role yet, and says who must act.
    let refused = join();
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    let why = "no join rule knows role `orders-lent` of account `222222222222`";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
    deployment.let_join("billing-*");
    assert_eq!(join().code, Some(1));
    deployment.let_join("orders-*");
    join().success().unwrap();

    host.start().unwrap();
    until_leased(&host, &mut host.client());
    assert_eq!(who(&deployment, &host).unwrap().0, "222222222222");
}

/// What is said to whoever holds the host's identity and asks for a workload's token.
fn mint(deployment: &Deployment, thief: &Client, workload: &str, role: &str) -> Result<(), Kind> {
    let (workload, role) = (workload.parse().unwrap(), role.parse().unwrap());
    let request = TokenRequest { workload, role };
    match deployment.wait(thief.ask::<MintToken>(&(), &(), &request)) {
        Ok(_) => Ok(()),
        Err(AskError::Refused(problem)) => Err(problem.kind),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_stolen_certificate_gives_what_its_host_has_and_after_a_revocation_nothing() {
    let deployment = Deployment::new();
    let mut host = joined(&deployment);
    deployment.bind("orders");
    deployment.bind("billing");
    deployment.flip(Asked::On);
    let mut client = host.client();
    until_leased(&host, &mut client);

    // Somebody takes the file to a machine of theirs.
    let stolen = std::fs::read(host.plan().data().join("host.json")).unwrap();
    let stolen: Value = serde_json::from_slice(&stolen).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let thief = Client::new(Settings {
        addresses: vec![deployment.server.plan().url().parse().unwrap()],
        trust: Trust::Authority(text(&stolen["joined"]["ca_pem"])),
        identity: Some(Identity {
            certificate_pem: text(&stolen["joined"]["certificate_pem"]),
            key_pem: SecretText::new(text(&stolen["private_key_pem"])),
        }),
        bearer: None,
        timeout: PATIENCE,
    });
    let thief = thief.unwrap();
    let role = |name: &str| deployment.cloud.application(name).unwrap().role_arn.clone().unwrap();
    let (orders, billing) = (role("orders"), role("billing"));
    assert_eq!(mint(&deployment, &thief, "orders/prod/1", &orders), Ok(()));
    assert_eq!(mint(&deployment, &thief, "orders/prod/2", &orders), Err(Kind::NotRunning));
    assert_eq!(mint(&deployment, &thief, "orders/prod/1", &billing), Err(Kind::NotBound));
    assert_eq!(mint(&deployment, &thief, "billing/prod/1", &billing), Err(Kind::PlacementRefused));

    let id = text(&stolen["joined"]["host"]);
    let path = HostPath { host: id.parse().unwrap() };
    let because = Because { reason: "it was stolen".parse().unwrap() };
    deployment.ask::<RevokeHost>(&path, &(), &because).unwrap();
    assert_eq!(mint(&deployment, &thief, "orders/prod/1", &orders), Err(Kind::Revoked));
    until("the agent says so", || host.status()["server"]["line"]["revoked"].is_string());
    // What the workload holds is good until it ends; after a restart nothing can be fetched.
    assert!(client.credentials().1.contains("ASIA"));
    host.stop();
    host.start().unwrap();
    let mut client = host.client();
    until("leases say so", || client.credentials().1.contains("revoked"));
}

#[test]
fn a_server_of_another_authority_at_the_same_address_is_told_nothing() {
    let mut deployment = Deployment::new();
    let host = joined(&deployment);
    deployment.bind("orders");
    deployment.flip(Asked::On);
    let mut client = host.client();
    until_leased(&host, &mut client);
    deployment.server.kill().unwrap();
    // Whoever starts a server there has no part of the old one.
    std::fs::remove_dir_all(deployment.server.plan().data()).unwrap();
    deployment.server.resume().unwrap();
    until("the stranger is reported", || {
        let trouble = &host.status()["server"]["line"]["trouble"];
        trouble.as_str().is_some_and(|why| why.contains("is not the server that is trusted"))
    });
    assert!(client.credentials().1.contains("ASIA"));
    assert_eq!(host.status()["server"]["workloads"]["on"], 1);
}
