//! The units: what systemd itself thinks of them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use practice::{program::Invocation, tools::on_path};

const LIMIT: Duration = Duration::from_secs(60);

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn missing() -> bool {
    let missing = on_path("systemd-analyze").is_none();
    if missing {
        println!("skipped: `systemd-analyze` is missing; the package systemd brings it");
    }
    missing
}

/// Exposure is told in tenths: 0 is none, 10 is a service that may do all.
#[track_caller]
fn check(name: &str, most: u32) {
    if missing() {
        return;
    }
    let judged = Invocation::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(format!("--threshold={most}"))
        .arg(unit(name))
        .run(LIMIT)
        .unwrap();
    assert_eq!(judged.code, Some(0), "{}{}", judged.stdout, judged.stderr);
}

#[test]
fn the_server_may_do_nearly_nothing() {
    check("server/rolecall-server.service", 12);
}

#[test]
fn the_agent_may_do_what_it_must_and_no_more() {
    check("agent/rolecall-agent.service", 29);
}

#[test]
fn the_redirect_is_installed_with_one_capability() {
    check("agent/rolecall-redirect.service", 21);
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if missing() {
        return;
    }
    // The programs are not installed where the tests run; something that is stands for them.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut verify = Invocation::new("systemd-analyze").args(["verify", "--man=no"]);
    for name in [
        "agent/rolecall-agent.service",
        "agent/rolecall-redirect.service",
        "server/rolecall-server.service",
    ] {
        let text = fs::read_to_string(unit(name)).unwrap();
        let text = text.replace("=/usr/bin/rolecall-", "=/bin/true --rolecall-");
        let file = folder.path().join(Path::new(name).file_name().unwrap());
        fs::write(&file, text).unwrap();
        verify = verify.arg(file);
    }
    let verified = verify.run(LIMIT).unwrap();
    assert_eq!((verified.code, verified.stderr.as_str()), (Some(0), ""));
}
