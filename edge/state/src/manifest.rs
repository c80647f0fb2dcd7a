//! The lake's manifest: which segments there are, and how far each sender is safely stored.
//!
//! None of it is an act: what a host tells of calls changes nothing that anybody may do. What was published is one
//! transaction of segments and watermarks, so that a call is in the lake once, whatever fails when.

use jiff::Timestamp;

use crate::cell::Cells;
use crate::link::{Link, Statement};
use crate::stored::rows;
use crate::{Reading, State, StateError};

rows! {
    /// A file of calls.
    pub struct SegmentRow in segments (path) {
        /// Where it is in the lake. Its name says what is in it.
        path: String,
        /// What it is a part of, such as `calls`.
        dataset: String,
        /// The region of its partition.
        region: String,
        /// The account of its partition.
        account: String,
        /// The day of its partition, such as 20261125.
        day: u64,
        /// The time of its first row.
        first: Timestamp,
        /// The time of its last row.
        last: Timestamp,
        /// How many rows it has.
        rows: u64,
        /// How many calls they stand for.
        calls: u64,
        /// How long it is, in bytes.
        bytes: u64,
        /// The hash of what is in it.
        hash: String,
        /// When it was made.
        made: Timestamp,
    }

    /// How far a sender is safely stored.
    pub struct WatermarkRow in watermarks (host, epoch) {
        /// The host.
        host: String,
        /// The life of its spool.
        epoch: String,
        /// Everything before this frame is stored, or known to be missing.
        next: u64,
        /// How many calls there are before it, by the sender's own count.
        calls: u64,
        /// How many of them never came.
        missing: u64,
        /// When it moved last.
        changed: Timestamp,
    }
}

/// A watermark that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The host.
    pub host: String,
    /// The life of its spool.
    pub epoch: String,
    /// Where it must be for the move to be right; 1 for a life that nobody knows yet.
    pub from: u64,
    /// Where it is then.
    pub to: u64,
    /// How many calls there are before that.
    pub calls: u64,
    /// How many more of them never came.
    pub missing: u64,
}

/// What came of publishing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// All of it is there.
    Done,
    /// Nothing is: the watermark of this host and epoch is elsewhere. Another server has stored the same frames.
    Overtaken(String, String),
}

/// Which segments are wanted: those of a dataset with a day from `from` to `to`, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFilter {
    /// The dataset.
    pub dataset: String,
    /// The first day, such as 20261125.
    pub from: u64,
    /// The last day.
    pub to: u64,
}

impl Reading {
    /// The segments that fit, by day and path: one picture of the lake.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn segments(
        &mut self,
        filter: &SegmentFilter,
    ) -> Result<Vec<SegmentRow>, StateError> {
        let fits = Statement::new(
            "WHERE dataset = $1 AND day >= $2 AND day <= $3 ORDER BY dataset, day, path",
        );
        self.link.many(fits.text(&filter.dataset).with(&filter.from).with(&filter.to)).await
    }

    /// How far a sender is stored. Nothing of a life that nobody has heard of.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn watermark(
        &mut self,
        host: &str,
        epoch: &str,
    ) -> Result<Option<WatermarkRow>, StateError> {
        let fits = Statement::new("WHERE host = $1 AND epoch = $2");
        self.link.one(fits.text(host).text(epoch)).await
    }

    /// How far every sender is stored, by host and epoch.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn watermarks(&mut self) -> Result<Vec<WatermarkRow>, StateError> {
        self.link.many(Statement::new("ORDER BY host, epoch")).await
    }

    /// Files of segments that were taken out of the manifest before a time, the oldest first.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn segments_gone(
        &mut self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<String>, StateError> {
        let select = Statement::new(
            "SELECT path FROM segments_gone WHERE gone < $1 ORDER BY gone, path LIMIT $2",
        );
        let rows = self.link.rows(select.with(&before).with(&i64::from(limit))).await?;
        rows.iter().map(|row| Cells::new(row, "segments_gone").take()).collect()
    }
}

impl State {
    /// Puts segments into the manifest and moves watermarks: all of it or nothing. A segment that is there already
    /// under its path is the same one, for the path has its hash.
    ///
    /// # Errors
    /// [`StateError`], as all of these. Where nobody knows whether it was done, the watermarks tell.
    pub async fn publish(
        &self,
        segments: &[SegmentRow],
        moves: &[Move],
        now: Timestamp,
    ) -> Result<Published, StateError> {
        let mut link = self.aside().await?;
        // In one order, so that two servers never wait for each other.
        let mut moves: Vec<&Move> = moves.iter().collect();
        moves.sort_by_key(|one| (&one.host, &one.epoch));
        for one in moves {
            if !advance(&mut link, one, now).await? {
                return Ok(Published::Overtaken(one.host.clone(), one.epoch.clone()));
            }
        }
        for segment in segments {
            link.put(segment).await?;
        }
        link.commit().await?;
        Ok(Published::Done)
    }

    /// Puts segments in the place of others with the same rows; `false` where one of those is not there any more: then
    /// nothing is done.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn replace_segments(
        &self,
        added: &[SegmentRow],
        removed: &[String],
        now: Timestamp,
    ) -> Result<bool, StateError> {
        let mut link = self.aside().await?;
        for path in removed {
            let delete = Statement::new("DELETE FROM segments WHERE path = $1").text(path);
            if link.execute(delete).await? != 1 {
                return Ok(false);
            }
            let gone = Statement::new(
                "INSERT INTO segments_gone (path, gone) VALUES ($1, $2) \
                 ON CONFLICT (path) DO UPDATE SET gone = excluded.gone",
            );
            link.execute(gone.text(path).with(&now)).await?;
        }
        for segment in added {
            link.put(segment).await?;
        }
        link.commit().await?;
        Ok(true)
    }

    /// Forgets files that were deleted.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn forget_gone(&self, paths: &[String]) -> Result<(), StateError> {
        let mut link = self.aside().await?;
        for path in paths {
            let delete = Statement::new("DELETE FROM segments_gone WHERE path = $1");
            link.execute(delete.text(path)).await?;
        }
        link.commit().await
    }
}

/// Moves a watermark that is where it should be.
async fn advance(link: &mut Link, one: &Move, now: Timestamp) -> Result<bool, StateError> {
    let Move { host, epoch, from, to, calls, missing } = one;
    let update = Statement::new(
        "UPDATE watermarks SET next = $1, calls = $2, missing = missing + $3, changed = $4 \
         WHERE host = $5 AND epoch = $6 AND next = $7",
    );
    let update = update.with(to).with(calls).with(missing).with(&now);
    if link.execute(update.text(host).text(epoch).with(from)).await? == 1 {
        return Ok(true);
    }
    // Nobody knows this life yet, or it is elsewhere.
    if *from != 1 {
        return Ok(false);
    }
    let insert = Statement::new(
        "INSERT INTO watermarks (host, epoch, next, calls, missing, changed) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (host, epoch) DO NOTHING",
    );
    let insert = insert.text(host).text(epoch).with(to).with(calls).with(missing).with(&now);
    Ok(link.execute(insert).await? == 1)
}
