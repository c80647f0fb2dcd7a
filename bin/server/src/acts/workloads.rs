//! Workloads, as their hosts reported them.

use std::sync::Arc;

use api::{
    Page, Problem,
    agents::SeenWorkload,
    workloads::{RunningWorkload, WorkloadsAsked},
};
use credentials::entitlement::{Reported, Standing};
use jiff::Timestamp;
use state::{StateError, WorkloadFilter, WorkloadKey, WorkloadRow};

use crate::{
    caller::Person,
    cursor,
    fault::OrProblem,
    knowledge::{Knowledge, asked_of, reported},
    rows,
    server::Server,
};

/// How many workloads are looked at in one go.
const LOOK: u32 = 1000;

/// Lists workloads by id and host.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn list(
    server: Arc<Server>,
    _: Person,
    (): (),
    asked: WorkloadsAsked,
    (): (),
) -> Result<Page<RunningWorkload>, Problem> {
    let limit = cursor::limit(asked.limit);
    let mut after = cursor::read::<WorkloadKey>(asked.after.as_ref())?;
    let filter = WorkloadFilter {
        application: asked.application.map(|name| name.to_string()),
        environment: asked.environment.map(|name| name.to_string()),
        host: asked.host.map(|host| host.as_str().to_owned()),
        workload: None,
    };
    let (known, now) = (server.refresher.refreshed().await.or_problem()?, server.clock.now());
    let enough = usize::try_from(limit).unwrap_or(usize::MAX);
    // What the switch says is no column, so there all are looked at until the page is full.
    let look = if asked.switch.is_some() { LOOK } else { limit + 1 };
    let mut items = Vec::new();
    let mut reading = server.state.read().await.or_problem()?;
    loop {
        let page = reading.workloads(&filter, after.as_ref(), look).await.or_problem()?;
        let Some(last) = page.last() else { break };
        after = Some((last.workload.clone(), last.host.clone()));
        for row in &page {
            let running = told(&known.knowledge, row, now).or_problem()?;
            if asked.switch.is_none_or(|wanted| wanted == running.switch) {
                items.push(running);
            }
        }
        if items.len() > enough {
            break;
        }
    }
    Ok(cursor::page(items, limit, |item: &RunningWorkload| {
        (item.seen.workload.to_string(), item.host.clone())
    }))
}

fn told(
    knowledge: &Knowledge,
    row: &WorkloadRow,
    now: Timestamp,
) -> Result<RunningWorkload, StateError> {
    let seen: SeenWorkload = rows::read("workloads", &row.workload, &row.body)?;
    let ours = knowledge.standing(&row.host) == Standing::Joined;
    let switch = asked_of(knowledge.switch(&row.host, &seen.workload, now));
    Ok(RunningWorkload {
        host: row.host.clone(),
        seen,
        reported: row.reported,
        current: ours && reported(Some(row.reported), now) == Reported::Running,
        switch,
    })
}
