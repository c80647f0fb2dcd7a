//! Looking at the policies, trying others, and putting them in force.

use std::sync::Arc;

use api::{
    Action, Problem,
    policies::{DecisionChange, Policies as Shown, PoliciesDryRun, PoliciesFacts, PoliciesTried},
};
use serde::Deserialize;
use serde_json::json;
use state::{DECISIONS_KEPT, DecisionRow, PolicyRow};

use crate::{
    caller::Person,
    fault::OrProblem,
    policies::{Policies, Question, Resource, SCHEMA, SHIPPED},
    server::Server,
};

/// The most changes that a dry run tells.
const CHANGES_MAX: usize = 500;

/// Shows the policies in force.
pub(crate) async fn read(
    server: Arc<Server>,
    _: Person,
    (): (),
    (): (),
    (): (),
) -> Result<Shown, Problem> {
    let mut reading = server.state.read().await.or_problem()?;
    let row = reading.policies().await.or_problem()?;
    let row = row.ok_or_else(|| Problem::not_found("no policies were put in force"))?;
    Ok(shown(row))
}

/// Puts policies in force.
pub(crate) async fn put(
    server: Arc<Server>,
    person: Person,
    (): (),
    (): (),
    asked: PoliciesFacts,
) -> Result<Shown, Problem> {
    let permit = person.may(&server, Action::ManagePolicies, &Resource::Deployment).await?;
    let mut act = server.act(&permit).await?;
    let version = act.policies().await.or_problem()?.map_or(1, |row| row.version + 1);
    let checked = Policies::parse(version, &asked.text).map_err(|errors| {
        Problem::invalid("these policies cannot be put in force")
            .with_field("text", errors.to_string())
    })?;
    let hash = crate::random::hash(checked.text());
    let detail = json!({ "version": version, "sha256": hash, "reason": asked.reason.as_str() });
    act.record("policies.put", &format!("version {version}"), detail).await?;
    let row = PolicyRow {
        version,
        text: asked.text,
        actor: person.id().to_owned(),
        reason: asked.reason.to_string(),
        since: act.now(),
    };
    act.put_policies(&row).await.or_problem()?;
    act.commit().await?;
    Ok(shown(row))
}

fn shown(row: PolicyRow) -> Shown {
    let PolicyRow { version, text, actor, since, .. } = row;
    Shown { text, schema: SCHEMA.to_owned(), version, actor, since }
}

/// Tells what policies would have decided.
pub(crate) async fn dry_run(
    server: Arc<Server>,
    person: Person,
    (): (),
    (): (),
    asked: PoliciesTried,
) -> Result<PoliciesDryRun, Problem> {
    person.may(&server, Action::ManagePolicies, &Resource::Deployment).await?.seen();
    let tried = match Policies::parse(0, &asked.text) {
        Ok(tried) => tried,
        Err(errors) => {
            return Ok(PoliciesDryRun { errors: errors.0, decisions: 0, changes: Vec::new() });
        }
    };
    let mut reading = server.state.read().await.or_problem()?;
    let rows = reading.decisions(DECISIONS_KEPT).await.or_problem()?;
    drop(reading);
    // Thousands of decisions are some work: not on a thread that others wait for.
    let again = tokio::task::spawn_blocking(move || decide_again(&tried, &rows));
    let again = again.await.map_err(|error| crate::fault::internal(&error))?;
    again.or_problem()
}

fn decide_again(
    tried: &Policies,
    rows: &[DecisionRow],
) -> Result<PoliciesDryRun, serde_json::Error> {
    #[derive(Deserialize)]
    struct Body {
        question: Question,
    }
    let mut changes = Vec::new();
    for row in rows {
        let Body { question } = serde_json::from_str(&row.body)?;
        let would_be_allowed = tried.decide(&question).allowed;
        if would_be_allowed != row.allowed && changes.len() < CHANGES_MAX {
            changes.push(DecisionChange {
                time: row.time,
                person: row.person.clone(),
                action: question.action,
                subject: row.subject.clone(),
                was_allowed: row.allowed,
                would_be_allowed,
            });
        }
    }
    let decisions = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    Ok(PoliciesDryRun { errors: Vec::new(), decisions, changes })
}

const _: () = assert!(SHIPPED.len() < api::policies::POLICIES_MAX);
