use std::{path::Path, sync::Arc};

use api::{
    Kind as Problems,
    issuer::{Algorithm, Issuer, KeyFacts, KeyPath, KeyState, Rotation},
    switch::ReasonAsked,
};
use jiff::SignedDuration;
use ledger::Draft;
use secret::SecretKey;
use serde_json::json;
use state::SealedRow;

use super::stage::{Kind, Stage};
use crate::{acts::issuer, found::AUTHORITY, seal::Seal};

async fn read(stage: &Stage) -> Issuer {
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    issuer::read(server, admin, (), (), ()).await.unwrap()
}

/// What the issuer's keys do, in the order that they are told in.
async fn states(stage: &Stage) -> Vec<KeyState> {
    read(stage).await.keys.iter().map(|key| key.state).collect()
}

async fn rotate(stage: &Stage, now: bool) -> Result<Issuer, api::Problem> {
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    let rotation = Rotation { now, reason: "a test".parse().unwrap() };
    issuer::rotate(server, admin, (), (), rotation).await
}

async fn retire(stage: &Stage, kid: &str) -> Result<Issuer, api::Problem> {
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    let (path, reason) = (
        KeyPath { kid: kid.parse().unwrap() },
        ReasonAsked { reason: "in wrong hands".parse().unwrap() },
    );
    issuer::retire(server, admin, path, reason, ()).await
}

async fn keys_change_on_schedule_and_only_once(kind: Kind) {
    let stage = Stage::on(kind).await;
    let other = stage.another().await;
    let keep = async || {
        let (one, two) = tokio::join!(issuer::keep(&stage.server), issuer::keep(&other));
        usize::from(one.unwrap()) + usize::from(two.unwrap())
    };
    assert_eq!(states(&stage).await, [KeyState::Signing]);
    assert_eq!(keep().await, 0);
    stage.pass(SignedDuration::from_hours(24 * 29));
    assert_eq!(keep().await, 1);
    assert_eq!(states(&stage).await, [KeyState::Next, KeyState::Signing]);
    assert_eq!(keep().await, 0);
    stage.pass(SignedDuration::from_hours(24));
    assert_eq!(keep().await, 1);
    assert_eq!(states(&stage).await, [KeyState::Signing, KeyState::Retiring]);
    stage.pass(SignedDuration::from_hours(2));
    assert_eq!(keep().await, 1);
    assert_eq!(states(&stage).await, [KeyState::Signing, KeyState::Retired]);
    assert_eq!(keep().await, 0);
    assert_eq!(stage.count("issuer-key.rotated").await, 1);
    // The private half of a key that is over is nowhere any more.
    let rows = stage.server.state.read().await.unwrap().issuer_keys().await.unwrap();
    let sealed: Vec<bool> =
        rows.iter().filter(|row| row.state == "retired").map(|row| row.sealed.is_some()).collect();
    assert_eq!(sealed, [false]);
}

#[tokio::test]
async fn keys_change_on_schedule_and_only_once_on_sqlite() {
    keys_change_on_schedule_and_only_once(Kind::Sqlite).await;
}

#[tokio::test]
async fn keys_change_on_schedule_and_only_once_on_postgresql() {
    keys_change_on_schedule_and_only_once(Kind::Postgres).await;
}

#[tokio::test]
async fn a_key_is_published_for_a_day_before_it_signs_unless_somebody_says_at_once() {
    let stage = Stage::new().await;
    assert_eq!(rotate(&stage, false).await.unwrap_err().kind, Problems::Conflict);
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    let facts = KeyFacts { algorithm: Algorithm::Rs256, kms_key: None };
    let key = issuer::add_key(server, admin, (), (), facts).await.unwrap();
    assert_eq!((key.state, key.ready), (KeyState::Next, key.made + SignedDuration::from_hours(24)));
    assert_eq!(rotate(&stage, false).await.unwrap_err().kind, Problems::Conflict);
    stage.pass(SignedDuration::from_hours(24));
    let issuer = rotate(&stage, false).await.unwrap();
    assert_eq!(
        (issuer.keys[0].kid.as_str(), issuer.keys[0].state),
        (key.kid.as_str(), KeyState::Signing)
    );
}

#[tokio::test]
async fn a_key_in_wrong_hands_is_replaced_and_retired_at_once() {
    let stage = Stage::new().await;
    let stolen = read(&stage).await.keys.remove(0).kid;
    assert_eq!(retire(&stage, &stolen).await.unwrap_err().kind, Problems::Conflict);
    let issuer = rotate(&stage, true).await.unwrap();
    assert_ne!(issuer.keys[0].kid, stolen);
    retire(&stage, &stolen).await.unwrap();
    assert_eq!(states(&stage).await, [KeyState::Signing, KeyState::Retired]);
    let known = stage.server.refresher.known();
    assert!(!known.documents.as_ref().unwrap().jwks.contains(&stolen));
    assert_eq!(retire(&stage, &stolen).await.unwrap_err().kind, Problems::NotFound);
    assert_eq!(retire(&stage, "none").await.unwrap_err().kind, Problems::NotFound);
}

#[tokio::test]
async fn no_key_is_made_under_a_key_file_that_another_has_replaced() {
    let stage = Stage::new().await;
    // As `rolecall-server reseal` leaves it, while this replica runs on with the old file.
    let new = Seal::of(&SecretKey::new([7; 32]), Path::new("new.key")).unwrap();
    let sealed = new.seal(AUTHORITY, b"the authority's key").unwrap();
    let mut act = stage.server.state.act().await.unwrap();
    let draft = Draft::new("operator", "keys.resealed", "deployment", json!({})).unwrap();
    act.record(draft, stage.now()).await.unwrap();
    let row = SealedRow { name: AUTHORITY.to_owned(), sealed, body: "{}".to_owned() };
    act.put_sealed(&row).await.unwrap();
    act.commit(stage.now()).await.unwrap();
    let refused = rotate(&stage, true).await.unwrap_err();
    assert_eq!(refused.kind, Problems::Conflict);
    assert!(refused.detail.contains("start this server again"));
    stage.pass(SignedDuration::from_hours(24 * 29));
    issuer::keep(&stage.server).await.unwrap_err();
    assert_eq!(states(&stage).await, [KeyState::Signing]);
}
