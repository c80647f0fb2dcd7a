//! First starts, later starts, lost key files, and the commands.

use std::path::Path;

use http::{Method, StatusCode};
use practice::program::{Finished, Invocation};
use serde_json::json;

use crate::place::{As, House};

#[test]
fn a_later_start_finds_what_the_first_one_made() {
    let house = House::new("");
    let (fingerprint, session) = (house.server.authority.fingerprint(), house.admin());
    let folder = house.stop();
    let again = House::within(folder, "");
    assert_eq!(again.server.authority.fingerprint(), fingerprint);
    assert_eq!(again.first_admin, "");
    let who = As { bearer: Some(&session), ..As::default() };
    assert_eq!(again.ask(&who, Method::GET, "/v1/me", None).status, StatusCode::OK);
    let events = again.events();
    assert_eq!((events["deployment.began"], events["server.started"]), (1, 2));
    let mut verifier = ledger::Verifier::new(Vec::new());
    again.ledger().iter().for_each(|entry| verifier.take(entry).unwrap());
}

/// Runs a command of the built server in a folder that a house has left.
fn command(folder: &Path, rest: &str, words: &[&str]) -> Finished {
    let file = folder.join("server.toml");
    let text = format!(
        "data = {:?}\nlisten = \"127.0.0.1:0\"\n{rest}\n[issuer]\nurl = \"http://issuer.test\"\nallow_http = true\n",
        folder.join("data")
    );
    std::fs::write(&file, text).unwrap();
    Invocation::new(env!("CARGO_BIN_EXE_rolecall-server"))
        .arg("--config")
        .arg(&file)
        .args(words.iter().copied())
        .run(std::time::Duration::from_secs(60))
        .unwrap()
}

#[test]
fn without_its_key_file_a_server_does_not_start_and_says_why() {
    let house = House::new("");
    let folder = house.stop();
    let key = folder.path().join("data/server.key");
    std::fs::rename(&key, folder.path().join("elsewhere")).unwrap();
    let said = command(folder.path(), "", &["run"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("there is no key file at"), "{}", said.stderr);
    assert!(!key.exists(), "a new key file would hide that the old one is lost");
    std::fs::write(&key, [7; 32]).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, mode).unwrap();
    let said = command(folder.path(), "", &["run"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("does not open `authority`"), "{}", said.stderr);
}

#[test]
fn another_key_file_can_take_the_place_of_the_first() {
    let house = House::new("");
    let fingerprint = house.server.authority.fingerprint();
    let folder = house.stop();
    let new = folder.path().join("data/second.key");
    let said = command(folder.path(), "", &["reseal", "--new-key-file", new.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let said = command(folder.path(), "", &["fingerprint"]);
    assert_eq!(said.code, Some(1), "the first key file must open nothing any more");
    let named = format!("key_file = {new:?}");
    let said = command(folder.path(), &named, &["fingerprint"]);
    assert_eq!(said.stdout.trim(), fingerprint, "{}", said.stderr);
    std::fs::rename(&new, folder.path().join("data/server.key")).unwrap();
    let again = House::within(folder, "");
    assert_eq!(again.events()["keys.resealed"], 1);
    let health = again.ask(&As::default(), Method::GET, "/v1/health", None);
    assert_eq!(health.status, StatusCode::OK);
}

#[test]
fn who_is_locked_out_makes_a_token_on_the_machine_itself() {
    let house = House::new("");
    house.admin();
    let folder = house.stop();
    let said = command(folder.path(), "", &["admin-token"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let token = said.stdout.trim().to_owned();
    let again = House::within(folder, "");
    let asked = json!({ "token": token });
    let session = again.ask(&As::default(), Method::POST, "/v1/login/token", Some(&asked));
    assert_eq!(session.json()["person"]["groups"], json!(["admin"]));
    let made = again.ledger().into_iter().filter(|entry| entry.event == "admin-token.made");
    assert_eq!(made.map(|entry| entry.actor).collect::<Vec<_>>(), ["server", "operator"]);
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let said = command(folder.path(), "listn = 1", &["check"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("server.toml:3:1"), "{}", said.stderr);
    let said = command(folder.path(), "", &["check"]);
    assert_eq!((said.code, said.stdout.starts_with("the file is right")), (Some(0), true));
}
