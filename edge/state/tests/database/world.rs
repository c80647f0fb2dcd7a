//! A database of its own for each test.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ledger::{Draft, Entry, Verified, Verifier};
use practice::postgres::Postgres;
use practice::tools::Tools;
use secret::SecretText;
use state::{Act, Database, Settings, State};

/// One database, and a first server over it.
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) state: State,
    pub(crate) kind: Kind,
}

/// Where the database is. It goes with this.
pub(crate) enum Place {
    Sqlite { _folder: tempfile::TempDir },
    Postgres { _server: Arc<Postgres> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Place {
    pub(crate) fn new(kind: Kind) -> (Self, Settings) {
        let (place, database) = match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let database = Database::Sqlite(folder.path().join("rolecall.db"));
                (Self::Sqlite { _folder: folder }, database)
            }
            Kind::Postgres => {
                let server = Postgres::shared(&Tools::find()).unwrap();
                let database = Database::Postgres(SecretText::new(server.database().unwrap()));
                (Self::Postgres { _server: server }, database)
            }
        };
        (place, Settings { database, connections_max: 5, wait: WAIT })
    }
}

impl World {
    /// Another server over the same database.
    pub(crate) async fn another(&self) -> State {
        State::open(&self.settings).await.unwrap()
    }
}

/// Runs a test over a fresh database.
pub(crate) fn run<F: Future<Output = ()>>(kind: Kind, test: impl FnOnce(World) -> F) {
    let (_place, settings) = Place::new(kind);
    runtime().block_on(async {
        let state = State::open(&settings).await.unwrap();
        test(World { settings, state: state.clone(), kind }).await;
        state.close().await;
    });
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// The same test on both databases.
macro_rules! on_both {
    ($(async fn $name:ident($world:ident) $body:block)+) => {
        $(async fn $name($world: $crate::world::World) $body)+

        mod sqlite {
            $(#[test]
            fn $name() {
                $crate::world::run($crate::world::Kind::Sqlite, super::$name);
            })+
        }

        mod postgres {
            $(#[test]
            fn $name() {
                $crate::world::run($crate::world::Kind::Postgres, super::$name);
            })+
        }
    };
}
pub(crate) use on_both;

/// Long enough for the busiest of machines.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn draft(event: &str) -> Draft {
    Draft::new("alice", event, "subject", serde_json::json!({ "b": [1, "é"], "a": {} })).unwrap()
}

/// An act that records one entry and changes nothing.
pub(crate) async fn recorded(state: &State, now: Timestamp) -> Entry {
    let mut act = state.act().await.unwrap();
    let entry = act.record(draft("test.recorded"), now).await.unwrap();
    act.commit(now).await.unwrap();
    entry
}

/// An act with one entry so far.
pub(crate) async fn begun(state: &State, event: &str) -> Act {
    let mut act = state.act().await.unwrap();
    act.record(draft(event), at(1)).await.unwrap();
    act
}

/// Reads the whole ledger as a stranger would.
#[track_caller]
pub(crate) fn verified(state: &State) -> impl Future<Output = Verified> {
    let state = state.clone();
    async move {
        let mut reading = state.read().await.unwrap();
        let (mut verifier, mut after) = (Verifier::new(Vec::new()), 0);
        loop {
            let page = reading.entries(after, 7).await.unwrap();
            page.iter().for_each(|entry| verifier.take(entry).unwrap());
            match page.last() {
                Some(last) => after = last.seq,
                None => break,
            }
        }
        let verified = verifier.finish().unwrap();
        assert_eq!(verified.tail, reading.tail());
        verified
    }
}
