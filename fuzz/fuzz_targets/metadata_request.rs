//! A request at every door. The input reads like HTTP: `METHOD target`, then a header a line;
//! `$token`, `$id` and `$authorization` stand for the secrets that a workload really holds.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use metadata::{
    AllowList, Door, Facts, Form, Request, Step, Subject, Target, TokenKey, TokenLife,
    container_id, container_token, decide,
};
use secret::SecretKey;

fuzz_target!(|bytes: &[u8]| {
    normalise(bytes);
    let key = TokenKey::new(&SecretKey::new([7; 32]), [1; 16]);
    let filled = fill(bytes, &key);
    let mut lines = filled.split(|b| *b == b'\n');
    let first = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let Some((method, target)) = first.and_then(|line| line.split_once(' ')) else { return };
    let headers: Vec<(&str, &[u8])> = lines.filter_map(header).collect();
    for door in [Door::Instance, Door::Container, Door::PodIdentity] {
        for (v1, bound) in [(false, false), (false, true), (true, false), (true, true)] {
            let request = Request::new(method, target, headers.iter().copied());
            let secrets = bytes.contains(&b'$') || (v1 && door == Door::Instance);
            check(door, &request, &key, Asked { v1, bound, secrets, put: method == "PUT" });
        }
    }
});

struct Asked {
    v1: bool,
    bound: bool,
    secrets: bool,
    put: bool,
}

/// No secret, no answer; no binding, no credentials; nothing of the host that is not allowed.
fn check(door: Door, request: &Request<'_>, key: &TokenKey, asked: Asked) {
    let role = "arn:aws:iam::111122223333:role/orders".parse().unwrap();
    let facts = Facts { instance_id: Some("i-0abc".into()), ..Facts::default() };
    let allow = AllowList::parse(["meta-data/ami-id", "meta-data/placement/**"]).unwrap();
    let role = asked.bound.then_some(&role);
    let subject = Subject { workload: WORKLOAD, role, v1: asked.v1, facts: &facts, allow: &allow };
    match decide(door, request, &subject, key, BOOT, [5; 16]).step {
        Step::Answer(answer) => {
            assert!((100..600).contains(&answer.status));
            // A token is for anyone who may ask; anything else takes a secret.
            let free = door == Door::Instance && asked.put;
            assert!(asked.secrets || free || answer.status != 200, "an answer without a secret");
            assert!(answer.status != 200 || !answer.body.expose().is_empty(), "an empty 200");
        }
        Step::Credentials(form) => {
            assert!(asked.secrets && asked.bound, "credentials without a secret or binding");
            let instance = matches!(form, Form::Instance | Form::InstanceInfo);
            assert_eq!(instance, door == Door::Instance);
        }
        Step::Host(path) => {
            assert!(asked.secrets && door == Door::Instance, "the host without a secret");
            let path = path.as_str();
            assert!(path.contains("meta-data/ami-id") || path.contains("meta-data/placement"));
            assert!(plain(path) && !path.contains('%'));
        }
    }
}

/// What the normaliser yields, it yields again.
fn normalise(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let line = text.lines().next().unwrap_or_default();
    for target in [line, line.split_once(' ').unwrap_or_default().1] {
        if let Ok(target) = Target::parse(target) {
            let path = target.path();
            assert_eq!(
                Target::parse(path).map(|again| again.path().to_owned()).as_deref(),
                Ok(path)
            );
            assert!(plain(path));
        }
    }
}

fn plain(path: &str) -> bool {
    path == "/"
        || path
            .strip_prefix('/')
            .is_some_and(|path| path.split('/').all(|segment| !matches!(segment, "" | "." | "..")))
}

fn fill(bytes: &[u8], key: &TokenKey) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(bytes) else { return bytes.to_vec() };
    if !text.contains('$') {
        return bytes.to_vec();
    }
    let token = key.mint(WORKLOAD, TokenLife::parse(b"60").unwrap(), BOOT, [3; 16]);
    text.replace("$token", token.expose())
        .replace("$id", container_id(key, WORKLOAD).expose())
        .replace("$authorization", container_token(key, WORKLOAD).expose())
        .into_bytes()
}

fn header(line: &[u8]) -> Option<(&str, &[u8])> {
    let at = line.iter().position(|b| *b == b':')?;
    let (name, value) = line.split_at(at);
    Some((std::str::from_utf8(name).ok()?, value.get(1..)?))
}

const WORKLOAD: &str = "orders/prod/1";
const BOOT: Duration = Duration::from_secs(60);
