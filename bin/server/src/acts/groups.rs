//! Groups of hosts: what each host may run.

use std::sync::Arc;

use api::{
    Action, Page, PageAsked, Problem,
    hosts::{Group, GroupFacts, GroupPath, PATTERNS_MAX},
    switch::ReasonAsked,
};
use serde_json::json;
use state::{GroupRow, StateError};

use super::{check_labels, commit};
use crate::{
    caller::Person, cursor, fault::OrProblem, knowledge::Knowledge, policies::Resource, rows,
    server::Server,
};

/// Lists groups by name.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn list(
    server: Arc<Server>,
    _: Person,
    (): (),
    asked: PageAsked,
    (): (),
) -> Result<Page<Group>, Problem> {
    let (limit, after) =
        (cursor::limit(asked.limit), cursor::read::<String>(asked.after.as_ref())?);
    let mut reading = server.state.read().await.or_problem()?;
    let rows = reading.groups(after.as_deref(), limit + 1).await.or_problem()?;
    let page = cursor::page(rows, limit, |row| row.name.clone());
    let known = server.refresher.known();
    let told = |row| told(row, &known.knowledge);
    let items = page.items.iter().map(told).collect::<Result<_, _>>();
    Ok(Page { items: items.or_problem()?, next: page.next })
}

/// Says which hosts are in a group and what they may run.
///
/// # Errors
/// When it selects nothing, or both everything and something.
pub async fn put(
    server: Arc<Server>,
    person: Person,
    GroupPath { group }: GroupPath,
    (): (),
    facts: GroupFacts,
) -> Result<Group, Problem> {
    check_labels("selector", &facts.selector)?;
    if facts.everything != facts.selector.is_empty() {
        let wrong = "must name at least one label, or be empty with `everything`";
        return Err(Problem::invalid("the group selects nothing").with_field("selector", wrong));
    }
    if facts.may_run.len() > PATTERNS_MAX {
        let wrong = format!("at most {PATTERNS_MAX} patterns, not {}", facts.may_run.len());
        return Err(Problem::invalid("the group is too large").with_field("may_run", wrong));
    }
    let permit = person.may(&server, Action::ManageHosts, &Resource::Deployment).await?;
    let mut act = server.act(&permit).await?;
    let now = act.now();
    let detail = json!({
        "selector": facts.selector,
        "everything": facts.everything,
        "may_run": facts.may_run.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    act.record("group.put", group.as_str(), detail).await?;
    let body = rows::write("groups", &facts).or_problem()?;
    let row = GroupRow { name: group.as_str().to_owned(), body, changed: now };
    act.put_group(&row).await.or_problem()?;
    commit(&server, act).await?;
    told(&row, &server.refresher.known().knowledge).or_problem()
}

/// Removes a group.
///
/// # Errors
/// When there is none of that name.
pub async fn delete(
    server: Arc<Server>,
    person: Person,
    GroupPath { group }: GroupPath,
    ReasonAsked { reason }: ReasonAsked,
    (): (),
) -> Result<(), Problem> {
    let permit = person.may(&server, Action::ManageHosts, &Resource::Deployment).await?;
    let mut act = server.act(&permit).await?;
    let detail = json!({ "reason": reason.as_str() });
    act.record("group.deleted", group.as_str(), detail).await?;
    if !act.delete_group(group.as_str()).await.or_problem()? {
        return Err(Problem::not_found(format!("no group `{group}` is known")));
    }
    commit(&server, act).await?;
    Ok(())
}

fn told(row: &GroupRow, knowledge: &Knowledge) -> Result<Group, StateError> {
    let group = rows::group(row)?;
    let hosts = u64::try_from(knowledge.selected_by(&group)).unwrap_or(u64::MAX);
    let name = row.name.parse().map_err(|error| StateError::Damaged {
        table: "groups",
        why: format!("has a row with a name that is none: {error}").into(),
    })?;
    Ok(Group {
        group: name,
        selector: group.selector,
        everything: group.everything,
        may_run: group.may_run,
        hosts,
        changed: row.changed,
    })
}
