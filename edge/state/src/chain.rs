//! The ledger's rows.

use ledger::{Checkpoint, Entry};

use crate::act::Weight;
use crate::link::Statement;
use crate::stored::rows;
use crate::{Act, Reading, StateError};

rows! {
    /// An entry; its time in the very spelling that its hash covers.
    pub(crate) struct EntryRow in ledger (seq) {
        seq: u64,
        time: String,
        actor: String,
        event: String,
        subject: String,
        detail: String,
        previous: String,
        hash: String,
        act: String,
    }

    /// A checkpoint; its time in the very spelling that its signature covers.
    struct CheckpointRow in checkpoints (seq, time) {
        seq: u64,
        time: String,
        hash: String,
        key: String,
        signature: String,
    }
}

impl EntryRow {
    pub(crate) fn of(entry: &Entry, act: &str) -> Result<Self, StateError> {
        let detail = serde_json::to_string(&entry.detail)
            .map_err(|error| StateError::damaged("ledger", error.to_string()))?;
        Ok(Self {
            seq: entry.seq,
            time: entry.time.to_string(),
            actor: entry.actor.clone(),
            event: entry.event.clone(),
            subject: entry.subject.clone(),
            detail,
            previous: entry.previous.to_string(),
            hash: entry.hash.to_string(),
            act: act.to_owned(),
        })
    }

    pub(crate) fn entry(self) -> Result<Entry, StateError> {
        let wrong = |what| StateError::damaged("ledger", format!("has an entry whose {what}"));
        Ok(Entry {
            seq: self.seq,
            time: self.time.parse().map_err(|_| wrong("time is none"))?,
            actor: self.actor,
            event: self.event,
            subject: self.subject,
            detail: serde_json::from_str(&self.detail)
                .map_err(|_| wrong("detail is no JSON object"))?,
            previous: self.previous.parse().map_err(|_| wrong("previous hash is none"))?,
            hash: self.hash.parse().map_err(|_| wrong("hash is none"))?,
        })
    }
}

impl CheckpointRow {
    fn checkpoint(self) -> Result<Checkpoint, StateError> {
        let wrong = |what| StateError::damaged("checkpoints", format!("has one whose {what}"));
        Ok(Checkpoint {
            seq: self.seq,
            time: self.time.parse().map_err(|_| wrong("time is none"))?,
            hash: self.hash.parse().map_err(|_| wrong("hash is none"))?,
            key: self.key,
            signature: self.signature,
        })
    }
}

impl Reading {
    /// Entries of the ledger, from the one after `after` on.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn entries(&mut self, after: u64, limit: u32) -> Result<Vec<Entry>, StateError> {
        let rest = Statement::new("WHERE seq > $1 ORDER BY seq LIMIT $2");
        let rows = self.link.many::<EntryRow>(rest.with(&after).with(&i64::from(limit))).await?;
        rows.into_iter().map(EntryRow::entry).collect()
    }

    /// One entry of the ledger.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn entry(&mut self, seq: u64) -> Result<Option<Entry>, StateError> {
        let rest = Statement::new("WHERE seq = $1").with(&seq);
        self.link.one::<EntryRow>(rest).await?.map(EntryRow::entry).transpose()
    }

    /// Checkpoints, latest first: those of entries before `before`, or all.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn checkpoints(
        &mut self,
        after: Option<&Checkpoint>,
        limit: u32,
    ) -> Result<Vec<Checkpoint>, StateError> {
        let rest =
            Statement::new("WHERE (seq, time) < ($1, $2) ORDER BY seq DESC, time DESC LIMIT $3");
        // No time is spelt with a letter at its beginning.
        let (seq, time) =
            after.map_or((u64::MAX, "z".to_owned()), |after| (after.seq, after.time.to_string()));
        let rest = rest.with(&seq).with(&time).with(&i64::from(limit));
        let rows = self.link.many::<CheckpointRow>(rest).await?;
        rows.into_iter().map(CheckpointRow::checkpoint).collect()
    }
}

impl Act {
    /// Keeps a checkpoint. It says what is, so it needs no entry.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        let row = CheckpointRow {
            seq: checkpoint.seq,
            time: checkpoint.time.to_string(),
            hash: checkpoint.hash.to_string(),
            key: checkpoint.key.clone(),
            signature: checkpoint.signature.clone(),
        };
        self.put(Weight::Aside, &row).await
    }
}
