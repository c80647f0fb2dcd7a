//! The agent joined to a fake of the server: orders that no server should give, a server that goes away,
//! certificates that are due at once.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers included"
)]

mod fake;
mod host;
mod orders;

use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use api::{
    Kind,
    agents::{Asked, InEffect},
    orders::SignedOrders,
};
use fake::{Deployment, HOST};
use host::{Host, until};
use jiff::{SignedDuration, Timestamp};
use orders::{NO_STS, joined, off, on, orders};

#[test]
fn a_host_joins_once_and_keeps_its_key_to_itself() {
    let deployment = Deployment::new();
    let server = deployment.serve(None);
    let host = Host::new(server.address, NO_STS);
    let joined = host.join(deployment.token().expose(), &[]).success().unwrap();
    assert!(joined.stdout.contains(HOST), "{}", joined.stdout);
    let file = host.plan().data().join("host.json");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let again = host.join(deployment.token().expose(), &[]);
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.contains("has joined already") && again.stderr.contains("--again"),
        "{}",
        again.stderr
    );
    let before = std::fs::read(&file).unwrap();
    host.join(deployment.token().expose(), &["--again"]).success().unwrap();
    assert_ne!(std::fs::read(&file).unwrap(), before, "another key");

    host.command(&["leave"]).success().unwrap();
    assert!(!file.exists());
    let check = host.command(&["check"]).success().unwrap();
    assert!(check.stdout.contains("has not joined"), "{}", check.stdout);
}

#[test]
fn a_server_of_another_authority_than_the_tokens_is_told_nothing() {
    let (ours, rogue) = (Deployment::new(), Deployment::new());
    let server = rogue.serve(None);
    let host = Host::new(server.address, NO_STS);
    let refused = host.join(ours.token().expose(), &[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("is not the server that is trusted"), "{}", refused.stderr);
    assert!(!host.plan().data().join("host.json").exists());
}

#[test]
fn an_agent_that_never_joined_does_not_start_and_says_how_to_join() {
    let server = Deployment::new().serve(None);
    let error = Host::new(server.address, NO_STS).start().unwrap_err();
    assert!(error.contains("rolecall-agent join"), "{error}");
}

#[test]
fn orders_are_in_force_within_two_seconds_for_connections_that_are_there_already() {
    let deployment = Deployment::new();
    let server = deployment.serve(None);
    let mut host = joined(&deployment, &server);
    host.start().unwrap();
    // Nobody has a binding, so nobody is known.
    let mut client = host.client();
    assert_eq!(client.credentials().0, 403);

    deployment.order(&orders(1, vec![on(1)]));
    until("the workload is reported as on", || deployment.asked() == Some(Asked::On));
    // It is known now, and waits for a token that the server does not give.
    let (status, body) = client.credentials();
    assert_eq!(status, 503, "{body}");

    for (revision, position, asked) in [(2, off(2), Asked::Off), (3, on(3), Asked::On)] {
        let began = Instant::now();
        deployment.order(&orders(revision, vec![position]));
        until("the flip is reported", || deployment.asked() == Some(asked));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        // Off, the host's own are let through, as this file allows.
        let (status, body) = client.credentials();
        assert_eq!(
            (status == 200, body.contains("HOSTKEY")),
            (asked == Asked::Off, asked == Asked::Off)
        );
    }
}

#[test]
fn orders_that_the_server_did_not_sign_are_reported_and_the_old_ones_stay() {
    let deployment = Deployment::new();
    let server = deployment.serve(None);
    let mut host = joined(&deployment, &server);
    host.start().unwrap();
    deployment.order(&orders(1, vec![off(1)]));
    until("the orders are in force", || host.status()["server"]["orders"]["revision"] == 1);
    let good = deployment.said();
    let text = orders(2, vec![on(2)]).to_text().unwrap();
    deployment.order_as(SignedOrders { orders: text, ..good });
    until("the forgery is reported", || {
        let why = &host.status()["server"]["line"]["orders_not_obeyed"]["why"];
        why.as_str().is_some_and(|why| why.contains("signature is wrong"))
    });
    assert_eq!(host.status()["server"]["orders"]["revision"], 1);
    until("the workload is reported as off", || deployment.asked() == Some(Asked::Off));
    // The server comes to its senses.
    deployment.order(&orders(3, vec![on(3)]));
    until("newer orders are obeyed", || deployment.asked() == Some(Asked::On));
    assert!(host.status()["server"]["line"]["orders_not_obeyed"].is_null());
}

#[test]
fn without_a_server_an_agent_starts_with_the_orders_on_its_disk_and_says_how_old_they_are() {
    let deployment = Deployment::new();
    let server = deployment.serve(None);
    let address = server.address;
    let mut host = joined(&deployment, &server);
    host.start().unwrap();
    let mut position = on(1);
    position.expires = Some(Timestamp::now() + SignedDuration::from_secs(8));
    deployment.order(&orders(7, vec![position]));
    until("the workload is reported as on", || deployment.asked() == Some(Asked::On));
    host.stop();
    drop(server);
    host.start().unwrap();
    until("the server is missed", || {
        host.status()["server"]["line"]["unreachable_since"].is_string()
    });
    let status = host.status();
    assert_eq!(status["server"]["orders"]["revision"], 7);
    assert!(status["server"]["orders"]["age_s"].as_i64().unwrap() >= 0);
    assert_eq!(status["server"]["identity"]["host"], HOST);
    // The position ends by itself, with nobody to say so.
    let mut client = host.client();
    until("the position ends", || client.credentials().1.contains("HOSTKEY"));
    assert_eq!(host.status()["server"]["workloads"]["on"], 0);

    let _server = deployment.serve(Some(address));
    until("the server is heard again", || host.status()["server"]["line"]["reachable"] == true);
}

#[test]
fn a_token_is_asked_for_after_the_report_and_once_more_if_the_server_lost_sight_of_it() {
    let deployment = Deployment::new();
    let server = deployment.serve(None);
    deployment.state().refuses = vec![Kind::NotRunning, Kind::PlacementRefused];
    let mut host = joined(&deployment, &server);
    deployment.order(&orders(1, vec![on(1)]));
    host.start().unwrap();
    let mut client = host.client();
    // An SDK hears who must act, and nothing of what the server said.
    until("the refusal is told", || client.credentials().1.contains("TokenRefused"));
    let (_, body) = client.credentials();
    assert!(body.contains("placement-refused") && !body.contains("the fake says"), "{body}");
    let failing = host.status()["failing"][0]["reason"].as_str().unwrap().to_owned();
    assert!(failing.contains("the fake says placement-refused"), "{failing}");
    let state = deployment.state();
    assert_eq!(state.minted.len(), 2, "{:?}", state.minted);
    assert_eq!(state.minted[0].workload.to_string(), "orders/prod/1");
    assert!(state.reports >= 2);
}

#[test]
fn a_certificate_that_is_due_is_renewed_with_another_key_while_all_goes_on() {
    let deployment = Deployment::new();
    let server = deployment.serve(None);
    deployment.state().renew_in_s = -86_000;
    let mut host = joined(&deployment, &server);
    deployment.state().renew_in_s = 3600;
    let before = std::fs::read(host.plan().data().join("host.json")).unwrap();
    host.start().unwrap();
    until("it is renewed", || deployment.state().renewals == 1);
    deployment.order(&orders(1, vec![on(1)]));
    until("orders come by the new certificate", || deployment.asked() == Some(Asked::On));
    let after = || std::fs::read(host.plan().data().join("host.json")).unwrap();
    until("the new one is on the disk", || after() != before);
    assert_eq!(deployment.state().renewals, 1);
}

#[test]
fn a_revoked_host_says_so_and_asks_for_no_token() {
    let deployment = Deployment::new();
    let server = deployment.serve(None);
    let mut host = joined(&deployment, &server);
    deployment.order(&orders(1, vec![on(1)]));
    deployment.state().refuses = vec![Kind::Busy];
    host.start().unwrap();
    until("orders are obeyed", || deployment.asked() == Some(Asked::On));
    deployment.state().revoked = true;
    // A question that waits is not cut off: the next report hears of it.
    let mut client = host.client();
    client.credentials();
    until("it is told", || host.status()["server"]["line"]["revoked"].is_string());
    until("leases say so", || client.credentials().1.contains("revoked"));
}

#[test]
fn what_the_host_gave_is_told_until_it_has_ended() {
    let deployment = Deployment::new();
    let server = deployment.serve(None);
    let mut host = joined(&deployment, &server);
    deployment.order(&orders(1, vec![off(1)]));
    host.start().unwrap();
    until("orders are obeyed", || deployment.asked() == Some(Asked::Off));
    let mut client = host.client();
    let (status, body) = client.credentials();
    assert_eq!((status, body.contains("HOSTKEY")), (200, true), "{body}");
    deployment.order(&orders(2, vec![on(2)]));
    until("the workload is reported as on", || deployment.asked() == Some(Asked::On));
    let seen = deployment.state().report.clone().unwrap().workloads.remove(0);
    // What was before the agent nobody knows; what it let through it does.
    assert_eq!((seen.in_effect, seen.effective_at, seen.lease), (InEffect::Unknown, None, None));
    let by = seen.effective_by.unwrap().duration_since(Timestamp::now());
    assert!(by > SignedDuration::from_hours(11), "{by:?}");
    assert!(client.credentials().0 != 200);
}
