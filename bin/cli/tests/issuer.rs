//! `rolecall issuer`: what an operator types, and what comes of it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers included"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// An operator's desk: an agent's file, and the program.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self::with("url = \"https://issuer.example/a\"")
    }

    /// With these lines below `[issuer]`; `data` is in a folder that is not there yet.
    fn with(issuer: &str) -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        let data = desk.folder.path().join("data");
        desk.write(&format!("data = {data:?}\nregion = \"eu-west-1\"\n[issuer]\n{issuer}\n"));
        desk
    }

    fn write(&self, text: &str) {
        fs::write(self.folder.path().join("agent.toml"), text).unwrap();
    }

    fn run(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_rolecall"))
            .arg("issuer")
            .args(line.split(' '))
            .args(["--config", "agent.toml"])
            .current_dir(&self.folder)
            .output()
            .unwrap()
    }

    /// What a command prints that succeeds.
    #[track_caller]
    fn text(&self, line: &str) -> String {
        let said = self.run(line);
        assert!(said.status.success() && said.stderr.is_empty(), "{line}: {said:?}");
        String::from_utf8(said.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.text(&format!("{line} -o json"))).unwrap()
    }

    /// A command that is refused with this code and these words, and prints nothing else.
    #[track_caller]
    fn check_refused(&self, line: &str, code: i32, words: &str) {
        let said = self.run(line);
        let error = String::from_utf8(said.stderr).unwrap();
        assert_eq!((said.status.code(), said.stdout.as_slice()), (Some(code), &[][..]), "{error}");
        assert!(error.contains(words), "{line}: {error}");
    }

    /// The keys as `show` tells them: each one's id, algorithm and first word of state.
    #[track_caller]
    fn keys(&self) -> Vec<(String, String, String)> {
        let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
        let shown = self.json("show");
        let keys = shown["keys"].as_array().unwrap().iter();
        let word = |text: String| text.split([' ', ',']).take(2).collect::<Vec<_>>().join(" ");
        keys.map(|key| (text(key, "kid"), text(key, "algorithm"), word(text(key, "state"))))
            .collect()
    }

    fn document(&self, path: &str) -> Value {
        let path = self.folder.path().join(path);
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    fn kids_published(&self) -> Vec<String> {
        self.text("export --out public");
        let keys = self.document("public/.well-known/jwks.json");
        let keys = keys["keys"].as_array().unwrap().iter();
        let mut kids: Vec<_> = keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
        kids.sort();
        kids
    }
}

fn sorted(keys: &[(String, String, String)]) -> Vec<String> {
    let mut kids: Vec<_> = keys.iter().map(|(kid, _, _)| kid.clone()).collect();
    kids.sort();
    kids
}

#[test]
fn export_writes_the_documents_and_says_where_to_serve_them() {
    let desk = Desk::new();
    let said = desk.json("export --out public");
    let url = "https://issuer.example/a/.well-known";
    assert_eq!(
        said,
        json!({ "issuer": "https://issuer.example/a", "files": [
            { "path": "public/.well-known/openid-configuration",
              "serve_at": format!("{url}/openid-configuration") },
            { "path": "public/.well-known/jwks.json", "serve_at": format!("{url}/jwks.json") },
        ] })
    );
    let discovery = desk.document("public/.well-known/openid-configuration");
    assert_eq!(discovery["issuer"], "https://issuer.example/a");
    assert_eq!(discovery["jwks_uri"], format!("{url}/jwks.json"));
    let keys = desk.document("public/.well-known/jwks.json");
    // Nothing of a private key: `d` and its like are not there.
    let mut members: Vec<_> = keys["keys"][0].as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    let table = desk.text("export --out public");
    assert!(table.contains(&format!("{url}/jwks.json")), "{table}");
    // What is written anew is the same, and nothing else is left in the folder.
    assert_eq!(keys, desk.document("public/.well-known/jwks.json"));
    assert_eq!(fs::read_dir(desk.folder.path().join("public/.well-known")).unwrap().count(), 2);
}

#[test]
fn who_looks_makes_no_keys() {
    let desk = Desk::new();
    assert_eq!(desk.json("show"), json!({ "issuer": "https://issuer.example/a", "keys": [] }));
    assert!(desk.text("show").contains("no key yet"));
    desk.text(TRUST);
    assert!(!desk.folder.path().join("data").exists());
    desk.text("export --out public");
    assert_eq!(desk.keys().len(), 1);
    assert!(desk.text("show").contains(&desk.keys()[0].0));
}

#[test]
fn a_published_key_signs_after_a_day_or_when_one_is_in_wrong_hands() {
    let desk = Desk::new();
    let [old] = desk.kids_published().try_into().unwrap();
    desk.check_refused("rotate", 2, "publish one first");
    let said = desk.text("publish");
    assert!(said.contains("signs next") && said.contains("rolecall issuer export"), "{said}");
    desk.check_refused("publish", 2, "already waiting");
    desk.check_refused("rotate", 2, "must stay published until");
    let keys = desk.keys();
    let states: Vec<_> = keys.iter().map(|(_, _, state)| state.as_str()).collect();
    assert_eq!(states, ["signs next", "signs "]);
    // The new one is in the document long before it signs.
    assert_eq!(desk.kids_published(), sorted(&keys));
    let rotated = desk.json("rotate --now");
    assert_eq!(rotated["keys"][0]["kid"], keys[0].0.as_str());
    let states: Vec<_> = desk.keys().into_iter().map(|(kid, _, state)| (kid, state)).collect();
    let new = keys[0].0.clone();
    assert_eq!(states, [(new, "signs ".to_owned()), (old, "retired ".to_owned())]);
    // Tokens of the old one stay good.
    assert_eq!(desk.kids_published(), sorted(&keys));
}

#[test]
fn a_key_in_wrong_hands_is_withdrawn_at_once() {
    let desk = Desk::new();
    let [stolen] = desk.kids_published().try_into().unwrap();
    desk.check_refused(&format!("withdraw {stolen}"), 2, "`rotate --now` first");
    desk.check_refused("withdraw absent", 2, "there is no key `absent`");
    desk.text("publish");
    desk.text("rotate --now");
    desk.text(&format!("withdraw {stolen}"));
    let kids = desk.kids_published();
    assert!(kids.len() == 1 && !kids.contains(&stolen), "{kids:?}");
    let file = desk.folder.path().join(format!("data/issuer-{stolen}.pem"));
    assert!(!file.exists(), "the private key is still there");
    // One that waits can go as well, and another be published.
    desk.text("publish");
    let waiting = desk.keys()[0].0.clone();
    desk.text(&format!("withdraw {waiting}"));
    desk.text("publish");
    assert!(desk.keys().len() == 2 && desk.keys()[0].0 != waiting);
}

#[test]
fn a_new_key_may_have_another_algorithm() {
    let desk = Desk::with("url = \"https://issuer.example\"\nalgorithm = \"RS256\"");
    desk.text("export --out public");
    desk.text("publish --algorithm ES256");
    let algorithms: Vec<_> = desk.keys().into_iter().map(|(_, algorithm, _)| algorithm).collect();
    assert_eq!(algorithms, ["ES256", "RS256"]);
}

#[test]
fn only_the_owner_may_read_the_keys() {
    let desk = Desk::new();
    desk.text("export --out public");
    let data = desk.folder.path().join("data");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(data.clone()), 0o700);
    let keys: Vec<_> = fs::read_dir(&data).unwrap().flatten().map(|it| it.path()).collect();
    assert!(keys.len() == 2 && keys.iter().all(|path| mode(path.clone()) == 0o600), "{keys:?}");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    desk.check_refused("show", 1, &data.display().to_string());
}

const TRUST: &str = "trust --role arn:aws:iam::111122223333:role/orders --application orders \
                     --environment prod";

#[test]
fn trust_prints_the_policy_of_a_role() {
    let desk = Desk::new();
    let policy: Value = serde_json::from_str(&desk.text(TRUST)).unwrap();
    let statement = &policy["Statement"][0];
    let provider = "arn:aws:iam::111122223333:oidc-provider/issuer.example/a";
    assert_eq!(statement["Principal"], json!({ "Federated": provider }));
    let subject = "application:orders:environment:prod:instance:*";
    assert_eq!(
        statement["Condition"],
        json!({
            "StringEquals": { "issuer.example/a:aud": "sts.amazonaws.com" },
            "StringLike": { "issuer.example/a:sub": subject },
        })
    );
    // Without the last two, a token with tags or a source identity is refused.
    assert_eq!(
        statement["Action"],
        json!(["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"])
    );
    let other = desk.text(&format!("{TRUST} --audience other.example"));
    assert!(other.contains("\"issuer.example/a:aud\": \"other.example\""), "{other}");
    let partition = TRUST.replace("arn:aws:", "arn:aws-cn:");
    assert!(desk.text(&partition).contains("arn:aws-cn:iam::111122223333:oidc-provider/"));
}

#[test]
fn wrong_input_is_refused_with_what_to_write_instead() {
    let desk = Desk::new();
    desk.check_refused(&TRUST.replace(" orders ", " o* "), 2, "`o*`");
    desk.check_refused(&TRUST.replace("role/orders", "user/orders"), 2, "--role");
    desk.check_refused(&TRUST.replace(" --environment prod", ""), 2, "--environment");
    desk.check_refused("publish --algorithm HS256", 2, "ES256");
    desk.check_refused("export", 2, "--out");
    desk.check_refused("rename", 2, "rename");
}

#[track_caller]
fn check_file(issuer: &str, words: &str) {
    let desk = Desk::with(issuer);
    desk.check_refused("export --out public", 2, words);
    // It is the file that is named, and nothing was made.
    desk.check_refused("show", 2, "agent.toml: ");
    assert!(
        !desk.folder.path().join("data").exists() && !desk.folder.path().join("public").exists()
    );
}

#[test]
fn a_wrong_file_is_named_and_nothing_is_made() {
    check_file("url = \"http://issuer.example\"", "`http://issuer.example`");
    check_file("url = \"https://issuer.example\"\nalgorithm = \"HS256\"", "`HS256`");
    check_file("", "url");
    let desk = Desk::new();
    desk.write("region = \"eu-west-1\"\n");
    desk.check_refused("show", 2, "there is no [issuer] section");
    fs::remove_file(desk.folder.path().join("agent.toml")).unwrap();
    desk.check_refused("show", 2, "agent.toml: ");
}

#[test]
fn what_cannot_be_written_is_named() {
    let desk = Desk::new();
    fs::write(desk.folder.path().join("public"), "a file").unwrap();
    desk.check_refused("export --out public", 1, "`public/.well-known`");
}
