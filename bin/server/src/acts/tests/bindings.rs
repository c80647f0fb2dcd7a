use std::sync::Arc;

use api::{
    Kind as Problems, PageAsked,
    agents::InEffect,
    bindings::{BindingsAsked, Status},
};

use super::stage::{Kind, Stage, path, proposal, review_at};
use crate::acts::bindings;

#[tokio::test]
async fn a_proposal_changes_nothing_until_somebody_else_approves_it() {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    let (ann, bob) =
        (stage.person("ann", &["operator"]).await, stage.person("bob", &["operator"]).await);
    let proposed = stage.propose(&ann, "orders", "orders").await;
    assert_eq!((proposed.version, proposed.status), (1, Status::Proposed));
    let (application, environment) = ("orders".parse().unwrap(), "prod".parse().unwrap());
    let known = || stage.server.refresher.known();
    assert!(known().knowledge.binding(&application, &environment).is_none());
    let approved = stage.review(&bob, &proposed, true).await.unwrap();
    assert_eq!(approved.status, Status::InForce);
    assert_eq!(known().knowledge.binding(&application, &environment).unwrap().version, 1);
    assert_eq!(stage.count("binding.proposed").await, 1);
    assert_eq!(stage.count("binding.approved").await, 1);
}

#[tokio::test]
async fn nobody_reviews_what_they_proposed_themselves() {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    let admin = stage.admin().await;
    let proposed = stage.propose(&admin, "orders", "orders").await;
    for approve in [true, false] {
        let refused = stage.review(&admin, &proposed, approve).await.unwrap_err();
        assert_eq!(refused.kind, Problems::NotAllowed);
    }
    assert_eq!(stage.count("binding.approved").await, 0);
}

#[tokio::test]
async fn an_owner_proposes_for_what_their_group_owns_and_reviews_nothing() {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    let ours = stage.person("ours", &["owner", "team"]).await;
    let theirs = stage.person("theirs", &["owner", "others"]).await;
    let proposed = stage.propose(&ours, "orders", "orders").await;
    let refused = stage.try_propose(&theirs, "orders", "orders").await.unwrap_err();
    assert_eq!(refused.kind, Problems::NotAllowed);
    let refused = stage.review(&theirs, &proposed, true).await.unwrap_err();
    assert_eq!(refused.kind, Problems::NotAllowed);
}

#[tokio::test]
async fn an_approved_version_supersedes_the_one_in_force_and_none_before_it_comes_back() {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    let (ann, bob) =
        (stage.person("ann", &["operator"]).await, stage.person("bob", &["operator"]).await);
    let first = stage.propose(&ann, "orders", "one").await;
    let second = stage.propose(&ann, "orders", "two").await;
    let third = stage.propose(&ann, "orders", "three").await;
    stage.review(&bob, &first, true).await.unwrap();
    stage.review(&bob, &third, true).await.unwrap();
    let late = stage.review(&bob, &second, true).await.unwrap_err();
    assert_eq!(late.kind, Problems::Conflict);
    stage.review(&bob, &second, false).await.unwrap();
    let asked = BindingsAsked::default();
    let page = bindings::list(Arc::clone(&stage.server), bob, (), asked, ()).await.unwrap();
    let became: Vec<_> = page.items.iter().map(|binding| binding.status).collect();
    assert_eq!(became, [Status::Superseded, Status::Rejected, Status::InForce]);
    assert!(page.items[0].ended.is_some());
}

#[tokio::test]
async fn only_its_proposer_takes_a_proposal_back_and_only_once() {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    let (ann, bob) =
        (stage.person("ann", &["operator"]).await, stage.person("bob", &["operator"]).await);
    let proposed = stage.propose(&ann, "orders", "orders").await;
    let withdraw = |person| {
        let because = api::bindings::Because { reason: "a slip".parse().unwrap() };
        bindings::withdraw(Arc::clone(&stage.server), person, path(&proposed), (), because)
    };
    assert_eq!(withdraw(bob.clone()).await.unwrap_err().kind, Problems::NotAllowed);
    assert_eq!(withdraw(ann.clone()).await.unwrap().status, Status::Withdrawn);
    assert_eq!(withdraw(ann).await.unwrap_err().kind, Problems::Conflict);
    let gone = stage.review(&bob, &proposed, true).await.unwrap_err();
    assert_eq!(gone.kind, Problems::Conflict);
}

/// What is refused, and for which field?
#[track_caller]
fn check(refused: Result<api::bindings::Binding, api::Problem>, field: &str) {
    let problem = refused.unwrap_err();
    assert_eq!(problem.kind, Problems::Invalid, "{problem}");
    assert!(problem.fields.contains_key(field), "{problem}");
}

#[tokio::test]
async fn terms_that_agents_or_sts_cannot_use_are_refused_by_field() {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    let ann = stage.person("ann", &["operator"]).await;
    let with = |change: fn(&mut api::bindings::Proposal)| {
        let mut proposal = proposal("orders", "orders");
        change(&mut proposal);
        bindings::propose(Arc::clone(&stage.server), ann.clone(), (), (), proposal)
    };
    check(with(|proposal| proposal.conditions.unit = None).await, "match");
    check(with(|proposal| proposal.conditions.unit = Some("[a".to_owned())).await, "match");
    check(
        with(|proposal| _ = proposal.tags.insert("aws:x".to_owned(), String::new())).await,
        "tags",
    );
    check(
        with(|proposal| {
            proposal.tags.insert("a".to_owned(), "v".repeat(250));
            proposal.tags.insert("b".to_owned(), "v".repeat(250));
        })
        .await,
        "tags",
    );
    check(with(|proposal| proposal.environment = "dev".parse().unwrap()).await, "environment");
    check(with(|proposal| proposal.application = "other".parse().unwrap()).await, "application");
}

#[tokio::test]
async fn a_dry_run_lists_exactly_the_running_workloads_that_would_get_another_role() {
    let stage = Stage::new().await;
    stage.applications(&["orders", "billing"]).await;
    stage.group("web", "orders/*").await;
    stage.bind("orders", "one").await;
    stage.bind("billing", "one").await;
    let (placed, stray) = (stage.host("web").await, stage.host("db").await);
    for host in [&placed, &stray] {
        let runs = ["orders/prod/1", "orders/prod/2", "orders/test/1", "billing/prod/1"];
        stage.report(host, &runs.map(|id| (id, InEffect::Off))).await;
    }
    stage.flip(serde_json::json!({ "workload": "orders/prod/1" }), true, 100).await;
    let ann = stage.person("ann", &["operator"]).await;
    let next = stage.propose(&ann, "orders", "two").await;
    let dry_run =
        |asked| bindings::dry_run(Arc::clone(&stage.server), ann.clone(), path(&next), asked, ());
    // On the other host no group lets it run, and the other workload is off.
    let changes = dry_run(PageAsked::default()).await.unwrap().items;
    let listed: Vec<_> =
        changes.iter().map(|change| (change.host.as_str(), change.workload.to_string())).collect();
    assert_eq!(listed, [(placed.id(), "orders/prod/1".to_owned())]);
    assert_eq!(changes[0].from.as_ref().unwrap().name(), "one");
    assert_eq!(changes[0].to.as_ref().unwrap().name(), "two");
    // What it says is what then happens.
    let bob = stage.person("bob", &["operator"]).await;
    stage.mint(&placed, "orders/prod/1", "one").await.unwrap();
    stage.review(&bob, &next, true).await.unwrap();
    stage.mint(&placed, "orders/prod/1", "two").await.unwrap();
    assert_eq!(dry_run(PageAsked::default()).await.unwrap().items, []);
}

#[tokio::test]
async fn a_long_dry_run_comes_in_pages() {
    let stage = Stage::new().await;
    stage.applications(&["orders"]).await;
    stage.group("web", "orders/*").await;
    let host = stage.host("web").await;
    let ids: Vec<String> = (0..7).map(|n| format!("orders/prod/{n}")).collect();
    let runs: Vec<_> = ids.iter().map(|id| (id.as_str(), InEffect::Off)).collect();
    stage.report(&host, &runs).await;
    stage.flip(serde_json::json!({}), true, 100).await;
    let ann = stage.person("ann", &["operator"]).await;
    let next = stage.propose(&ann, "orders", "one").await;
    let (mut asked, mut listed) = (PageAsked::default(), Vec::new());
    asked.limit = Some(api::Limit::literal::<3>());
    loop {
        let (server, ann) = (Arc::clone(&stage.server), ann.clone());
        let page = bindings::dry_run(server, ann, path(&next), asked.clone(), ()).await.unwrap();
        assert!(page.items.len() <= 3);
        listed.extend(page.items.into_iter().map(|change| change.workload.to_string()));
        asked.after = page.next;
        if asked.after.is_none() {
            break;
        }
    }
    assert_eq!(listed, ids);
}

async fn of_two_reviewers_one_wins(kind: Kind) {
    let stage = Stage::on(kind).await;
    stage.applications(&["orders"]).await;
    let ann = stage.person("ann", &["operator"]).await;
    let (bob, eve) =
        (stage.person("bob", &["operator"]).await, stage.person("eve", &["operator"]).await);
    let proposed = stage.propose(&ann, "orders", "orders").await;
    let other = stage.another().await;
    let (yes, no) = tokio::join!(
        review_at(&stage.server, &bob, &proposed, true),
        review_at(&other, &eve, &proposed, false),
    );
    assert_ne!(yes.is_ok(), no.is_ok(), "{yes:?} {no:?}");
    let lost = yes.err().or(no.err()).unwrap();
    assert_eq!(lost.kind, Problems::Conflict);
    let words = stage.count("binding.approved").await + stage.count("binding.rejected").await;
    assert_eq!(words, 1);
}

#[tokio::test]
async fn of_two_reviewers_at_once_one_wins_on_sqlite() {
    of_two_reviewers_one_wins(Kind::Sqlite).await;
}

#[tokio::test]
async fn of_two_reviewers_at_once_one_wins_on_postgresql() {
    of_two_reviewers_one_wins(Kind::Postgres).await;
}
