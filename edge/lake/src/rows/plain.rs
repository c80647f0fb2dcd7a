//! Leases, shims and coverage: columns of our own, for nobody has a standard for them.

use arrow::{array::RecordBatch, error::ArrowError};
use calls::{Covered, End, Heard, Leased, Loss, Refused};
use workload::Workload;

use super::Row;
use crate::column::{Column, batch};

/// Who told it: the agent, the life of its spool, the frame.
fn origins<T>(rows: &[Row<'_, T>]) -> [Column; 3] {
    let origins = || rows.iter().map(|row| row.origin);
    [
        Column::text(1, "agent", origins().map(|it| Some(it.sender.agent.as_str()))).required(),
        Column::text(2, "epoch", origins().map(|it| Some(it.sender.epoch_text()))).required(),
        Column::sequence(3, "seq", origins().map(|it| it.seq)),
    ]
}

fn workload<'a>(of: impl Iterator<Item = Option<&'a Workload>>) -> Column {
    Column::text(4, "workload", of.map(|it| it.map(ToString::to_string)))
}

pub(super) fn leases(rows: &[Row<'_, Leased>]) -> Result<RecordBatch, ArrowError> {
    let leases = || rows.iter().map(|row| row.what);
    let [agent, epoch, seq] = origins(rows);
    batch(vec![
        agent,
        epoch,
        seq,
        workload(leases().map(|it| Some(&it.workload))).required(),
        Column::text(5, "access_key", leases().map(|it| Some(it.access_key.as_str()))).required(),
        Column::text(6, "role", leases().map(|it| Some(it.role.to_string()))).required(),
        Column::time(7, "from", leases().map(|it| it.from)),
        Column::time(8, "until", leases().map(|it| it.until)),
    ])
}

pub(super) fn shims(rows: &[Row<'_, Heard>]) -> Result<RecordBatch, ArrowError> {
    let shims = || rows.iter().map(|row| row.what);
    let [agent, epoch, seq] = origins(rows);
    batch(vec![
        agent,
        epoch,
        seq,
        workload(shims().map(|it| it.workload.as_ref())),
        Column::time(5, "at", shims().map(|it| it.at)),
        Column::text(6, "language", shims().map(|it| Some(&it.language))).required(),
        Column::text(7, "sdk", shims().map(|it| Some(&it.sdk))).required(),
        Column::text(8, "sdk_version", shims().map(|it| Some(&it.sdk_version))).required(),
        Column::text(9, "shim_version", shims().map(|it| Some(&it.shim_version))).required(),
    ])
}

/// The number of the first column that tells of a loss, and of the first that tells of a refusal. They are far enough
/// apart that reasons can be added behind the last.
const LOSSES: i32 = 100;
const REFUSALS: i32 = 200;

pub(super) fn coverage(rows: &[Row<'_, Covered>]) -> Result<RecordBatch, ArrowError> {
    let covered = || rows.iter().map(|row| row.what);
    let ended = |end: End| covered().map(move |it| it.coverage.of(end));
    let [agent, epoch, seq] = origins(rows);
    let mut columns = vec![
        agent,
        epoch,
        seq,
        Column::time(4, "from", covered().map(|it| it.from)),
        Column::time(5, "to", covered().map(|it| it.to)),
        Column::count(6, "sent", covered().map(|it| it.coverage.sent_in_all())),
        Column::count(7, "stored", ended(End::Stored)),
        Column::count(8, "folded", ended(End::Folded)),
        Column::count(9, "attempts", ended(End::Attempt)),
        Column::count(10, "held", covered().map(|it| it.held)),
        Column::count(11, "cut_off", covered().map(|it| it.cut_off)),
        Column::count(12, "crashes", covered().map(|it| it.crashes)),
    ];
    for (id, loss) in (LOSSES..).zip(Loss::ALL) {
        let name = format!("lost_{}", loss.as_str().replace('-', "_"));
        columns.push(Column::count(id, &name, ended(End::Lost(loss))));
    }
    for (id, refused) in (REFUSALS..).zip(Refused::ALL) {
        let name = format!("refused_{}", refused.as_str().replace('-', "_"));
        columns.push(Column::count(id, &name, covered().map(|it| it.refusals.of(refused))));
    }
    batch(columns)
}
