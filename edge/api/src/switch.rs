//! The switch: whether credentials come from a binding or from the host.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use workload::Workload;

use crate::{
    Access, Action, Cursor, Limit, Page, PageAsked, Reason, Within,
    agents::{Asked, InEffect},
    endpoint::endpoints,
    text,
};

pub use crate::orders::Scope;

/// How many of those in scope, of a hundred.
pub type Percent = Within<1, 100>;

/// All of those in scope.
pub const ALL: Percent = Percent::literal::<100>();

/// A position of the switch as it was set, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// Its id: a later one is higher.
    pub id: u64,
    /// Whom it is about.
    pub scope: Scope,
    /// Where credentials come from.
    pub position: Asked,
    /// How many of those in scope it takes in, of a hundred; always the same ones first.
    pub percent: Percent,
    /// Why it was set.
    pub reason: String,
    /// Who set it.
    pub actor: String,
    /// When it was set.
    pub set: Timestamp,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// How it ended; absent while it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// How a position ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// By what.
    pub how: EndedHow,
    /// Who ended it; absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// By what a position ended.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EndedHow {
    /// Somebody cleared it.
    Cleared,
    /// A later position with the same scope took its place.
    Replaced,
    /// Its time was over.
    Expired,
}

/// A position to be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flip {
    /// Whom it is about; the whole fleet where it is empty.
    pub scope: Scope,
    /// Where credentials shall come from.
    pub position: Asked,
    /// How many of those in scope it takes in, of a hundred; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<Percent>,
    /// Why.
    pub reason: Reason,
    /// When it ends by itself; never where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// What a position would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlipDryRun {
    /// How many running workloads are in scope.
    pub in_scope: u64,
    /// How many would be switched on.
    pub on: u64,
    /// How many would be switched off.
    pub off: u64,
    /// Those that would be switched, a page of them.
    pub flips: Page<WouldFlip>,
}

/// A running workload that would be switched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WouldFlip {
    /// The host that it runs on.
    pub host: String,
    /// The workload.
    #[serde(with = "text")]
    #[schemars(with = "text::WorkloadId")]
    pub workload: Workload,
    /// What the switch says now.
    pub from: Asked,
    /// What it would say.
    pub to: Asked,
}

/// Where a scope stands: what was asked for, and how much of it is in effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// How many workloads run in the scope.
    pub workloads: u64,
    /// For how many of them the switch is on.
    pub flipped: u64,
    /// For how many what is asked for is in effect: their hosts have seen no credentials of the other
    /// position alive.
    pub in_effect: u64,
    /// How many still hold credentials of the other position.
    pub waiting: u64,
    /// Of how many nobody knows, because their host has not reported in time.
    pub unknown: u64,
    /// When the last of those that wait are predicted to have what is asked for; absent where none waits
    /// or where one of them cannot be predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_by: Option<Timestamp>,
    /// The positions that live in the server's order of deciding, latest first.
    pub positions: Vec<Position>,
    /// How many workloads there are of each kind of effect.
    pub by_effect: Vec<EffectCount>,
}

/// How many workloads there are of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EffectCount {
    /// What is asked for.
    pub asked_for: Asked,
    /// What is in effect.
    pub in_effect: InEffect,
    /// How many.
    pub workloads: u64,
}

/// A position's id in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PositionPath {
    /// The id.
    pub id: u64,
}

/// Why something is done, in a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonAsked {
    /// The reason.
    pub reason: Reason,
}

/// Which positions are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PositionsAsked {
    /// Whether those that have ended are told as well.
    #[serde(default)]
    pub history: bool,
    /// How many items at most; 100 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The `next` of the page before; from the beginning where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
}

endpoints! {
    /// Lists the live positions of the switch, latest first.
    ListPositions = "list-positions": GET "/v1/switch", Access::Person(Action::View),
        query PositionsAsked, answer Page<Position>;

    /// Sets a position of the switch.
    ///
    /// It takes the place of a live one with the same scope. For each workload the latest position that
    /// takes it in decides; where none does, the switch is off. So one position for the whole fleet
    /// reverses everything.
    SetPosition = "set-position": POST "/v1/switch", Access::Person(Action::FlipSwitch),
        body Flip, answer Position;

    /// Tells which running workloads a position would switch, and sets nothing.
    DryRunPosition = "dry-run-position": POST "/v1/switch/dry-run", Access::Person(Action::View),
        query PageAsked, body Flip, answer FlipDryRun, repeatable true;

    /// Clears a position, so that what lay under it decides again.
    ClearPosition = "clear-position": DELETE "/v1/switch/{id}", Access::Person(Action::FlipSwitch),
        path PositionPath, query ReasonAsked, answer Position;

    /// Tells what was asked for in a scope and how much of it is in effect.
    ReadSwitchStatus = "read-switch-status": GET "/v1/switch/status", Access::Person(Action::View),
        query Scope, answer Status;
}
