//! What STS is asked, as the strict gate saw it, and how often.

use std::collections::BTreeMap;
use std::fs;

use practice::clients::Client;
use practice::cloud::StsCall;
use practice::stage::{Scene, Source, Stage};

use crate::cast::{Actor, Way, name, on_stage};

/// Eight clients at once in each of two workloads of one application and one of another; then one
/// call to STS for each workload, which says all that names it and to which `source` adds the rest.
#[track_caller]
fn check(name: &str, scene: &Scene, source: impl Fn(&Stage, &Actor, &StsCall)) {
    let scene = scene.clone().binding("tags = { team = \"till\" }");
    on_stage(name, &[Client::Rust], &scene, |stage| {
        let names = ["orders-1", "orders-2", "billing-1"];
        let actors = names.map(|name| Actor::leased(&stage, name));
        std::thread::scope(|scope| {
            for actor in &actors {
                for _ in 0..8 {
                    scope.spawn(|| actor.check(&stage, Client::Rust, Way::Instance));
                }
            }
        });
        for actor in &actors {
            let calls = actor.sts_calls(&stage);
            let [call] = calls.as_slice() else { panic!("{calls:#?}") };
            assert!(call.allowed(), "{call:?}");
            assert_eq!(call.source_identity, Some(actor.session(&stage)));
            assert_eq!(call.duration, 3600);
            let tags = [
                ("application", actor.account(&stage).name.as_str()),
                ("environment", "practice"),
                ("instance", actor.workload.name()),
                ("team", "till"),
            ];
            let tags = tags.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(call.tags, BTreeMap::from(tags));
            assert!(call.transitive.is_empty(), "{call:?}");
            source(&stage, actor, call);
        }
    });
}

fn with_token(stage: &Stage, actor: &Actor, call: &StsCall) {
    let (application, instance) = (&actor.account(stage).name, actor.workload.name());
    let subject = format!("application:{application}:environment:practice:instance:{instance}");
    assert_eq!(call.action, "AssumeRoleWithWebIdentity");
    assert_eq!(Some(&call.role), actor.account(stage).role_arn.as_ref());
    assert_eq!(call.subject, Some(subject));
    assert_eq!(call.audience.as_deref(), Some("sts.amazonaws.com"));
    // The token says who it is: the host's own key is not in it.
    assert_eq!((&call.caller, &call.external_id), (&None, &None));
}

/// The algorithm of the keys that the issuer publishes.
fn published(stage: &Stage) -> String {
    let keys = fs::read_to_string(stage.documents().join(".well-known/jwks.json")).unwrap();
    let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
    keys["keys"][0]["alg"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_of_es256_names_the_workload_to_sts() {
    let scene = Scene::default().algorithm("ES256");
    check(name!(), &scene, |stage, actor, call| {
        with_token(stage, actor, call);
        assert_eq!(published(stage), "ES256");
    });
}

#[test]
fn a_token_of_rs256_names_the_workload_to_sts() {
    let scene = Scene::default().algorithm("RS256");
    check(name!(), &scene, |stage, actor, call| {
        with_token(stage, actor, call);
        assert_eq!(published(stage), "RS256");
    });
}

#[test]
fn the_hosts_key_and_the_external_id_name_the_workload_to_sts() {
    let scene = Scene::default().source(Source::AssumeRole);
    check(name!(), &scene, |stage, actor, call| {
        assert_eq!(call.action, "AssumeRole");
        assert_eq!(call.role, actor.account(stage).lent_role_arn);
        assert_eq!(call.caller.as_ref(), Some(&stage.cloud.host().arn));
        assert_eq!(call.external_id.as_ref(), Some(&actor.account(stage).external_id));
        assert_eq!((&call.subject, &call.audience), (&None, &None));
    });
}
