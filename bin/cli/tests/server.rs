//! What people type at a server that runs, and what comes of it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, helpers included"
)]

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use practice::{
    agent::built,
    server::{Plan, Server},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server at its first start, and the desk of somebody who asks it.
struct Desk {
    server: Server,
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let binary = built("rolecall-server").expect("`cargo build` makes the server");
        let plan = Plan::new(binary, folder.path().join("server")).unwrap();
        plan.write("http://issuer.example/a", "").unwrap();
        Self { server: plan.start().unwrap(), folder }
    }

    /// A desk at which the first admin is signed in.
    fn signed_in() -> Self {
        let desk = Self::new();
        let (token, mark) = (desk.token(), desk.fingerprint());
        desk.text(&["login", "--fingerprint", &mark, "--token", &token]);
        desk
    }

    /// The same, where the application `orders` is known.
    fn with_orders() -> Self {
        let desk = Self::signed_in();
        desk.text(&["apps", "put", "orders", "--owner", "payments", "--env", "prod"]);
        desk
    }

    fn token(&self) -> String {
        self.server.first_admin().expect("a first start prints a token")
    }

    fn fingerprint(&self) -> String {
        self.server.fingerprint().expect("a start prints the fingerprint")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rolecall"));
        command
            .args(words)
            .current_dir(&self.folder)
            .env("ROLECALL_CONFIG_DIR", self.folder.path().join("settings"))
            .env("ROLECALL_SERVER", self.server.plan().url());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// What a command prints that succeeds.
    #[track_caller]
    fn text(&self, words: &[&str]) -> String {
        let said = self.run(words);
        assert!(said.status.success(), "{words:?}: {said:?}\n{}", self.server.said());
        String::from_utf8(said.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, words: &[&str]) -> Value {
        let text = self.text(&[words, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// A command that ends with this code, says these words and prints nothing else.
    #[track_caller]
    fn check_refused(&self, words: &[&str], code: i32, says: &str) {
        let said = self.run(words);
        let error = String::from_utf8(said.stderr).unwrap();
        assert_eq!((said.status.code(), said.stdout.as_slice()), (Some(code), &[][..]), "{error}");
        assert!(error.contains(says), "{words:?}: {error}");
    }
}

#[test]
fn a_server_is_met_by_its_fingerprint_and_the_session_is_ones_own() {
    let desk = Desk::new();
    let (token, mark) = (desk.token(), desk.fingerprint());
    desk.check_refused(&["whoami"], 3, "rolecall login");
    desk.check_refused(&["login", "--token", &token], 2, "--fingerprint");
    let other = format!("sha256:{}", "0".repeat(64));
    desk.check_refused(
        &["login", "--fingerprint", &other, "--token", &token],
        1,
        "expected fingerprint",
    );
    let settings = desk.folder.path().join("settings/servers.json");
    assert!(!settings.exists(), "nothing is kept of a server that was not met");

    let mut login = desk.command(&["login", "--fingerprint", &mark, "--token", "-"]);
    let mut login = login.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    writeln!(login.stdin.take().unwrap(), "{token}").unwrap();
    assert!(login.wait().unwrap().success());
    let mode = fs::metadata(&settings).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(!fs::read_to_string(&settings).unwrap().contains(&token));

    let me = desk.json(&["whoami"]);
    assert!(me["actions"].as_array().unwrap().contains(&json!("ManagePolicies")), "{me}");
    // The token was for once.
    desk.check_refused(&["login", "--token", &token], 3, "used");

    desk.text(&["logout"]);
    desk.check_refused(&["whoami"], 3, "rolecall login");
    assert!(!fs::read_to_string(&settings).unwrap().contains("rcs_"));
}

#[test]
fn what_is_known_is_put_listed_and_shown() {
    let desk = Desk::signed_in();
    assert_eq!(desk.json(&["apps", "list"]), json!({ "items": [], "more": false }));
    for name in ["billing", "orders"] {
        let put = ["apps", "put", name, "--owner", "payments", "--tier", "1", "--env", "prod,test"];
        assert_eq!(desk.json(&put)["environments"], json!(["prod", "test"]));
    }
    let first = desk.json(&["apps", "list", "--limit", "1"]);
    assert_eq!((first["items"].as_array().unwrap().len(), &first["more"]), (1, &json!(true)));
    assert_eq!(desk.json(&["apps", "list"])["items"].as_array().unwrap().len(), 2);
    assert!(desk.text(&["apps", "show", "orders"]).contains("payments"));
    desk.check_refused(&["apps", "show", "nothing"], 2, "nothing");

    let account = ["accounts", "put", "222222222222", "--name", "orders-prod", "--app", "orders"];
    assert!(desk.text(&account).contains("orders-prod"));
    assert!(desk.text(&["accounts", "list"]).contains("222222222222"));

    let group = ["hosts", "groups", "put", "batch", "--select", "role=batch", "--may-run"];
    let group = [&group[..], &["orders/*,billing/prod"]].concat();
    assert_eq!(desk.json(&group)["may_run"], json!(["orders/*", "billing/prod"]));
    assert!(desk.text(&["hosts", "groups", "list"]).contains("role=batch"));
    desk.text(&["hosts", "groups", "delete", "batch", "--reason", "no longer"]);
    assert_eq!(desk.json(&["hosts", "groups", "list"])["items"], json!([]));

    let made = desk.json(&["hosts", "token", "--label", "role=batch", "--uses", "2"]);
    assert!(made["token"].as_str().unwrap().starts_with("rcj_"));
    let tokens = desk.text(&["hosts", "tokens", "list"]);
    assert!(tokens.contains("0 of 2") && !tokens.contains("rcj_"), "{tokens}");
    let id = made["id"].as_str().unwrap();
    desk.text(&["hosts", "tokens", "revoke", id, "--reason", "lost"]);
    assert!(desk.text(&["hosts", "tokens", "list"]).contains("revoked"));

    let rule =
        ["hosts", "rules", "put", "fleet", "--account", "222222222222", "--role-name", "b-*"];
    assert!(desk.text(&rule).contains("b-*"));
    desk.text(&["hosts", "rules", "delete", "fleet", "--reason", "no longer"]);
    assert_eq!(desk.text(&["hosts", "list"]).trim(), "none");
    assert_eq!(desk.text(&["workloads"]).trim(), "none");
    assert!(desk.text(&["people", "list"]).contains("admin"));
}

#[test]
fn nobody_approves_what_they_proposed_and_a_proposal_can_be_taken_back() {
    let desk = Desk::with_orders();
    let role = "arn:aws:iam::222222222222:role/orders";
    let propose = [
        "bind", "propose", "--app", "orders", "--env", "prod", "--role", role, "--reason", "CHG-17",
    ];
    desk.check_refused(&propose, 2, "--match-unit");
    let propose = [&propose[..], &["--match-unit", "orders-*.service"]].concat();
    assert!(desk.text(&propose).contains("rolecall bind review orders/prod/1 --approve"));
    let shown = desk.json(&["bind", "show", "orders/prod/1"]);
    assert_eq!((&shown["status"], &shown["role"]), (&json!("proposed"), &json!(role)));

    let review = ["bind", "review", "orders/prod/1", "--approve", "--reason", "fine"];
    let said = desk.run(&review);
    assert!(matches!(said.status.code(), Some(1 | 3)), "{said:?}");
    assert_eq!(desk.json(&["bind", "dry-run", "orders/prod/1"])["items"], json!([]));
    desk.text(&["bind", "withdraw", "orders/prod/1", "--reason", "not yet"]);
    let withdrawn = desk.json(&["bind", "list", "--app", "orders", "--status", "withdrawn"]);
    assert_eq!(withdrawn["items"].as_array().unwrap().len(), 1);
    desk.check_refused(&["bind", "show", "orders/prod/9"], 2, "9");
}

#[test]
fn the_switch_says_what_it_will_do_waits_and_can_be_taken_back() {
    let desk = Desk::with_orders();
    let foretold = desk.json(&["switch", "dry-run", "on", "--app", "orders"]);
    assert_eq!((&foretold["in_scope"], &foretold["on"]), (&json!(0), &json!(0)));
    desk.check_refused(&["switch", "on", "--reason", "r"], 2, "--fleet");
    desk.check_refused(&["switch", "on", "--app", "orders"], 2, "--reason");

    let on = ["switch", "on", "--app", "orders", "--percent", "10", "--reason", "CHG-17"];
    let set = desk.json(&[&on[..], &["--for", "2h", "--wait"]].concat());
    assert_eq!(
        (&set["position"]["position"], &set["position"]["percent"]),
        (&json!("on"), &json!(10))
    );
    assert_eq!(set["status"]["waiting"], 0);
    let off = ["switch", "off", "--fleet", "--reason", "INC-4: back"];
    assert!(desk.text(&off).contains("the fleet"));
    let listed = desk.text(&["switch", "list"]);
    assert!(listed.contains("INC-4: back") && listed.contains("CHG-17"), "{listed}");
    let status = desk.text(&["switch", "status", "--app", "orders"]);
    assert!(status.contains("0 of 0 in effect"), "{status}");

    let id = set["position"]["id"].to_string();
    desk.text(&["switch", "clear", &id, "--reason", "done"]);
    assert_eq!(desk.json(&["switch", "list"])["items"].as_array().unwrap().len(), 1);
    assert!(desk.text(&["switch", "list", "--history"]).contains("cleared"));
}

#[test]
fn what_was_done_is_in_the_ledger_and_a_kept_copy_of_it_verifies() {
    let desk = Desk::with_orders();
    desk.text(&["switch", "on", "--app", "orders", "--reason", "CHG-17"]);
    let entries = desk.json(&["ledger", "show"]);
    let events: Vec<_> =
        entries["items"].as_array().unwrap().iter().map(|entry| entry["event"].clone()).collect();
    assert!(events.len() > 2, "{events:?}");
    assert_eq!(
        desk.json(&["ledger", "show", "--after", "1", "--limit", "1"])["items"][0]["seq"],
        2
    );

    let checkpoint = desk.text(&["ledger", "checkpoint"]);
    let kept = |name: &str, text: &str| fs::write(desk.folder.path().join(name), text).unwrap();
    kept("checkpoints.ndjson", &checkpoint);
    kept("keys.json", &desk.text(&["ledger", "keys"]));
    let verified = desk.json(&["ledger", "verify"]);
    assert_eq!(verified["holds"], true, "{verified}");
    assert!(verified["checkpoints"].as_u64().unwrap() >= 1, "{verified}");
    assert!(desk.text(&["ledger", "checkpoints"]).contains("signed"));

    desk.text(&["ledger", "export", "--out", "ledger.ndjson"]);
    let verify = ["ledger", "verify", "--file", "ledger.ndjson", "--keys", "keys.json"];
    let verify = [&verify[..], &["--checkpoints", "checkpoints.ndjson"]].concat();
    assert!(desk.json(&verify)["entries"].as_u64().unwrap() >= 3);
    let ledger = fs::read_to_string(desk.folder.path().join("ledger.ndjson")).unwrap();
    kept("ledger.ndjson", ledger.lines().next().unwrap());
    let said = desk.run(&verify);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(String::from_utf8(said.stdout).unwrap().contains("the end was cut off"));
}

#[test]
fn keys_policies_and_explanations_are_told() {
    let desk = Desk::signed_in();
    let issuer = desk.json(&["issuer", "show"]);
    assert_eq!(issuer["url"], "http://issuer.example/a");
    let role = "arn:aws:iam::222222222222:role/orders";
    let trust = ["issuer", "trust", "--role", role, "--app", "orders", "--env", "prod"];
    let trust = desk.text(&[&trust[..], &["--format", "cloudformation"]].concat());
    assert!(trust.contains("http://issuer.example/a"), "{trust}");
    desk.check_refused(&["issuer", "rotate"], 2, "--reason");
    desk.check_refused(&["issuer", "export", "--out", "x"], 2, "--config");

    let policies = desk.text(&["policies", "show"]);
    fs::write(desk.folder.path().join("policies.cedar"), &policies).unwrap();
    assert_eq!(desk.json(&["policies", "dry-run", "policies.cedar"])["errors"], json!([]));
    fs::write(desk.folder.path().join("broken.cedar"), "permit(").unwrap();
    assert_eq!(desk.run(&["policies", "dry-run", "broken.cedar"]).status.code(), Some(1));

    let said = desk.run(&["token", "explain", "orders/prod/orders-1", "-o", "json"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let explanation: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert!(!explanation["steps"].as_array().unwrap().is_empty());
}

#[test]
fn the_doctor_finds_a_server_well_and_says_what_to_do_when_it_is_gone() {
    let mut desk = Desk::signed_in();
    let looks = desk.json(&["doctor"]);
    assert!(looks.as_array().unwrap().iter().all(|look| look["state"] == "ok"), "{looks}");
    desk.server.stop().unwrap();
    let said = desk.run(&["doctor", "-o", "json"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let looks: Value = serde_json::from_slice(&said.stdout).unwrap();
    let failed: Vec<_> =
        looks.as_array().unwrap().iter().filter(|look| look["state"] == "fail").collect();
    assert!(!failed.is_empty() && failed.iter().all(|look| look["to_do"] != ""), "{looks}");
    desk.check_refused(&["whoami"], 1, "no server can be reached");
}
