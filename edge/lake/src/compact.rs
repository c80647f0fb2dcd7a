//! Small files into large ones, and what is kept no longer.

use std::collections::{BTreeMap, HashSet};

use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Date};

use crate::{
    error::LakeError,
    file::File,
    merge::Merge,
    piece::{Dataset, Partition, Piece, Snapshot, day},
    store::Lake,
};

/// From how many bytes on a file is left as it is.
const SMALL: u64 = 32 << 20;
/// How long a file becomes at most, about, in bytes; and how much is merged at once. It is held in memory.
const LARGE: u64 = 96 << 20;
/// How many files are merged at once at most. Each is read beside the others.
const FILES_MAX: usize = 64;
/// How many small files a part of the present day may have before they are merged. What comes tomorrow is merged then.
const TODAY: usize = 12;

/// What merging changed: one change of the manifest, all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Files that are there now.
    pub added: Vec<Piece>,
    /// Files that their rows were in. They stay in the store until they are removed.
    pub removed: Vec<Piece>,
}

/// Which files are due to be merged: each group is for one [`Lake::compact`].
///
/// Of a day that is over, two small files are; of the present day, which grows, twelve.
pub fn due(pieces: &[Piece], now: Timestamp) -> Vec<Vec<Piece>> {
    let mut partitions: BTreeMap<&Partition, Vec<&Piece>> = BTreeMap::new();
    for piece in pieces.iter().filter(|piece| piece.bytes < SMALL) {
        partitions.entry(&piece.partition).or_default().push(piece);
    }
    let mut due = Vec::new();
    for (partition, mut small) in partitions {
        let least = if partition.day < day(now) { 2 } else { TODAY };
        // Files that are near in time go together, so that the result can be skipped by time.
        small.sort_by(|a, b| (a.min_time, &a.path).cmp(&(b.min_time, &b.path)));
        let mut group: Vec<Piece> = Vec::new();
        let mut bytes = 0;
        for piece in small {
            if group.len() == FILES_MAX || bytes + piece.bytes > LARGE {
                due.extend((group.len() >= least).then(|| std::mem::take(&mut group)));
                group.clear();
                bytes = 0;
            }
            bytes += piece.bytes;
            group.push(piece.clone());
        }
        due.extend((group.len() >= least).then_some(group));
    }
    due
}

/// The files whose day is more than so many days ago. Take them out of the manifest, then remove them.
pub fn expired(pieces: &[Piece], today: Date, days: u16) -> Vec<Piece> {
    let Ok(oldest) = today.checked_sub(i64::from(days).days()) else { return Vec::new() };
    pieces.iter().filter(|piece| piece.partition.day < oldest).cloned().collect()
}

impl Lake {
    /// Merges files of one partition into fewer. Their rows are the same, in the order of time.
    ///
    /// Write the change into the manifest as one, only if all that is removed still stands there, and then remove the files. Until then nothing has
    /// changed, and what was written is an orphan. The same files give the same.
    ///
    /// # Errors
    /// [`LakeError`]; nothing has changed then.
    pub async fn compact(&self, pieces: &[Piece]) -> Result<Compacted, LakeError> {
        let Some(first) = pieces.first() else {
            return Ok(Compacted { added: Vec::new(), removed: Vec::new() });
        };
        let partition = &first.partition;
        if pieces.iter().any(|piece| piece.partition != *partition) {
            return Err(LakeError::layout("files of several partitions cannot be merged"));
        }
        let mut removed = pieces.to_vec();
        removed.sort_by(|a, b| (a.min_time, &a.path).cmp(&(b.min_time, &b.path)));
        let schema = crate::rows::schema(partition.dataset).map_err(LakeError::layout)?;
        let mut merge = Merge::open(self, &removed, &schema).await?;
        let mut added = Vec::new();
        let mut file = File::new(partition.clone(), schema.clone())?;
        while let Some(rows) = merge.next()? {
            file.write(&rows)?;
            if file.size() as u64 >= LARGE {
                let next = File::new(partition.clone(), schema.clone())?;
                let full = std::mem::replace(&mut file, next);
                added.extend(self.put_all(vec![full.finish("merged")?]).await?);
            }
        }
        if !file.is_empty() {
            added.extend(self.put_all(vec![file.finish("merged")?]).await?);
        }
        let rows = |pieces: &[Piece]| pieces.iter().map(|piece| piece.rows).sum::<u64>();
        if rows(&added) != rows(&removed) {
            return Err(LakeError::damaged(
                &first.path,
                "rows are missing, here or in its neighbours",
            ));
        }
        Ok(Compacted { added, removed })
    }

    /// Files that no manifest names and that were written more than so long ago: what was sealed or merged and then not
    /// published. They can be removed, where nothing that takes longer than that publishes.
    ///
    /// Only what is in folders of the lake is looked at.
    ///
    /// # Errors
    /// [`LakeError::Store`].
    pub async fn orphans(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
        older_than: SignedDuration,
    ) -> Result<Vec<String>, LakeError> {
        let known: HashSet<&str> = snapshot.0.iter().map(|piece| piece.path.as_str()).collect();
        let ours = |path: &str| {
            let folder =
                |it: Dataset| path.strip_prefix(it.folder()).is_some_and(|it| it.starts_with('/'));
            Dataset::ALL.into_iter().any(folder)
        };
        let orphan = |(path, written): &(String, Timestamp)| {
            ours(path)
                && !known.contains(path.as_str())
                && now.duration_since(*written) > older_than
        };
        let mut orphans: Vec<_> =
            self.list().await?.into_iter().filter(orphan).map(|(path, _)| path).collect();
        orphans.sort();
        Ok(orphans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(day: i8, number: i32, bytes: u64) -> Piece {
        let at =
            Date::constant(2026, 11, day).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
        Piece {
            partition: Partition::of_day(Dataset::Leases, at),
            path: format!("{day}/{number}"),
            min_time: at + SignedDuration::from_secs(i64::from(number)),
            max_time: at + SignedDuration::from_secs(i64::from(number)),
            rows: 1,
            calls: 0,
            bytes,
            hash: String::new(),
        }
    }

    /// On 25 November, so many files of these sizes on a day; how many are in each group.
    #[track_caller]
    fn check(pieces: &[Piece], groups: &[usize]) {
        let now = "2026-11-25T12:00:00Z".parse().unwrap();
        let due: Vec<_> = due(pieces, now).iter().map(Vec::len).collect();
        assert_eq!(due, groups);
    }

    fn pieces(day: i8, count: i32, bytes: u64) -> Vec<Piece> {
        (0..count).map(|number| piece(day, number, bytes)).collect()
    }

    #[test]
    fn small_files_of_a_day_that_is_over_are_merged() {
        check(&pieces(24, 1, 1000), &[]);
        check(&pieces(24, 2, 1000), &[2]);
        check(&pieces(24, 150, 1000), &[64, 64, 22]);
    }

    #[test]
    fn the_present_day_is_merged_when_it_has_many() {
        check(&pieces(25, 11, 1000), &[]);
        check(&pieces(25, 12, 1000), &[12]);
    }

    #[test]
    fn large_files_are_left_alone_and_no_merge_is_larger_than_memory() {
        check(&pieces(24, 9, SMALL), &[]);
        check(&pieces(24, 9, SMALL - 1), &[3, 3, 3]);
    }

    #[test]
    fn files_of_different_days_are_not_merged() {
        check(&[piece(23, 1, 1), piece(24, 1, 1)], &[]);
    }

    #[test]
    fn what_is_older_than_so_many_days_has_expired() {
        let pieces: Vec<_> = (1..=25).map(|day| piece(day, 1, 1)).collect();
        let today = Date::constant(2026, 11, 25);
        let gone = expired(&pieces, today, 7);
        assert_eq!(gone.last().unwrap().partition.day, Date::constant(2026, 11, 17));
        assert_eq!(gone.len(), 17);
        assert!(expired(&pieces, today, u16::MAX).is_empty());
        assert_eq!(expired(&pieces, today, 0).len(), 24);
    }
}
