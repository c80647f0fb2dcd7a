//! The packages on a fresh Debian, whose own systemd runs the units with everything that shuts them in.

use std::{
    fs,
    time::{Duration, Instant},
};

use practice::{
    machine::{Machine, MachineError},
    program::Finished,
    tools::Tools,
};

use crate::made::{Made, NEW, OLD};

/// How long one command on the machine may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// The agent's file: its door is the redirect, and a unit is an application.
const AGENT: &str = r#"region = "eu-central-1"
[metadata.redirect]
port = 81
[issuer]
url = "https://oidc.example.com/rolecall"
[[binding]]
application = "orders"
environment = "prod"
match = { unit = "orders.service" }
role = "arn:aws:iam::222222222222:role/orders"
source = "web-identity"
"#;

/// A unit of an application: it asks for a session token and keeps the answer.
const ORDERS: &str = r#"[Service]
Type=oneshot
ExecStart=/usr/bin/perl -MIO::Socket::INET -e 'my $$s = IO::Socket::INET->new(PeerAddr => "169.254.169.254:80", Timeout => 5) or die "no connection: $$@"; print $$s "PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"; print while <$$s>;'
StandardOutput=truncate:/var/tmp/answer
"#;

pub(crate) fn machine() -> Option<Machine> {
    match Machine::start(&Tools::find(), &["dbus"]) {
        Ok(machine) => Some(machine),
        Err(MachineError::NotHere(why)) => {
            println!("skipped: {why}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A command on the machine, which must end well.
#[track_caller]
pub(crate) fn does(machine: &Machine, program: &str, words: &[&str]) -> Finished {
    let ran = machine.inside(program).args(words.iter().copied()).run(LIMIT).unwrap();
    assert_eq!(ran.code, Some(0), "{program} {words:?}: {}{}", ran.stdout, ran.stderr);
    ran
}

/// Installs packages as a person would; what they depend on comes from Debian.
#[track_caller]
pub(crate) fn install(machine: &Machine, made: &Made, names: &[&str]) -> Finished {
    let mut words = vec!["install", "--yes", "--no-install-recommends"];
    let places: Vec<String> = names
        .iter()
        .map(|name| {
            let from = made.file(&format!("{name}_"));
            let place = format!("/var/tmp/{}", from.file_name().unwrap().to_string_lossy());
            fs::copy(&from, machine.path(&place)).unwrap();
            place
        })
        .collect();
    words.extend(places.iter().map(String::as_str));
    does(machine, "apt-get", &words)
}

/// Waits for what the machine's programs bring about.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < until, "waited {LIMIT:?} for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn process_of(machine: &Machine, unit: &str) -> String {
    does(machine, "systemctl", &["show", "--property=MainPID", "--value", unit])
        .stdout
        .trim()
        .to_owned()
}

/// What the unit of an application is told when it asks for a session token.
#[track_caller]
fn orders_asks(machine: &Machine) -> String {
    fs::write(machine.path("/etc/systemd/system/orders.service"), ORDERS).unwrap();
    does(machine, "systemctl", &["daemon-reload"]);
    // Its requests have somewhere to go, as on any host.
    for words in [
        &["address", "replace", "192.0.2.1/32", "dev", "lo"][..],
        &["route", "replace", "default", "dev", "lo"],
    ] {
        machine.in_network("ip").args(words.iter().copied()).run(LIMIT).unwrap().success().unwrap();
    }
    does(machine, "systemctl", &["start", "orders.service"]);
    fs::read_to_string(machine.path("/var/tmp/answer")).unwrap()
}

#[test]
fn the_agents_package_serves_is_upgraded_and_leaves_nothing() {
    let Some(machine) = machine() else { return };
    let (old, new) = (&*OLD, &*NEW);

    // A new agent has no file of its operator's yet: it is there, and it does nothing.
    let said = install(&machine, old, &["rolecall-agent", "rolecall"]).stdout;
    assert!(said.contains("write /etc/rolecall/agent.toml"), "{said}");
    let unfinished = machine.inside("rolecall-agent").arg("check").run(LIMIT).unwrap();
    assert_eq!(unfinished.code, Some(2), "{}", unfinished.stderr);
    assert!(unfinished.stderr.contains("region"), "{}", unfinished.stderr);
    let asked =
        machine.inside("systemctl").args(["is-enabled", "rolecall-agent"]).run(LIMIT).unwrap();
    assert_eq!(asked.stdout.trim(), "disabled");

    // With its file it serves, shut in as its unit says.
    fs::write(machine.path("/etc/rolecall/agent.toml"), AGENT).unwrap();
    does(&machine, "systemctl", &["enable", "--now", "rolecall-redirect", "rolecall-agent"]);
    let answer = orders_asks(&machine);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let status = does(&machine, "rolecall-agent", &["status"]).stdout;
    assert!(status.contains("attested: 1"), "{status}");
    let owner = does(&machine, "stat", &["--format=%U %a", "/var/lib/rolecall"]).stdout;
    assert_eq!(owner.trim(), "rolecall 700");
    let key = "/var/lib/rolecall";
    let keys = || {
        let mut found: Vec<_> = fs::read_dir(machine.path(key))
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        found.sort();
        found
    };
    let held = keys();
    assert!(!held.is_empty(), "the agent kept no key");

    // An upgrade keeps file and keys, and the new program takes over.
    let before = process_of(&machine, "rolecall-agent");
    install(&machine, new, &["rolecall-agent", "rolecall"]);
    assert_eq!(fs::read_to_string(machine.path("/etc/rolecall/agent.toml")).unwrap(), AGENT);
    assert_eq!(keys(), held);
    wait_for("the new agent", || process_of(&machine, "rolecall-agent") != before);
    does(&machine, "systemctl", &["is-active", "rolecall-agent"]);
    let answer = orders_asks(&machine);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

    // A purge takes everything, the redirect as well.
    does(&machine, "apt-get", &["purge", "--yes", "rolecall-agent", "rolecall"]);
    let tables = does(&machine, "nft", &["list", "tables"]).stdout;
    assert!(!tables.contains("rolecall"), "{tables}");
    let left = does(
        &machine,
        "find",
        &["/etc", "/usr", "/var", "/run", "-name", "*rolecall*", "-not", "-path", "/var/tmp/*"],
    );
    assert_eq!(left.stdout, "");
    let user = machine.inside("getent").args(["passwd", "rolecall"]).run(LIMIT).unwrap();
    assert_eq!(user.code, Some(2), "{}", user.stdout);
}

#[test]
fn an_upgrade_never_restarts_into_a_file_that_it_refuses() {
    let Some(machine) = machine() else { return };
    let (old, new) = (&*OLD, &*NEW);
    install(&machine, old, &["rolecall-agent"]);
    fs::write(machine.path("/etc/rolecall/agent.toml"), AGENT).unwrap();
    does(&machine, "systemctl", &["enable", "--now", "rolecall-agent"]);
    let before = process_of(&machine, "rolecall-agent");
    let broken = format!("{AGENT}\nno-such-key = true\n");
    fs::write(machine.path("/etc/rolecall/agent.toml"), broken).unwrap();
    let upgrade = install(&machine, new, &["rolecall-agent"]);
    let said = upgrade.stdout + &upgrade.stderr;
    assert!(said.contains("the old one goes on") && said.contains("no-such-key"), "{said}");
    assert_eq!(process_of(&machine, "rolecall-agent"), before);
    let answer = orders_asks(&machine);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}
