//! `rolecall doctor --agent FILE`: how this host is, in the words of its agent.
//!
//! The agent is asked as a person asks it, by its own program: what it checks and tells is its own business.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::doctor::Look;

/// The agent's program.
const PROGRAM: &str = "rolecall-agent";

/// Certificates are renewed long before; one with less left, in seconds, was not.
const CERTIFICATE_WARN_S: i64 = 6 * 60 * 60;

/// A clock that is further off, in seconds, breaks tokens and leases.
const CLOCK_WARN_S: i64 = 60;

/// Everything that can be looked at on this host.
pub(crate) fn look(file: &Path) -> Vec<Look> {
    let file_is = match ask(file, &["check"]) {
        Ok(_) => Look::ok("file", file.display().to_string()),
        Err(why) => Look::fail("file", why, "mend the file; `rolecall-agent check` looks again"),
    };
    let mut looks = vec![file_is];
    match ask(file, &["status", "-o", "json"]) {
        Ok(text) => match serde_json::from_str(&text) {
            Ok(status) => looks.extend(told(&status)),
            Err(error) => {
                let way = "see that both programs are of one version";
                looks.push(Look::fail("agent", format!("its status is no JSON: {error}"), way));
            }
        },
        Err(why) => {
            let way = "systemctl status rolecall-agent; ask as root or as the agent's user";
            looks.push(Look::fail("agent", why, way));
        }
    }
    looks.push(match ask(file, &["redirect", "status"]) {
        Ok(text) => Look::ok("redirect", text.trim()),
        Err(why) => Look::warn(
            "redirect",
            why,
            "`rolecall-agent redirect install`, if hosts' own processes are to be served",
        ),
    });
    looks
}

fn ask(file: &Path, words: &[&str]) -> Result<String, String> {
    let asked = Command::new(PROGRAM).arg("--config").arg(file).args(words).output();
    let Output { status, stdout, stderr } =
        asked.map_err(|error| format!("`{PROGRAM}` cannot be run: {error}"))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let words = if stderr.trim_ascii().is_empty() { &stdout } else { &stderr };
    let text = String::from_utf8_lossy(words).trim().to_owned();
    Err(if text.is_empty() { status.to_string() } else { text })
}

/// What the agent's status means.
fn told(status: &Value) -> Vec<Look> {
    let mut looks = vec![leases(status), log(status)];
    let list = |name: &str| status.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let unserved = list("unserved");
    if !unserved.is_empty() {
        let names: Vec<_> = unserved
            .iter()
            .map(|place| format!("{}: {}", text(place, "name"), text(place, "reason")))
            .collect();
        let way = "see docs/operating/troubleshooting.md";
        looks.push(Look::fail("namespaces", names.join("; "), way));
    }
    if let Some(fault) = status.get("watch_fault").filter(|fault| !fault.is_null()) {
        let way = "see that the folder of namespaces is there and can be read";
        looks.push(Look::fail("namespaces", fault.to_string(), way));
    }
    if let Some(skew) = status.get("clock_skew_s").and_then(Value::as_i64) {
        let found = format!("{skew} s off against AWS");
        looks.push(match skew.abs() > CLOCK_WARN_S {
            true => Look::fail("clock", found, "synchronise this host's clock"),
            false => Look::ok("clock", found),
        });
    }
    if let Some(server) = status.get("server") {
        looks.extend([certificate(server), line(server), orders(server)]);
    }
    looks
}

fn leases(status: &Value) -> Look {
    let failing = status.get("failing").and_then(Value::as_array).cloned().unwrap_or_default();
    let count = |name: &str| status.pointer(&format!("/leases/{name}")).and_then(Value::as_u64);
    let Some(held) = count("held") else {
        return Look::fail("leases", "unknown", "see that both programs are of one version");
    };
    if failing.is_empty() {
        return Look::ok("leases", format!("{held} held, none fails"));
    }
    let why: Vec<_> = failing
        .iter()
        .map(|lease| format!("{}: {}", text(lease, "workload"), text(lease, "reason")))
        .collect();
    let found = format!("{held} held, {} fail: {}", failing.len(), why.join("; "));
    Look::fail("leases", found, "`rolecall token explain WORKLOAD` and `rolecall issuer check`")
}

fn log(status: &Value) -> Look {
    match status.get("log_writable").and_then(Value::as_bool) {
        Some(true) => Look::ok("access log", "can be written"),
        Some(false) => {
            let way = "make room on its disk, or mend its permissions";
            Look::fail("access log", "cannot be written, so nobody gets credentials", way)
        }
        None => Look::warn("access log", "unknown", "see that both programs are of one version"),
    }
}

fn certificate(server: &Value) -> Look {
    let again = "let the host join again: `rolecall-agent join --again`";
    let left = server.pointer("/identity/certificate_ends_in_s").and_then(Value::as_i64);
    let ends = server.pointer("/identity/certificate_ends").and_then(Value::as_str);
    let ends = ends.unwrap_or("unknown");
    let renewal = server.pointer("/line/renewal_failed/why").and_then(Value::as_str);
    match (left, renewal) {
        (None, _) => Look::fail("certificate", "unknown", again),
        (Some(left), _) if left <= 0 => Look::fail("certificate", format!("ended {ends}"), again),
        (Some(_), Some(why)) => {
            let found = format!("ends {ends}, and its renewal failed: {why}");
            Look::warn("certificate", found, "mend the way to the server")
        }
        (Some(left), None) if left < CERTIFICATE_WARN_S => {
            let way = "mend the way to the server before it ends";
            Look::warn("certificate", format!("ends {ends} and was not renewed"), way)
        }
        (Some(_), None) => Look::ok("certificate", format!("ends {ends}")),
    }
}

fn line(server: &Value) -> Look {
    let at = |name: &str| server.pointer(&format!("/line/{name}")).and_then(Value::as_str);
    if let Some(since) = at("revoked") {
        let way = "let the host join again if it may: `rolecall-agent join --again`";
        return Look::fail("server", format!("it revoked this host ({since})"), way);
    }
    match server.pointer("/line/reachable").and_then(Value::as_bool) {
        Some(true) => Look::ok("server", format!("heard {}", at("heard").unwrap_or("at last"))),
        _ => {
            let since = at("unreachable_since").unwrap_or("the start");
            let found =
                format!("not reached since {since}: {}", at("trouble").unwrap_or("unknown"));
            let way =
                "mend the way to the server: held leases are served, and nothing new is fetched";
            Look::fail("server", found, way)
        }
    }
}

fn orders(server: &Value) -> Look {
    let at = |path: &str| server.pointer(path);
    if let Some(why) = at("/line/orders_not_obeyed/why").and_then(Value::as_str) {
        let way = "see that nobody is between host and server; then let the host join again";
        return Look::fail("orders", format!("not obeyed: {why}"), way);
    }
    let (revision, age) = (at("/orders/revision"), at("/orders/age_s").and_then(Value::as_i64));
    let (Some(revision), Some(age)) = (revision.and_then(Value::as_u64), age) else {
        let way = "wait until the server is reached once";
        return Look::fail("orders", "there are none, so nobody gets a role", way);
    };
    let found = format!("revision {revision}, {age} s old");
    match at("/line/orders_not_on_disk").and_then(Value::as_str) {
        Some(why) => {
            let found = format!("{found}, and not on the disk: {why}");
            Look::warn(
                "orders",
                found,
                "make room on the disk: a restart without the server needs them",
            )
        }
        None => Look::ok("orders", found),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::State;

    fn well() -> Value {
        json!({
            "leases": { "held": 2 }, "failing": [], "unserved": [], "watch_fault": null,
            "log_writable": true, "clock_skew_s": 0,
            "server": {
                "identity": { "certificate_ends": "2026-01-02T00:00:00Z", "certificate_ends_in_s": 80_000 },
                "line": { "reachable": true, "heard": "2026-01-01T00:00:00Z", "revoked": null,
                          "orders_not_obeyed": null, "orders_not_on_disk": null, "renewal_failed": null },
                "orders": { "revision": 7, "age_s": 30 },
            },
        })
    }

    /// With one thing otherwise, exactly one look is worse than ok, and it is this one.
    #[track_caller]
    fn check(path: &str, value: Value, what: &str, state: State) {
        let mut status = well();
        *status.pointer_mut(path).unwrap() = value;
        let looks = told(&status);
        let bad: Vec<_> = looks.iter().filter(|look| look.state != State::Ok).collect();
        assert_eq!(bad.len(), 1, "{looks:?}");
        assert_eq!((bad[0].what.as_str(), bad[0].state), (what, state), "{looks:?}");
        assert!(!bad[0].to_do.is_empty());
    }

    #[test]
    fn a_host_that_is_well_has_nothing_to_do() {
        assert!(told(&well()).iter().all(|look| look.state == State::Ok));
        assert_eq!(told(&well()).len(), 6);
    }

    #[test]
    fn whatever_is_wrong_on_a_host_is_told_with_what_to_do() {
        let failing = json!([{ "workload": "orders/prod/1", "reason": "denied" }]);
        check("/failing", failing, "leases", State::Fail);
        check("/log_writable", json!(false), "access log", State::Fail);
        check("/unserved", json!([{ "name": "a", "reason": "b" }]), "namespaces", State::Fail);
        check("/watch_fault", json!("gone"), "namespaces", State::Fail);
        check("/clock_skew_s", json!(-300), "clock", State::Fail);
        check("/server/identity/certificate_ends_in_s", json!(-1), "certificate", State::Fail);
        check("/server/identity/certificate_ends_in_s", json!(60), "certificate", State::Warn);
        check("/server/line/renewal_failed", json!({ "why": "x" }), "certificate", State::Warn);
        check("/server/line/reachable", json!(false), "server", State::Fail);
        check("/server/line/revoked", json!("2026-01-01T00:00:00Z"), "server", State::Fail);
        check("/server/line/orders_not_obeyed", json!({ "why": "x" }), "orders", State::Fail);
        check("/server/line/orders_not_on_disk", json!("full"), "orders", State::Warn);
        check("/server/orders", json!(null), "orders", State::Fail);
    }

    #[test]
    fn what_is_not_told_is_unknown_and_not_well() {
        assert!(told(&json!({})).iter().all(|look| look.state != State::Ok));
    }
}
