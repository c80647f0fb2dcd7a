//! Why a workload would get a token for its role now, or why not.

use std::sync::Arc;

use api::{
    Problem,
    explain::{ExplainAsked, Explanation, Holds, Step},
};
use credentials::{
    Switch,
    entitlement::{Finding, Holds as Found, Reported, Standing},
};
use state::WorkloadFilter;
use workload::Workload;

use crate::{caller::Person, cursor, fault::OrProblem, knowledge::reported, server::Server};

/// Explains.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn explain(
    server: Arc<Server>,
    _: Person,
    (): (),
    ExplainAsked { workload, host }: ExplainAsked,
    (): (),
) -> Result<Explanation, Problem> {
    let (known, now) = (server.refresher.refreshed().await.or_problem()?, server.clock.now());
    let mut reading = server.state.read().await.or_problem()?;
    let filter = WorkloadFilter {
        workload: Some(workload.to_string()),
        host: host.as_ref().map(|host| host.as_str().to_owned()),
        ..WorkloadFilter::default()
    };
    let rows = reading.workloads(&filter, None, cursor::limit(None)).await.or_problem()?;
    let latest = rows.into_iter().max_by_key(|row| row.reported);
    let received = latest.as_ref().map(|row| row.reported);
    let host = host.map(|host| host.as_str().to_owned()).or_else(|| Some(latest?.host));
    let Some(host) = host else { return Ok(nowhere(workload)) };
    let grounds = known.knowledge.grounds(&host, &workload, reported(received, now));
    let steps =
        grounds.findings(now).iter().map(|finding| step(&host, &workload, finding)).collect();
    let entitled = grounds.entitle(now);
    let outcome = match &entitled {
        Ok(entitled) => format!(
            "`{workload}` on host `{host}` gets tokens for `{}`, by version {} of its binding",
            entitled.role(),
            entitled.version()
        ),
        Err(_) => format!("`{workload}` on host `{host}` gets no token"),
    };
    let role = entitled.ok().map(|entitled| entitled.role().clone());
    Ok(Explanation { workload, host: Some(host), steps, outcome, role })
}

/// What is said of a workload that no host has reported.
fn nowhere(workload: Workload) -> Explanation {
    let step = Step {
        question: "does a host run it?".to_owned(),
        answer: format!("no host reports `{workload}`: look with `rolecall workloads`"),
        holds: Holds::No,
    };
    let outcome = format!("`{workload}` runs nowhere that is known, so it gets no token");
    Explanation { workload, host: None, steps: vec![step], outcome, role: None }
}

fn step(host: &str, workload: &Workload, finding: &Finding) -> Step {
    let Workload { application, environment, .. } = workload;
    let name = format!("`{application}/{environment}`");
    let (question, answer) = match finding {
        Finding::Host(standing) => (
            "is the host one of ours?".to_owned(),
            match standing {
                Standing::Joined => format!("host `{host}` has joined"),
                Standing::Revoked => {
                    format!("host `{host}` was revoked: if it is sound, let it join again")
                }
                Standing::Unknown => format!("no host `{host}` has joined: let it join"),
            },
        ),
        Finding::Placement(group) => (
            format!("may the host run {name}?"),
            match group {
                Some(group) => format!("group `{group}` lets it"),
                None => format!(
                    "no group that selects the host lists {name}: put it into one, or give the host a label"
                ),
            },
        ),
        Finding::Running(reported) => (
            "does the host run the workload?".to_owned(),
            match reported {
                Reported::Running => "its last report names it".to_owned(),
                Reported::Stale => {
                    "its last report names it, but it is too old: look at the agent on the host"
                        .to_owned()
                }
                Reported::No => "its last report does not name it".to_owned(),
            },
        ),
        Finding::Bound { version, role } | Finding::OtherRole { version, role } => (
            "is a binding in force?".to_owned(),
            format!("version {version} binds {name} to `{role}`"),
        ),
        Finding::NotBound => (
            "is a binding in force?".to_owned(),
            format!("none for {name}: propose one with `rolecall bind propose`"),
        ),
        Finding::Switch(switch, position) => (
            "is the switch on?".to_owned(),
            match (switch, position) {
                (switch, Some(position)) => {
                    format!("position {position} says {}", switch.as_str())
                }
                (Switch::On | Switch::Off, None) => {
                    "nobody has switched it on: `rolecall switch on`".to_owned()
                }
            },
        ),
    };
    let holds = match finding.holds() {
        Found::Yes => Holds::Yes,
        Found::No => Holds::No,
        Found::Unknown => Holds::Unknown,
    };
    Step { question, answer, holds }
}
