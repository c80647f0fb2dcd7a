//! Bindings: proposed by one person, reviewed by another, and then in force.

use std::sync::Arc;

use api::{
    Action, Page, PageAsked, Problem,
    bindings::{
        AUDIENCE, Audience, Because, Binding, BindingsAsked, Change, DURATION_MINUTES, Proposal,
        Review, Status, Terms, VersionPath, Word,
    },
};
use credentials::{
    Bindings, Source, Tag, TagPlan,
    entitlement::{Bound, Grounds, Reported},
};
use jiff::Timestamp;
use serde_json::json;
use state::{BindingFilter, BindingKey, Reading, WorkloadFilter, WorkloadKey, WorkloadRow};
use workload::{Rule, Workload};

use super::{commit, resource};
use crate::{
    caller::Person,
    cursor,
    fault::{OrProblem, internal},
    knowledge::Knowledge,
    permit::Acting,
    rows,
    server::Server,
};

/// How many workloads are looked at in one go.
const LOOK: u32 = 1000;

/// Lists versions by application, environment and version.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn list(
    server: Arc<Server>,
    _: Person,
    (): (),
    asked: BindingsAsked,
    (): (),
) -> Result<Page<Binding>, Problem> {
    let limit = cursor::limit(asked.limit);
    let after = cursor::read::<BindingKey>(asked.after.as_ref())?;
    let filter = BindingFilter {
        application: asked.application.map(|name| name.to_string()),
        environment: asked.environment.map(|name| name.to_string()),
        status: asked.status.map(rows::status_word),
    };
    let mut reading = server.state.read().await.or_problem()?;
    let rows = reading.bindings(&filter, after.as_ref(), limit + 1).await.or_problem()?;
    let page = cursor::page(rows, limit, |row| {
        (row.application.clone(), row.environment.clone(), row.version)
    });
    let items = page.items.iter().map(rows::binding).collect::<Result<_, _>>();
    Ok(Page { items: items.or_problem()?, next: page.next })
}

/// Shows one version.
///
/// # Errors
/// When there is none with that number.
pub async fn read(
    server: Arc<Server>,
    _: Person,
    path: VersionPath,
    (): (),
    (): (),
) -> Result<Binding, Problem> {
    let mut reading = server.state.read().await.or_problem()?;
    version(&mut reading, &path).await
}

/// Proposes the next version.
///
/// # Errors
/// When the application or environment is not known, or the terms are such that no token could be made of
/// them.
pub async fn propose(
    server: Arc<Server>,
    person: Person,
    (): (),
    (): (),
    proposal: Proposal,
) -> Result<Binding, Problem> {
    let known = server.refresher.known();
    let (application, environment) = (proposal.application.clone(), proposal.environment.clone());
    let about = resource(&known.knowledge, &application, Some(&environment));
    let permit = person.may(&server, Action::ProposeBinding, &about).await?;
    let (terms, reason) = terms(proposal, server.config.issuer.audience.as_ref())?;
    let mut act = server.act(&permit).await?;
    let row = act.application(application.as_str()).await.or_problem()?;
    let facts = row.as_ref().map(rows::application).transpose().or_problem()?;
    let facts = facts.ok_or_else(|| {
        let detail = format!("no application `{application}` is known: add it first");
        Problem::invalid(detail).with_field("application", "is not known")
    })?;
    if !facts.environments.contains(&environment) {
        let detail = format!("`{application}` has no environment `{environment}`: add it first");
        return Err(Problem::invalid(detail).with_field("environment", "is not known"));
    }
    let account = terms.role.account();
    let account_known = act.account(account.as_str()).await.or_problem()?.is_some();
    let next = act.next_binding_version(application.as_str(), environment.as_str());
    let version = next.await.or_problem()?;
    let proposed = Word { by: person.id().to_owned(), at: act.now(), reason: Some(reason.clone()) };
    let binding = Binding {
        terms,
        version,
        status: Status::Proposed,
        proposed,
        reviewed: None,
        in_force_since: None,
        ended: None,
    };
    let detail = json!({
        "terms": serde_json::to_value(&binding.terms).or_problem()?,
        "account_known": account_known,
        "reason": reason,
    });
    act.record("binding.proposed", &subject(&binding), detail).await?;
    act.put_binding(&rows::binding_row(&binding).or_problem()?).await.or_problem()?;
    commit(&server, act).await?;
    Ok(binding)
}

/// Approves or rejects a proposed version.
///
/// # Errors
/// When it is not proposed any more, a later one is in force, or the reviewer proposed it.
pub async fn review(
    server: Arc<Server>,
    person: Person,
    path: VersionPath,
    (): (),
    Review { approve, reason }: Review,
) -> Result<Binding, Problem> {
    let known = server.refresher.known();
    let about = resource(&known.knowledge, &path.application, Some(&path.environment));
    let permit = person.may(&server, Action::ReviewBinding, &about).await?;
    let mut act = server.act(&permit).await?;
    let mut binding = proposed(&mut act, &path).await?;
    if binding.proposed.by == person.id() {
        let detail = "nobody reviews what they proposed themselves: ask somebody else";
        return Err(Problem::not_allowed(detail));
    }
    let word = Word {
        by: person.id().to_owned(),
        at: act.now(),
        reason: Some(reason.as_str().to_owned()),
    };
    binding.reviewed = Some(word);
    let mut detail = json!({ "proposed_by": binding.proposed.by, "reason": reason.as_str() });
    if !approve {
        binding.status = Status::Rejected;
        act.record("binding.rejected", &subject(&binding), detail).await?;
        act.put_binding(&rows::binding_row(&binding).or_problem()?).await.or_problem()?;
        commit(&server, act).await?;
        return Ok(binding);
    }
    let VersionPath { application, environment, .. } = &path;
    let present = act.binding_in_force(application.as_str(), environment.as_str());
    let present = present.await.or_problem()?;
    let present = present.as_ref().map(rows::binding).transpose().or_problem()?;
    if let Some(present) = &present {
        if present.version > binding.version {
            return Err(Problem::conflict(format!(
                "version {} is in force, which is later: propose what you want anew",
                present.version
            )));
        }
        if let Some(detail) = detail.as_object_mut() {
            detail.insert("supersedes".to_owned(), present.version.into());
        }
    }
    act.record("binding.approved", &subject(&binding), detail).await?;
    if let Some(mut present) = present {
        present.status = Status::Superseded;
        present.ended = Some(act.now());
        act.put_binding(&rows::binding_row(&present).or_problem()?).await.or_problem()?;
    }
    binding.status = Status::InForce;
    binding.in_force_since = Some(act.now());
    act.put_binding(&rows::binding_row(&binding).or_problem()?).await.or_problem()?;
    commit(&server, act).await?;
    Ok(binding)
}

/// Takes a proposed version back.
///
/// # Errors
/// When it is not proposed any more, or somebody else proposed it.
pub async fn withdraw(
    server: Arc<Server>,
    person: Person,
    path: VersionPath,
    (): (),
    Because { reason }: Because,
) -> Result<Binding, Problem> {
    let known = server.refresher.known();
    let about = resource(&known.knowledge, &path.application, Some(&path.environment));
    let permit = person.may(&server, Action::ProposeBinding, &about).await?;
    let mut act = server.act(&permit).await?;
    let mut binding = proposed(&mut act, &path).await?;
    if binding.proposed.by != person.id() {
        let detail = format!(
            "`{}` proposed it: ask them to take it back, or a reviewer to reject it",
            binding.proposed.by
        );
        return Err(Problem::not_allowed(detail));
    }
    binding.status = Status::Withdrawn;
    binding.ended = Some(act.now());
    let detail = json!({ "reason": reason.as_str() });
    act.record("binding.withdrawn", &subject(&binding), detail).await?;
    act.put_binding(&rows::binding_row(&binding).or_problem()?).await.or_problem()?;
    commit(&server, act).await?;
    Ok(binding)
}

/// Lists the running workloads that would get another role if a version came in force now.
///
/// What runs is what hosts reported last. Which application a process is was decided there, by the evidence
/// that only the host has; so another `match` shows its effect after it is in force, not here.
///
/// # Errors
/// When there is no such version.
pub async fn dry_run(
    server: Arc<Server>,
    _: Person,
    path: VersionPath,
    asked: PageAsked,
    (): (),
) -> Result<Page<Change>, Problem> {
    let limit = cursor::limit(asked.limit);
    let mut after = cursor::read::<WorkloadKey>(asked.after.as_ref())?;
    let mut reading = server.state.read().await.or_problem()?;
    let binding = version(&mut reading, &path).await?;
    let (known, now) = (server.refresher.known(), server.clock.now());
    let filter = WorkloadFilter {
        application: Some(path.application.to_string()),
        environment: Some(path.environment.to_string()),
        ..WorkloadFilter::default()
    };
    let mut changes = Vec::new();
    let enough = usize::try_from(limit).unwrap_or(usize::MAX);
    while changes.len() <= enough {
        let page = reading.workloads(&filter, after.as_ref(), LOOK).await.or_problem()?;
        let Some(last) = page.last() else { break };
        after = Some((last.workload.clone(), last.host.clone()));
        let changed = page.iter().filter_map(|row| change(&known.knowledge, &binding, row, now));
        changes.extend(changed);
    }
    Ok(cursor::page(changes, limit, |change: &Change| {
        (change.workload.to_string(), change.host.clone())
    }))
}

/// What a running workload would get another role by, if it would.
fn change(
    knowledge: &Knowledge,
    binding: &Binding,
    row: &WorkloadRow,
    now: Timestamp,
) -> Option<Change> {
    // What a host reported was parsed before it was kept.
    let workload: Workload = row.workload.parse().ok()?;
    let role =
        |grounds: Grounds<'_>| grounds.entitle(now).ok().map(|entitled| entitled.role().clone());
    let grounds = knowledge.grounds(&row.host, &workload, Reported::Running);
    let bound = Bound { version: binding.version, role: &binding.terms.role };
    let (from, to) = (role(grounds), role(Grounds { bound: Some(bound), ..grounds }));
    (from != to).then(|| Change { host: row.host.clone(), workload, from, to })
}

async fn version(reading: &mut Reading, path: &VersionPath) -> Result<Binding, Problem> {
    let VersionPath { application, environment, version } = path;
    let row = reading.binding(application.as_str(), environment.as_str(), *version);
    let row = row.await.or_problem()?;
    let unknown =
        || Problem::not_found(format!("`{application}/{environment}` has no version {version}"));
    rows::binding(&row.ok_or_else(unknown)?).or_problem()
}

/// A version that waits for a review.
async fn proposed(act: &mut Acting, path: &VersionPath) -> Result<Binding, Problem> {
    let binding = version(act, path).await?;
    let became = match binding.status {
        Status::Proposed => return Ok(binding),
        Status::InForce => "is in force already",
        Status::Rejected => "was rejected",
        Status::Withdrawn => "was taken back",
        Status::Superseded => "was in force, and a later one is now",
    };
    Err(Problem::conflict(format!("version {} {became}", path.version)))
}

fn subject(binding: &Binding) -> String {
    let Terms { application, environment, .. } = &binding.terms;
    format!("{application}/{environment}/{}", binding.version)
}

/// The terms of a proposal, if agents and STS can do with them, and its reason.
fn terms(proposal: Proposal, usual: Option<&Audience>) -> Result<(Terms, String), Problem> {
    let Proposal { application, environment, role, audience, tags, imdsv1, .. } = proposal;
    let wrong = |field: &str, error: &dyn ToString| {
        Problem::invalid("no such binding can be kept").with_field(field, error.to_string())
    };
    let conditions = (&proposal.conditions).try_into();
    let conditions = conditions.map_err(|error| wrong("match", &error))?;
    Rule::new(application.clone(), environment.clone(), conditions)
        .map_err(|error| wrong("match", &error))?;
    let audience = match audience.as_ref().or(usual) {
        Some(audience) => audience.clone(),
        None => AUDIENCE.parse().map_err(|error| internal(&error))?,
    };
    let mut binding =
        credentials::Binding::new(application.clone(), environment.clone(), role.clone());
    binding.source = Source::WebIdentity { audience: audience.as_str().to_owned() };
    binding.tags = tags.clone();
    Bindings::new(vec![binding]).map_err(|error| wrong("tags", &error.fault))?;
    // The shortest workload there is: what does not fit beside it fits nowhere.
    let shortest: Workload = format!("{application}/{environment}/1")
        .parse()
        .map_err(|error| wrong("application", &error))?;
    let wishes = tags.iter().map(|(key, value)| Tag {
        key: key.clone(),
        value: value.clone(),
        transitive: false,
    });
    if let Some(dropped) = TagPlan::new(&shortest, wishes).dropped.first() {
        return Err(wrong("tags", dropped));
    }
    let terms = Terms {
        application,
        environment,
        role,
        audience,
        tags,
        imdsv1,
        duration_minutes: proposal.duration_minutes.unwrap_or(DURATION_MINUTES),
        conditions: proposal.conditions,
    };
    Ok((terms, proposal.reason.as_str().to_owned()))
}
