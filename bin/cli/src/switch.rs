//! `rolecall switch`: whether credentials come from a binding or from the host.

use std::time::Duration;

use api::{
    PageAsked, Reason,
    agents::Asked,
    switch::{
        ClearPosition, DryRunPosition, Flip, FlipDryRun, ListPositions, Percent, Position,
        PositionPath, PositionsAsked, ReadSwitchStatus, ReasonAsked, Scope, SetPosition, Status,
        WouldFlip,
    },
};
use clap::{Args, Subcommand};
use cloud::Region;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use workload::{Application, Environment, Workload};

use crate::{
    Done, Failure,
    line::{Line, Listed, Paging},
    paper::{Output, facts, note, perhaps, print, table, when, word},
};

/// How often it is looked whether a position is in effect.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  rolecall switch dry-run on --app orders --env test
  rolecall switch on --app orders --env prod --percent 10 --reason 'CHG-17: first tenth' --wait
  rolecall switch status --app orders
  rolecall switch off --fleet --reason 'INC-4: back to what it was'

The last is the way back: it is newer than every other position and fits everything.")]
pub(crate) enum Switch {
    /// Let credentials come from the binding.
    On(Set),
    /// Let credentials come from the host. With --fleet it is the way back from everything.
    Off(Set),
    /// Tell what was asked for and how much of it is in effect.
    Status(Target),
    /// List the positions, latest first.
    List {
        /// Those that have ended as well.
        #[arg(long)]
        history: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// Clear a position, so that what lay under it decides again.
    Clear {
        /// Its id, as `list` tells it.
        id: u64,
        /// Why.
        #[arg(long)]
        reason: Reason,
    },
    /// Tell which running workloads a position would switch, and set nothing.
    DryRun {
        /// `on` or `off`.
        #[arg(value_parser = asked)]
        position: Asked,
        #[command(flatten)]
        target: Target,
        /// So many of those in scope, of a hundred.
        #[arg(long)]
        percent: Option<Percent>,
        #[command(flatten)]
        paging: Paging,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    target: Target,
    /// So many of those in scope, of a hundred; always the same ones first.
    #[arg(long)]
    percent: Option<Percent>,
    /// It ends by itself after so long, such as `2h` or `1h 30m`.
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "until")]
    life: Option<SignedDuration>,
    /// It ends by itself then, such as `2026-01-01T12:00:00Z`.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Why.
    #[arg(long)]
    reason: Reason,
    /// Wait until it is in effect for every workload, and tell how far it is.
    #[arg(long)]
    wait: bool,
    /// Give up waiting after so long; the position stays.
    #[arg(long, value_name = "DURATION", default_value = "8h", requires = "wait")]
    wait_at_most: SignedDuration,
}

/// Whom it is about: all who fit everything that is named.
#[derive(Debug, Args)]
#[group(id = "scope", required = true, multiple = true)]
pub(crate) struct Target {
    /// Everything, everywhere.
    #[arg(long, conflicts_with_all = ["region", "application", "environment", "host", "workload"])]
    fleet: bool,
    /// The region that the host is in.
    #[arg(long)]
    region: Option<Region>,
    /// The application.
    #[arg(long, visible_alias = "app")]
    application: Option<Application>,
    /// The environment.
    #[arg(long, visible_alias = "env")]
    environment: Option<Environment>,
    /// The host, by its id.
    #[arg(long)]
    host: Option<String>,
    /// The workload, by its full id `application/environment/instance`.
    #[arg(long)]
    workload: Option<Workload>,
}

impl Target {
    fn scope(&self) -> Scope {
        Scope {
            region: self.region.clone(),
            application: self.application.clone(),
            environment: self.environment.clone(),
            host: self.host.clone(),
            workload: self.workload.clone(),
        }
    }
}

fn asked(text: &str) -> Result<Asked, String> {
    match text {
        "on" => Ok(Asked::On),
        "off" => Ok(Asked::Off),
        other => Err(format!("a position is `on` or `off`, not `{other}`")),
    }
}

/// What setting a position came to.
#[derive(Debug, Serialize)]
struct WasSet<'a> {
    position: &'a Position,
    /// What it was foretold to switch; absent where that could not be foretold.
    #[serde(flatten)]
    foretold: Option<Counts>,
    /// How much of it was in effect in the end; absent where nobody waited, or the wait failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a Status>,
}

/// How many running workloads a position switches.
#[derive(Clone, Copy, Debug, Serialize)]
struct Counts {
    in_scope: u64,
    on: u64,
    off: u64,
}

/// How far a position is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    InEffect,
    Waiting,
}

fn progress(status: &Status) -> Progress {
    match status.in_effect == status.workloads && status.waiting == 0 && status.unknown == 0 {
        true => Progress::InEffect,
        false => Progress::Waiting,
    }
}

fn how_far(status: &Status) -> String {
    let Status { workloads, in_effect, waiting, unknown, effective_by, .. } = status;
    let mut text = format!("{in_effect} of {workloads} in effect");
    if *waiting > 0 {
        text += &format!(", {waiting} wait");
        match effective_by {
            Some(by) => text += &format!(" (until {} at the latest)", when(*by)),
            None => text += " (nobody knows how long)",
        }
    }
    if *unknown > 0 {
        text += &format!(", {unknown} unknown because their hosts do not report");
    }
    text
}

impl Set {
    fn flip(&self, position: Asked, now: Timestamp) -> Result<Flip, Failure> {
        let expires = match (self.life, self.until) {
            (Some(life), _) if life <= SignedDuration::ZERO => {
                return Err(Failure::Input("--for must be longer than nothing".to_owned()));
            }
            (Some(life), _) => Some(now.checked_add(life).map_err(Failure::input)?),
            (None, Some(until)) if until <= now => {
                return Err(Failure::Input(format!("--until {until} is over already")));
            }
            (None, until) => until,
        };
        Ok(Flip {
            scope: self.target.scope(),
            position,
            percent: self.percent,
            reason: self.reason.clone(),
            expires,
        })
    }

    async fn execute(&self, position: Asked, line: &Line) -> Result<Done, Failure> {
        let flip = self.flip(position, Timestamp::now())?;
        let within = Duration::try_from(self.wait_at_most).map_err(Failure::input)?;
        let foretold = foretell(&flip, line).await;
        let set = line.ask::<SetPosition>(&(), &(), &flip).await?;
        if line.output == Output::Table {
            print(&positions(std::slice::from_ref(&set)));
        }
        let look = async || line.ask::<ReadSwitchStatus>(&(), &flip.scope, &()).await;
        let waited = match self.wait {
            true => follow(within, LOOK_EVERY, look).await.map(Some),
            false => Ok(None),
        };
        if line.output == Output::Json {
            // Whatever became of the wait: it is set, and a program must hear of it.
            let status = waited.as_ref().ok().and_then(Option::as_ref);
            line.show(&WasSet { position: &set, foretold, status }, |_| String::new())?;
        }
        let status = waited?;
        if line.output == Output::Table {
            let asked = || {
                "asked for; `rolecall switch status` tells how much of it is in effect".to_owned()
            };
            print(&status.as_ref().map_or_else(asked, how_far));
        }
        Ok(match status.as_ref().map(progress) {
            Some(Progress::Waiting) => Done::No,
            Some(Progress::InEffect) | None => Done::Yes,
        })
    }
}

/// Tells what a position will switch. It is set all the same where that fails: nobody who must switch off in an
/// incident is kept from it by a forecast.
async fn foretell(flip: &Flip, line: &Line) -> Option<Counts> {
    let first = PageAsked { limit: api::Limit::new(1).ok(), after: None };
    match line.ask::<DryRunPosition>(&(), &first, flip).await {
        Ok(FlipDryRun { in_scope, on, off, .. }) => {
            note(&format!(
                "{in_scope} running workloads in scope: {on} switch on, {off} switch off"
            ));
            Some(Counts { in_scope, on, off })
        }
        Err(failure) => {
            note(&format!("nobody can foretell what it switches: {failure}"));
            None
        }
    }
}

/// Looks until all of it is in effect, or the time is over. A wait may take hours: what another look may mend does
/// not end it.
async fn follow(
    within: Duration,
    every: Duration,
    mut look: impl AsyncFnMut() -> Result<Status, Failure>,
) -> Result<Status, Failure> {
    let begun = tokio::time::Instant::now();
    let (mut told, mut failing) = (String::new(), false);
    loop {
        let looked = look().await;
        let over = begun.elapsed() >= within;
        match looked {
            Ok(status) => {
                if std::mem::take(&mut failing) {
                    note("the server tells again how far it is");
                }
                if over || progress(&status) == Progress::InEffect {
                    return Ok(status);
                }
                let now = how_far(&status);
                if now != told {
                    note(&now);
                    told = now;
                }
            }
            Err(failure) if over || !may_pass(&failure) => return Err(failure),
            Err(failure) => {
                if !failing {
                    note(&format!("nobody knows how far it is, and it is asked again: {failure}"));
                }
                failing = true;
            }
        }
        tokio::time::sleep(every).await;
    }
}

/// Whether it may go the next time, with nobody doing anything here.
const fn may_pass(failure: &Failure) -> bool {
    matches!(failure, Failure::World(_))
}

impl Switch {
    pub(crate) async fn execute(&self, line: &Line) -> Result<Done, Failure> {
        match self {
            Self::On(set) => return set.execute(Asked::On, line).await,
            Self::Off(set) => return set.execute(Asked::Off, line).await,
            Self::Status(target) => {
                let status = line.ask::<ReadSwitchStatus>(&(), &target.scope(), &()).await?;
                line.show(&status, shown)?;
            }
            Self::List { history, paging } => {
                let listed = paging
                    .follow(async |limit, after| {
                        let asked = PositionsAsked { history: *history, limit, after };
                        line.ask::<ListPositions>(&(), &asked, &()).await
                    })
                    .await?;
                line.list(&listed, positions)?;
            }
            Self::Clear { id, reason } => {
                let asked = ReasonAsked { reason: reason.clone() };
                let cleared =
                    line.ask::<ClearPosition>(&PositionPath { id: *id }, &asked, &()).await?;
                line.show(&cleared, |cleared| positions(std::slice::from_ref(cleared)))?;
            }
            Self::DryRun { position, target, percent, paging } => {
                dry_run(line, *position, target.scope(), *percent, *paging).await?;
            }
        }
        Ok(Done::Yes)
    }
}

/// What a position would do, whole.
#[derive(Debug, Serialize)]
struct Foretold {
    in_scope: u64,
    on: u64,
    off: u64,
    flips: Listed<WouldFlip>,
}

async fn dry_run(
    line: &Line,
    position: Asked,
    scope: Scope,
    percent: Option<Percent>,
    paging: Paging,
) -> Result<(), Failure> {
    let reason = "a dry run sets nothing".parse().map_err(Failure::input)?;
    let flip = Flip { scope, position, percent, reason, expires: None };
    let mut counts = (0, 0, 0);
    let flips = paging
        .follow(async |limit, after| {
            let asked = PageAsked { limit, after };
            let foretold = line.ask::<DryRunPosition>(&(), &asked, &flip).await?;
            counts = (foretold.in_scope, foretold.on, foretold.off);
            Ok(foretold.flips)
        })
        .await?;
    let (in_scope, on, off) = counts;
    line.show(&Foretold { in_scope, on, off, flips }, |foretold| {
        let mut table = table(["workload", "host", "now", "then"]);
        for flip in &foretold.flips.items {
            let (now, then) = (word(&flip.from), word(&flip.to));
            table.add_row([flip.workload.to_string(), flip.host.clone(), now, then]);
        }
        let more = if foretold.flips.more { "\nthere are more: raise --limit" } else { "" };
        format!(
            "{in_scope} running workloads in scope: {on} would switch on, {off} would switch off\n{table}{more}"
        )
    })
}

fn shown(status: &Status) -> String {
    let mut effects = table(["asked for", "in effect", "workloads"]);
    for count in &status.by_effect {
        let (asked_for, in_effect) = (word(&count.asked_for), word(&count.in_effect));
        effects.add_row([asked_for, in_effect, count.workloads.to_string()]);
    }
    let facts = facts([
        ("workloads", status.workloads.to_string()),
        ("switched on", status.flipped.to_string()),
        ("in effect", how_far(status)),
    ]);
    let positions = match status.positions.as_slice() {
        [] => "no position: the switch is off".to_owned(),
        some => positions(some),
    };
    format!("{facts}\n{effects}\n{positions}")
}

fn scope(scope: &Scope) -> String {
    let Scope { region, application, environment, host, workload } = scope;
    let one = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
    let parts = [
        one("region", region.as_ref().map(ToString::to_string)),
        one("application", application.as_ref().map(ToString::to_string)),
        one("environment", environment.as_ref().map(ToString::to_string)),
        one("host", host.clone()),
        one("workload", workload.as_ref().map(ToString::to_string)),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "the fleet".to_owned() } else { parts.join(", ") }
}

fn positions(positions: &[Position]) -> String {
    let mut table = table(["id", "position", "scope", "percent", "set", "by", "reason", "until"]);
    for position in positions {
        let until = match &position.ended {
            Some(ended) => format!("{} {}", word(&ended.how), when(ended.at)),
            None => perhaps(position.expires),
        };
        table.add_row([
            position.id.to_string(),
            word(&position.position),
            scope(&position.scope),
            position.percent.to_string(),
            when(position.set),
            position.actor.clone(),
            position.reason.clone(),
            until,
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(subcommand)]
        switch: Switch,
    }

    fn typed(line: &str) -> Result<Switch, clap::Error> {
        let words = ["rolecall"].into_iter().chain(line.split(' '));
        Typed::try_parse_from(words).map(|typed| typed.switch)
    }

    #[track_caller]
    fn check(line: &str, scope_is: &str) {
        let (Switch::On(set) | Switch::Off(set)) = typed(line).unwrap() else { panic!("{line}") };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(scope(&set.flip(Asked::Off, now).unwrap().scope), scope_is, "{line}");
    }

    #[test]
    fn a_scope_must_be_named_and_the_fleet_stands_alone() {
        check("off --fleet --reason back", "the fleet");
        check("on --app orders --env prod --reason r", "application orders, environment prod");
        check("on --host h1 --reason r", "host h1");
        for wrong in [
            "on --reason r",
            "on --app orders",
            "on --fleet --app orders --reason r",
            "on --fleet --reason r --percent 0",
            "on --fleet --reason r --percent 101",
            "on --fleet --reason r --for 1h --until 2026-01-01T00:00:00Z",
            "on --fleet --reason r --wait-at-most 1h",
            "status",
            "dry-run maybe --fleet",
        ] {
            assert_eq!(typed(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn a_position_may_end_by_itself() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let ends = |line: &str| {
            let Switch::On(set) = typed(line).unwrap() else { panic!("{line}") };
            set.flip(Asked::On, now).map(|flip| flip.expires.map(|time| time.to_string()))
        };
        assert_eq!(ends("on --fleet --reason r").unwrap(), None);
        let for_two_hours = ends("on --fleet --reason r --for 2h").unwrap();
        assert_eq!(for_two_hours.as_deref(), Some("2026-01-01T02:00:00Z"));
        let until = ends("on --fleet --reason r --until 2026-01-02T00:00:00Z").unwrap();
        assert_eq!(until.as_deref(), Some("2026-01-02T00:00:00Z"));
        for wrong in ["--for 0s", "--for=-1h", "--until 2025-01-01T00:00:00Z"] {
            let line = format!("on --fleet --reason r {wrong}");
            assert_eq!(ends(&line).unwrap_err().code(), 2, "{wrong}");
        }
    }

    fn status(in_effect: u64, waiting: u64, unknown: u64) -> Status {
        Status {
            workloads: 3,
            flipped: 3,
            in_effect,
            waiting,
            unknown,
            effective_by: None,
            positions: Vec::new(),
            by_effect: Vec::new(),
        }
    }

    #[test]
    fn nothing_is_in_effect_while_somebody_waits_or_nobody_knows() {
        assert_eq!(progress(&status(3, 0, 0)), Progress::InEffect);
        assert_eq!(progress(&status(2, 1, 0)), Progress::Waiting);
        assert_eq!(progress(&status(2, 0, 1)), Progress::Waiting);
        let text = how_far(&status(1, 1, 1));
        assert!(text.contains("nobody knows how long") && text.contains("1 unknown"), "{text}");
    }

    const HOUR: Duration = Duration::from_secs(3600);

    /// Follows what one look after the other says: how much is in effect in the end, or the exit code. Every look
    /// must have been needed.
    fn followed(within: Duration, looks: Vec<Result<Status, Failure>>) -> Result<u64, u8> {
        let mut looks = looks.into_iter();
        let follow = follow(within, Duration::ZERO, async || looks.next().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let end = runtime.block_on(follow);
        assert_eq!(looks.len(), 0);
        end.map(|status| status.in_effect).map_err(|failure| failure.code())
    }

    fn away() -> Result<Status, Failure> {
        Err(Failure::world("no server can be reached"))
    }

    #[test]
    fn a_wait_outlives_a_server_that_is_away() {
        let looks = vec![Ok(status(1, 2, 0)), away(), away(), Ok(status(2, 1, 0)), away()];
        let looks = looks.into_iter().chain([Ok(status(3, 0, 0))]).collect();
        assert_eq!(followed(HOUR, looks), Ok(3));
    }

    #[test]
    fn a_wait_ends_with_its_time_and_with_what_no_other_look_can_mend() {
        assert_eq!(followed(Duration::ZERO, vec![Ok(status(2, 1, 0))]), Ok(2));
        assert_eq!(followed(Duration::ZERO, vec![away()]), Err(1));
        let ended = Failure::Access("the session has ended".to_owned());
        assert_eq!(followed(HOUR, vec![away(), Err(ended)]), Err(3));
        assert_eq!(followed(HOUR, vec![Err(Failure::input("no such host"))]), Err(2));
    }

    #[test]
    fn what_was_set_is_told_without_a_forecast_and_without_a_status() {
        let position = serde_json::json!({
            "id": 7, "scope": {}, "position": "off", "percent": 100, "reason": "INC-4",
            "actor": "ann", "set": "2026-01-01T00:00:00Z",
        });
        let set: Position = serde_json::from_value(position).unwrap();
        let told = |foretold| {
            let told = WasSet { position: &set, foretold, status: None };
            let told = serde_json::to_value(told).unwrap();
            told.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(told(None), ["position"]);
        let mut keys = told(Some(Counts { in_scope: 3, on: 0, off: 3 }));
        keys.sort();
        assert_eq!(keys, ["in_scope", "off", "on", "position"]);
    }
}
