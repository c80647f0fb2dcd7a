//! Positions of the switch.

use jiff::Timestamp;

use crate::act::Weight;
use crate::link::Statement;
use crate::stored::rows;
use crate::{Act, Reading, StateError};

rows! {
    /// A position of the switch, and what became of it.
    pub struct PositionRow in positions (id) {
        /// Its id, from 1: of two, the higher was set later.
        id: u64,
        /// Whom it is about, in the one spelling that its owner gives it: no two of one scope live.
        scope: String,
        /// What else belongs to it, as JSON.
        body: String,
        /// When it was set.
        set_at: Timestamp,
        /// When it ends by itself.
        expires: Option<Timestamp>,
        /// When it ended.
        ended: Option<Timestamp>,
        /// By what it ended.
        ended_how: Option<String>,
    }
}

impl Reading {
    /// A position by its id.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn position(&mut self, id: u64) -> Result<Option<PositionRow>, StateError> {
        self.link.one(Statement::new("WHERE id = $1").with(&id)).await
    }

    /// The position with a scope that was not ended.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn live_position(&mut self, scope: &str) -> Result<Option<PositionRow>, StateError> {
        self.link.one(Statement::new("WHERE scope = $1 AND ended IS NULL").text(scope)).await
    }

    /// Every position that was not ended, latest first. Those whose time is over are among them until
    /// somebody writes that down.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn live_positions(&mut self) -> Result<Vec<PositionRow>, StateError> {
        self.link.many(Statement::new("WHERE ended IS NULL ORDER BY id DESC")).await
    }

    /// Positions, latest first, from the one after `after` on; with `history`, those that ended as well.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn positions(
        &mut self,
        history: bool,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<PositionRow>, StateError> {
        let live = if history { "" } else { "AND ended IS NULL" };
        let rest = Statement::new(format!("WHERE id < $1 {live} ORDER BY id DESC LIMIT $2"));
        let rest = rest.with(&after.unwrap_or(u64::MAX)).with(&i64::from(limit));
        self.link.many(rest).await
    }

    /// The id of the next position.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn next_position(&mut self) -> Result<u64, StateError> {
        let last = Statement::new("SELECT max(id) FROM positions");
        let last: Option<Option<u64>> = self.link.cell("positions", last).await?;
        Ok(last.flatten().unwrap_or(0).saturating_add(1))
    }
}

impl Act {
    /// Puts a position. End the one with its scope first.
    ///
    /// # Errors
    /// [`StateError::Conflict`] where two of one scope would live; otherwise [`StateError`], as all of these.
    pub async fn put_position(&mut self, row: &PositionRow) -> Result<(), StateError> {
        self.put(Weight::Known, row).await
    }
}
