//! Keeping house: small segments into large ones, and what is kept no longer.

use std::collections::BTreeSet;

use ::lake::{Piece, Snapshot, due, expired};
use api::Problem;
use jiff::{SignedDuration, tz::TimeZone};

use super::{Waters, of_lake, row, snapshot};
use crate::{fault::OrProblem, report, server::Server};

/// How long a file stays after its segment was taken out of the manifest: longer than any question takes.
const GRACE: SignedDuration = SignedDuration::from_mins(30);
/// How old a file must be that no manifest names: longer than any replica takes from writing to publishing.
const ORPHANED: SignedDuration = SignedDuration::from_hours(24);
/// How many files are removed at a time.
const REMOVED_AT_ONCE: u32 = 1000;
/// How many merges are made at a time.
const MERGES_AT_ONCE: usize = 16;

/// Merges, forgets and removes what is due. Any number of replicas may do so at once.
///
/// # Errors
/// When the lake or the database cannot be used; what was done until then stands.
pub async fn keep_house(server: &Server, waters: &Waters) -> Result<(), Problem> {
    let now = server.clock.now();
    let all = snapshot(&server.state).await.or_problem()?;
    let today = now.to_zoned(TimeZone::UTC).date();
    let over = expired(&all.0, today, waters.keep_days);
    if !over.is_empty() {
        let paths: Vec<String> = over.iter().map(|piece| piece.path.clone()).collect();
        if server.state.replace_segments(&[], &paths, now).await.or_problem()? {
            report(&format!("{} segments are older than {} days", paths.len(), waters.keep_days));
        }
    }
    let over: BTreeSet<&Piece> = over.iter().collect();
    let kept: Vec<Piece> = all.0.iter().filter(|piece| !over.contains(piece)).cloned().collect();
    for group in due(&kept, now).into_iter().take(MERGES_AT_ONCE) {
        merge(server, waters, &group).await?;
    }
    remove_gone(server, waters).await
}

async fn merge(server: &Server, waters: &Waters, group: &[Piece]) -> Result<(), Problem> {
    let merged = waters.lake.compact(group).await.map_err(|error| of_lake(&error))?;
    let now = server.clock.now();
    let added: Vec<_> = merged.added.iter().map(|piece| row(piece, now)).collect();
    let removed: Vec<_> = merged.removed.into_iter().map(|piece| piece.path).collect();
    // Where another replica was faster, what was written is the same file, or an orphan.
    server.state.replace_segments(&added, &removed, now).await.or_problem().map(drop)
}

async fn remove_gone(server: &Server, waters: &Waters) -> Result<(), Problem> {
    let before = server.clock.now() - GRACE;
    let gone = {
        let mut reading = server.state.read().await.or_problem()?;
        reading.segments_gone(before, REMOVED_AT_ONCE).await.or_problem()?
    };
    for path in &gone {
        waters.lake.remove(path).await.map_err(|error| of_lake(&error))?;
    }
    server.state.forget_gone(&gone).await.or_problem()
}

/// Removes files that were written and never published.
///
/// # Errors
/// As [`keep_house`].
pub async fn remove_orphans(server: &Server, waters: &Waters) -> Result<(), Problem> {
    let all: Snapshot = snapshot(&server.state).await.or_problem()?;
    let orphans = waters.lake.orphans(&all, server.clock.now(), ORPHANED).await;
    for path in orphans.map_err(|error| of_lake(&error))? {
        waters.lake.remove(&path).await.map_err(|error| of_lake(&error))?;
    }
    Ok(())
}
