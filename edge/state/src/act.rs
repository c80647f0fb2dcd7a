use std::fmt;
use std::ops::{Deref, DerefMut};

use jiff::Timestamp;
use ledger::{Draft, Entry};

use crate::chain::EntryRow;
use crate::link::Statement;
use crate::stored::Stored;
use crate::{Reading, State, StateError};

/// An act: looks, records, changes, commits. From its beginning to its end it is alone in the whole
/// deployment, so keep it short, and ask it rather than the [`State`]: whoever waits there waits for its end.
/// Dropped, it never was.
pub struct Act {
    reading: Reading,
    state: State,
    id: String,
    last: Option<u64>,
    weight: Weight,
    wrote: bool,
}

/// What a change means to others. A heavier one has all that a lighter one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// It says what is, and needs no entry in the ledger.
    Aside,
    /// It must be in the ledger.
    Recorded,
    /// It changes what the servers know as well.
    Known,
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reading, last, weight, .. } = self;
        let mut act = f.debug_struct("Act");
        act.field("reading", reading).field("last", last).field("weight", weight);
        act.finish_non_exhaustive()
    }
}

impl Deref for Act {
    type Target = Reading;

    fn deref(&self) -> &Reading {
        &self.reading
    }
}

impl DerefMut for Act {
    fn deref_mut(&mut self) -> &mut Reading {
        &mut self.reading
    }
}

impl Act {
    pub(crate) fn new(reading: Reading, state: State) -> Result<Self, StateError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| StateError::unavailable(format!("no random numbers: {error}")))?;
        let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { reading, state, id, last: None, weight: Weight::Aside, wrote: false })
    }

    /// Writes the next entry of the ledger.
    ///
    /// # Errors
    /// [`StateError`], as all of these. After one, the act can only be dropped.
    pub async fn record(&mut self, draft: Draft, now: Timestamp) -> Result<Entry, StateError> {
        let entry = self.tail().append(draft, now)?;
        self.wrote = true;
        let row = EntryRow::of(&entry, &self.id)?;
        self.link.insert(&row).await?;
        self.standing.tail = entry.tail();
        self.last = Some(entry.seq);
        Ok(entry)
    }

    /// Writes the next entries of the ledger, many in one statement.
    ///
    /// # Errors
    /// [`StateError`], as all of these. After one, the act can only be dropped.
    pub async fn record_all(
        &mut self,
        drafts: Vec<Draft>,
        now: Timestamp,
    ) -> Result<(), StateError> {
        let (mut tail, mut rows) = (self.tail(), Vec::with_capacity(drafts.len()));
        for draft in drafts {
            let entry = tail.append(draft, now)?;
            tail = entry.tail();
            rows.push(EntryRow::of(&entry, &self.id)?);
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.wrote = true;
        self.link.insert_all(&rows).await?;
        self.standing.tail = tail;
        self.last = Some(tail.seq);
        Ok(())
    }

    /// Ends the act. Answers the revision of what the servers know, which is then at least `now` in milliseconds
    /// since 1970 if the act changed any of it.
    ///
    /// # Errors
    /// [`StateError::NotRecorded`] where it changed something and recorded nothing. [`StateError::Unsure`] where
    /// the connection was lost, and the database could not be asked since whether it was done. After any
    /// other error it was not done.
    pub async fn commit(mut self, now: Timestamp) -> Result<u64, StateError> {
        if self.weight >= Weight::Recorded && self.last.is_none() {
            return Err(StateError::NotRecorded);
        }
        if !self.wrote {
            return Ok(self.revision());
        }
        if self.weight == Weight::Known {
            let least = u64::try_from(now.as_millisecond()).unwrap_or(0);
            self.standing.revision = self.standing.revision.saturating_add(1).max(least);
        }
        let (revision, tail) = (self.revision(), self.tail());
        let stand =
            Statement::new("UPDATE standing SET revision = $1, seq = $2, hash = $3 WHERE one = 1")
                .with(&revision)
                .with(&tail.seq)
                .text(&tail.hash.to_string());
        self.link.execute(stand).await?;
        let Self { reading: Reading { link, .. }, state, id, last, .. } = self;
        match (link.commit().await, last) {
            (Ok(()), _) => Ok(revision),
            (Err(error), None) if error.is_retryable() => Err(StateError::Unsure),
            (Err(error), None) => Err(error),
            // Whether it was done is in the ledger. Whoever holds the lock knows that no earlier act is
            // still on its way.
            (Err(error), Some(last)) => match state.holds(last, &id).await {
                Ok(true) => Ok(revision),
                Ok(false) => Err(error),
                Err(_) => Err(StateError::Unsure),
            },
        }
    }

    /// Gives what the servers know another revision although this act changes none of it. A start does so: a
    /// database that was restored from a copy is behind what hosts were told, and must be believed again.
    pub fn renew_revision(&mut self) {
        self.weigh(Weight::Known);
    }

    /// Changes rows; answers how many.
    pub(crate) async fn change(
        &mut self,
        weight: Weight,
        statement: Statement,
    ) -> Result<u64, StateError> {
        self.weigh(weight);
        self.link.execute(statement).await
    }

    pub(crate) async fn put<T: Stored>(
        &mut self,
        weight: Weight,
        row: &T,
    ) -> Result<(), StateError> {
        self.weigh(weight);
        self.link.put(row).await
    }

    pub(crate) async fn insert<T: Stored>(
        &mut self,
        weight: Weight,
        row: &T,
    ) -> Result<(), StateError> {
        self.weigh(weight);
        self.link.insert(row).await
    }

    fn weigh(&mut self, weight: Weight) {
        self.wrote = true;
        self.weight = self.weight.max(weight);
    }
}
