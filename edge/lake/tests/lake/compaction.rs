//! Small files into large ones, and what is left over.

use calls::Entry;
use jiff::{SignedDuration, Timestamp};
use lake::{Dataset, Partition, Sent, Snapshot, due, expired};
use proptest::prelude::*;

use crate::{
    anything, ocsf,
    story::{Told, call, noon, sent},
};

/// Every row of a dataset, whole, in no order.
async fn rows(told: &Told, dataset: Dataset) -> Vec<String> {
    let mut rows = Vec::new();
    for piece in told.manifest.0.iter().filter(|it| it.partition.dataset == dataset) {
        let mut lines = Vec::new();
        let mut writer = arrow::json::LineDelimitedWriter::new(&mut lines);
        for batch in ocsf::read(told, piece) {
            writer.write(&batch).unwrap();
        }
        writer.finish().unwrap();
        drop(writer);
        rows.extend(String::from_utf8(lines).unwrap().lines().map(str::to_owned));
    }
    rows.sort();
    rows
}

/// Seals one sender after the other, merges whatever can be, and compares.
async fn check(all: Vec<Sent>) {
    let mut told = Told::new();
    for one in all {
        told.seal(vec![one]).await;
    }
    let mut before = Vec::new();
    for dataset in Dataset::ALL {
        before.push(rows(&told, dataset).await);
    }
    let mut partitions: Vec<Partition> =
        told.manifest.0.iter().map(|it| it.partition.clone()).collect();
    partitions.sort();
    partitions.dedup();
    for partition in partitions {
        let pieces: Vec<_> =
            told.manifest.0.iter().filter(|it| it.partition == partition).cloned().collect();
        let compacted = told.lake.compact(&pieces).await.unwrap();
        assert_eq!(
            told.lake.compact(&pieces).await.unwrap(),
            compacted,
            "the same files give the same"
        );
        assert_eq!(compacted.added.len(), 1);
        let (added, sum) =
            (&compacted.added[0], |of: fn(&lake::Piece) -> u64| pieces.iter().map(of).sum::<u64>());
        assert_eq!((added.rows, added.calls), (sum(|it| it.rows), sum(|it| it.calls)));
        assert_eq!(added.min_time, pieces.iter().map(|it| it.min_time).min().unwrap());
        assert_eq!(added.max_time, pieces.iter().map(|it| it.max_time).max().unwrap());
        told.manifest.0.retain(|it| !compacted.removed.contains(it));
        told.manifest.0.extend(compacted.added);
    }
    for (dataset, before) in Dataset::ALL.into_iter().zip(before) {
        assert_eq!(rows(&told, dataset).await, before, "{dataset}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn to_merge_files_changes_no_row(all in anything::sent()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(all));
    }
}

#[tokio::test]
async fn many_small_files_become_one_in_the_order_of_time() {
    let mut told = Told::new();
    for seq in 0..20_u64 {
        let calls = (0..300).map(|number| {
            let second = (number * 7 + seq) % 3600;
            Entry::Calls(call(&format!("2026-11-25T10:{:02}:{:02}Z", second / 60, second % 60)))
        });
        told.seal(vec![sent(u8::try_from(seq % 3).unwrap(), seq, calls.collect())]).await;
    }
    let groups = due(&told.manifest.0, noon());
    assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [20]);
    let compacted = told.lake.compact(&groups[0]).await.unwrap();
    let [added] = &compacted.added[..] else { panic!("several files") };
    assert_eq!(added.rows, 6000);
    let mut last = i64::MIN;
    for batch in ocsf::read(&told, added) {
        let times = batch.column_by_name("time").unwrap();
        for time in
            arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(times).values()
        {
            assert!(last <= *time);
            last = *time;
        }
    }
    told.manifest = Snapshot(compacted.added);
    told.check("SELECT count(*), count(DISTINCT event_id) FROM calls", &["6000 6000"]).await;
    assert_eq!(due(&told.manifest.0, noon()).len(), 0);
}

#[tokio::test]
async fn what_was_not_published_is_an_orphan_once_it_is_old() {
    let mut told = Told::new();
    told.seal(vec![sent(1, 1, vec![Entry::Calls(call("2026-11-25T10:00:00Z"))])]).await;
    let lost = told
        .lake
        .seal(vec![sent(1, 2, vec![Entry::Calls(call("2026-11-25T10:00:01Z"))])])
        .await
        .unwrap();
    std::fs::write(told.folder.join("somebody-elses"), b"1").unwrap();
    let half = told.folder.join("leases/eventDay=20261125/a.parquet.1-1.partial");
    std::fs::create_dir_all(half.parent().unwrap()).unwrap();
    std::fs::write(&half, b"1").unwrap();

    let day = SignedDuration::from_hours(24);
    let now = Timestamp::now();
    assert_eq!(told.lake.orphans(&told.manifest, now, day).await.unwrap(), [""; 0]);
    let later = now + SignedDuration::from_hours(25);
    let orphans = told.lake.orphans(&told.manifest, later, day).await.unwrap();
    assert_eq!(orphans, [lost[0].path.as_str(), "leases/eventDay=20261125/a.parquet.1-1.partial"]);
    for orphan in &orphans {
        told.lake.remove(orphan).await.unwrap();
        told.lake.remove(orphan).await.unwrap();
    }
    assert_eq!(told.lake.orphans(&told.manifest, later, day).await.unwrap(), [""; 0]);
    assert!(told.folder.join("somebody-elses").exists());
    told.check("SELECT count(*) FROM calls", &["1"]).await;
}

#[tokio::test]
async fn what_has_expired_is_whole_days() {
    let told =
        Told::of_calls(vec![call("2026-11-24T23:59:59Z"), call("2026-11-25T00:00:00Z")]).await;
    let today = jiff::civil::Date::constant(2026, 11, 26);
    let gone = expired(&told.manifest.0, today, 1);
    assert_eq!(gone.iter().map(|it| it.partition.day.day()).collect::<Vec<_>>(), [24]);
}

#[tokio::test]
async fn files_of_several_partitions_are_not_merged() {
    let told =
        Told::of_calls(vec![call("2026-11-24T23:59:59Z"), call("2026-11-25T00:00:00Z")]).await;
    assert!(told.lake.compact(&told.manifest.0).await.is_err());
    assert_eq!(told.lake.compact(&[]).await.unwrap().added, []);
}
