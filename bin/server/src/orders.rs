//! Orders: what a host is told, signed, and said again only when it has changed.
//!
//! The number in a text is the revision that it was made from. It is one for all hosts and grows with every
//! change, while most changes mean nothing to most hosts. So a host that has the right content under an
//! earlier number is told nothing: see [`OrdersDesk::answer`].

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, PoisonError},
};

use api::{
    Kind, Problem,
    orders::{Orders, SignedOrders},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use getrandom::SysRng;
use issuer::{Jwk, SigningKey};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::knowledge::Knowledge;

/// Signs orders, and knows which content each host was told under which number.
#[derive(Debug)]
pub struct OrdersDesk {
    key: SigningKey,
    told: Mutex<BTreeMap<String, Told>>,
}

/// What a host is to be told, as it was looked at last.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// The revision that was looked at.
    looked: u64,
    /// The digest of what stands in the orders beside their number and time.
    content: [u8; 32],
    /// The number under which this very content was said.
    said: Option<u64>,
}

impl OrdersDesk {
    /// A desk that signs with `key`.
    pub fn new(key: SigningKey) -> Self {
        Self { key, told: Mutex::new(BTreeMap::new()) }
    }

    /// The public half of its key.
    pub fn public(&self) -> &Jwk {
        self.key.public()
    }

    /// The orders for a host that holds those numbered `after`; none where it holds what `knowledge` says.
    ///
    /// It holds that where its number is the revision itself, or the one under which this desk said the
    /// same content last and none other since. Under any other number, another server may have said
    /// something between: then it is told again, under the present revision.
    ///
    /// # Errors
    /// [`Kind::Revoked`] where the host is not one of ours.
    pub fn answer(
        &self,
        knowledge: &Knowledge,
        host: &str,
        after: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<SignedOrders>, Problem> {
        let revision = knowledge.revision();
        if after.is_some_and(|after| after > revision) {
            // Another server knows more. This one will, in a moment.
            return Ok(None);
        }
        let known = self.known(host, revision);
        if after.is_some() && known.is_some_and(|told| told.said == after) {
            return Ok(None);
        }
        let orders = knowledge.orders_for(host, now).ok_or_else(|| {
            Problem::new(Kind::Revoked, format!("host `{host}` was revoked: it gets no orders"))
        })?;
        let content = content(&orders)?;
        let said = match after {
            Some(after) if after == revision || self.said(host, &content) == Some(after) => after,
            _ => revision,
        };
        let told = Told { looked: revision, content, said: Some(said) };
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), told);
        if after == Some(said) { Ok(None) } else { self.sign(&orders).map(Some) }
    }

    /// Forgets hosts that get no orders any more.
    pub fn keep_only(&self, knowledge: &Knowledge) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|host, _| knowledge.host(host).is_some_and(|host| !host.revoked));
    }

    fn known(&self, host: &str, revision: u64) -> Option<Told> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(host).copied().filter(|told| told.looked == revision)
    }

    fn said(&self, host: &str, content: &[u8; 32]) -> Option<u64> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(host).filter(|told| told.content == *content).and_then(|told| told.said)
    }

    fn sign(&self, orders: &Orders) -> Result<SignedOrders, Problem> {
        let failed = |error: &dyn ToString| Problem::new(Kind::Internal, error.to_string());
        let text = orders.to_text().map_err(|error| failed(&error))?;
        let message = SignedOrders::message(&text);
        let signature = self.key.sign(&message, &mut SysRng).map_err(|error| failed(&error))?;
        Ok(SignedOrders {
            orders: text,
            key: self.key.kid().to_string(),
            signature: BASE64_URL_SAFE_NO_PAD.encode(signature),
        })
    }
}

/// The digest of what stands in orders beside their number and time.
fn content(orders: &Orders) -> Result<[u8; 32], Problem> {
    let timeless = Orders { revision: 0, issued: Timestamp::UNIX_EPOCH, ..orders.clone() };
    let mut hasher = Hasher(Sha256::new());
    serde_json::to_writer(&mut hasher, &timeless)
        .map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    Ok(hasher.0.finalize().into())
}

/// A digest that is written to.
struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use api::orders::OrderedPosition;
    use issuer::Algorithm;

    use super::*;
    use crate::knowledge::{Facts, KnownHost};

    fn desk() -> OrdersDesk {
        OrdersDesk::new(SigningKey::generate(Algorithm::Es256, &mut SysRng).unwrap())
    }

    /// At a revision, with a group that lets the host run `orders` or nothing.
    fn knowledge(revision: u64, placed: bool) -> Knowledge {
        let host = KnownHost {
            id: "h1".to_owned(),
            name: "h1".to_owned(),
            region: None,
            labels: BTreeMap::new(),
            revoked: false,
        };
        let terms = serde_json::json!({
            "application": "orders", "environment": "prod", "version": 1,
            "role": "arn:aws:iam::111122223333:role/orders",
            "audience": "sts.amazonaws.com", "duration_minutes": 60, "match": { "unit": "o" },
        });
        let group = credentials::entitlement::Group {
            name: "all".to_owned(),
            selector: BTreeMap::new(),
            everything: true,
            may_run: if placed { vec!["*/*".parse().unwrap()] } else { Vec::new() },
        };
        Knowledge::new(Facts {
            revision,
            hosts: vec![host],
            groups: vec![group],
            bindings: vec![serde_json::from_value(terms).unwrap()],
            positions: Vec::<OrderedPosition>::new(),
            ..Facts::default()
        })
    }

    /// What is the host told that holds `after`?
    #[track_caller]
    fn check(desk: &OrdersDesk, at: (u64, bool), after: Option<u64>, told: Option<u64>) {
        let answer = desk.answer(&knowledge(at.0, at.1), "h1", after, Timestamp::UNIX_EPOCH);
        let orders = answer.unwrap().map(|signed| signed.read().unwrap());
        assert_eq!(orders.as_ref().map(|orders| orders.revision), told);
        if let Some(orders) = orders {
            assert_eq!(orders.bindings.len(), usize::from(at.1));
        }
    }

    #[test]
    fn a_host_is_told_what_it_does_not_hold() {
        let desk = desk();
        check(&desk, (5, true), None, Some(5));
        check(&desk, (5, true), Some(5), None);
        check(&desk, (5, true), None, Some(5));
        check(&desk, (6, false), Some(5), Some(6));
    }

    #[test]
    fn a_change_that_means_nothing_to_a_host_is_not_told() {
        let desk = desk();
        check(&desk, (5, true), None, Some(5));
        check(&desk, (7, true), Some(5), None);
        check(&desk, (9, true), Some(5), None);
    }

    #[test]
    fn what_another_server_may_have_said_between_is_corrected() {
        let desk = desk();
        check(&desk, (5, true), None, Some(5));
        // Another server said something at 6, when the host had nothing to run. This one never saw 6.
        check(&desk, (7, true), Some(6), Some(7));
        check(&desk, (7, true), Some(7), None);
    }

    #[test]
    fn a_server_that_is_behind_says_nothing() {
        let desk = desk();
        check(&desk, (5, true), Some(6), None);
        check(&desk, (6, false), Some(6), None);
        check(&desk, (7, true), Some(6), Some(7));
    }

    #[test]
    fn orders_are_signed_as_agents_read_them() {
        let desk = desk();
        let signed = desk.answer(&knowledge(5, true), "h1", None, Timestamp::UNIX_EPOCH);
        let signed = signed.unwrap().unwrap();
        assert_eq!(signed.key, desk.public().kid().to_string());
        let signature = BASE64_URL_SAFE_NO_PAD.decode(&signed.signature).unwrap();
        // An RFC 6979 signature is the same for the same message.
        let message = SignedOrders::message(&signed.orders);
        assert_eq!(desk.key.sign(&message, &mut SysRng).unwrap(), signature);
    }
}
