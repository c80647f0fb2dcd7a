use std::{sync::Arc, time::Duration};

use api::{
    JoinToken, Kind as Problems,
    agents::{InEffect, JoinRequest, Joined, OrdersAsked, RenewRequest},
    bindings::Because,
    hosts::HostPath,
    joining::{JoinTokenFacts, JoinTokenPath},
    switch::ReasonAsked,
};
use jiff::SignedDuration;
use secret::SecretText;
use serde_json::json;

use super::stage::{Kind, Stage, anybody, csr};
use crate::{
    acts::{agents, hosts, joining},
    caller::Host,
    server::Server,
};

async fn token(stage: &Stage, uses: u32) -> JoinToken {
    let facts =
        JoinTokenFacts { uses: Some(api::Within::new(uses).unwrap()), ..Default::default() };
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    joining::make_token(server, admin, (), (), facts).await.unwrap().token
}

async fn join(server: &Arc<Server>, token: &JoinToken) -> Result<Joined, api::Problem> {
    let (token, version) = (token.clone(), "0.1.0".parse().unwrap());
    let request = JoinRequest { token, csr_pem: csr(), version };
    agents::join(Arc::clone(server), anybody(), (), (), request).await
}

async fn revoke(stage: &Stage, host: &Host) {
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    let path = HostPath { host: host.id().parse().unwrap() };
    let because = Because { reason: "stolen".parse().unwrap() };
    hosts::revoke(server, admin, path, (), because).await.unwrap();
}

async fn orders(
    server: &Arc<Server>,
    host: &Host,
    after: Option<u64>,
    wait_s: u32,
) -> Result<Option<api::orders::Orders>, api::Problem> {
    let asked = OrdersAsked { after, wait_s: Some(api::Within::new(wait_s).unwrap()) };
    let signed = agents::orders(Arc::clone(server), host.clone(), (), asked, ()).await?;
    Ok(signed.map(|signed| signed.read().unwrap()))
}

#[tokio::test]
async fn a_token_lets_as_many_hosts_join_as_it_says() {
    let stage = Stage::new().await;
    let token = token(&stage, 2).await;
    let (one, two) =
        (join(&stage.server, &token).await.unwrap(), join(&stage.server, &token).await.unwrap());
    assert_ne!(one.host, two.host);
    let used = join(&stage.server, &token).await.unwrap_err();
    assert_eq!(used.kind, Problems::TokenUsed);
    assert_eq!(stage.count("host.joined").await, 2);
}

#[tokio::test]
async fn a_token_that_is_unknown_over_or_revoked_lets_nobody_join() {
    let stage = Stage::new().await;
    let good = token(&stage, 9).await;
    let secret = SecretText::new("A".repeat(43));
    let forged = JoinToken::new(good.id(), secret.clone(), good.pin()).unwrap();
    let unknown = JoinToken::new("jt-none", secret, good.pin()).unwrap();
    for token in [&forged, &unknown] {
        let refused = join(&stage.server, token).await.unwrap_err();
        assert_eq!(refused.kind, Problems::JoinRefused);
    }
    join(&stage.server, &good).await.unwrap();
    stage.pass(SignedDuration::from_mins(60));
    assert_eq!(join(&stage.server, &good).await.unwrap_err().kind, Problems::TokenUsed);
    let other = token(&stage, 9).await;
    let path = JoinTokenPath { id: other.id().parse().unwrap() };
    let reason = ReasonAsked { reason: "a slip".parse().unwrap() };
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    joining::revoke_token(server, admin, path, reason, ()).await.unwrap();
    assert_eq!(join(&stage.server, &other).await.unwrap_err().kind, Problems::TokenUsed);
}

#[tokio::test]
async fn a_request_that_cannot_be_used_does_not_cost_the_token() {
    let stage = Stage::new().await;
    let token = token(&stage, 1).await;
    let (again, version) = (token.clone(), "0.1.0".parse().unwrap());
    let request = JoinRequest { token: again, csr_pem: "none".to_owned(), version };
    let server = Arc::clone(&stage.server);
    let refused = agents::join(server, anybody(), (), (), request).await.unwrap_err();
    assert_eq!(refused.kind, Problems::Invalid);
    join(&stage.server, &token).await.unwrap();
}

async fn of_two_hosts_with_one_token_one_joins(kind: Kind) {
    let stage = Stage::on(kind).await;
    let token = token(&stage, 1).await;
    let other = stage.another().await;
    let (one, two) = tokio::join!(join(&stage.server, &token), join(&other, &token));
    assert_ne!(one.is_ok(), two.is_ok());
    assert_eq!(one.err().or(two.err()).unwrap().kind, Problems::TokenUsed);
    assert_eq!(stage.count("host.joined").await, 1);
}

#[tokio::test]
async fn of_two_hosts_with_one_token_one_joins_on_sqlite() {
    of_two_hosts_with_one_token_one_joins(Kind::Sqlite).await;
}

#[tokio::test]
async fn of_two_hosts_with_one_token_one_joins_on_postgresql() {
    of_two_hosts_with_one_token_one_joins(Kind::Postgres).await;
}

#[tokio::test]
async fn a_nonce_is_good_once_and_for_minutes() {
    let stage = Stage::new().await;
    let make = || agents::make_nonce(Arc::clone(&stage.server), anybody(), (), (), ());
    let (one, two) = (make().await.unwrap(), make().await.unwrap());
    assert_ne!(one.nonce, two.nonce);
    let take = |nonce: String, now| {
        let hash = crate::random::hash(&nonce);
        let state = stage.server.state.clone();
        async move { state.take_nonce(&hash, now).await.unwrap() }
    };
    assert!(take(one.nonce.clone(), stage.now()).await);
    assert!(!take(one.nonce, stage.now()).await);
    assert!(!take(two.nonce, two.expires).await);
}

#[tokio::test]
async fn a_revoked_host_gets_nothing() {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    stage.group("web", "orders/*").await;
    stage.bind("orders", "orders").await;
    stage.flip(json!({}), true, 100).await;
    let host = stage.host("web").await;
    stage.report(&host, &[("orders/prod/1", InEffect::On)]).await;
    stage.mint(&host, "orders/prod/1", "orders").await.unwrap();
    orders(&stage.server, &host, None, 0).await.unwrap().unwrap();
    revoke(&stage, &host).await;
    // Neither with a new connection, nor with a request that was let in just before.
    assert_eq!(stage.caller(host.id()).await.unwrap_err().kind, Problems::Revoked);
    let refused = stage.mint(&host, "orders/prod/1", "orders").await.unwrap_err();
    assert_eq!(refused.kind, Problems::Revoked);
    let refused = orders(&stage.server, &host, None, 0).await.unwrap_err();
    assert_eq!(refused.kind, Problems::Revoked);
    let renew = RenewRequest { csr_pem: csr() };
    let server = Arc::clone(&stage.server);
    let refused = agents::renew(server, host, (), (), renew).await.unwrap_err();
    assert_eq!(refused.kind, Problems::Revoked);
}

#[tokio::test]
async fn a_renewed_certificate_is_recorded_and_changes_nothing_else() {
    let stage = Stage::new().await;
    let host = stage.host("web").await;
    let revision = stage.server.refresher.known().revision();
    let renew = async || {
        let (server, renew) = (Arc::clone(&stage.server), RenewRequest { csr_pem: csr() });
        agents::renew(server, host.clone(), (), (), renew).await
    };
    // A host whose clock is wrong, or a thief, fills no ledger with what is not due.
    stage.pass(SignedDuration::from_mins(59));
    assert_eq!(renew().await.unwrap_err().kind, Problems::Conflict);
    stage.pass(SignedDuration::from_mins(1));
    let joined = renew().await.unwrap();
    assert_eq!(renew().await.unwrap_err().kind, Problems::Conflict);
    assert_eq!(joined.host, host.id());
    assert_eq!(joined.labels["pool"], "web");
    assert_eq!(stage.count("host.renewed").await, 1);
    stage.server.refresher.refresh().await.unwrap();
    assert_eq!(stage.server.refresher.known().revision(), revision);
}

#[tokio::test]
async fn whoever_waits_for_orders_is_told_at_once_when_they_change() {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    stage.group("web", "orders/*").await;
    stage.bind("orders", "orders").await;
    let host = stage.host("web").await;
    let first = orders(&stage.server, &host, None, 0).await.unwrap().unwrap();
    assert_eq!((first.bindings.len(), first.positions.len()), (1, 0));
    assert_eq!(orders(&stage.server, &host, Some(first.revision), 0).await.unwrap(), None);
    let (server, waiting) = (Arc::clone(&stage.server), host.clone());
    let after = Some(first.revision);
    let waits = tokio::spawn(async move { orders(&server, &waiting, after, 30).await });
    // What means nothing to the host wakes nobody; what does, does.
    stage.group("db", "billing/*").await;
    stage.flip(json!({}), true, 100).await;
    let told = tokio::time::timeout(Duration::from_secs(10), waits).await.unwrap();
    let told = told.unwrap().unwrap().unwrap();
    assert_eq!(told.positions.len(), 1);
    assert!(told.revision > first.revision);
}

#[tokio::test]
async fn another_replica_tells_a_change_within_a_moment() {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    stage.group("web", "orders/*").await;
    stage.bind("orders", "orders").await;
    let host = stage.host("web").await;
    let other = stage.another().await;
    let first = orders(&other, &host, None, 0).await.unwrap().unwrap();
    let looking = Arc::clone(&other.refresher);
    let looking = tokio::spawn(async move { looking.run(|_| {}).await });
    let (server, after) = (Arc::clone(&other), Some(first.revision));
    let waits = tokio::spawn(async move { orders(&server, &host, after, 30).await });
    stage.flip(json!({}), true, 100).await;
    let told = tokio::time::timeout(Duration::from_secs(10), waits).await.unwrap();
    assert_eq!(told.unwrap().unwrap().unwrap().positions.len(), 1);
    looking.abort();
}

#[tokio::test]
async fn a_replica_that_stops_lets_those_who_wait_go() {
    let stage = Stage::new().await;
    let host = stage.host("web").await;
    let first = orders(&stage.server, &host, None, 0).await.unwrap().unwrap();
    let (server, after) = (Arc::clone(&stage.server), Some(first.revision));
    let waits = tokio::spawn(async move { orders(&server, &host, after, 30).await });
    stage.server.stop();
    let told = tokio::time::timeout(Duration::from_secs(10), waits).await.unwrap();
    assert_eq!(told.unwrap().unwrap(), None);
}
