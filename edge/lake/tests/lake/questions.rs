//! Questions that are wrong, too large, too slow, or about files that are not what they were.

use std::{fs, time::Duration};

use lake::{Engine, LakeError, Limits, QueryError, csv, json};

use crate::story::{Told, call, noon, times};

async fn many() -> Told {
    let calls = (0..6000).map(|number| {
        let (minute, second) = (number / 100 % 60, number % 60);
        call(&format!("2026-11-25T10:{minute:02}:{second:02}Z"))
    });
    Told::of_calls(calls.collect()).await
}

#[tokio::test]
async fn nothing_but_a_query_is_answered() {
    let told = Told::of_calls(vec![call("2026-11-25T10:00:00Z")]).await;
    for sql in [
        "DROP TABLE ocsf_calls",
        "DELETE FROM ocsf_calls",
        "INSERT INTO lease_files SELECT * FROM lease_files",
        "COPY (SELECT 1) TO '/tmp/rolecall-lake-test'",
        "CREATE EXTERNAL TABLE a STORED AS CSV LOCATION '/etc/passwd'",
        "SELECT * INTO a FROM calls",
        "SET datafusion.execution.target_partitions = 1",
        "SELECT 1; DROP TABLE ocsf_calls",
        "EXPLAIN ANALYZE DELETE FROM ocsf_calls",
        "WITH a AS (DELETE FROM ocsf_calls) SELECT 1",
    ] {
        let error = told.try_ask(sql, Limits::default()).await.unwrap_err();
        assert!(
            matches!(error, QueryError::NotAQuery(_) | QueryError::Wrong(_)),
            "{sql}: {error:?}"
        );
    }
    told.check("SELECT count(*) FROM calls", &["1"]).await;
}

#[tokio::test]
async fn nothing_but_the_lake_is_reached() {
    let told = Told::new();
    for sql in [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'file:///etc/passwd'",
        "SELECT * FROM \"/etc/passwd.csv\"",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM generate_series(1, 10)",
        "SELECT repeat('a', 1000000000)",
        "SELECT current_setting('a')",
    ] {
        let error = told.try_ask(sql, Limits::default()).await.unwrap_err();
        assert!(matches!(error, QueryError::Wrong(_)), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn a_wrong_question_is_told_what_is_wrong_with_it() {
    let told = Told::of_calls(vec![call("2026-11-25T10:00:00Z")]).await;
    for (sql, says) in [
        ("SELECT nothing FROM calls", "nothing"),
        ("SELECT * FROM cals", "there is no `cals` here: there are calls, needs, leases,"),
        ("SELEC 1", "SELEC"),
        ("SELECT count / 0 FROM calls", "zero"),
        ("SELECT CAST(service AS INT) FROM calls", "S3"),
    ] {
        match told.try_ask(sql, Limits::default()).await.unwrap_err() {
            QueryError::Wrong(why) => assert!(why.contains(says), "{sql}: {why}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_question_that_needs_too_much_memory_ends_so() {
    let told = many().await;
    let limits = Limits { memory: 100_000, ..Limits::default() };
    let sql = "SELECT event_id, count(*) FROM calls GROUP BY event_id ORDER BY event_id";
    let error = told.try_ask(sql, limits).await.unwrap_err();
    assert!(matches!(error, QueryError::TooBig { limit: 100_000 }), "{error:?}");
    assert_eq!(told.try_ask("SELECT count(*) FROM calls", limits).await.unwrap(), [["6000"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_takes_too_long_ends_so() {
    let told = many().await;
    let limits = Limits { time: Duration::from_millis(300), ..Limits::default() };
    let sql = "SELECT count(*) FROM calls a, calls b WHERE a.event_id || b.event_id LIKE '%a%z%'";
    let began = std::time::Instant::now();
    let error = told.try_ask(sql, limits).await.unwrap_err();
    assert!(matches!(error, QueryError::TooLong { .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_dropped_stops_the_work() {
    let told = many().await;
    let engine = Engine::new(told.lake.clone(), Limits::default());
    let sql = "SELECT a.event_id || b.event_id FROM calls a, calls b";
    let mut answer = engine.query(sql, noon(), &told.manifest).await.unwrap();
    assert!(answer.next().await.unwrap().is_some());
    drop(answer);
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let ended = async {
        while alive() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
}

#[tokio::test]
async fn more_rows_than_one_may_have_are_left_out_and_that_is_said() {
    let told = many().await;
    for (rows, truncated) in [(10, true), (5999, true), (6000, false), (6001, false)] {
        let engine = Engine::new(told.lake.clone(), Limits { rows, ..Limits::default() });
        let sql = "SELECT event_id FROM calls";
        let mut answer = engine.query(sql, noon(), &told.manifest).await.unwrap();
        let found: usize = answer.rest().await.unwrap().iter().map(|it| it.num_rows()).sum();
        assert_eq!((found, answer.is_truncated()), (rows.min(6000), truncated));
    }
}

#[tokio::test]
async fn a_deep_question_is_answered_or_refused_and_never_ends_the_program() {
    let told = Told::new();
    let sum = format!("SELECT 1{}", " + 1".repeat(399));
    assert_eq!(told.try_ask(&sum, Limits::default()).await.unwrap(), [["400"]]);
    let or = format!("SELECT count(*) FROM calls WHERE count = 0{}", " OR count = 1".repeat(190));
    assert_eq!(told.try_ask(&or, Limits::default()).await.unwrap(), [["0"]]);
    let nots = format!("SELECT {}true", "NOT ".repeat(390));
    let _ = told.try_ask(&nots, Limits::default()).await;
    let unions = format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(190));
    let _ = told.try_ask(&unions, Limits::default()).await;
}

#[tokio::test]
async fn a_file_that_is_gone_is_named() {
    let told = Told::of_calls(vec![call("2026-11-25T10:00:00Z")]).await;
    let path = &told.manifest.0[0].path;
    fs::remove_file(told.folder.join(path)).unwrap();
    match told.try_ask("SELECT * FROM calls", Limits::default()).await.unwrap_err() {
        QueryError::Lake(LakeError::Missing(missing)) => {
            assert!(missing.ends_with(path), "{missing}");
        }
        other => panic!("{other:?}"),
    }
    let error = told.lake.compact(&told.manifest.0).await.unwrap_err();
    assert!(matches!(&error, LakeError::Missing(missing) if missing == path), "{error:?}");
}

#[tokio::test]
async fn a_damaged_file_is_told_from_a_wrong_question() {
    let told = many().await;
    let piece = &told.manifest.0[0];
    let path = told.folder.join(&piece.path);
    let whole = fs::read(&path).unwrap();
    let half = whole.len() / 2;
    let footer = whole.len() - 20;
    let damages: [(&str, Vec<u8>); 4] = [
        ("cut", whole[..half].to_vec()),
        ("empty", Vec::new()),
        ("zeros", [&whole[..4], &vec![0; half][..], &whole[4 + half..]].concat()),
        ("footer", [&whole[..footer], &[0xff; 20][..]].concat()),
    ];
    for (what, bytes) in damages {
        fs::write(&path, bytes).unwrap();
        let error = told.try_ask("SELECT * FROM calls", Limits::default()).await.unwrap_err();
        assert!(matches!(error, QueryError::Lake(_)), "{what}: {error:?}");
        assert!(told.lake.compact(&told.manifest.0).await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn a_snapshot_is_not_changed_by_what_is_written_later() {
    let mut told = Told::of_calls(vec![call("2026-11-25T10:00:00Z")]).await;
    let before = told.manifest.clone();
    told.seal(vec![crate::story::sent(
        1,
        2,
        vec![calls::Entry::Calls(call("2026-11-25T10:00:01Z"))],
    )])
    .await;
    let engine = Engine::new(told.lake.clone(), Limits::default());
    for (snapshot, rows) in [(&before, 1), (&told.manifest, 2)] {
        let mut answer = engine.query("SELECT * FROM calls", noon(), snapshot).await.unwrap();
        let found: usize = answer.rest().await.unwrap().iter().map(|it| it.num_rows()).sum();
        assert_eq!(found, rows);
    }
}

#[tokio::test]
async fn only_files_are_read_that_may_have_what_is_asked_for() {
    let mut told =
        Told::of_calls(vec![call("2026-11-25T10:00:00Z"), call("2026-11-24T10:00:00Z")]).await;
    told.seal(vec![crate::story::sent(
        1,
        2,
        vec![calls::Entry::Calls(call("2026-11-25T11:00:00Z"))],
    )])
    .await;
    // Those that need not be read cannot be.
    for piece in &told.manifest.0 {
        if piece.min_time != crate::story::at("2026-11-25T11:00:00Z") {
            fs::remove_file(told.folder.join(&piece.path)).unwrap();
        }
    }
    for sql in [
        "SELECT count(*) FROM calls WHERE time > '2026-11-25T10:30:00Z'",
        "SELECT count(*) FROM needs WHERE time > '2026-11-25T10:30:00Z'",
        "SELECT count(*) FROM calls WHERE time BETWEEN now() - INTERVAL '1 hour' AND now()",
        "SELECT count(*) FROM ocsf_calls WHERE time_dt > '2026-11-25T10:30:00Z'",
    ] {
        told.check(sql, &["1"]).await;
    }
    for sql in [
        "SELECT count(*) FROM calls WHERE region = 'us-east-1'",
        "SELECT count(*) FROM calls WHERE region IS NULL",
        "SELECT count(*) FROM calls WHERE account IN ('333333333333')",
        "SELECT count(*) FROM ocsf_calls WHERE day < DATE '2026-11-01'",
    ] {
        told.check(sql, &["0"]).await;
    }
    assert!(
        told.try_ask("SELECT count(*) FROM calls WHERE service = 'S3'", Limits::default())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn now_is_when_the_asker_says() {
    let told = Told::new();
    told.check("SELECT now(), current_date", &["2026-11-25T12:00:00Z 2026-11-25"]).await;
}

#[tokio::test]
async fn rows_can_be_had_as_json_csv_and_cells() {
    let told =
        Told::of_calls(vec![times(call("2026-11-25T10:00:00Z"), 2, "2026-11-25T10:00:01Z")]).await;
    let engine = Engine::new(told.lake.clone(), Limits::default());
    let sql = "SELECT time, count, error, resources FROM calls";
    let mut answer = engine.query(sql, noon(), &told.manifest).await.unwrap();
    let rows = answer.next().await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!(
        text(json(&rows).unwrap()),
        "{\"time\":\"2026-11-25T10:00:00Z\",\"count\":2,\"error\":null,\"resources\":[\"arn:aws:s3:::reports/a/*\"]}\n"
    );
    assert_eq!(
        text(csv(&rows, true).unwrap()),
        "time,count,error,resources\n2026-11-25T10:00:00Z,2,,[arn:aws:s3:::reports/a/*]\n"
    );
    assert_eq!(text(csv(&rows, false).unwrap()).lines().count(), 1);
    assert_eq!(lake::cells(&rows).unwrap()[0][2], "unknown");
}

/// What it is given can go to another thread, as servers want.
fn goes_anywhere<T: Send>(_: &T) {}

#[tokio::test]
async fn everything_that_waits_can_wait_on_any_thread() {
    let told = Told::new();
    let engine = Engine::new(told.lake.clone(), Limits::default());
    goes_anywhere(&told.lake.seal(Vec::new()));
    goes_anywhere(&told.lake.compact(&told.manifest.0));
    goes_anywhere(&told.lake.remove("a"));
    goes_anywhere(&told.lake.orphans(&told.manifest, noon(), jiff::SignedDuration::ZERO));
    goes_anywhere(&engine.query("SELECT 1", noon(), &told.manifest));
    let mut answer = engine.query("SELECT 1", noon(), &told.manifest).await.unwrap();
    goes_anywhere(&answer.next());
    goes_anywhere(&answer.rest());
    // Within another future as well, which is more than each on its own.
    let told = std::sync::Arc::new(told);
    let asked = tokio::spawn(async move {
        let mut answer = engine.query("SELECT 1", noon(), &told.manifest).await.unwrap();
        let rows = answer.rest().await.unwrap().len();
        told.lake.seal(Vec::new()).await.unwrap();
        told.lake.compact(&told.manifest.0).await.unwrap();
        rows
    });
    assert_eq!(asked.await.unwrap(), 1);
}
