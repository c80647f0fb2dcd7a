//! The switch: positions set, cleared and ended, and how much of them is in effect.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    Action, Page, PageAsked, Problem,
    agents::{Asked, InEffect, SeenWorkload},
    switch::{
        ALL, EffectCount, Ended, EndedHow, Flip, FlipDryRun, Position, PositionPath,
        PositionsAsked, ReasonAsked, Scope, Status, WouldFlip,
    },
};
use credentials::{Position as Deciding, Positions, entitlement::Reported};
use jiff::Timestamp;
use serde_json::json;
use state::{WorkloadFilter, WorkloadKey, WorkloadRow};
use workload::Workload;

use super::{commit, resource};
use crate::{
    caller::Person,
    cursor,
    fault::OrProblem,
    knowledge::{Knowledge, asked_of, position_of, reported, scope_of, switch_of},
    permit::OwnPermit,
    policies::Resource,
    rows,
    server::Server,
};

/// How many positions live at once at most: every host is told all that can matter to it.
const LIVE_MAX: usize = 1000;

/// Lists positions, latest first.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn list(
    server: Arc<Server>,
    _: Person,
    (): (),
    asked: PositionsAsked,
    (): (),
) -> Result<Page<Position>, Problem> {
    let (limit, after) = (cursor::limit(asked.limit), cursor::read::<u64>(asked.after.as_ref())?);
    let mut reading = server.state.read().await.or_problem()?;
    let rows = reading.positions(asked.history, after, limit + 1).await.or_problem()?;
    let page = cursor::page(rows, limit, |row| row.id);
    let items = page.items.iter().map(rows::position).collect::<Result<_, _>>();
    Ok(Page { items: items.or_problem()?, next: page.next })
}

/// Sets a position, in place of a live one with the same scope.
///
/// # Errors
/// When its scope can take nobody in, its end has passed, or too many positions live.
pub async fn set(
    server: Arc<Server>,
    person: Person,
    (): (),
    (): (),
    flip: Flip,
) -> Result<Position, Problem> {
    let known = server.refresher.known();
    let about = about(&known.knowledge, &flip.scope);
    let permit = person.may(&server, Action::FlipSwitch, &about).await?;
    check_scope(&known.knowledge, &flip.scope)?;
    let mut act = server.act(&permit).await?;
    let now = act.now();
    check_end(&flip, now)?;
    let scope = rows::scope_text(&flip.scope).or_problem()?;
    let replaced = act.live_position(&scope).await.or_problem()?;
    let live = act.live_positions().await.or_problem()?.len();
    if replaced.is_none() && live >= LIVE_MAX {
        let detail =
            format!("{LIVE_MAX} positions live: clear some, or set one with a wider scope");
        return Err(Problem::conflict(detail));
    }
    let position = Position {
        id: act.next_position().await.or_problem()?,
        scope: flip.scope,
        position: flip.position,
        percent: flip.percent.unwrap_or(ALL),
        reason: flip.reason.as_str().to_owned(),
        actor: person.id().to_owned(),
        set: now,
        expires: flip.expires,
        ended: None,
    };
    let detail = json!({
        "id": position.id,
        "position": switch_of(position.position).as_str(),
        "percent": position.percent.get(),
        "reason": position.reason,
        "expires": position.expires.map(|expires| expires.to_string()),
        "replaced": replaced.as_ref().map(|row| row.id),
    });
    act.record("switch.set", &subject(&position.scope), detail).await?;
    if let Some(row) = &replaced {
        let mut old = rows::position(row).or_problem()?;
        // One whose time was over ended then, whoever comes along later.
        let over = old.expires.filter(|expires| *expires <= now);
        old.ended = Some(match over {
            Some(at) => Ended { at, how: EndedHow::Expired, by: None, reason: None },
            None => Ended {
                at: now,
                how: EndedHow::Replaced,
                by: Some(person.id().to_owned()),
                reason: Some(position.reason.clone()),
            },
        });
        act.put_position(&rows::position_row(&old).or_problem()?).await.or_problem()?;
    }
    act.put_position(&rows::position_row(&position).or_problem()?).await.or_problem()?;
    commit(&server, act).await?;
    Ok(position)
}

/// Clears a position.
///
/// # Errors
/// When there is none with that id, or it has ended.
pub async fn clear(
    server: Arc<Server>,
    person: Person,
    PositionPath { id }: PositionPath,
    ReasonAsked { reason }: ReasonAsked,
    (): (),
) -> Result<Position, Problem> {
    let unknown = || Problem::not_found(format!("there is no position {id}"));
    let known = server.refresher.known();
    let mut reading = server.state.read().await.or_problem()?;
    let row = reading.position(id).await.or_problem()?;
    drop(reading);
    let Some(row) = row else {
        // Whether there is one is told to those alone who may clear any.
        person.may(&server, Action::FlipSwitch, &Resource::Deployment).await?.seen();
        return Err(unknown());
    };
    // The scope of a position never changes, so it may be looked at before the act.
    let about = about(&known.knowledge, &rows::position(&row).or_problem()?.scope);
    let permit = person.may(&server, Action::FlipSwitch, &about).await?;
    let mut act = server.act(&permit).await?;
    let row = act.position(id).await.or_problem()?.ok_or_else(unknown)?;
    let mut position = rows::position(&row).or_problem()?;
    let over = position.expires.is_some_and(|expires| expires <= act.now());
    if position.ended.is_some() || over {
        return Err(Problem::conflict(format!("position {id} has ended already")));
    }
    let detail = json!({ "id": id, "reason": reason.as_str() });
    act.record("switch.cleared", &subject(&position.scope), detail).await?;
    position.ended = Some(Ended {
        at: act.now(),
        how: EndedHow::Cleared,
        by: Some(person.id().to_owned()),
        reason: Some(reason.as_str().to_owned()),
    });
    act.put_position(&rows::position_row(&position).or_problem()?).await.or_problem()?;
    commit(&server, act).await?;
    Ok(position)
}

/// Writes down that positions have ended whose time is over. Nobody decides by them any more, with or
/// without this; answers how many there were.
///
/// # Errors
/// When the database cannot be written.
pub async fn expire(server: &Server) -> Result<usize, Problem> {
    let now = server.clock.now();
    let over = |position: &Deciding| !position.lives(now);
    if !server.refresher.known().knowledge.positions().iter().any(over) {
        return Ok(0);
    }
    let mut act = server.act(&OwnPermit::server()).await?;
    let now = act.now();
    let rows = act.live_positions().await.or_problem()?;
    let mut ended = 0;
    for row in rows.iter().filter(|row| row.expires.is_some_and(|expires| expires <= now)) {
        let mut position = rows::position(row).or_problem()?;
        let at = position.expires.unwrap_or(now);
        position.ended = Some(Ended { at, how: EndedHow::Expired, by: None, reason: None });
        let detail = json!({ "id": position.id, "expires": at.to_string() });
        act.record("switch.expired", &subject(&position.scope), detail).await?;
        act.put_position(&rows::position_row(&position).or_problem()?).await.or_problem()?;
        ended += 1;
    }
    if ended > 0 {
        commit(server, act).await?;
    }
    Ok(ended)
}

/// Tells which running workloads a position would switch.
///
/// # Errors
/// When its scope can take nobody in, or its end has passed.
pub async fn dry_run(
    server: Arc<Server>,
    _: Person,
    (): (),
    asked: PageAsked,
    flip: Flip,
) -> Result<FlipDryRun, Problem> {
    let limit = cursor::limit(asked.limit);
    let after = cursor::read::<WorkloadKey>(asked.after.as_ref())?;
    let (known, now) = (server.refresher.refreshed().await.or_problem()?, server.clock.now());
    let knowledge = &known.knowledge;
    check_scope(knowledge, &flip.scope)?;
    check_end(&flip, now)?;
    let would = would(knowledge, &flip);
    let enough = usize::try_from(limit).unwrap_or(usize::MAX);
    let scope = scope_of(&flip.scope);
    let mut run =
        FlipDryRun { in_scope: 0, on: 0, off: 0, flips: Page { items: Vec::new(), next: None } };
    let mut reading = server.state.read().await.or_problem()?;
    let filter = filter(&flip.scope);
    let look = |row: WorkloadRow| {
        let Some(workload) = running(knowledge, &row) else { return };
        let seat = knowledge.seat(&row.host, &workload);
        if !scope.takes_in(&seat) {
            return;
        }
        run.in_scope += 1;
        let (from, to) = (knowledge.positions().decide(&seat, now), would.decide(&seat, now));
        if from == to {
            return;
        }
        let (from, to) = (asked_of(from), asked_of(to));
        match to {
            Asked::On => run.on += 1,
            Asked::Off => run.off += 1,
        }
        let key = (row.workload, row.host.clone());
        if after.as_ref().is_none_or(|after| *after < key) && run.flips.items.len() <= enough {
            run.flips.items.push(WouldFlip { host: row.host, workload, from, to });
        }
    };
    reading.workloads_in(&filter, look).await.or_problem()?;
    run.flips = cursor::page(run.flips.items, limit, |flip: &WouldFlip| {
        (flip.workload.to_string(), flip.host.clone())
    });
    Ok(run)
}

/// Tells what was asked for in a scope and how much of it is in effect.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn status(
    server: Arc<Server>,
    _: Person,
    (): (),
    scope: Scope,
    (): (),
) -> Result<Status, Problem> {
    // By an old copy, what another replica has just switched off would be in effect already.
    let (known, now) = (server.refresher.refreshed().await.or_problem()?, server.clock.now());
    let knowledge = &known.knowledge;
    let mut reading = server.state.read().await.or_problem()?;
    let wanted = scope_of(&scope);
    let mut counts = Counts::default();
    let mut damaged = None;
    let look = |row: WorkloadRow| {
        let Some(workload) = running(knowledge, &row) else { return };
        let seat = knowledge.seat(&row.host, &workload);
        if !wanted.takes_in(&seat) {
            return;
        }
        let asked = asked_of(knowledge.positions().decide(&seat, now));
        match rows::read::<SeenWorkload>("workloads", &row.workload, &row.body) {
            Ok(seen) => counts.take(asked, &seen, reported(Some(row.reported), now)),
            Err(error) => damaged = Some(error),
        }
    };
    reading.workloads_in(&filter(&scope), look).await.or_problem()?;
    if let Some(error) = damaged {
        return Err(error).or_problem();
    }
    let rows = reading.live_positions().await.or_problem()?;
    let positions: Vec<Position> =
        rows.iter().map(rows::position).collect::<Result<_, _>>().or_problem()?;
    let matters = |position: &Position| {
        position.expires.is_none_or(|expires| now < expires) && meet(&position.scope, &scope)
    };
    Ok(counts.status(positions.into_iter().filter(matters).collect()))
}

/// What was counted of a scope.
#[derive(Debug, Default)]
struct Counts {
    by_effect: BTreeMap<(Asked, InEffect), u64>,
    waiting: u64,
    in_effect: u64,
    unknown: u64,
    /// The latest prediction of those that wait; none as soon as one of them has none.
    effective_by: Option<Timestamp>,
    unpredicted: bool,
}

impl Counts {
    /// Counts a workload for which the server's switch says `asked`.
    fn take(&mut self, asked: Asked, seen: &SeenWorkload, reported: Reported) {
        let effect = match reported {
            Reported::Running => seen.in_effect,
            Reported::Stale | Reported::No => InEffect::Unknown,
        };
        *self.by_effect.entry((asked, effect)).or_default() += 1;
        match (asked, effect) {
            (_, InEffect::Unknown) => self.unknown += 1,
            (Asked::On, InEffect::On) | (Asked::Off, InEffect::Off) => self.in_effect += 1,
            _ => {
                self.waiting += 1;
                // A host that does not know yet what is asked for predicts something else.
                let predicted = seen.effective_by.filter(|_| seen.asked_for == asked);
                self.unpredicted |= predicted.is_none();
                self.effective_by = self.effective_by.max(predicted);
            }
        }
    }

    fn status(self, positions: Vec<Position>) -> Status {
        let sum = |wanted: fn(&(Asked, InEffect)) -> bool| {
            self.by_effect.iter().filter(|(key, _)| wanted(key)).map(|(_, count)| count).sum()
        };
        Status {
            workloads: sum(|_| true),
            flipped: sum(|(asked, _)| *asked == Asked::On),
            in_effect: self.in_effect,
            waiting: self.waiting,
            unknown: self.unknown,
            effective_by: self.effective_by.filter(|_| !self.unpredicted),
            positions,
            by_effect: self
                .by_effect
                .iter()
                .map(|((asked_for, in_effect), workloads)| EffectCount {
                    asked_for: *asked_for,
                    in_effect: *in_effect,
                    workloads: *workloads,
                })
                .collect(),
        }
    }
}

/// The workload of a row, unless its host was revoked: what became of it there is nobody's business here.
fn running(knowledge: &Knowledge, row: &WorkloadRow) -> Option<Workload> {
    knowledge.host(&row.host).filter(|host| !host.revoked)?;
    // What a host reported was parsed before it was kept.
    row.workload.parse().ok()
}

/// The positions as they would be after a flip.
fn would(knowledge: &Knowledge, flip: &Flip) -> Positions {
    let stay = knowledge.ordered_positions().iter().filter(|position| position.scope != flip.scope);
    let latest = knowledge.ordered_positions().first().map_or(0, |position| position.id);
    let new = Deciding {
        id: latest.saturating_add(1),
        scope: scope_of(&flip.scope),
        switch: switch_of(flip.position),
        percent: flip.percent.unwrap_or(ALL).get(),
        expires: flip.expires,
    };
    Positions::new(stay.map(position_of).chain([new]))
}

/// Whether there can be a workload in both scopes.
fn meet(one: &Scope, other: &Scope) -> bool {
    fn agree<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
        one.zip(other).is_none_or(|(one, other)| one == other)
    }
    let named = |scope: &Scope| {
        let workload = scope.workload.as_ref();
        let application = scope.application.clone();
        let environment = scope.environment.clone();
        (
            application.or_else(|| workload.map(|workload| workload.application.clone())),
            environment.or_else(|| workload.map(|workload| workload.environment.clone())),
        )
    };
    let ((application, environment), (of, within)) = (named(one), named(other));
    agree(one.region.as_ref(), other.region.as_ref())
        && agree(one.host.as_ref(), other.host.as_ref())
        && agree(one.workload.as_ref(), other.workload.as_ref())
        && agree(application.as_ref(), of.as_ref())
        && agree(environment.as_ref(), within.as_ref())
}

fn filter(scope: &Scope) -> WorkloadFilter {
    WorkloadFilter {
        application: scope.application.as_ref().map(ToString::to_string),
        environment: scope.environment.as_ref().map(ToString::to_string),
        host: scope.host.clone(),
        workload: scope.workload.as_ref().map(ToString::to_string),
    }
}

/// What a flip is done to, as policies see it.
fn about(knowledge: &Knowledge, scope: &Scope) -> Resource {
    let workload = scope.workload.as_ref();
    let application = scope.application.as_ref().or(workload.map(|workload| &workload.application));
    let environment = scope.environment.as_ref().or(workload.map(|workload| &workload.environment));
    match (application, &scope.host) {
        (Some(application), _) => resource(knowledge, application, environment),
        (None, Some(host)) => {
            let name = knowledge.host(host).map_or(host, |host| &host.name);
            Resource::Host { host: host.clone(), name: name.clone() }
        }
        (None, None) => Resource::Deployment,
    }
}

/// Refuses a scope that can take nobody in: it is a slip, and would be taken for done.
fn check_scope(knowledge: &Knowledge, scope: &Scope) -> Result<(), Problem> {
    let wrong = |field: &str, reason: String| {
        Err(Problem::invalid("the scope takes nobody in")
            .with_field(format!("scope.{field}"), reason))
    };
    if let Some(host) = &scope.host {
        match knowledge.host(host) {
            Some(host) if host.revoked => return wrong("host", "was revoked".to_owned()),
            Some(_) => {}
            None => return wrong("host", format!("no host `{host}` has joined")),
        }
    }
    if let Some(application) = &scope.application
        && knowledge.application(application).is_none()
    {
        return wrong("application", format!("no application `{application}` is known"));
    }
    if let Some(workload) = &scope.workload {
        let others = scope.application.as_ref().is_some_and(|name| *name != workload.application)
            || scope.environment.as_ref().is_some_and(|name| *name != workload.environment);
        if others {
            return wrong("workload", "is of another application or environment".to_owned());
        }
    }
    Ok(())
}

fn check_end(flip: &Flip, now: Timestamp) -> Result<(), Problem> {
    if flip.expires.is_some_and(|expires| expires <= now) {
        let wrong = "must lie in the future";
        return Err(Problem::invalid("the position would have ended").with_field("expires", wrong));
    }
    Ok(())
}

/// How the ledger names a scope: `fleet`, or each field that it names.
fn subject(scope: &Scope) -> String {
    let Scope { region, application, environment, host, workload } = scope;
    let fields = [
        ("region", region.as_ref().map(ToString::to_string)),
        ("application", application.as_ref().map(ToString::to_string)),
        ("environment", environment.as_ref().map(ToString::to_string)),
        ("host", host.clone()),
        ("workload", workload.as_ref().map(ToString::to_string)),
    ];
    let named = fields.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
    let named = named.collect::<Vec<_>>().join(" ");
    if named.is_empty() { "fleet".to_owned() } else { named }
}
