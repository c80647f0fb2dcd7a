//! The lake, as this replica uses it: takes frames in, answers questions, keeps house.
//!
//! INVARIANT (Once): a call is in the lake once, whatever is sent how often to which replica and whatever fails when: segments and
//! watermarks are published in one transaction, and an answer to a host comes after it.

mod house;
mod intake;
mod questions;
mod sealer;

use std::{sync::Arc, time::Duration};

use ::lake::{Bucket, Credentials, Engine, Lake, LakeError, Limits, Partition, Piece, Place};
use api::{Kind, Problem};
use cloud::{AccountId, Region};
use jiff::{Timestamp, civil::Date};
use secret::SecretText;
use state::{SegmentRow, StateError};

use crate::{
    config::{Config, LakeSection},
    fault::internal,
    report,
};

pub use house::{keep_house, remove_orphans};
pub use intake::Intake;
pub use questions::Questions;
pub use sealer::Sealer;

/// What a replica has of the lake.
#[derive(Debug)]
pub struct Waters {
    /// Takes frames in.
    pub intake: Intake,
    /// Answers questions.
    pub questions: Questions,
    lake: Lake,
    keep_days: u16,
}

impl Waters {
    /// Opens the lake that the file names; nothing where it names none. The sealer must be [run](Sealer::run).
    ///
    /// # Errors
    /// When the place cannot be used.
    pub fn open(config: &Config) -> Result<Option<(Self, Sealer)>, LakeError> {
        let Some(place) = place(config)? else { return Ok(None) };
        let section = &config.lake;
        let lake = Lake::open(&place)?;
        let limits = Limits {
            memory: usize::try_from(section.query_memory_mib.get() << 20).unwrap_or(usize::MAX),
            ..Limits::default()
        };
        let questions = Questions::new(
            Engine::new(lake.clone(), limits),
            limits,
            section.queries_at_once.get(),
        );
        let (intake, offers) = Intake::new(section.host_kib_per_s.get() * 1024);
        let every = Duration::from_secs(section.seal_s.get());
        let sealer = Sealer::new(lake.clone(), offers, every);
        let keep_days = u16::try_from(section.keep_days.get()).unwrap_or(u16::MAX);
        Ok(Some((Self { intake, questions, lake, keep_days }, sealer)))
    }
}

/// What is said where the file names no place for calls.
pub fn none() -> Problem {
    let detail = "this server keeps no calls: `[lake]` in its file must name a folder or a bucket";
    Problem::new(Kind::NotFound, detail)
}

/// Where calls are kept. With SQLite there is one replica, and its own folder will do; with PostgreSQL it must be a place
/// that all replicas see.
fn place(config: &Config) -> Result<Option<Place>, LakeError> {
    let LakeSection { folder, bucket, .. } = &config.lake;
    let shared = config.database.url.is_some() || config.database.url_file.is_some();
    match (folder, bucket) {
        (Some(folder), _) => Ok(Some(Place::Folder(folder.clone()))),
        (None, Some(bucket)) => {
            let credentials = match &bucket.key_file {
                Some(path) => key(path)?,
                None => Credentials::Machine,
            };
            Ok(Some(Place::Bucket(Bucket {
                name: bucket.name.clone(),
                prefix: bucket.prefix.clone(),
                region: bucket.region.to_string(),
                endpoint: bucket.endpoint.clone(),
                credentials,
            })))
        }
        (None, None) if shared => Ok(None),
        (None, None) => Ok(Some(Place::Folder(config.data.join("lake")))),
    }
}

/// A file of two lines: an access key's id and its secret.
fn key(path: &std::path::Path) -> Result<Credentials, LakeError> {
    let failed = |why: String| LakeError::Settings(format!("`{}`: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let text = SecretText::new(text);
    match text.expose().lines().map(str::trim).collect::<Vec<_>>().as_slice() {
        [id, secret] if !id.is_empty() && !secret.is_empty() => Ok(Credentials::Fixed {
            access_key: (*id).to_owned(),
            secret_key: (*secret).to_owned(),
            session_token: None,
        }),
        _ => Err(failed("must have two lines: an access key id and its secret".to_owned())),
    }
}

/// A file of the lake as a row of the manifest.
fn row(piece: &Piece, made: Timestamp) -> SegmentRow {
    let Partition { dataset, region, account, day } = &piece.partition;
    SegmentRow {
        path: piece.path.clone(),
        dataset: dataset.to_string(),
        region: region.as_ref().map(ToString::to_string).unwrap_or_default(),
        account: account.as_ref().map(ToString::to_string).unwrap_or_default(),
        day: number(*day),
        first: piece.min_time,
        last: piece.max_time,
        rows: piece.rows,
        calls: piece.calls,
        bytes: piece.bytes,
        hash: piece.hash.clone(),
        made,
    }
}

/// A row of the manifest as a file of the lake.
fn piece(row: SegmentRow) -> Result<Piece, StateError> {
    let damaged = |why: &'static str| StateError::Damaged { table: "segments", why: why.into() };
    let dataset = ::lake::Dataset::named(&row.dataset);
    let partition = Partition {
        dataset: dataset.ok_or_else(|| damaged("has a dataset that this release does not know"))?,
        region: known::<Region>(&row.region).map_err(|()| damaged("has a region that is none"))?,
        account: known::<AccountId>(&row.account)
            .map_err(|()| damaged("has an account that is none"))?,
        day: date(row.day).ok_or_else(|| damaged("has a day that no calendar has"))?,
    };
    Ok(Piece {
        partition,
        path: row.path,
        min_time: row.first,
        max_time: row.last,
        rows: row.rows,
        calls: row.calls,
        bytes: row.bytes,
        hash: row.hash,
    })
}

fn known<T: std::str::FromStr>(text: &str) -> Result<Option<T>, ()> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| ()) }
}

/// A day as a number: 20261125.
fn number(day: Date) -> u64 {
    let part = |value: i64| u64::try_from(value).unwrap_or_default();
    let (year, month) = (part(day.year().into()), part(day.month().into()));
    year * 10_000 + month * 100 + part(day.day().into())
}

fn date(number: u64) -> Option<Date> {
    let part = |value: u64| i8::try_from(value % 100).ok();
    Date::new(i16::try_from(number / 10_000).ok()?, part(number / 100)?, part(number)?).ok()
}

/// What the lake's errors mean to who asked.
fn of_lake(error: &LakeError) -> Problem {
    if error.is_retryable() {
        report(&error.to_string());
        return Problem::new(Kind::UpstreamUnavailable, "the lake's store gives no answer");
    }
    internal(error)
}

/// A snapshot of everything that is in the manifest.
async fn snapshot(state: &state::State) -> Result<::lake::Snapshot, StateError> {
    let mut reading = state.read().await?;
    let mut pieces = Vec::new();
    for dataset in ::lake::Dataset::ALL {
        let dataset = dataset.to_string();
        let filter = state::SegmentFilter { dataset, from: 0, to: number(Date::MAX) };
        let rows = reading.segments(&filter).await?;
        pieces.extend(rows.into_iter().map(piece).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(::lake::Snapshot(pieces))
}

/// What every replica's waters are to a request.
pub(crate) fn of(waters: Option<&Arc<Waters>>) -> Result<&Arc<Waters>, Problem> {
    waters.ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_the_same_in_the_manifest_and_in_the_lake() {
        let path = "p".to_owned();
        let region: Region = "eu-west-1".parse().unwrap();
        let account: AccountId = "222222222222".parse().unwrap();
        for (region, account) in [(None, None), (Some(region), Some(account))] {
            let day = Date::constant(2026, 11, 25);
            let partition = Partition { dataset: ::lake::Dataset::Calls, region, account, day };
            let (min_time, max_time) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
            let (rows, calls, bytes, hash) = (1, 2, 3, "h".to_owned());
            let one = Piece {
                partition,
                path: path.clone(),
                min_time,
                max_time,
                rows,
                calls,
                bytes,
                hash,
            };
            assert_eq!(row(&one, Timestamp::UNIX_EPOCH).day, 20_261_125);
            assert_eq!(piece(row(&one, Timestamp::UNIX_EPOCH)).unwrap(), one);
        }
    }

    #[test]
    fn a_row_that_this_release_does_not_understand_is_damage() {
        let day = Date::constant(2026, 11, 25);
        let partition =
            Partition { dataset: ::lake::Dataset::Shims, region: None, account: None, day };
        let one = Piece {
            partition,
            path: String::new(),
            min_time: Timestamp::UNIX_EPOCH,
            max_time: Timestamp::UNIX_EPOCH,
            rows: 0,
            calls: 0,
            bytes: 0,
            hash: String::new(),
        };
        let good = row(&one, Timestamp::UNIX_EPOCH);
        let wrong = [
            SegmentRow { dataset: "tomorrow".to_owned(), ..good.clone() },
            SegmentRow { day: 20_261_399, ..good.clone() },
            SegmentRow { region: "EU".to_owned(), ..good.clone() },
            SegmentRow { account: "1".to_owned(), ..good },
        ];
        for row in wrong {
            assert!(matches!(piece(row), Err(StateError::Damaged { .. })));
        }
    }
}
