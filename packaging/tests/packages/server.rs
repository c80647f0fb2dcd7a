//! The server's package on a fresh Debian.

use std::fs;

use practice::machine::Machine;

use crate::{
    debian::{LIMIT, does, install, machine, process_of, wait_for},
    made::{NEW, OLD},
};

const SERVER: &str = r#"listen = "127.0.0.1:8443"
names = ["localhost"]
[issuer]
url = "https://oidc.example.com/rolecall"
listen = "127.0.0.1:8080"
"#;

/// Asks for the health over TLS. Whose certificate it is, the fingerprint tells elsewhere.
const HEALTH: &str = "
import http.client, ssl
server = http.client.HTTPSConnection('127.0.0.1', 8443, timeout=20, context=ssl._create_unverified_context())
server.request('GET', '/v1/health')
answer = server.getresponse()
print(answer.status, answer.read().decode())
";

#[track_caller]
fn is_healthy(machine: &Machine) {
    let asked = machine.in_network("python3").args(["-c", HEALTH]).run(LIMIT).unwrap();
    assert!(asked.stdout.starts_with("200 {"), "{}{}", asked.stdout, asked.stderr);
}

/// What the server said since the machine was booted.
fn said(machine: &Machine) -> String {
    does(machine, "journalctl", &["--no-pager", "--unit", "rolecall-server"]).stdout
}

/// What a command prints that is typed as it says itself: the server's user exists only as its unit's.
#[track_caller]
fn as_the_server(machine: &Machine, words: &[&str]) -> String {
    let refused = machine.inside("rolecall-server").args(words.iter().copied()).run(LIMIT).unwrap();
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    let line = refused.stderr.split("as that user, type: ").nth(1);
    let line = line.unwrap_or_else(|| panic!("nothing to type: {}", refused.stderr));
    does(machine, "sh", &["-c", line]).stdout
}

#[test]
fn the_servers_package_serves_is_upgraded_and_leaves_nothing() {
    let Some(machine) = machine() else { return };
    let (old, new) = (&*OLD, &*NEW);

    // A new server has no file of its operator's yet: it is there, and it does nothing.
    let told = install(&machine, old, &["rolecall-server"]).stdout;
    assert!(told.contains("write /etc/rolecall/server.toml"), "{told}");
    let unfinished = machine.inside("rolecall-server").arg("check").run(LIMIT).unwrap();
    assert_eq!(unfinished.code, Some(2), "{}", unfinished.stderr);

    // With its file it serves, shut in as its unit says, and greets its first admin once.
    fs::write(machine.path("/etc/rolecall/server.toml"), SERVER).unwrap();
    let words = ["enable", "--now", "rolecall-server"];
    let started = machine.inside("systemctl").args(words).run(LIMIT).unwrap();
    assert_eq!(started.code, Some(0), "{}{}", started.stderr, said(&machine));
    is_healthy(&machine);
    assert_eq!(said(&machine).matches("as the first admin").count(), 1);
    let fingerprint = as_the_server(&machine, &["fingerprint"]);
    assert!(fingerprint.starts_with("sha256:"), "{fingerprint}");
    let mode = does(&machine, "stat", &["--format=%a", "/var/lib/private/rolecall-server"]).stdout;
    assert_eq!(mode.trim(), "700");

    // An upgrade keeps who it is, and the new program takes over.
    let before = process_of(&machine, "rolecall-server");
    install(&machine, new, &["rolecall-server"]);
    assert_eq!(fs::read_to_string(machine.path("/etc/rolecall/server.toml")).unwrap(), SERVER);
    wait_for("the new server", || process_of(&machine, "rolecall-server") != before);
    does(&machine, "systemctl", &["is-active", "rolecall-server"]);
    is_healthy(&machine);
    assert_eq!(as_the_server(&machine, &["fingerprint"]), fingerprint);
    assert_eq!(said(&machine).matches("as the first admin").count(), 1);

    // A purge takes everything.
    does(&machine, "apt-get", &["purge", "--yes", "rolecall-server"]);
    let places = ["/etc", "/usr", "/var", "/run"];
    let wanted = ["-name", "*rolecall*", "-not", "-path", "/var/tmp/*"];
    assert_eq!(does(&machine, "find", &[&places[..], &wanted[..]].concat()).stdout, "");
}
