//! Which orders are obeyed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{
    agents::{Asked, Jwk, OrdersHeld},
    bindings::Terms,
    orders::{Illegible, OrderedPosition, Orders, SignedOrders},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cloud::Region;
use credentials::{
    Binding, Bindings, InvalidBinding, Position, Positions, Scope, Seat, Source, Switch,
};
use jiff::{SignedDuration, Timestamp};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use workload::{InvalidRule, Rule, Workload};

use crate::{engine::Now, settings::BoundRole};

/// The most keys that orders may be signed with.
const KEYS_MAX: usize = 16;

/// The first byte of a point that is written out in full.
const UNCOMPRESSED: u8 = 4;

/// The public keys that orders may be signed with, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrdersKeys(BTreeMap<String, Vec<u8>>);

/// The server's keys are none that orders can be verified with. The server's operator must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// More than any server has.
    #[error("there are more than {KEYS_MAX} keys for orders")]
    TooMany,
    /// None of them is for ES256.
    #[error("none of the keys for orders is an EC key of the curve P-256 with a `kid`")]
    None,
}

/// Why orders are not obeyed. Those that were in force stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disobeyed {
    /// Nobody told us of the key.
    #[error("they are signed with the key `{0}`, which this host was never told of")]
    UnknownKey(String),
    /// The text is not what was signed.
    #[error("their signature is wrong")]
    Forged,
    /// They cannot be read.
    #[error(transparent)]
    Illegible(#[from] Illegible),
    /// They are for somebody else.
    #[error("they are for host `{0}`")]
    Foreign(String),
    /// They are not newer than those in force.
    #[error("their revision is {offered}, and revision {held} is in force")]
    Old {
        /// That of the orders in force.
        held: u64,
        /// Theirs.
        offered: u64,
    },
    /// A binding has a condition that means nothing.
    #[error("they cannot be obeyed: {0}")]
    Rule(#[from] InvalidRule),
    /// A binding is one that STS or the agent cannot take.
    #[error("they cannot be obeyed: {0}")]
    Binding(#[from] InvalidBinding),
}

/// Orders in the words of the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obeyed {
    /// The host that they are for.
    pub host: String,
    /// The region that it is in.
    pub region: Option<Region>,
    /// What the operator said of it.
    pub labels: BTreeMap<String, String>,
    /// Which state of the server's knowledge they were made from.
    pub revision: u64,
    /// When they were issued.
    pub issued: Timestamp,
    /// Who is who.
    pub rules: Vec<Rule>,
    /// What the rule with the same index binds to.
    pub bound: Vec<Arc<BoundRole>>,
    /// The version of the binding with the same index.
    pub versions: Vec<u64>,
    /// The positions of the switch.
    pub positions: Positions,
    /// Why they were set, by their ids.
    pub reasons: BTreeMap<u64, String>,
    /// Whether a rule looks at labels.
    pub needs_labels: bool,
}

/// Orders that may be obeyed: proven, for this host, newer and understood.
#[derive(Clone, Debug)]
#[must_use]
pub struct Judged(Obeyed);

/// Whose orders are obeyed, and which are in force.
#[derive(Clone, Debug)]
pub struct Obedience {
    host: String,
    keys: OrdersKeys,
    in_force: Option<InForce>,
}

#[derive(Clone, Debug)]
struct InForce {
    orders: Arc<Obeyed>,
    /// When they came, in time since boot.
    came: Duration,
    /// When they were looked at last: positions that ended until then count no more.
    looked: Timestamp,
}

impl OrdersKeys {
    /// Takes those that are for ES256; others may be meant for newer agents.
    ///
    /// # Errors
    /// When there is none, or more than any server has.
    pub fn read(keys: &[Jwk]) -> Result<Self, InvalidKeys> {
        if keys.len() > KEYS_MAX {
            return Err(InvalidKeys::TooMany);
        }
        let keys: BTreeMap<_, _> = keys.iter().filter_map(point).collect();
        if keys.is_empty() { Err(InvalidKeys::None) } else { Ok(Self(keys)) }
    }

    fn verify(&self, signed: &SignedOrders) -> Result<(), Disobeyed> {
        let unknown = || Disobeyed::UnknownKey(signed.key.chars().take(64).collect());
        let key = self.0.get(&signed.key).ok_or_else(unknown)?;
        let signature = URL_SAFE_NO_PAD.decode(&signed.signature).map_err(|_| Disobeyed::Forged)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
            .verify(&SignedOrders::message(&signed.orders), &signature)
            .map_err(|_| Disobeyed::Forged)
    }
}

/// The id and the point of a P-256 key.
fn point(key: &Jwk) -> Option<(String, Vec<u8>)> {
    let text = |name: &str| key.get(name)?.as_str();
    let coordinate = |name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text(name)?).ok()?;
        (bytes.len() == 32).then_some(bytes)
    };
    if (text("kty"), text("crv")) != (Some("EC"), Some("P-256")) {
        return None;
    }
    let point = [vec![UNCOMPRESSED], coordinate("x")?, coordinate("y")?].concat();
    Some((text("kid")?.to_owned(), point))
}

impl Obedience {
    /// Obeys nobody but whoever signs with `keys`, and nothing that is for another host.
    pub const fn new(host: String, keys: OrdersKeys) -> Self {
        Self { host, keys, in_force: None }
    }

    /// The host that orders must be for.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Learns the keys of today. Orders in force stay so.
    pub fn learn(&mut self, keys: OrdersKeys) {
        self.keys = keys;
    }

    /// Judges orders that were offered; nothing changes yet.
    ///
    /// # Errors
    /// When they must not be obeyed. The signature is looked at before anything else.
    pub fn judge(&self, signed: &SignedOrders) -> Result<Judged, Disobeyed> {
        self.keys.verify(signed)?;
        let orders = signed.read()?;
        if orders.host != self.host {
            return Err(Disobeyed::Foreign(orders.host.chars().take(64).collect()));
        }
        if let Some(InForce { orders: held, .. }) = &self.in_force
            && orders.revision <= held.revision
        {
            return Err(Disobeyed::Old { held: held.revision, offered: orders.revision });
        }
        Obeyed::of(orders).map(Judged)
    }

    /// Puts orders in force that came now. Says whether settings must follow: what says the same as
    /// before in a newer revision changes nothing.
    pub fn obey(&mut self, now: Now, Judged(orders): Judged) -> bool {
        let same = self.in_force.as_ref().is_some_and(|held| held.orders.says_like(&orders));
        let looked = self.in_force.as_ref().map(|held| held.looked);
        let orders = Arc::new(orders);
        let mut held = InForce { orders, came: now.boot, looked: Timestamp::MIN };
        held.looked = looked.filter(|_| same).unwrap_or_else(|| held.time(now));
        self.in_force = Some(held);
        !same
    }

    /// The orders in force.
    pub fn orders(&self) -> Option<&Arc<Obeyed>> {
        self.in_force.as_ref().map(|held| &held.orders)
    }

    /// The orders in force, as a server wants to hear of them.
    pub fn held(&self) -> Option<OrdersHeld> {
        let orders = self.orders()?;
        Some(OrdersHeld { revision: orders.revision, issued: orders.issued })
    }

    /// Whether a position has ended by itself since the orders were looked at last, so that new settings
    /// must follow from the same orders.
    pub fn is_due(&self, now: Now) -> bool {
        let ended = |held: &InForce| {
            let end = held.orders.positions.next_end(held.looked);
            end.is_some_and(|end| end <= held.time(now))
        };
        self.in_force.as_ref().is_some_and(ended)
    }

    /// Looks at the orders in force: what settings are to be made of, and as of when. Time never goes back
    /// here: a position that has ended stays ended, whatever becomes of the host's clock.
    pub fn look(&mut self, now: Now) -> Option<(Arc<Obeyed>, Timestamp)> {
        let held = self.in_force.as_mut()?;
        held.looked = held.looked.max(held.time(now));
        Some((Arc::clone(&held.orders), held.looked))
    }
}

impl InForce {
    /// What time it is at least: a host whose clock is behind still knows when its orders were issued, and
    /// how long ago they came.
    fn time(&self, now: Now) -> Timestamp {
        let since = SignedDuration::try_from(now.boot.saturating_sub(self.came));
        let at_least = since.ok().and_then(|since| self.orders.issued.checked_add(since).ok());
        at_least.map_or(now.wall, |at_least| at_least.max(now.wall))
    }
}

impl Obeyed {
    fn of(orders: Orders) -> Result<Self, Disobeyed> {
        let Orders { host, revision, issued, region, labels, bindings, positions } = orders;
        let (mut rules, mut list, mut versions) = (Vec::new(), Vec::new(), Vec::new());
        let mut needs_labels = false;
        for ordered in bindings {
            let terms = ordered.terms;
            needs_labels |= !terms.conditions.labels.is_empty();
            // What this host can never see, such as labels without an engine to ask, does not hold: the rule
            // stays, and lets nobody in.
            let conditions = workload::Conditions::try_from(&terms.conditions)?;
            let (application, environment) = (terms.application.clone(), terms.environment.clone());
            rules.push(Rule::new(application, environment, conditions)?);
            list.push(binding(terms));
            versions.push(ordered.version);
        }
        let bindings = Bindings::new(list)?;
        let reasons = positions.iter().filter_map(|at| Some((at.id, at.reason.clone()?))).collect();
        Ok(Self {
            host,
            region,
            labels,
            revision,
            issued,
            rules,
            bound: bindings.iter().cloned().map(BoundRole::new).map(Arc::new).collect(),
            versions,
            positions: Positions::new(positions.into_iter().map(position)),
            reasons,
            needs_labels,
        })
    }

    /// Whether the same settings follow.
    fn says_like(&self, other: &Self) -> bool {
        let Self { host, region, rules, bound, versions, positions, .. } = self;
        (host, region, rules) == (&other.host, &other.region, &other.rules)
            && (bound, versions, positions) == (&other.bound, &other.versions, &other.positions)
    }

    /// Where a workload's credentials come from.
    pub fn decide(&self, workload: &Workload, at: Timestamp) -> Switch {
        self.positions.decide(&self.seat(workload), at)
    }

    /// The position that says so, if any does.
    pub fn decider(&self, workload: &Workload, at: Timestamp) -> Option<&Position> {
        self.positions.decider(&self.seat(workload), at)
    }

    fn seat<'a>(&'a self, workload: &'a Workload) -> Seat<'a> {
        Seat { region: self.region.as_ref(), host: &self.host, workload }
    }
}

/// Only the server can sign, so every role is asked for with its tokens.
fn binding(terms: Terms) -> Binding {
    let Terms { application, environment, role, audience, tags, imdsv1, duration_minutes, .. } =
        terms;
    Binding {
        application,
        environment,
        role,
        source: Source::WebIdentity { audience: audience.to_string() },
        tags,
        imds_v1: imdsv1,
        // Positions decide, for each workload.
        switch: Switch::Off,
        duration: Duration::from_secs(60 * u64::from(duration_minutes.get())),
    }
}

fn position(ordered: OrderedPosition) -> Position {
    let OrderedPosition { id, scope, position, percent, expires, .. } = ordered;
    let api::orders::Scope { region, application, environment, host, workload } = scope;
    Position {
        id,
        scope: Scope { region, application, environment, host, workload },
        switch: match position {
            Asked::On => Switch::On,
            Asked::Off => Switch::Off,
        },
        percent: percent.get(),
        expires,
    }
}
