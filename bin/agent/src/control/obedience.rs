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

#[cfg(test)]
mod tests {
    use api::orders::OrderedBinding;
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
    };
    use serde_json::json;

    use super::*;

    /// Somebody who signs orders.
    struct Signer {
        kid: &'static str,
        pair: EcdsaKeyPair,
    }

    impl Signer {
        fn new(kid: &'static str) -> Self {
            let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
            let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            Self { kid, pair: EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap() }
        }

        fn jwk(&self) -> Jwk {
            let point = self.pair.public_key().as_ref();
            let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let (x, y) = (text(&point[1..33]), text(&point[33..]));
            let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": self.kid, "x": x, "y": y });
            jwk.as_object().unwrap().clone()
        }

        fn sign(&self, text: &str) -> SignedOrders {
            let message = SignedOrders::message(text);
            let signature = self.pair.sign(&SystemRandom::new(), &message).unwrap();
            SignedOrders {
                orders: text.to_owned(),
                key: self.kid.to_owned(),
                signature: URL_SAFE_NO_PAD.encode(signature),
            }
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn now(boot: u64, wall: i64) -> Now {
        Now { boot: Duration::from_secs(boot), wall: at(wall) }
    }

    fn binding(role: &str) -> OrderedBinding {
        serde_json::from_value(json!({
            "application": "orders", "environment": "prod", "version": 3,
            "role": format!("arn:aws:iam::222222222222:role/{role}"),
            "audience": "sts.amazonaws.com", "duration_minutes": 30,
            "match": { "netns": "orders-*" },
        }))
        .unwrap()
    }

    /// On for everybody, until then.
    fn on(id: u64, expires: Option<i64>) -> OrderedPosition {
        serde_json::from_value(json!({
            "id": id, "scope": {}, "position": "on", "percent": 100, "set": at(0),
            "expires": expires.map(at), "reason": "a reason",
        }))
        .unwrap()
    }

    fn orders(revision: u64, positions: Vec<OrderedPosition>) -> Orders {
        Orders {
            host: "h1".to_owned(),
            revision,
            issued: at(1000),
            region: None,
            labels: BTreeMap::new(),
            bindings: vec![binding("orders")],
            positions,
        }
    }

    fn obedience(signer: &Signer) -> Obedience {
        Obedience::new("h1".to_owned(), OrdersKeys::read(&[signer.jwk()]).unwrap())
    }

    /// Obeys orders that must be obeyed, and says whether settings follow.
    fn obey(obedience: &mut Obedience, signer: &Signer, orders: &Orders, now: Now) -> bool {
        let judged = obedience.judge(&signer.sign(&orders.to_text().unwrap())).unwrap();
        obedience.obey(now, judged)
    }

    fn switch(obedience: &mut Obedience, now: Now) -> Switch {
        let (orders, at) = obedience.look(now).unwrap();
        orders.decide(&"orders/prod/1".parse().unwrap(), at)
    }

    /// Orders are not obeyed, and those that were in force stay.
    #[track_caller]
    fn check(offered: impl FnOnce(&Signer) -> SignedOrders, why: &str) {
        let signer = Signer::new("k1");
        let mut obedience = obedience(&signer);
        obey(&mut obedience, &signer, &orders(5, vec![on(1, None)]), now(0, 1000));
        let refused = obedience.judge(&offered(&signer)).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
        assert_eq!(obedience.held().unwrap().revision, 5);
    }

    #[test]
    fn orders_that_the_server_did_not_sign_are_not_obeyed() {
        let text = || orders(6, Vec::new()).to_text().unwrap();
        check(|_| Signer::new("k1").sign(&text()), "signature is wrong");
        check(
            |_| Signer::new("k2").sign(&text()),
            "the key `k2`, which this host was never told of",
        );
        check(
            |signer| SignedOrders { orders: text().replace("30", "31"), ..signer.sign(&text()) },
            "signature is wrong",
        );
        check(
            |signer| SignedOrders { signature: "!".to_owned(), ..signer.sign(&text()) },
            "signature is wrong",
        );
        // A signature over something else that the same key signed.
        check(
            |signer| {
                let signature = signer.pair.sign(&SystemRandom::new(), text().as_bytes()).unwrap();
                let signature = URL_SAFE_NO_PAD.encode(signature);
                SignedOrders { orders: text(), key: "k1".to_owned(), signature }
            },
            "signature is wrong",
        );
    }

    #[test]
    fn orders_for_another_host_or_not_newer_are_not_obeyed() {
        let sign = |orders: Orders| move |signer: &Signer| signer.sign(&orders.to_text().unwrap());
        check(sign(Orders { host: "h2".to_owned(), ..orders(6, Vec::new()) }), "for host `h2`");
        for revision in [4, 5] {
            let why = format!("revision is {revision}, and revision 5 is in force");
            check(sign(orders(revision, Vec::new())), &why);
        }
    }

    #[test]
    fn orders_that_are_not_understood_in_full_are_not_obeyed() {
        check(|signer| signer.sign("{}"), "cannot be read");
        let more = |from: &str, to: &str| {
            let text = orders(6, vec![on(1, None)]).to_text().unwrap().replacen(from, to, 1);
            move |signer: &Signer| signer.sign(&text)
        };
        // A condition or a scope of a newer server.
        check(more(r#""match":{"#, r#""match":{"tty":"x","#), "upgrade the agent");
        check(more(r#""scope":{"#, r#""scope":{"zone":"x""#), "upgrade the agent");
        check(more("orders-*", "orders-["), "cannot be obeyed");
        let twice = Orders { bindings: vec![binding("a"), binding("b")], ..orders(6, Vec::new()) };
        check(|signer| signer.sign(&twice.to_text().unwrap()), "keep one of the two");
    }

    #[test]
    fn what_a_newer_server_says_beside_is_passed_over() {
        let signer = Signer::new("k1");
        let text = orders(1, Vec::new()).to_text().unwrap().replacen('{', r#"{"new":1,"#, 1);
        assert!(obedience(&signer).judge(&signer.sign(&text)).is_ok());
    }

    #[test]
    fn a_newer_revision_that_says_the_same_changes_nothing() {
        let signer = Signer::new("k1");
        let mut obedience = obedience(&signer);
        assert!(obey(&mut obedience, &signer, &orders(5, vec![on(1, None)]), now(0, 1000)));
        assert!(!obey(&mut obedience, &signer, &orders(6, vec![on(1, None)]), now(1, 1001)));
        assert_eq!(obedience.held().unwrap().revision, 6);
        assert!(obey(&mut obedience, &signer, &orders(7, vec![on(2, None)]), now(2, 1002)));
    }

    #[test]
    fn a_position_ends_by_itself_without_any_server() {
        let signer = Signer::new("k1");
        let mut obedience = obedience(&signer);
        obey(&mut obedience, &signer, &orders(5, vec![on(1, Some(1060))]), now(0, 1000));
        assert_eq!(switch(&mut obedience, now(59, 1059)), Switch::On);
        assert!(!obedience.is_due(now(59, 1059)));
        assert!(obedience.is_due(now(60, 1060)));
        assert_eq!(switch(&mut obedience, now(60, 1060)), Switch::Off);
        assert!(!obedience.is_due(now(61, 1061)));
    }

    #[test]
    fn a_clock_that_is_set_back_neither_keeps_a_position_alive_nor_wakes_one() {
        let signer = Signer::new("k1");
        let mut obedience = obedience(&signer);
        // The host's clock is a year behind all the time.
        obey(&mut obedience, &signer, &orders(5, vec![on(1, Some(1060))]), now(0, -31_536_000));
        assert_eq!(switch(&mut obedience, now(59, -31_535_941)), Switch::On);
        assert!(obedience.is_due(now(60, -31_535_940)));
        assert_eq!(switch(&mut obedience, now(60, -31_535_940)), Switch::Off);
        // It is set right, and back again.
        assert_eq!(switch(&mut obedience, now(61, 1061)), Switch::Off);
        assert_eq!(switch(&mut obedience, now(62, 1002)), Switch::Off);
        assert!(!obedience.is_due(now(62, 1002)));
    }

    #[test]
    fn a_clock_that_was_far_ahead_does_no_harm_once_new_orders_come() {
        let signer = Signer::new("k1");
        let mut obedience = obedience(&signer);
        obey(&mut obedience, &signer, &orders(5, vec![on(1, Some(1060))]), now(0, 31_536_000));
        assert_eq!(switch(&mut obedience, now(1, 31_536_001)), Switch::Off);
        obey(&mut obedience, &signer, &orders(6, vec![on(2, Some(1060))]), now(2, 1002));
        assert_eq!(switch(&mut obedience, now(3, 1003)), Switch::On);
    }

    #[test]
    fn after_a_restart_the_orders_on_the_disk_are_proven_anew() {
        let signer = Signer::new("k1");
        let signed = signer.sign(&orders(5, vec![on(1, None)]).to_text().unwrap());
        let mut again = obedience(&signer);
        let judged = again.judge(&signed).unwrap();
        again.obey(now(0, 2000), judged);
        assert_eq!(again.held().map(|held| (held.revision, held.issued)), Some((5, at(1000))));
        assert_eq!(switch(&mut again, now(1, 2001)), Switch::On);
        let other =
            Obedience::new("h1".to_owned(), OrdersKeys::read(&[Signer::new("k1").jwk()]).unwrap());
        assert_eq!(other.judge(&signed).unwrap_err(), Disobeyed::Forged);
    }

    #[test]
    fn keys_learnt_at_a_renewal_take_the_place_of_the_old_ones() {
        let (old, new) = (Signer::new("k1"), Signer::new("k2"));
        let mut obedience = obedience(&old);
        obey(&mut obedience, &old, &orders(5, Vec::new()), now(0, 1000));
        obedience.learn(OrdersKeys::read(&[new.jwk()]).unwrap());
        assert_eq!(obedience.held().unwrap().revision, 5);
        let text = orders(6, Vec::new()).to_text().unwrap();
        assert!(obedience.judge(&old.sign(&text)).is_err());
        assert!(obedience.judge(&new.sign(&text)).is_ok());
    }

    #[test]
    fn keys_that_are_not_for_es256_are_passed_over_and_one_must_be() {
        let other = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k0", "x": "AA" });
        let other = other.as_object().unwrap().clone();
        assert_eq!(OrdersKeys::read(std::slice::from_ref(&other)), Err(InvalidKeys::None));
        assert!(OrdersKeys::read(&[other, Signer::new("k1").jwk()]).is_ok());
        let many = vec![Signer::new("k1").jwk(); KEYS_MAX + 1];
        assert_eq!(OrdersKeys::read(&many), Err(InvalidKeys::TooMany));
    }
}
