//! Hosts that joined.

use std::sync::Arc;

use api::{
    Action, Page, PageAsked, Problem,
    agents::OrdersHeld,
    bindings::{Because, Word},
    hosts::{Host, HostPath},
};
use serde_json::json;
use state::{HostRow, ReportRow, StateError};

use super::commit;
use crate::{
    caller::Person, cursor, fault::OrProblem, knowledge::Knowledge, policies::Resource, rows,
    server::Server,
};

/// Lists hosts by id.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn list(
    server: Arc<Server>,
    _: Person,
    (): (),
    asked: PageAsked,
    (): (),
) -> Result<Page<Host>, Problem> {
    let (limit, after) =
        (cursor::limit(asked.limit), cursor::read::<String>(asked.after.as_ref())?);
    let mut reading = server.state.read().await.or_problem()?;
    let rows = reading.hosts(after.as_deref(), limit + 1).await.or_problem()?;
    let page = cursor::page(rows, limit, |(host, _)| host.host.clone());
    let known = server.refresher.known();
    let told = |(host, report): &(HostRow, Option<ReportRow>)| {
        told(host, report.as_ref(), &known.knowledge)
    };
    let items = page.items.iter().map(told).collect::<Result<_, _>>();
    Ok(Page { items: items.or_problem()?, next: page.next })
}

/// Shows one host.
///
/// # Errors
/// When there is none with that id.
pub async fn read(
    server: Arc<Server>,
    _: Person,
    HostPath { host }: HostPath,
    (): (),
    (): (),
) -> Result<Host, Problem> {
    let mut reading = server.state.read().await.or_problem()?;
    let row = reading.host(host.as_str()).await.or_problem()?;
    let row = row.ok_or_else(|| unknown(host.as_str()))?;
    let report = reading.report(host.as_str()).await.or_problem()?;
    told(&row, report.as_ref(), &server.refresher.known().knowledge).or_problem()
}

/// Revokes a host.
///
/// # Errors
/// When there is none with that id, or it was revoked already.
pub async fn revoke(
    server: Arc<Server>,
    person: Person,
    HostPath { host }: HostPath,
    (): (),
    Because { reason }: Because,
) -> Result<Host, Problem> {
    let known = server.refresher.known();
    let name = known.knowledge.host(host.as_str()).map(|host| host.name.clone());
    let about = Resource::Host {
        host: host.as_str().to_owned(),
        name: name.unwrap_or_else(|| host.as_str().to_owned()),
    };
    let permit = person.may(&server, Action::ManageHosts, &about).await?;
    let mut act = server.act(&permit).await?;
    let now = act.now();
    let row = act.host(host.as_str()).await.or_problem()?;
    let mut row = row.ok_or_else(|| unknown(host.as_str()))?;
    if row.revoked.is_some() {
        return Err(Problem::conflict(format!("host `{host}` was revoked already")));
    }
    let detail = json!({ "name": row.name, "reason": reason.as_str() });
    act.record("host.revoked", host.as_str(), detail).await?;
    let mut body = rows::host(&row).or_problem()?;
    let reason = Some(reason.as_str().to_owned());
    body.revoked = Some(Word { by: person.id().to_owned(), at: now, reason });
    row.body = rows::write("hosts", &body).or_problem()?;
    row.revoked = Some(now);
    act.put_host(&row).await.or_problem()?;
    let report = act.report(host.as_str()).await.or_problem()?;
    commit(&server, act).await?;
    told(&row, report.as_ref(), &server.refresher.known().knowledge).or_problem()
}

fn unknown(host: &str) -> Problem {
    Problem::not_found(format!("no host `{host}` has joined"))
}

fn told(
    row: &HostRow,
    report: Option<&ReportRow>,
    knowledge: &Knowledge,
) -> Result<Host, StateError> {
    let body = rows::host(row)?;
    let orders = report.and_then(|report| {
        let (revision, issued) = report.orders_revision.zip(report.orders_issued)?;
        Some(OrdersHeld { revision, issued })
    });
    // A group's name was one when the group was put.
    let groups = knowledge.groups_of(&body.labels).filter_map(|name| name.parse().ok()).collect();
    Ok(Host {
        host: row.host.clone(),
        name: row.name.clone(),
        region: body.region(),
        labels: body.labels,
        joined_by: body.joined_by,
        joined: row.joined,
        certificate_expires: row.certificate_expires,
        groups,
        last_report: report.map(|report| report.received),
        version: report.map(|report| report.version.clone()),
        orders,
        workloads: report.map_or(0, |report| report.workloads),
        revoked: body.revoked,
    })
}
