use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ledger::Tail;

use crate::act::Act;
use crate::chain::EntryRow;
use crate::database::{Pools, Purpose, patiently};
use crate::link::{Link, Statement};
use crate::{Reading, Settings, StateError};

/// The database. Cheap to clone; all clones share its connections.
#[derive(Clone)]
pub struct State {
    pools: Arc<Pools>,
    wait: Duration,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl State {
    /// Reaches the database, makes or completes its tables, and looks whether its ledger ends where it should.
    /// Any number of servers may do so at once.
    ///
    /// # Errors
    /// [`StateError::Settings`] where it is the wrong database or must be set up otherwise;
    /// [`StateError::Unavailable`] where it is not there in time; [`StateError::Damaged`] where the end of
    /// the ledger is not what was written last.
    pub async fn open(settings: &Settings) -> Result<Self, StateError> {
        let pools = Arc::new(Pools::open(settings).await?);
        let state = Self { pools, wait: settings.wait };
        let mut reading = state.read().await?;
        let last =
            reading.link.one::<EntryRow>(Statement::new("ORDER BY seq DESC LIMIT 1")).await?;
        let last = last.map(EntryRow::entry).transpose()?;
        if last.map_or(Tail::EMPTY, |last| last.tail()) != reading.tail() {
            let why = "does not end with what was recorded last: it was cut off or changed by hand";
            return Err(StateError::damaged("ledger", why));
        }
        drop(reading);
        Ok(state)
    }

    /// The revision of what the servers know now.
    ///
    /// # Errors
    /// As [`State::read`].
    pub async fn revision(&self) -> Result<u64, StateError> {
        Ok(self.read().await?.revision())
    }

    /// One picture of everything.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] where the database is not there within the time of the settings.
    pub async fn read(&self) -> Result<Reading, StateError> {
        let attempt =
            || async { Reading::new(self.pools.begin(Purpose::Read).await?, false).await };
        patiently(self.wait, attempt).await
    }

    /// Begins an act, once all before it have ended. Do not ask while holding another.
    ///
    /// # Errors
    /// As [`State::read`].
    pub async fn act(&self) -> Result<Act, StateError> {
        let attempt = || async { Reading::new(self.pools.begin(Purpose::Act).await?, true).await };
        Act::new(patiently(self.wait, attempt).await?, self.clone())
    }

    /// Closes all connections, once what uses them has ended. Every later use is told that the database is
    /// unavailable.
    pub async fn close(&self) {
        self.pools.close().await;
    }

    /// Begins a change that is no act: what hosts see, what expires, what a person is in the middle of.
    pub(crate) async fn aside(&self) -> Result<Link, StateError> {
        patiently(self.wait, || self.pools.begin(Purpose::Aside)).await
    }

    /// Runs one statement that is no act; answers how many rows it changed.
    pub(crate) async fn run_aside(&self, statement: Statement) -> Result<u64, StateError> {
        let mut link = self.aside().await?;
        let changed = link.execute(statement).await?;
        link.commit().await?;
        Ok(changed)
    }

    /// Whether an act wrote an entry of the ledger, once every act that began before has ended.
    pub(crate) async fn holds(&self, seq: u64, act: &str) -> Result<bool, StateError> {
        let whose = Statement::new("SELECT act FROM ledger WHERE seq = $1").with(&seq);
        let whose: Option<String> = self.act().await?.link.cell("ledger", whose).await?;
        Ok(whose.is_some_and(|whose| whose == act))
    }
}
