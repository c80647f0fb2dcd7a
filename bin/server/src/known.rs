//! This replica's copy of what the database says, and how it notices that it is old.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use api::{Kind, Problem};
use issuer::{IssuerUrl, KeyRing};
use state::{Act, State, StateError};
use tokio::sync::watch;

use crate::{
    issuer_keys::{IssuerKeys, Opener, Signer},
    knowledge::Knowledge,
    rows,
};

/// How often a replica looks whether another one has changed something.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How old a copy may be that cannot be refreshed.
pub const OLD: Duration = Duration::from_secs(5);

/// What a replica works from: one picture of the database, with all keys opened.
#[derive(Debug)]
pub struct Known {
    /// What decides.
    pub knowledge: Arc<Knowledge>,
    /// The issuer's keys.
    pub keys: IssuerKeys,
    /// What the issuer publishes; none until it has a key.
    pub documents: Option<Documents>,
}

/// What the issuer publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    /// The discovery document.
    pub discovery: String,
    /// The public keys.
    pub jwks: String,
}

/// Keeps the copy fresh. All who want to know watch it.
#[derive(Debug)]
pub struct Refresher {
    state: State,
    opener: Opener,
    url: IssuerUrl,
    known: watch::Sender<Arc<Known>>,
    /// Since when the copy could not be refreshed, if so.
    failing: Mutex<Option<Instant>>,
}

impl Known {
    /// The revision of the picture.
    pub fn revision(&self) -> u64 {
        self.knowledge.revision()
    }

    /// The ring of the issuer's keys; none until it has one.
    pub fn ring(&self) -> Option<&KeyRing<Signer>> {
        self.keys.ring()
    }
}

impl Refresher {
    /// Takes the first copy.
    ///
    /// # Errors
    /// When the database cannot be read, or holds what this server cannot read or open.
    pub async fn open(state: State, opener: Opener, url: IssuerUrl) -> Result<Self, StateError> {
        let rows = state.read().await?.knowledge().await?;
        let first = known(&rows, &opener, None, &url)?;
        let known = watch::Sender::new(Arc::new(first));
        Ok(Self { state, opener, url, known, failing: Mutex::new(None) })
    }

    /// Whether the copy is fit to act on. Hosts that are told to ask elsewhere find a replica that knows more; what
    /// they were told before holds meanwhile.
    ///
    /// # Errors
    /// [`Kind::Busy`] where it could not be refreshed for [`OLD`].
    pub fn check_fresh(&self) -> Result<(), Problem> {
        let failing = *self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_old(failing, Instant::now()) {
            return Ok(());
        }
        let detail = "this replica cannot read what is new in the database: ask another one";
        Err(Problem::new(Kind::Busy, detail))
    }

    /// Notes how it went to look; answers whether that is news.
    fn note(&self, works: bool) -> bool {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *failing;
        *failing = since(before, works, Instant::now());
        before.is_none() != failing.is_none()
    }

    /// What opens keys.
    pub fn opener(&self) -> &Opener {
        &self.opener
    }

    /// The copy that this replica has.
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.borrow())
    }

    /// Tells of each new copy.
    pub fn watch(&self) -> watch::Receiver<Arc<Known>> {
        self.known.subscribe()
    }

    /// A copy that is as new as what an act sees: what decides within an act must be what is there.
    ///
    /// # Errors
    /// When the database cannot be read, or holds what this server cannot read or open.
    pub async fn within(&self, act: &mut Act) -> Result<Arc<Known>, StateError> {
        if self.known.borrow().revision() < act.revision() {
            let rows = act.knowledge().await?;
            self.publish(&rows)?;
        }
        Ok(self.known())
    }

    /// Looks whether something has changed since, and takes another copy where it has.
    ///
    /// # Errors
    /// When the database cannot be read, or holds what this server cannot read or open.
    pub async fn refresh(&self) -> Result<(), StateError> {
        let mut reading = self.state.read().await?;
        if self.known.borrow().revision() < reading.revision() {
            let rows = reading.knowledge().await?;
            drop(reading);
            self.publish(&rows)?;
        }
        Ok(())
    }

    /// A copy that is as new as the database is now: what is told about beside rows that were just read.
    ///
    /// # Errors
    /// As [`Self::refresh`].
    pub async fn refreshed(&self) -> Result<Arc<Known>, StateError> {
        self.refresh().await?;
        Ok(self.known())
    }

    /// Looks again and again, until the future is dropped. Where it fails it goes on with the copy that is
    /// there and says so to `report`, once until it works again.
    pub async fn run(&self, report: impl Fn(&str)) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let refreshed = self.refresh().await;
            match (self.note(refreshed.is_ok()), refreshed) {
                (true, Ok(())) => report("the database can be read again"),
                (true, Err(error)) => {
                    report(&format!("working from what was known before: {error}"));
                }
                (false, _) => {}
            }
        }
    }

    fn publish(&self, rows: &state::Knowledge) -> Result<(), StateError> {
        let before = self.known();
        let fresh = Arc::new(known(rows, &self.opener, Some(&before), &self.url)?);
        self.known.send_if_modified(|known| {
            // Two may have looked at once, and the later one need not have seen more.
            let newer = known.revision() < fresh.revision();
            if newer {
                *known = fresh;
            }
            newer
        });
        Ok(())
    }
}

/// Since when looking has failed, after it went so once more.
fn since(before: Option<Instant>, works: bool, now: Instant) -> Option<Instant> {
    if works { None } else { before.or(Some(now)) }
}

fn is_old(failing: Option<Instant>, now: Instant) -> bool {
    failing.is_some_and(|since| now.saturating_duration_since(since) >= OLD)
}

fn known(
    rows: &state::Knowledge,
    opener: &Opener,
    before: Option<&Known>,
    url: &IssuerUrl,
) -> Result<Known, StateError> {
    let keys = IssuerKeys::of(&rows.issuer_keys, opener, before.map(|known| &known.keys))?;
    let documents = keys
        .ring()
        .map(|ring| Documents { discovery: issuer::discovery(url), jwks: issuer::jwks(ring) });
    Ok(Known { knowledge: Arc::new(rows::knowledge(rows)?), keys, documents })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_old_once_looking_has_failed_for_too_long_without_a_break() {
        let start = Instant::now();
        let mut failing = None;
        let mut looked = |seconds, works| {
            let now = start + Duration::from_secs(seconds);
            failing = since(failing, works, now);
            is_old(failing, now)
        };
        assert!(!looked(0, true));
        assert!(!looked(1, false) && !looked(5, false));
        assert!(looked(6, false) && looked(60, false));
        assert!(!looked(61, true) && !looked(62, false) && !looked(66, false));
        assert!(looked(67, false));
    }
}
