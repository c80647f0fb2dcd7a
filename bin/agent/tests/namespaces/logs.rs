//! What a run writes down, and what it must not.

use std::{collections::BTreeMap, fs};

use practice::stage::{Scene, Stage};
use serde_json::{Value, json};

use crate::{
    caller::{CONTAINER, Caller, Guest, POD_IDENTITY, ROLES, Resident},
    file::File,
    http::{Line, TOKEN},
    provider::{Provider, USER_DATA},
    stage::{guest, name, play, play_with_cgroups, role_of, until},
};

/// What must be in no log, by the name that a failure prints.
type Secrets = BTreeMap<String, String>;

/// The longest piece of a secret that may show by chance or as an identifier.
const PIECE: usize = 24;

/// Uses everything that carries a secret, right and wrong, and remembers the secrets.
fn use_all(stage: &Stage, orders: &Guest, secrets: &mut Secrets) {
    let mut keep = |name: &str, secret: &str| {
        assert!(secret.len() >= PIECE, "{name} is too short to be looked for");
        secrets.insert(name.to_owned(), secret.to_owned());
    };
    let token = orders.token();
    keep("session token", &token);
    let json = orders.credentials().1.json();
    for field in ["SecretAccessKey", "Token"] {
        keep(field, json[field].as_str().unwrap());
    }
    let resident = Resident::in_workload(stage, &orders.workload);
    let pid = resident.id().to_string();
    let said = stage.agent.command(&["environment", "--pid", &pid]).unwrap();
    let text = |name: &str| said[name].as_str().unwrap().to_owned();
    let (uri, authorization) =
        (text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), text("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
    keep("container id", uri.rsplit('/').next().unwrap());
    keep("container token", &authorization);

    // Where they belong, and where a careless log would take them from: paths, queries, headers,
    // methods and bodies of requests that fail.
    let door = |address, path: &str, headers: &[(&str, &str)]| {
        Line::over(orders.connect(address).unwrap()).ask("GET", path, headers).unwrap().status
    };
    let bearer = [("Authorization", authorization.as_str())];
    assert_eq!(door(CONTAINER, &uri, &bearer), 200);
    assert_eq!(door(POD_IDENTITY, "/v1/credentials", &bearer), 200);
    assert_eq!(door(CONTAINER, &format!("{uri}/more"), &bearer), 400);
    assert_eq!(door(CONTAINER, &format!("/v1/credentials?id={token}"), &[]), 400);
    assert_eq!(door(POD_IDENTITY, "/v1/credentials", &[("Authorization", &token)]), 400);
    let mut line = orders.line();
    assert_eq!(line.get(&format!("/latest/{token}"), &token).status, 404);
    assert_eq!(line.get(&format!("{ROLES}{authorization}"), &token).status, 404);
    assert_eq!(line.get(ROLES, &format!("{token}x")).status, 401);
    let forwarded = [(TOKEN, token.as_str()), ("X-Forwarded-For", token.as_str())];
    assert_eq!(line.ask("GET", "/latest/", &forwarded).unwrap().status, 403);
    let method: String = token.chars().filter(char::is_ascii_alphanumeric).collect();
    keep("session token without signs", &method);
    assert_eq!(line.ask(&method, "/latest/", &[(TOKEN, &token)]).unwrap().status, 405);
    let answer = line.get("/latest/user-data", &token);
    assert_eq!(answer.body, USER_DATA);
    keep("the host's user data", USER_DATA);
}

/// Secrets that lie on disk, where the agent alone may read them.
fn on_disk(stage: &Stage, secrets: &mut Secrets) {
    use std::os::unix::fs::PermissionsExt;
    let mut folders = vec![stage.agent.plan().data()];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, metadata) = (entry.path(), entry.metadata().unwrap());
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let shown = path.display();
            let is_pem = bytes.windows(11).any(|part| part == b"PRIVATE KEY");
            let is_key = is_pem || path.extension().is_some_and(|ending| ending == "key");
            if !is_key {
                continue;
            }
            found += 1;
            assert_eq!(metadata.permissions().mode() & 0o077, 0, "{shown}");
            let text = match String::from_utf8(bytes) {
                Ok(pem) => pem.lines().nth(1).unwrap_or(&pem).to_owned(),
                Err(raw) => raw.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
            };
            secrets.insert(shown.to_string(), text);
        }
    }
    assert!(found >= 2, "the token key and the issuer's key");
    secrets.insert("the host's key".into(), stage.cloud.host().secret_access_key.clone());
}

/// Whether any piece of a secret, as long as no identifier is, is in a text.
fn holds(text: &str, secret: &str) -> bool {
    let pieces = secret.as_bytes().chunks(PIECE).filter(|piece| piece.len() == PIECE);
    pieces.into_iter().any(|piece| text.contains(std::str::from_utf8(piece).unwrap_or("\0")))
}

#[test]
fn no_secret_is_in_any_log_of_a_run() {
    play(name!(), &Scene::default(), |mut stage| {
        let (_provider, at) = Provider::on_host(stage.workspace.cloud_address());
        let file = |stage: &Stage| {
            File::new(stage)
                .watching(stage)
                .bind(stage, "orders", "netns = \"orders\"", "")
                .lend(stage, "billing", "netns = \"billing\"")
                .tables(&format!("[host]\nmetadata = {at:?}\nallow = [\"user-data\"]"))
        };
        file(&stage).restart(&mut stage);
        let (orders, billing) = (guest(&stage, "orders"), guest(&stage, "billing"));
        let mut secrets = Secrets::new();
        use_all(&stage, &orders, &mut secrets);
        let lent = billing.credentials().1.json();
        for field in ["SecretAccessKey", "Token"] {
            secrets.insert(format!("lent {field}"), lent[field].as_str().unwrap().to_owned());
        }
        on_disk(&stage, &mut secrets);
        // A role that STS refuses, so that its words are told to the operator.
        let nobody = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": "arn:aws:iam::999999999999:root" },
            "Action": "sts:AssumeRole",
        }] });
        let role = role_of(&stage, "orders");
        stage.cloud.set_trust(&role, &nobody).unwrap();
        stage.agent.kill().unwrap();
        stage.agent.resume().unwrap();
        let orders = orders.served();
        let (_, refused) = orders.credentials();
        assert_eq!(refused.json()["Code"], "AssumeRoleUnauthorizedAccess", "{refused:?}");
        let mut told = String::new();
        let pid = std::process::id().to_string();
        for command in [&["status"][..], &["explain", "--pid", &pid], &["reload"], &["check"]] {
            let finished = stage.agent.attempt(command).unwrap();
            told += &(finished.stdout + &finished.stderr);
        }
        stage.agent.stop().unwrap();

        let access = fs::read_to_string(stage.agent.plan().access_log()).unwrap();
        let logs = [
            ("the access log", access),
            ("the agent's words", stage.agent.said()),
            ("the commands' answers", told),
        ];
        for (log, text) in logs {
            for (name, secret) in &secrets {
                assert!(!holds(&text, secret), "{name} is in {log}");
            }
            assert!(!text.contains("eyJ"), "a signed token is in {log}");
        }
        // The right files were read: what is no secret is there.
        let served: Vec<Value> = stage.agent.access().unwrap();
        assert!(served.iter().any(|line| line["access_key_id"] == lent["AccessKeyId"]));
        assert!(stage.agent.said().contains("no credentials for"), "{}", stage.agent.said());
    });
}

#[test]
fn the_access_log_shows_what_the_kernel_showed_of_the_asker() {
    play_with_cgroups(name!(), &Scene::default().by_cgroup(), |stage| {
        let orders = guest(&stage, "orders");
        let resident = Resident::in_workload(&stage, &orders.workload);
        let key = resident.credentials().1.key();
        let served = || {
            let lines = stage.agent.access().unwrap();
            lines.into_iter().find(|line| line["access_key_id"] == key.as_str())
        };
        until("the line", || served().is_some());
        let line = served().unwrap();
        let cgroup = orders.workload.cgroup().unwrap();
        assert_eq!(line["evidence"], json!({ "netns": "orders", "cgroup": cgroup, "uid": 0 }));
        assert_eq!(line["workload"], "orders/practice/orders");
        assert_eq!(line["role"], role_of(&stage, "orders"));
    });
}
