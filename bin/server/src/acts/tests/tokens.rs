use std::{collections::BTreeSet, sync::Arc};

use api::{Kind as Problems, agents::InEffect, bindings::Because, hosts::HostPath};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::stage::{Kind, Stage, mint_at};
use crate::acts::hosts;

/// `orders` may run on `web` and `billing` on `db`; both are bound and on.
async fn two_applications(kind: Kind) -> Stage {
    let stage = Stage::on(kind).await;
    stage.applications(&["orders", "billing"]).await;
    stage.group("web", "orders/*").await;
    stage.group("db", "billing/*").await;
    stage.bind("orders", "orders").await;
    stage.bind("billing", "billing").await;
    stage.flip(json!({}), true, 100).await;
    stage
}

fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_says_who_the_workload_is_and_was_recorded_before_it_was_signed() {
    let stage = two_applications(Kind::Sqlite).await;
    let host = stage.host("web").await;
    stage.report(&host, &[("orders/prod/1", InEffect::Off)]).await;
    let minted = stage.mint(&host, "orders/prod/1", "orders").await.unwrap();
    assert_eq!(minted.binding_version, 1);
    let (header, claims) = (part(minted.token.expose(), 0), part(minted.token.expose(), 1));
    assert_eq!(claims["iss"], "https://issuer.example.com");
    assert_eq!(claims["sub"], "application:orders:environment:prod:instance:1");
    assert_eq!(claims["aud"], "sts.amazonaws.com");
    assert_eq!(claims["exp"].as_i64().unwrap(), minted.expires.as_second());
    assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() <= 300);
    assert_eq!(claims["https://aws.amazon.com/source_identity"], "orders,prod,1");
    let tags = &claims["https://aws.amazon.com/tags"]["principal_tags"];
    assert_eq!(
        *tags,
        json!({
            "application": ["orders"], "environment": ["prod"], "instance": ["1"], "team": ["blue"],
        })
    );
    let entries = stage.entries().await;
    let entry = entries.last().unwrap();
    assert_eq!((entry.event.as_str(), entry.subject.as_str()), ("token.minted", "orders/prod/1"));
    assert_eq!(entry.actor, format!("host:{}", host.id()));
    assert_eq!(entry.detail["jti"], claims["jti"]);
    assert_eq!(entry.detail["kid"], header["kid"]);
    assert_eq!(entry.detail["group"], "web");
    // What the issuer publishes holds the key.
    let known = stage.server.refresher.known();
    let jwks = &known.documents.as_ref().unwrap().jwks;
    assert!(jwks.contains(header["kid"].as_str().unwrap()));
}

#[tokio::test]
async fn a_stolen_certificate_yields_only_that_hosts_workloads() {
    let stage = two_applications(Kind::Sqlite).await;
    let (web, db) = (stage.host("web").await, stage.host("db").await);
    stage.report(&web, &[("orders/prod/1", InEffect::On)]).await;
    stage.report(&db, &[("billing/prod/1", InEffect::On)]).await;
    // Whoever holds the certificate of `web` asks for everything that it can think of.
    let refused = stage.mint(&web, "billing/prod/1", "billing").await.unwrap_err();
    assert_eq!(refused.kind, Problems::PlacementRefused);
    let refused = stage.mint(&web, "orders/prod/2", "orders").await.unwrap_err();
    assert_eq!(refused.kind, Problems::NotRunning);
    let refused = stage.mint(&web, "orders/prod/1", "billing").await.unwrap_err();
    assert_eq!(refused.kind, Problems::NotBound);
    // It even lies about what runs there.
    let lies = [("orders/prod/1", InEffect::On), ("billing/prod/1", InEffect::On)];
    stage.report(&web, &lies).await;
    let refused = stage.mint(&web, "billing/prod/1", "billing").await.unwrap_err();
    assert_eq!(refused.kind, Problems::PlacementRefused);
    stage.mint(&web, "orders/prod/1", "orders").await.unwrap();
    stage.mint(&db, "billing/prod/1", "billing").await.unwrap();
    let minted: BTreeSet<String> = stage
        .entries()
        .await
        .into_iter()
        .filter(|entry| entry.event == "token.minted" && entry.actor.ends_with(web.id()))
        .map(|entry| entry.subject)
        .collect();
    assert_eq!(minted, BTreeSet::from(["orders/prod/1".to_owned()]));
}

#[tokio::test]
async fn each_ground_keeps_a_token_back_with_a_problem_of_its_own() {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    let host = stage.host("web").await;
    let ask = async || stage.mint(&host, "orders/prod/1", "orders").await.map(|_| ());
    let kind = async || ask().await.unwrap_err().kind;
    assert_eq!(kind().await, Problems::PlacementRefused);
    stage.group("web", "orders/*").await;
    assert_eq!(kind().await, Problems::NotRunning);
    stage.report(&host, &[("orders/prod/1", InEffect::Off)]).await;
    assert_eq!(kind().await, Problems::NotBound);
    stage.bind("orders", "orders").await;
    assert_eq!(kind().await, Problems::SwitchedOff);
    stage.flip(json!({ "application": "orders" }), true, 100).await;
    ask().await.unwrap();
    stage.pass_reports();
    assert_eq!(kind().await, Problems::NotRunning);
    stage.report(&host, &[("orders/prod/1", InEffect::On)]).await;
    ask().await.unwrap();
    stage.flip(json!({}), false, 100).await;
    assert_eq!(kind().await, Problems::SwitchedOff);
    assert_eq!(stage.count("token.minted").await, 2);
}

#[tokio::test]
async fn the_same_refusal_is_recorded_once_a_minute() {
    let stage = two_applications(Kind::Sqlite).await;
    let host = stage.host("web").await;
    for _ in 0..5 {
        stage.mint(&host, "orders/prod/1", "orders").await.unwrap_err();
    }
    assert_eq!(stage.count("token.refused").await, 1);
    stage.pass(jiff::SignedDuration::from_secs(60));
    stage.mint(&host, "orders/prod/1", "orders").await.unwrap_err();
    let last = stage.entries().await.pop().unwrap();
    assert_eq!(last.event, "token.refused");
    assert_eq!(last.detail["unsaid"], 4);
}

#[tokio::test]
async fn where_the_ledger_cannot_be_written_there_is_no_token() {
    let stage = two_applications(Kind::Sqlite).await;
    let host = stage.host("web").await;
    stage.report(&host, &[("orders/prod/1", InEffect::On)]).await;
    stage.server.state.close().await;
    let refused = stage.mint(&host, "orders/prod/1", "orders").await.unwrap_err();
    assert_eq!(refused.kind, Problems::LedgerUnavailable);
    // Whoever looks afterwards finds no entry either.
    let other = stage.another().await;
    let mut reading = other.state.read().await.unwrap();
    let entries = reading.entries(0, 500).await.unwrap();
    assert!(!entries.iter().any(|entry| entry.event == "token.minted"));
}

async fn a_replica_that_is_behind_mints_nothing_that_was_taken_away(kind: Kind) {
    let stage = two_applications(kind).await;
    let host = stage.host("web").await;
    stage.report(&host, &[("orders/prod/1", InEffect::On)]).await;
    let other = stage.another().await;
    mint_at(&other, &host, "orders/prod/1", "orders").await.unwrap();
    // Nothing tells the other replica of this.
    stage.flip(json!({ "application": "orders" }), false, 100).await;
    let refused = mint_at(&other, &host, "orders/prod/1", "orders").await.unwrap_err();
    assert_eq!(refused.kind, Problems::SwitchedOff);
    let path = HostPath { host: host.id().parse().unwrap() };
    let because = Because { reason: "stolen".parse().unwrap() };
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    hosts::revoke(server, admin, path, (), because).await.unwrap();
    let refused = mint_at(&other, &host, "orders/prod/1", "orders").await.unwrap_err();
    assert_eq!(refused.kind, Problems::Revoked);
}

#[tokio::test]
async fn a_replica_that_is_behind_mints_nothing_that_was_taken_away_on_sqlite() {
    a_replica_that_is_behind_mints_nothing_that_was_taken_away(Kind::Sqlite).await;
}

#[tokio::test]
async fn a_replica_that_is_behind_mints_nothing_that_was_taken_away_on_postgresql() {
    a_replica_that_is_behind_mints_nothing_that_was_taken_away(Kind::Postgres).await;
}

async fn many_at_once(kind: Kind) {
    let stage = two_applications(kind).await;
    let host = stage.host("web").await;
    let ids: Vec<String> = (0..120).map(|n| format!("orders/prod/{n}")).collect();
    let runs: Vec<_> = ids.iter().map(|id| (id.as_str(), InEffect::On)).collect();
    stage.report(&host, &runs).await;
    let other = stage.another().await;
    let mut asks = tokio::task::JoinSet::new();
    for (n, id) in ids.iter().cloned().enumerate() {
        let server = Arc::clone(if n % 2 == 0 { &stage.server } else { &other });
        let host = host.clone();
        asks.spawn(async move { mint_at(&server, &host, &id, "orders").await.unwrap() });
    }
    let minted = asks.join_all().await;
    let jtis = minted.iter().map(|minted| part(minted.token.expose(), 1)["jti"].to_string());
    assert_eq!(jtis.collect::<BTreeSet<_>>().len(), ids.len());
    assert_eq!(stage.count("token.minted").await, ids.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tokens_at_once_from_two_replicas_are_each_recorded_on_sqlite() {
    many_at_once(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tokens_at_once_from_two_replicas_are_each_recorded_on_postgresql() {
    many_at_once(Kind::Postgres).await;
}
