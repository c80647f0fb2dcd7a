//! People: who they are, and which groups they are in.

use std::{collections::BTreeSet, sync::Arc};

use api::{Action, Page, PageAsked, Problem, bindings::Because, people};
use serde::{Deserialize, Serialize};
use serde_json::json;
use state::PersonRow;

use crate::{
    caller::Person, cursor, fault::OrProblem, permit::Acting, policies::Resource, server::Server,
};

/// What begins the ids of people whom no sign-in provider knows.
pub const LOCAL: &str = "local:";

/// Who signs in with the one-time token of a first start, without [`LOCAL`].
pub const FIRST_ADMIN: &str = "admin";

/// What is kept of a person beside the columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Body {
    /// Their name.
    pub name: String,
    /// Their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The groups that the provider said when they signed in last.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub claimed: BTreeSet<String>,
    /// The groups that people of ours put them into.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub given: BTreeSet<String>,
}

/// What the ledger calls a person.
pub(crate) fn actor(person: &str) -> String {
    format!("person:{person}")
}

/// A person as others see them.
pub(crate) fn known(row: &PersonRow) -> Result<people::Person, Problem> {
    let body: Body = serde_json::from_str(&row.body).or_problem()?;
    Ok(people::Person {
        id: row.person.clone(),
        name: body.name,
        email: body.email,
        groups: body.claimed.union(&body.given).cloned().collect(),
        last_login: row.last_login,
        disabled: row.disabled,
    })
}

/// Lists people.
pub(crate) async fn list(
    server: Arc<Server>,
    person: Person,
    (): (),
    asked: PageAsked,
    (): (),
) -> Result<Page<people::Person>, Problem> {
    person.may(&server, Action::ManagePeople, &Resource::Deployment).await?.seen();
    let (after, limit) =
        (cursor::read::<String>(asked.after.as_ref())?, cursor::limit(asked.limit));
    let mut reading = server.state.read().await.or_problem()?;
    let rows = reading.people(after.as_deref(), limit + 1).await.or_problem()?;
    let people = rows.iter().map(known).collect::<Result<Vec<_>, _>>()?;
    Ok(cursor::page(people, limit, |person| person.id.clone()))
}

/// Says which groups a person is in, besides those that the provider says.
pub(crate) async fn put_groups(
    server: Arc<Server>,
    person: Person,
    path: people::PersonPath,
    (): (),
    asked: people::GroupsOfPerson,
) -> Result<people::Person, Problem> {
    if asked.groups.len() > people::GROUPS_MAX {
        let reason = format!("must be at most {} names", people::GROUPS_MAX);
        return Err(Problem::invalid("too many groups").with_field("groups", reason));
    }
    let permit = person.may(&server, Action::ManagePeople, &Resource::Deployment).await?;
    let mut act = server.act(&permit).await?;
    let mut row = of(&mut act, &path.person).await?;
    let mut body: Body = serde_json::from_str(&row.body).or_problem()?;
    body.given = asked.groups.iter().map(ToString::to_string).collect();
    row.body = serde_json::to_string(&body).or_problem()?;
    let detail = json!({ "groups": body.given, "reason": asked.reason.as_str() });
    act.record("person.groups-put", &row.person, detail).await?;
    act.put_person(&row).await.or_problem()?;
    let person = known(&row)?;
    act.commit().await?;
    Ok(person)
}

/// Shuts a person out, and ends their sessions.
pub(crate) async fn disable(
    server: Arc<Server>,
    person: Person,
    path: people::PersonPath,
    (): (),
    asked: Because,
) -> Result<people::Person, Problem> {
    let permit = person.may(&server, Action::ManagePeople, &Resource::Deployment).await?;
    let mut act = server.act(&permit).await?;
    let mut row = of(&mut act, &path.person).await?;
    row.disabled = row.disabled.or(Some(act.now()));
    let ended = act.delete_sessions(&row.person).await.or_problem()?;
    let detail = json!({ "sessions": ended, "reason": asked.reason.as_str() });
    act.record("person.disabled", &row.person, detail).await?;
    act.put_person(&row).await.or_problem()?;
    let person = known(&row)?;
    act.commit().await?;
    Ok(person)
}

async fn of(act: &mut Acting, person: &people::PersonId) -> Result<PersonRow, Problem> {
    let row = act.person(person.as_str()).await.or_problem()?;
    row.ok_or_else(|| Problem::not_found(format!("nobody called `{person}` has signed in yet")))
}
