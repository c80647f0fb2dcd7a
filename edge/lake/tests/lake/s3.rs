//! The same in a bucket of a real server that speaks S3.

use std::net::Ipv4Addr;

use calls::Entry;
use jiff::{SignedDuration, Timestamp};
use lake::{
    Bucket, Credentials, Engine, Lake, LakeError, Limits, Place, QueryError, Snapshot, cells, due,
};
use practice::{
    cloud::{Cloud, CloudError, Layout},
    tools::Tools,
};

use crate::story::{call, noon, sent};

fn bucket(endpoint: String, name: &str) -> Place {
    Place::Bucket(Bucket {
        name: name.to_owned(),
        prefix: "some/where".to_owned(),
        region: "eu-west-1".to_owned(),
        endpoint: Some(endpoint),
        credentials: Credentials::Fixed {
            access_key: "practice".to_owned(),
            secret_key: "practice".to_owned(),
            session_token: None,
        },
    })
}

async fn count(lake: &Lake, manifest: &Snapshot) -> Result<String, QueryError> {
    let engine = Engine::new(lake.clone(), Limits::default());
    let mut answer = engine.query("SELECT count(*) FROM calls", noon(), manifest).await?;
    let rows = answer.rest().await?;
    Ok(cells(&rows[0])?[0][0].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_in_a_bucket_is_written_read_merged_and_cleaned() {
    let place = tempfile::tempdir().unwrap();
    let layout = Layout::new(Ipv4Addr::LOCALHOST.into(), place.path());
    let cloud = match Cloud::start(&Tools::find(), &layout) {
        Ok(cloud) => cloud,
        Err(CloudError::Missing(missing)) => return println!("skipped: {missing}"),
        Err(error) => panic!("{error}"),
    };
    let endpoint = format!("http://{}", cloud.moto());
    let lake = Lake::open(&bucket(endpoint.clone(), &cloud.application("orders").unwrap().bucket))
        .unwrap();

    let frames = |seq: u64| {
        let calls =
            (0..50).map(|second| Entry::Calls(call(&format!("2026-11-24T10:00:{second:02}Z"))));
        vec![sent(1, seq, calls.collect())]
    };
    let mut manifest = Snapshot::default();
    for seq in 1..4 {
        manifest.0.extend(lake.seal(frames(seq)).await.unwrap());
    }
    // Who does not know whether it was written writes it again.
    assert_eq!(lake.seal(frames(2)).await.unwrap(), [manifest.0[1].clone()]);
    assert_eq!(count(&lake, &manifest).await.unwrap(), "150");

    let groups = due(&manifest.0, noon());
    let compacted = lake.compact(&groups[0]).await.unwrap();
    assert_eq!(compacted.removed, manifest.0);
    manifest.0 = compacted.added;
    assert_eq!(count(&lake, &manifest).await.unwrap(), "150");

    let later = Timestamp::now() + SignedDuration::from_hours(2);
    let orphans = lake.orphans(&manifest, later, SignedDuration::from_hours(1)).await.unwrap();
    assert_eq!(orphans.len(), 3);
    for orphan in &orphans {
        lake.remove(orphan).await.unwrap();
        lake.remove(orphan).await.unwrap();
    }
    assert_eq!(count(&lake, &manifest).await.unwrap(), "150");

    lake.remove(&manifest.0[0].path).await.unwrap();
    let error = count(&lake, &manifest).await.unwrap_err();
    assert!(matches!(error, QueryError::Lake(LakeError::Missing(_))), "{error:?}");

    let nowhere = Lake::open(&bucket(endpoint, "no-such-bucket")).unwrap();
    let error = nowhere.seal(frames(1)).await.unwrap_err();
    assert!(matches!(error, LakeError::Store { .. }), "{error:?}");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_the_operators_business() {
    // Nobody listens at the port of a socket that is closed.
    let port =
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let lake = Lake::open(&bucket(format!("http://127.0.0.1:{port}"), "nowhere")).unwrap();
    let frames = vec![sent(1, 1, vec![Entry::Calls(call("2026-11-24T10:00:00Z"))])];
    let error = lake.seal(frames).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(
        error.to_string().starts_with("the store cannot write `ext/rolecall-calls/1.0/"),
        "{error}"
    );
}

#[test]
fn a_secret_is_not_shown() {
    let place = bucket("http://127.0.0.1:1".to_owned(), "a");
    let Place::Bucket(Bucket { credentials, .. }) = &place else { panic!("no bucket") };
    assert_eq!(format!("{credentials:?}"), "Fixed { access_key: \"practice\", .. }");
}
