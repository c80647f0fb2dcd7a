use std::fmt;

use ledger::{Hash, Tail};

use crate::StateError;
use crate::cell::Cells;
use crate::link::{Link, Statement};

/// One picture of the database, as it was when it was asked for. Dropped, it is given back.
pub struct Reading {
    pub(crate) link: Link,
    pub(crate) standing: Standing,
}

/// The one row that says where everything stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) revision: u64,
    pub(crate) tail: Tail,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("standing", &self.standing).finish_non_exhaustive()
    }
}

impl Reading {
    /// Looks where everything stands; with `lock`, as the only one who may until the transaction ends.
    pub(crate) async fn new(mut link: Link, lock: bool) -> Result<Self, StateError> {
        // SQLite's lock is taken already.
        let lock = if lock && link.is_postgres() { " FOR UPDATE" } else { "" };
        let sql = format!("SELECT revision, seq, hash FROM standing WHERE one = 1{lock}");
        let rows = link.rows(Statement::new(sql)).await?;
        let gone = || StateError::damaged("standing", "has no row");
        let mut cells = Cells::new(rows.first().ok_or_else(gone)?, "standing");
        let (revision, seq, hash) = (cells.take()?, cells.take()?, cells.take::<String>()?);
        let hash: Hash = hash.parse().map_err(|_| cells.wrong("holds a hash that is none"))?;
        Ok(Self { link, standing: Standing { revision, tail: Tail { seq, hash } } })
    }

    /// The revision of what the servers know. It grows with each act that changes that, and never falls.
    pub fn revision(&self) -> u64 {
        self.standing.revision
    }

    /// Where the ledger stands.
    pub fn tail(&self) -> Tail {
        self.standing.tail
    }
}
