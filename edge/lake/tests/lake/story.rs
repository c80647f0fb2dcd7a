//! Calls to tell a story with, and a lake to ask about it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use calls::{
    Access, AccessKeyId, Basis, Entry, Key, Leased, Named, NamedBy, Names, Needs, Outcome, Plane,
    Record, Sighting, Signer, Trust, Why,
};
use jiff::Timestamp;
use lake::{Engine, Frame, Lake, Limits, Piece, Place, QueryError, Sender, Sent, Snapshot, cells};

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Twelve o'clock on the day on which most stories end.
pub(crate) fn noon() -> Timestamp {
    at("2026-11-25T12:00:00Z")
}

/// One call of `orders/prod/1` with a lease of its own role, on an object of the bucket `reports`.
pub(crate) fn call(time: &str) -> Record {
    let key = Key {
        workload: Some("orders/prod/1".parse().unwrap()),
        access_key: AccessKeyId::parse("ASIAORDERS0000000001"),
        signer: Signer::Leased {
            role: "arn:aws:iam::222222222222:role/orders".parse().unwrap(),
            to: "orders/prod/1".parse().unwrap(),
        },
        trust: Trust::Shim,
        service: "S3".into(),
        operation: "GetObject".into(),
        region: Some("eu-west-1".parse().unwrap()),
        named: Named {
            needs: needs(&[("s3:GetObject", Some(&["arn:aws:s3:::reports/a/*"]))]),
            basis: Some(Basis::Listed),
            access: Some(Access::Read),
            plane: Some(Plane::Data),
            by: Some(NamedBy::Bare),
        },
        unnamed: BTreeMap::new(),
        outcome: Outcome::Done,
    };
    let sighting = Sighting {
        count: 1,
        first: at(time),
        last: at(time),
        request_id: None,
        exception: None,
        user_agent: Some("Boto3/1.44.5".to_owned()),
        host: Some("reports.s3.eu-west-1.amazonaws.com".to_owned()),
        longest: Some(Duration::from_millis(12)),
    };
    Record { key: Arc::new(key), sighting, why: Why::First }
}

/// The same with another key.
pub(crate) fn with(mut record: Record, change: impl FnOnce(&mut Key)) -> Record {
    let mut key = Key::clone(&record.key);
    change(&mut key);
    record.key = Arc::new(key);
    record
}

/// Several of it, the last of them at a later time.
pub(crate) fn times(mut record: Record, count: u64, last: &str) -> Record {
    (record.sighting.count, record.sighting.last) = (count, at(last));
    record
}

/// Actions with resources; without, they are not known.
pub(crate) fn needs(of: &[(&str, Option<&[&str]>)]) -> Needs {
    let names = |names: &Option<&[&str]>| match names {
        None => Names::Unknown,
        Some(names) => Names::These(names.iter().map(|name| (*name).to_owned()).collect()),
    };
    Needs::These(of.iter().map(|(action, on)| ((*action).to_owned(), names(on))).collect())
}

pub(crate) fn lease(application: &str, account: &str, from: &str) -> Entry {
    Entry::Leased(Leased {
        access_key: AccessKeyId::parse(format!("ASIA{:0<16}", application.to_uppercase())).unwrap(),
        workload: format!("{application}/prod/1").parse().unwrap(),
        role: format!("arn:aws:iam::{account}:role/{application}").parse().unwrap(),
        from: at(from),
        until: at(from) + jiff::SignedDuration::from_hours(1),
    })
}

pub(crate) fn sender(number: u8) -> Sender {
    Sender { agent: format!("host-{number}"), epoch: [number; 16] }
}

pub(crate) fn sent(number: u8, seq: u64, entries: Vec<Entry>) -> Sent {
    Sent { sender: sender(number), frames: vec![Frame { seq, entries }] }
}

/// A lake in a folder that goes with it, and its manifest.
pub(crate) struct Told {
    pub(crate) folder: PathBuf,
    pub(crate) lake: Lake,
    pub(crate) manifest: Snapshot,
    _place: tempfile::TempDir,
}

impl Told {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("lake");
        let lake = Lake::open(&Place::Folder(folder.clone())).unwrap();
        Self { folder, lake, manifest: Snapshot::default(), _place: place }
    }

    /// A lake in which these calls are, told by one host.
    pub(crate) async fn of(entries: Vec<Entry>) -> Self {
        let mut told = Self::new();
        told.seal(vec![sent(1, 1, entries)]).await;
        told
    }

    pub(crate) async fn of_calls(calls: Vec<Record>) -> Self {
        Self::of(calls.into_iter().map(Entry::Calls).collect()).await
    }

    pub(crate) async fn seal(&mut self, sent: Vec<Sent>) -> Vec<Piece> {
        let pieces = self.lake.seal(sent).await.unwrap();
        self.manifest.0.extend(pieces.clone());
        pieces
    }

    pub(crate) async fn try_ask(
        &self,
        sql: &str,
        limits: Limits,
    ) -> Result<Vec<Vec<String>>, QueryError> {
        let engine = Engine::new(self.lake.clone(), limits);
        let mut answer = engine.query(sql, noon(), &self.manifest).await?;
        let mut rows = Vec::new();
        while let Some(more) = answer.next().await? {
            rows.extend(cells(&more)?);
        }
        Ok(rows)
    }

    pub(crate) async fn ask(&self, sql: &str) -> Vec<Vec<String>> {
        self.try_ask(sql, Limits::default()).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Asks, and compares the rows, whose cells have spaces between them.
    #[track_caller]
    pub(crate) fn check(&self, sql: &str, rows: &[&str]) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let found: Vec<String> =
                self.ask(sql).await.into_iter().map(|row| row.join(" ")).collect();
            assert_eq!(found, rows, "{place}: {sql}");
        }
    }
}
