//! `rolecall issuer check`: an account as the practice cloud plays it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers included"
)]

use std::{
    net::{IpAddr, Ipv4Addr},
    process::{Command, Output},
};

use practice::{
    cloud::{Cloud, CloudError, Layout},
    tools::Tools,
};
use serde_json::{Value, json};

/// The account of the keys, which is the application's as well.
const ACCOUNT: &str = "222222222222";
const ISSUER: &str = "https://issuer.rolecall.example";

fn check(cloud: &Cloud, words: &[&str]) -> Output {
    let host = cloud.host();
    let command = ["issuer", "check", "-o", "json", "--iam-endpoint", cloud.endpoint()];
    Command::new(env!("CARGO_BIN_EXE_rolecall"))
        .args(command)
        .args(words)
        .env("AWS_ACCESS_KEY_ID", &host.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &host.secret_access_key)
        .env("AWS_REGION", "eu-west-1")
        .output()
        .unwrap()
}

#[track_caller]
fn check_finds(said: &Output, code: i32, words: &str) {
    assert_eq!(said.status.code(), Some(code), "{said:?}");
    let outcome: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(outcome["holds"], json!(code == 0), "{outcome}");
    assert!(outcome["findings"].to_string().contains(words), "{outcome}");
}

#[test]
fn whatever_is_wrong_in_an_account_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let documents = folder.path().join("issuer");
    let mut layout = Layout::new(IpAddr::V4(Ipv4Addr::LOCALHOST), folder.path());
    layout = layout.issuer(ISSUER, &documents);
    layout.compute = ACCOUNT.to_owned();
    let cloud = match Cloud::start(&Tools::find(), &layout) {
        Ok(cloud) => cloud,
        Err(error @ CloudError::Missing(_)) => {
            println!("skipped: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let role = cloud.application("orders").unwrap().role_arn.clone().unwrap();
    let whom = ["--role", &role, "--app", "orders", "--env", "prod", "--issuer", ISSUER];
    // The practice role takes any environment of its application, and nothing else is wrong with it.
    let said = check(&cloud, &whom);
    check_finds(&said, 1, "lets in more than the application");
    let outcome: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(outcome["findings"].as_array().unwrap().len(), 1, "{outcome}");

    let other = ["--role", &role, "--app", "billing", "--env", "prod", "--issuer", ISSUER];
    check_finds(&check(&cloud, &other), 1, "sub");
    let audience = [&whom[..], &["--audience", "somebody-else"]].concat();
    check_finds(&check(&cloud, &audience), 1, "somebody-else");
    let nobody = "https://nobody.example";
    let nobody = ["--role", &role, "--app", "orders", "--env", "prod", "--issuer", nobody];
    check_finds(&check(&cloud, &nobody), 1, "create-open-id-connect-provider");
    let missing = format!("{role}-other");
    let missing = ["--role", &missing, "--app", "orders", "--env", "prod", "--issuer", ISSUER];
    check_finds(&check(&cloud, &missing), 1, "has no role");
}
