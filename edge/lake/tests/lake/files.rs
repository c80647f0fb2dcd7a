//! Files that others can read, written whole, and the same for the same frames.

use std::{fs, os::unix::fs::PermissionsExt as _};

use calls::Entry;
use cloud::Region;
use lake::{Dataset, Lake, Place};
use parquet::{
    basic::{Compression, Encoding},
    file::{reader::FileReader as _, serialized_reader::SerializedFileReader},
};

use crate::{
    ocsf,
    story::{Told, call, lease, sent, with},
};

#[tokio::test]
async fn a_file_stands_where_security_lake_wants_it() {
    let nowhere = with(call("2026-11-24T23:59:59.999Z"), |key| {
        (key.region, key.access_key) = (None, None);
        key.signer = calls::Signer::Unknown;
    });
    let told = Told::of(vec![
        Entry::Calls(call("2026-11-25T00:00:00Z")),
        Entry::Calls(nowhere),
        lease("orders", "222222222222", "2026-11-25T10:00:00Z"),
    ])
    .await;
    let mut folders: Vec<_> =
        told.manifest.0.iter().map(|it| it.path.rsplit_once('/').unwrap().0).collect();
    folders.sort_unstable();
    assert_eq!(
        folders,
        [
            "ext/rolecall-calls/1.0/region=eu-west-1/accountId=222222222222/eventDay=20261125",
            "ext/rolecall-calls/1.0/region=unknown/accountId=external_unknown/eventDay=20261124",
            "leases/eventDay=20261125",
        ]
    );
    let piece = told.manifest.0.iter().find(|it| it.partition.region.is_some()).unwrap();
    assert_eq!(piece.partition.region.as_ref().map(Region::as_str), Some("eu-west-1"));
    assert_eq!((piece.rows, piece.calls, piece.min_time), (1, 1, piece.max_time));
    let name = piece.path.rsplit_once('/').unwrap().1;
    assert!(name.starts_with("host-1.01010101010101010101010101010101.1-1."), "{name}");
}

#[tokio::test]
async fn pages_row_groups_codec_and_order_are_as_security_lake_wants_them() {
    // Rows that are as long as they can be, and all different.
    let long = |number: usize| {
        let minute = 59 - number % 60;
        let mut record = with(call(&format!("2026-11-25T10:{minute:02}:00Z")), |key| {
            let value = |at: usize| format!("{number}-{at}-{}", "x".repeat(700)).into();
            key.unnamed = [("p".into(), vec![value(0)])].into();
            key.named.needs = crate::story::needs(&[("s3:GetObject", None)]);
        });
        record.sighting.request_id = Some(format!("{number}{}", "y".repeat(120)));
        record.sighting.user_agent = Some(format!("{number}{}", "z".repeat(250)));
        record
    };
    let told = Told::of_calls((0..5000).map(long).collect()).await;
    let [piece] = &told.manifest.0[..] else { panic!("several files") };
    let file = fs::File::open(told.folder.join(&piece.path)).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let mut pages = 0;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).unwrap();
        assert!(group.metadata().compressed_size() <= 256 << 20);
        for column in 0..group.num_columns() {
            let chunk = group.metadata().column(column);
            assert!(matches!(chunk.compression(), Compression::ZSTD(_)));
            for page in group.get_column_page_reader(column).unwrap() {
                let bytes = page.unwrap().buffer().len();
                pages += 1;
                assert!(bytes <= 1 << 20, "{}: {bytes}", chunk.column_path());
            }
        }
        let sorted = group.metadata().sorting_columns().unwrap();
        let name = group.metadata().column(usize::try_from(sorted[0].column_idx).unwrap());
        assert_eq!((name.column_path().string(), sorted[0].descending), ("time".to_owned(), false));
    }
    assert!(pages > 100, "{pages}");
    let mut last = i64::MIN;
    for batch in ocsf::read(&told, piece) {
        let times = batch.column_by_name("time").unwrap();
        for time in
            arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(times).values()
        {
            assert!(last <= *time);
            last = *time;
        }
    }
}

/// Every field of every dataset with its number, as files say it.
#[tokio::test]
async fn every_field_has_a_number_that_does_not_change() {
    let told = Told::of(vec![
        Entry::Calls(call("2026-11-25T10:00:00Z")),
        lease("a", "222222222222", "2026-11-25T10:00:00Z"),
    ])
    .await;
    let mut all = Vec::new();
    for piece in &told.manifest.0 {
        let file = fs::File::open(told.folder.join(&piece.path)).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        numbers(piece.partition.dataset, schema.root_schema(), "", &mut all);
    }
    let expected = include_str!("fields.txt");
    assert_eq!(all.join("\n"), expected.trim_end(), "numbers are given once and for all");
}

fn numbers(
    dataset: Dataset,
    kind: &parquet::schema::types::Type,
    path: &str,
    all: &mut Vec<String>,
) {
    for field in kind.get_fields() {
        let path = format!("{path}/{}", field.name());
        // What parquet puts around the elements of a list has no number.
        let info = field.get_basic_info();
        if info.has_id() {
            all.push(format!("{dataset}{path} {} {:?}", info.id(), info.repetition()));
        } else {
            assert_eq!(field.name(), "list");
        }
        if field.is_group() {
            numbers(dataset, field, &path, all);
        }
    }
}

#[tokio::test]
async fn the_same_frames_give_the_same_files_and_only_once() {
    let mut told = Told::new();
    let frames = || {
        vec![
            sent(1, 1, vec![Entry::Calls(call("2026-11-25T10:00:00Z"))]),
            sent(
                2,
                9,
                vec![
                    Entry::Calls(call("2026-11-25T10:00:00Z")),
                    lease("a", "222222222222", "2026-11-25T10:00:00Z"),
                ],
            ),
        ]
    };
    let pieces = told.seal(frames()).await;
    assert_eq!(told.lake.seal(frames()).await.unwrap(), pieces);
    // Who comes first does not matter.
    let turned = frames().into_iter().rev().collect();
    assert_eq!(told.lake.seal(turned).await.unwrap(), pieces);
    let elsewhere = Told::new();
    assert_eq!(elsewhere.lake.seal(frames()).await.unwrap(), pieces);
    assert_eq!(
        told.lake
            .orphans(&told.manifest, jiff::Timestamp::MAX, jiff::SignedDuration::ZERO)
            .await
            .unwrap(),
        [""; 0]
    );
    for piece in &pieces {
        let bytes = fs::read(told.folder.join(&piece.path)).unwrap();
        assert_eq!(bytes.len() as u64, piece.bytes);
        assert_eq!(bytes, fs::read(elsewhere.folder.join(&piece.path)).unwrap());
    }
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_put_right_when_it_is_written_again() {
    let mut told = Told::new();
    let frames = || vec![sent(1, 1, vec![Entry::Calls(call("2026-11-25T10:00:00Z"))])];
    let pieces = told.seal(frames()).await;
    let path = told.folder.join(&pieces[0].path);
    fs::write(&path, b"PAR1").unwrap();
    told.lake.seal(frames()).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), pieces[0].bytes);
    told.check("SELECT count(*) FROM calls", &["1"]).await;
}

#[tokio::test]
async fn nobody_else_may_look_into_the_folder_and_nothing_half_done_stays() {
    let told = Told::of_calls(vec![call("2026-11-25T10:00:00Z")]).await;
    let path = told.folder.join(&told.manifest.0[0].path);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    for folder in path.ancestors().skip(1).take_while(|it| it.starts_with(&told.folder)) {
        assert_eq!(mode(folder), 0o700);
    }
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[tokio::test]
async fn parameters_that_could_not_be_named_are_kept_as_far_as_there_is_room() {
    let record = with(call("2026-11-25T10:00:00Z"), |key| {
        key.unnamed =
            [("A".into(), vec!["1".into()]), ("B".into(), vec!["x".repeat(60_000).into()])].into();
    });
    let told = Told::of_calls(vec![record]).await;
    told.check("SELECT unnamed FROM calls", &[r#"{"(left out)":1,"A":["1"]}"#]).await;
}

#[tokio::test]
async fn an_agent_may_have_any_name() {
    let mut told = Told::new();
    let mut one = sent(1, 1, vec![Entry::Calls(call("2026-11-25T10:00:00Z"))]);
    one.sender.agent = "../../Etc/ä b".to_owned();
    let pieces = told.seal(vec![one]).await;
    assert!(pieces[0].path.contains("/______Etc___b."), "{}", pieces[0].path);
    told.check("SELECT host FROM calls", &["../../Etc/ä b"]).await;
}

#[test]
fn a_folder_that_cannot_be_made_says_so() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = Lake::open(&Place::Folder(file.join("lake"))).unwrap_err();
    assert!(error.to_string().starts_with("cannot make `"), "{error}");
}

/// Others would be as good, but for size.
#[tokio::test]
async fn times_are_written_as_differences_and_ids_without_a_dictionary() {
    let told = Told::of_calls(
        (0..50).map(|second| call(&format!("2026-11-25T10:00:{second:02}Z"))).collect(),
    )
    .await;
    let file = fs::File::open(told.folder.join(&told.manifest.0[0].path)).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    for (name, encoding) in
        [("metadata.uid", Encoding::PLAIN), ("time", Encoding::DELTA_BINARY_PACKED)]
    {
        let group = reader.metadata().row_group(0);
        let column = group.columns().iter().find(|it| it.column_path().string() == name).unwrap();
        assert!(column.encodings().any(|it| it == encoding), "{name}");
    }
}
