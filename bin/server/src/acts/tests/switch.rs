use std::{collections::BTreeSet, sync::Arc};

use api::{
    Kind as Problems, PageAsked,
    agents::{Asked, InEffect},
    switch::{EndedHow, PositionPath, PositionsAsked, ReasonAsked, Scope},
    workloads::WorkloadsAsked,
};
use jiff::SignedDuration;
use serde_json::json;

use super::stage::{Stage, flip};
use crate::acts::{switch, workloads};

/// The workloads for which the switch is on.
async fn on(stage: &Stage) -> BTreeSet<String> {
    let asked = WorkloadsAsked {
        switch: Some(Asked::On),
        limit: Some(api::Limit::literal::<500>()),
        ..WorkloadsAsked::default()
    };
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    let page = workloads::list(server, admin, (), asked, ()).await.unwrap();
    page.items.into_iter().map(|item| item.seen.workload.to_string()).collect()
}

async fn clear(stage: &Stage, id: u64) -> Result<api::switch::Position, api::Problem> {
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    let reason = ReasonAsked { reason: "done".parse().unwrap() };
    switch::clear(server, admin, PositionPath { id }, reason, ()).await
}

async fn positions(stage: &Stage) -> Vec<api::switch::Position> {
    let asked = PositionsAsked { history: true, ..PositionsAsked::default() };
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    switch::list(server, admin, (), asked, ()).await.unwrap().items
}

/// A host that runs so many workloads of `orders` in `prod`.
async fn fleet(workloads: usize) -> Stage {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    let host = stage.host("web").await;
    let ids: Vec<String> = (0..workloads).map(|n| format!("orders/prod/{n}")).collect();
    let runs: Vec<_> = ids.iter().map(|id| (id.as_str(), InEffect::Off)).collect();
    stage.report(&host, &runs).await;
    stage
}

#[tokio::test]
async fn raising_a_percentage_adds_workloads_and_takes_none_away() {
    let stage = fleet(100).await;
    let mut before = BTreeSet::new();
    for percent in [1, 10, 35, 80, 100] {
        stage.flip(json!({ "application": "orders" }), true, percent).await;
        let after = on(&stage).await;
        assert!(after.is_superset(&before), "{percent}");
        before = after;
    }
    assert_eq!(before.len(), 100);
    let live: Vec<_> =
        positions(&stage).await.into_iter().filter(|position| position.ended.is_none()).collect();
    assert_eq!(live.len(), 1);
}

#[tokio::test]
async fn a_position_of_the_same_scope_is_replaced_and_a_cleared_one_lets_the_next_decide() {
    let stage = fleet(1).await;
    let wide = stage.flip(json!({}), true, 100).await;
    let narrow = stage.flip(json!({ "application": "orders" }), false, 100).await;
    assert_eq!(on(&stage).await.len(), 0);
    clear(&stage, narrow.id).await.unwrap();
    assert_eq!(on(&stage).await.len(), 1);
    assert_eq!(clear(&stage, narrow.id).await.unwrap_err().kind, Problems::Conflict);
    assert_eq!(clear(&stage, 99).await.unwrap_err().kind, Problems::NotFound);
    let off = stage.flip(json!({}), false, 100).await;
    let ended: Vec<_> = positions(&stage)
        .await
        .into_iter()
        .map(|position| (position.id, position.ended.map(|ended| ended.how)))
        .collect();
    assert_eq!(
        ended,
        [(off.id, None), (narrow.id, Some(EndedHow::Cleared)), (wide.id, Some(EndedHow::Replaced)),]
    );
}

#[tokio::test]
async fn a_position_ends_at_its_time_and_that_is_recorded_once() {
    let stage = fleet(1).await;
    let mut position = flip(json!({}), true, 100);
    position.expires = Some(stage.now() + SignedDuration::from_mins(1));
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    switch::set(server, admin, (), (), position).await.unwrap();
    assert_eq!(switch::expire(&stage.server).await.unwrap(), 0);
    assert_eq!(on(&stage).await.len(), 1);
    stage.pass(SignedDuration::from_mins(1));
    // Nobody decides by it any more, whether or not that is written down.
    assert_eq!(on(&stage).await.len(), 0);
    let other = stage.another().await;
    let (one, two) = tokio::join!(switch::expire(&stage.server), switch::expire(&other));
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    assert_eq!(stage.count("switch.expired").await, 1);
    let ended = positions(&stage).await.remove(0).ended.unwrap();
    assert_eq!((ended.how, ended.by), (EndedHow::Expired, None));
}

#[tokio::test]
async fn one_command_reverses_everything() {
    let stage = fleet(20).await;
    stage.flip(json!({ "workload": "orders/prod/3" }), true, 100).await;
    stage.flip(json!({ "application": "orders" }), true, 60).await;
    assert!(on(&stage).await.len() > 1);
    stage.flip(json!({}), false, 100).await;
    assert_eq!(on(&stage).await.len(), 0);
}

#[tokio::test]
async fn a_dry_run_tells_what_then_happens() {
    let stage = fleet(50).await;
    stage.flip(json!({ "application": "orders" }), true, 30).await;
    let steps = [(json!({ "application": "orders" }), true, 70), (json!({}), false, 50)];
    for (scope, to, percent) in steps {
        let before = on(&stage).await;
        let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
        let (asked, flip) = (PageAsked::default(), flip(scope.clone(), to, percent));
        let run = switch::dry_run(server, admin, (), asked, flip).await.unwrap();
        assert_eq!(on(&stage).await, before);
        stage.flip(scope, to, percent).await;
        let after = on(&stage).await;
        let changed: BTreeSet<String> = before.symmetric_difference(&after).cloned().collect();
        let told = run.flips.items.iter().map(|flip| flip.workload.to_string());
        assert_eq!(told.collect::<BTreeSet<_>>(), changed);
        assert_eq!((run.on + run.off, run.in_scope), (changed.len() as u64, 50));
        assert!(!changed.is_empty() && run.flips.next.is_none());
    }
}

#[tokio::test]
async fn what_is_asked_for_and_what_is_in_effect_are_counted_apart() {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    let (one, two) = (stage.host("web").await, stage.host("web").await);
    stage.flip(json!({}), true, 100).await;
    stage.report(&two, &[("orders/prod/4", InEffect::On)]).await;
    stage.pass_reports();
    let runs = [
        ("orders/prod/1", InEffect::On),
        ("orders/prod/2", InEffect::Mixed),
        ("orders/prod/3", InEffect::Unknown),
    ];
    stage.report(&one, &runs).await;
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    let status = switch::status(server, admin, (), Scope::default(), ()).await.unwrap();
    assert_eq!((status.workloads, status.flipped), (4, 4));
    assert_eq!((status.in_effect, status.waiting, status.unknown), (1, 1, 2));
    // The one that waits has predicted nothing, so nobody can say when.
    assert_eq!(status.effective_by, None);
    assert_eq!(status.positions.len(), 1);
    assert_eq!(status.by_effect.iter().map(|count| count.workloads).sum::<u64>(), 4);
}

#[tokio::test]
async fn a_replica_that_is_behind_takes_nothing_for_in_effect_that_another_has_just_flipped() {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    let host = stage.host("web").await;
    stage.flip(json!({}), true, 100).await;
    stage.report(&host, &[("orders/prod/1", InEffect::On)]).await;
    // Nothing tells it of changes but what it is asked.
    let behind = stage.another().await;
    stage.flip(json!({}), false, 100).await;
    let admin = stage.admin().await;
    let asked = switch::status(Arc::clone(&behind), admin.clone(), (), Scope::default(), ());
    let status = asked.await.unwrap();
    assert_eq!((status.flipped, status.in_effect, status.waiting), (0, 0, 1));
    stage.flip(json!({}), true, 100).await;
    let (none, flip) = (PageAsked::default(), flip(json!({}), false, 100));
    let run = switch::dry_run(behind, admin, (), none, flip).await.unwrap();
    assert_eq!((run.in_scope, run.off), (1, 1));
}

#[tokio::test]
async fn a_scope_that_can_take_nobody_in_is_refused() {
    let stage = fleet(1).await;
    let scopes = [
        json!({ "host": "h-unknown" }),
        json!({ "application": "ordres" }),
        json!({ "application": "orders", "workload": "billing/prod/1" }),
    ];
    for scope in scopes {
        let refused = stage.try_flip(scope.clone(), true, 100).await.unwrap_err();
        assert_eq!(refused.kind, Problems::Invalid, "{scope}");
    }
    assert_eq!(positions(&stage).await, []);
}

#[tokio::test]
async fn a_position_for_one_host_switches_what_runs_there_alone() {
    let stage = fleet(2).await;
    let other = stage.host("web").await;
    stage.report(&other, &[("orders/prod/9", InEffect::Off)]).await;
    stage.flip(json!({ "host": other.id() }), true, 100).await;
    assert_eq!(on(&stage).await, BTreeSet::from(["orders/prod/9".to_owned()]));
}
