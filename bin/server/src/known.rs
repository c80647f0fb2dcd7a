//! This replica's copy of what the database says, and how it notices that it is old.

use std::{sync::Arc, time::Duration};

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
        Ok(Self { state, opener, url, known: watch::Sender::new(Arc::new(first)) })
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

    /// Looks again and again, until the future is dropped. Where it fails it goes on with the copy that is
    /// there and says so to `report`, once until it works again.
    pub async fn run(&self, report: impl Fn(&str)) {
        let mut failing = false;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.refresh().await {
                Ok(()) if failing => {
                    failing = false;
                    report("the database can be read again");
                }
                Ok(()) => {}
                Err(error) if !failing => {
                    failing = true;
                    report(&format!("working from what was known before: {error}"));
                }
                Err(_) => {}
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
