//! Every SDK by every way, in two workloads at the same time.

use practice::clients::Client;
use practice::stage::{Scene, Source};

use crate::cast::{Actor, Way, name, on_stage, until};

/// `client` works by every way in both workloads, and STS was asked once for each.
#[track_caller]
fn check(name: &str, client: Client, scene: &Scene) {
    on_stage(name, &[client], scene, |stage| {
        let actors = ["orders-1", "billing-1"].map(|name| Actor::leased(&stage, name));
        for (turn, way) in Way::ALL.into_iter().enumerate() {
            if way.is_ipv6() && !Way::ALL[turn - 1].is_ipv6() {
                actors.iter().for_each(|actor| actor.leave_ipv6(&stage));
            }
            std::thread::scope(|scope| {
                for actor in &actors {
                    scope.spawn(|| {
                        let before = actor.served_at(&stage).len();
                        actor.check(&stage, client, way);
                        // It came by the way that was meant, not by another one of its chain. The
                        // log may be a little late, so no two ways in a row have the same door.
                        until(|| {
                            actor.served_at(&stage)[before..].contains(&way.door().to_owned())
                        });
                    });
                }
            });
        }
        for actor in &actors {
            let calls = actor.sts_calls(&stage);
            assert!(calls.len() == 1 && calls[0].allowed(), "{calls:?}");
        }
    });
}

#[test]
fn boto3_finds_its_own_account_by_every_way() {
    check(name!(), Client::Python, &Scene::default());
}

#[test]
fn the_aws_cli_finds_its_own_account_by_every_way() {
    let scene = Scene::default().algorithm("RS256");
    check(name!(), Client::Cli, &scene);
}

#[test]
fn the_java_sdk_finds_its_own_account_by_every_way() {
    let scene = Scene::default().source(Source::AssumeRole);
    check(name!(), Client::Java, &scene);
}

#[test]
fn the_javascript_sdk_finds_its_own_account_by_every_way() {
    check(name!(), Client::Js, &Scene::default());
}

#[test]
fn the_go_sdk_finds_its_own_account_by_every_way() {
    let scene = Scene::default().algorithm("RS256");
    check(name!(), Client::Go, &scene);
}

#[test]
fn the_rust_sdk_finds_its_own_account_by_every_way() {
    let scene = Scene::default().source(Source::AssumeRole);
    check(name!(), Client::Rust, &scene);
}
