use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use crate::{
    Algorithm, Claims, Due, Entry, InvalidManifest, Jwk, KeyId, Manifest, Schedule, SigningKey,
};

/// What a ring holds: a private key, or whatever leads to one that signs elsewhere.
pub trait Key {
    /// What verifiers need.
    fn public(&self) -> &Jwk;

    /// Its name: the thumbprint of the public key.
    fn kid(&self) -> &KeyId {
        self.public().kid()
    }

    /// What it signs with.
    fn algorithm(&self) -> Algorithm {
        self.public().algorithm()
    }
}

impl Key for SigningKey {
    fn public(&self) -> &Jwk {
        SigningKey::public(self)
    }
}

/// A ring of these publishes and signs nothing.
impl Key for Jwk {
    fn public(&self) -> &Jwk {
        self
    }
}

/// The issuer's keys: one that signs, perhaps the one that will, and those that have.
///
/// ```text
/// publish          rotate (after LEAD)                      prune (after RETENTION)
///    └── next ───────────┴── active ── (next rotate) ── retired ──┴── gone
/// ```
///
/// A key is published before it signs, because verifiers keep JWKS documents for a while, and
/// stays published until the last token it signed is dead everywhere. So at no time is there a
/// live token that a verifier with a document of the last [`Schedule`]'s lead cannot check. A clock
/// that is set back makes a ring wait for longer. One that is set forward shortens the wait by as
/// much, since nothing here knows better.
#[derive(Debug)]
pub struct KeyRing<K = SigningKey> {
    schedule: Schedule,
    next: Option<Since<K>>,
    active: Since<K>,
    retired: Vec<Retired<K>>,
    gone: BTreeSet<KeyId>,
}

#[derive(Debug)]
struct Since<K> {
    key: K,
    since: Timestamp,
}

#[derive(Debug)]
struct Retired<K> {
    key: K,
    until: Timestamp,
}

/// Where a key is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Published, not signing yet.
    Next {
        /// When it was published.
        published: Timestamp,
    },
    /// Signing.
    Active {
        /// When it began to sign.
        since: Timestamp,
    },
    /// Still published, no longer signing.
    Retired {
        /// When it may be forgotten.
        until: Timestamp,
    },
}

/// Whether a rotation waits until verifiers have seen the new key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lead {
    /// The new key must have been published for the schedule's lead, [`KeyRing::LEAD`] at least.
    Required,
    /// Rotate now: the active key is in wrong hands, and refused tokens are the lesser evil.
    Waived,
}

/// The key was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishRefused {
    /// The operator rotates to the waiting key or withdraws it.
    #[error("key `{0}` is already waiting: rotate to it or withdraw it first")]
    Waiting(KeyId),
    /// The operator generates a new key instead of re-using one.
    #[error("key `{0}` is in the ring already: generate a new one")]
    Known(KeyId),
    /// The operator generates a new key: who trusts the issuer was told that this one is over.
    #[error("key `{0}` was retired, and what is retired never signs again: generate a new one")]
    Gone(KeyId),
    /// The operator prunes.
    #[error("key ring is full with {max} keys: prune retired ones first", max = KeyRing::KEYS_MAX)]
    Full,
}

/// The ring did not rotate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotateRefused {
    /// The operator publishes a key first.
    #[error("no key is waiting: publish one first")]
    NoNext,
    /// The operator waits, or waives the lead.
    #[error("key `{kid}` must stay published until `{ready}` before it signs")]
    TooSoon {
        /// The waiting key.
        kid: KeyId,
        /// When it may sign.
        ready: Timestamp,
    },
}

impl KeyRing {
    /// How long a key is published before it signs.
    pub const LEAD: Duration = Duration::from_secs(24 * 60 * 60);
    /// How long a key stays published after it signed last: a token's life and an hour for clocks.
    pub const RETENTION: Duration = Duration::from_secs(Claims::LIFE_MAX.as_secs() + 60 * 60);
    /// The most keys in a ring. AWS takes 100 of each kind in a JWKS document.
    pub const KEYS_MAX: usize = 16;
}

impl<K: Key> KeyRing<K> {
    /// The first key of a new issuer, which signs at once: nobody holds an older document.
    pub fn new(key: K, wall: Timestamp) -> Self {
        Self::of(None, Since { key, since: wall }, Vec::new())
    }

    /// Puts together what a manifest describes. Every key it names must be there, and no other.
    pub fn assemble(manifest: &Manifest, mut keys: Vec<K>) -> Result<Self, InvalidManifest> {
        let (mut next, mut active, mut retired) = (None, None, Vec::new());
        for entry in manifest.entries() {
            let found = keys.iter().position(|key| *key.kid() == entry.kid);
            let key = found.map(|index| keys.swap_remove(index));
            let key = key.ok_or_else(|| InvalidManifest::KeyMissing(entry.kid.clone()))?;
            if key.algorithm() != entry.algorithm {
                return Err(InvalidManifest::OtherAlgorithm(entry.kid.clone()));
            }
            match entry.state {
                State::Next { published } => next = Some(Since { key, since: published }),
                State::Active { since } => active = Some(Since { key, since }),
                State::Retired { until } => retired.push(Retired { key, until }),
            }
        }
        match keys.first() {
            Some(stray) => Err(InvalidManifest::KeyUnknown(stray.kid().clone())),
            None => {
                let active = active.ok_or(InvalidManifest::Active(0))?;
                Ok(Self::of(next, active, retired))
            }
        }
    }

    /// The same ring with another schedule than [`Schedule::default`].
    #[must_use]
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// The same ring, which takes none of these keys again: they were in it once.
    #[must_use]
    pub fn with_gone(mut self, kids: impl IntoIterator<Item = KeyId>) -> Self {
        self.gone.extend(kids);
        self
    }

    /// Publishes the key that will sign next.
    pub fn publish(&mut self, key: K, wall: Timestamp) -> Result<(), PublishRefused> {
        if let Some(next) = &self.next {
            return Err(PublishRefused::Waiting(next.key.kid().clone()));
        }
        if self.iter().any(|(known, _)| known.kid() == key.kid()) {
            return Err(PublishRefused::Known(key.kid().clone()));
        }
        if self.gone.contains(key.kid()) {
            return Err(PublishRefused::Gone(key.kid().clone()));
        }
        if self.is_full() {
            return Err(PublishRefused::Full);
        }
        self.next = Some(Since { key, since: wall });
        Ok(())
    }

    /// Lets the waiting key sign and retires the active one.
    pub fn rotate(&mut self, wall: Timestamp, lead: Lead) -> Result<(), RotateRefused> {
        let next = self.next.take().ok_or(RotateRefused::NoNext)?;
        let ready = self.schedule.ready(next.since);
        if lead == Lead::Required && wall < ready {
            let kid = next.key.kid().clone();
            self.next = Some(next);
            return Err(RotateRefused::TooSoon { kid, ready });
        }
        let active = Since { key: next.key, since: wall };
        let Since { key, since } = std::mem::replace(&mut self.active, active);
        // If the clock was set back, the key signed tokens that are dated later than now.
        let until = self.schedule.until(wall.max(since));
        self.retired.insert(0, Retired { key, until });
        Ok(())
    }

    /// Forgets retired keys whose tokens are all dead, and returns their names.
    pub fn prune(&mut self, wall: Timestamp) -> Vec<KeyId> {
        let gone = self.retired.extract_if(.., |retired| retired.until <= wall);
        let gone: Vec<KeyId> = gone.map(|retired| retired.key.kid().clone()).collect();
        self.gone.extend(gone.iter().cloned());
        gone
    }

    /// Takes a waiting or retired key out at once, because it is in wrong hands; its tokens die
    /// with the next fetch of the JWKS document. The active key must be rotated away first.
    pub fn withdraw(&mut self, kid: &KeyId) -> bool {
        let count = self.iter().count();
        self.next.take_if(|next| next.key.kid() == kid);
        self.retired.retain(|retired| retired.key.kid() != kid);
        let withdrawn = self.iter().count() < count;
        if withdrawn {
            self.gone.insert(kid.clone());
        }
        withdrawn
    }

    /// What the schedule asks for now, one step at a time: ask again when it is done.
    pub fn due(&self, wall: Timestamp) -> Option<Due> {
        if self.retired.iter().any(|retired| retired.until <= wall) {
            return Some(Due::Prune);
        }
        let turn = self.schedule.turn(self.active.since)?;
        match &self.next {
            Some(next) => {
                (turn.max(self.schedule.ready(next.since)) <= wall).then_some(Due::Rotate)
            }
            None => {
                let in_time = self.schedule.before(turn) <= wall;
                (in_time && !self.is_full()).then_some(Due::Publish)
            }
        }
    }

    /// When keys are published, change, and go.
    pub fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// The key that signs.
    pub fn active(&self) -> &K {
        &self.active.key
    }

    /// The key that will sign next, where one is published.
    pub fn next(&self) -> Option<&K> {
        self.next.as_ref().map(|next| &next.key)
    }

    /// Every published key: the waiting one, the active one, then retired ones, latest first.
    pub fn iter(&self) -> impl Iterator<Item = (&K, State)> {
        let next = self.next.iter();
        let next = next.map(|next| (&next.key, State::Next { published: next.since }));
        let active = (&self.active.key, State::Active { since: self.active.since });
        let retired = self.retired.iter();
        let retired = retired.map(|old| (&old.key, State::Retired { until: old.until }));
        next.chain([active]).chain(retired)
    }

    /// What is kept beside the keys.
    pub fn manifest(&self) -> Manifest {
        let entry = |(key, state): (&K, State)| Entry {
            kid: key.kid().clone(),
            algorithm: key.algorithm(),
            state,
        };
        Manifest::of(self.iter().map(entry).collect())
    }

    fn of(next: Option<Since<K>>, active: Since<K>, retired: Vec<Retired<K>>) -> Self {
        Self { schedule: Schedule::default(), next, active, retired, gone: BTreeSet::new() }
    }

    fn is_full(&self) -> bool {
        self.iter().count() >= KeyRing::KEYS_MAX
    }
}

// INVARIANT (NoOrphan): a key is published for longer than any token it signed can live, with
// time to spare for verifiers whose clock is behind.
const _: () = assert!(
    KeyRing::RETENTION.as_secs() > Claims::LIFE_MAX.as_secs() + 10 * Claims::CLOCK_SKEW.as_secs()
);
// INVARIANT (RoomToRotate): a full ring never blocks the daily case of one next and one active.
const _: () = assert!(KeyRing::KEYS_MAX > 2 && KeyRing::KEYS_MAX <= 100);
