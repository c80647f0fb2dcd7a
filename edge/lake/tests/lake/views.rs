//! What each view says of a story.

use calls::{
    Coverage, Covered, End, Entry, Heard, Loss, Names, Needs, Outcome, Refusals, Signer, Trust,
};
use lake::{Engine, Limits, views};

use crate::story::{Told, at, call, lease, needs, noon, sent, times, with};

#[tokio::test]
async fn every_view_has_the_columns_that_are_documented_also_over_no_files() {
    let told = Told::new();
    let engine = Engine::new(told.lake.clone(), Limits::default());
    for view in views() {
        let sql = format!("SELECT * FROM {}", view.name);
        let mut answer = engine.query(&sql, noon(), &told.manifest).await.unwrap();
        let fields = answer.schema().fields().clone();
        let names: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
        let documented: Vec<_> = view.columns.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, documented, "{}", view.name);
        assert!(answer.next().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn calls_say_who_did_what_on_what_and_what_came_of_it() {
    let stolen = with(call("2026-11-25T10:00:02Z"), |key| {
        key.workload = Some("billing/prod/7".parse().unwrap());
        key.outcome = Outcome::Denied;
    });
    let told = Told::of_calls(vec![
        times(call("2026-11-25T10:00:00.5Z"), 40, "2026-11-25T10:00:59Z"),
        stolen,
        with(call("2026-11-25T10:00:03Z"), |key| {
            (key.signer, key.trust) = (Signer::Foreign, Trust::Monitoring);
        }),
    ])
    .await;
    told.check(
        "SELECT time, last, count, application, environment, instance, role, outcome FROM calls ORDER BY time LIMIT 1",
        &["2026-11-25T10:00:00.500Z 2026-11-25T10:00:59Z 40 orders prod 1 arn:aws:iam::222222222222:role/orders done"],
    )
    .await;
    told.check(
        "SELECT workload, leased_to FROM calls WHERE signer = 'leased' AND workload <> leased_to",
        &["billing/prod/7 orders/prod/1"],
    )
    .await;
    told.check(
        "SELECT signer, role, leased_to, trust FROM calls WHERE signer = 'foreign'",
        &["foreign unknown unknown monitoring"],
    )
    .await;
    told.check("SELECT resources, named FROM calls LIMIT 1", &["[arn:aws:s3:::reports/a/*] all"])
        .await;
}

#[tokio::test]
async fn what_is_not_known_is_there_and_says_so() {
    let nothing = with(call("2026-11-25T10:00:00Z"), |key| {
        (key.workload, key.access_key, key.region) = (None, None, None);
        key.signer = Signer::Unknown;
        key.named = calls::Named::default();
    });
    let part = with(call("2026-11-25T10:00:01Z"), |key| {
        key.named.needs = needs(&[
            ("kms:Decrypt", None),
            ("s3:GetObject", Some(&["arn:aws:s3:::reports/b"])),
            ("s3:ListAllMyBuckets", Some(&[])),
        ]);
    });
    let no_need = with(call("2026-11-25T10:00:02Z"), |key| key.named.needs = needs(&[]));
    let told = Told::of_calls(vec![nothing, part, no_need]).await;
    told.check(
        "SELECT named, resources, account, region, application FROM calls ORDER BY time",
        &[
            "nothing unknown unknown unknown unknown",
            "part [arn:aws:s3:::reports/b] 222222222222 eu-west-1 orders",
            "all [] 222222222222 eu-west-1 orders",
        ],
    )
    .await;
    told.check(
        "SELECT action, resource FROM needs ORDER BY time, action",
        &[
            "unknown unknown",
            "kms:Decrypt unknown",
            "s3:GetObject arn:aws:s3:::reports/b",
            "s3:ListAllMyBuckets *",
        ],
    )
    .await;
    told.check(
        "SELECT count(*) FROM role_resources WHERE role IS NULL AND resource IS NULL",
        &["1"],
    )
    .await;
    told.check(
        "SELECT count(*) FROM resource_roles WHERE resource IS NULL AND actions IS NULL",
        &["1"],
    )
    .await;
    told.check("SELECT count(*) FROM app_dependencies WHERE application IS NULL", &["1"]).await;
    told.check("SELECT count(*) FROM last_used WHERE action IS NULL", &["1"]).await;
    told.check("SELECT count(*) FROM new_this_week WHERE action IS NULL", &["1"]).await;
}

#[tokio::test]
async fn roles_and_resources_are_seen_from_both_sides() {
    let put = |time| {
        with(call(time), |key| {
            key.named.needs = needs(&[("s3:PutObject", Some(&["arn:aws:s3:::reports/a/*"]))]);
            key.outcome = Outcome::Denied;
        })
    };
    let thief = with(call("2026-11-25T09:00:00Z"), |key| {
        (key.signer, key.workload) = (Signer::Foreign, None);
    });
    let told = Told::of_calls(vec![
        times(call("2026-11-25T10:00:00Z"), 5, "2026-11-25T10:00:10Z"),
        put("2026-11-25T11:00:00Z"),
        thief,
    ])
    .await;
    told.check(
        "SELECT role, application, resource, actions, count, denied, first, last FROM role_resources WHERE role IS NOT NULL",
        &["arn:aws:iam::222222222222:role/orders orders arn:aws:s3:::reports/a/* [s3:GetObject, s3:PutObject] 6 1 2026-11-25T10:00:00Z 2026-11-25T11:00:00Z"],
    )
    .await;
    told.check(
        "SELECT role, access_key, signer, count FROM resource_roles WHERE resource LIKE '%reports%' ORDER BY first",
        &[
            "unknown ASIAORDERS0000000001 foreign 1",
            "arn:aws:iam::222222222222:role/orders unknown leased 6",
        ],
    )
    .await;
}

#[tokio::test]
async fn an_application_depends_on_those_in_whose_account_its_resources_are() {
    let queue = with(call("2026-11-25T10:00:00Z"), |key| {
        key.service = "SQS".into();
        key.named.needs =
            needs(&[("sqs:SendMessage", Some(&["arn:aws:sqs:eu-west-1:333333333333:invoices"]))]);
    });
    let list = with(call("2026-11-25T10:00:00Z"), |key| {
        key.named.needs = needs(&[("s3:ListAllMyBuckets", Some(&[]))]);
    });
    let told = Told::of(vec![
        Entry::Calls(queue),
        Entry::Calls(list),
        Entry::Calls(call("2026-11-25T10:00:00Z")),
        lease("billing", "333333333333", "2026-11-25T09:00:00Z"),
        lease("ledger", "333333333333", "2026-11-25T09:00:00Z"),
        lease("orders", "222222222222", "2026-11-25T09:00:00Z"),
    ])
    .await;
    told.check(
        "SELECT application, service, resource, resource_account, owners FROM app_dependencies ORDER BY service",
        &[
            "orders S3 arn:aws:s3:::reports/a/* unknown unknown",
            "orders SQS arn:aws:sqs:eu-west-1:333333333333:invoices 333333333333 [billing, ledger]",
        ],
    )
    .await;
}

#[tokio::test]
async fn what_was_denied_is_no_use() {
    let denied = with(call("2026-11-25T11:00:00Z"), |key| key.outcome = Outcome::Denied);
    let failed = with(call("2026-11-25T10:30:00Z"), |key| key.outcome = Outcome::Failed);
    let told = Told::of_calls(vec![
        times(call("2026-11-24T10:00:00Z"), 4, "2026-11-24T10:00:30Z"),
        failed,
        denied,
    ])
    .await;
    told.check(
        "SELECT action, last, last_done, count FROM last_used",
        &["s3:GetObject 2026-11-25T10:30:00Z 2026-11-24T10:00:30Z 5"],
    )
    .await;
}

#[tokio::test]
async fn a_denial_that_was_not_done_since_is_a_denial_now() {
    let denied = |time, operation: &str| {
        let mut record = with(call(time), |key| {
            key.operation = operation.into();
            key.outcome = Outcome::Denied;
        });
        record.sighting.exception = Some("AccessDenied".to_owned());
        record
    };
    let done = |time, operation: &str| with(call(time), |key| key.operation = operation.into());
    let told = Told::of_calls(vec![
        denied("2026-11-25T10:00:00Z", "Still"),
        times(denied("2026-11-25T10:30:00Z", "Still"), 3, "2026-11-25T10:31:00Z"),
        done("2026-11-25T09:00:00Z", "Still"),
        denied("2026-11-25T10:00:00Z", "Mended"),
        done("2026-11-25T11:00:00Z", "Mended"),
        denied("2026-11-24T11:59:59Z", "Yesterday"),
        denied("2026-11-24T12:00:00Z", "JustToday"),
        done("2026-11-25T10:00:00Z", "Never"),
        // A new key of the same role mends as well.
        denied("2026-11-25T08:00:00Z", "NewLease"),
        with(done("2026-11-25T09:00:00Z", "NewLease"), |key| {
            key.access_key = calls::AccessKeyId::parse("ASIAORDERS0000000002");
        }),
    ])
    .await;
    told.check(
        "SELECT operation, error, first, last, count FROM denied_now ORDER BY last",
        &[
            "JustToday AccessDenied 2026-11-24T12:00:00Z 2026-11-24T12:00:00Z 1",
            "Still AccessDenied 2026-11-25T10:00:00Z 2026-11-25T10:31:00Z 4",
        ],
    )
    .await;
}

#[tokio::test]
async fn what_was_first_seen_within_a_week_is_new() {
    let on = |time, resource: &str| {
        with(call(time), |key| {
            key.named.needs = Needs::These(
                [("s3:GetObject".to_owned(), Names::These([resource.to_owned()].into()))].into(),
            );
        })
    };
    let told = Told::of_calls(vec![
        on("2026-11-01T10:00:00Z", "old"),
        on("2026-11-25T10:00:00Z", "old"),
        on("2026-11-18T12:00:00Z", "new"),
        on("2026-11-18T11:59:59Z", "just-old"),
    ])
    .await;
    told.check(
        "SELECT role, action, resource, first, history_from FROM new_this_week",
        &["arn:aws:iam::222222222222:role/orders s3:GetObject new 2026-11-18T12:00:00Z 2026-11-01T10:00:00Z"],
    )
    .await;
}

fn covered(from: &str, stored: u64, lost: u64, held: u64) -> Entry {
    let mut coverage = Coverage::default();
    coverage.sent(stored + lost);
    coverage.ended(End::Stored, stored);
    coverage.ended(End::Lost(Loss::SpoolFull), lost);
    let to = at(from) + jiff::SignedDuration::from_mins(1);
    Entry::Covered(Covered {
        from: at(from),
        to,
        coverage,
        refusals: Refusals::default(),
        held,
        cut_off: 0,
        crashes: 0,
    })
}

#[tokio::test]
async fn coverage_adds_up_by_host_and_day() {
    let mut told = Told::new();
    let first = vec![
        covered("2026-11-24T23:59:30Z", 1, 0, 9),
        covered("2026-11-25T10:00:00Z", 10, 2, 5),
        covered("2026-11-25T10:01:00Z", 20, 0, 3),
    ];
    told.seal(vec![sent(1, 1, first), sent(2, 1, vec![covered("2026-11-25T10:00:00Z", 7, 0, 0)])])
        .await;
    told.check("SELECT host, day, sent, stored, lost, lost_spool_full, held, last FROM coverage ORDER BY host, day", &[
        "host-1 2026-11-24 1 1 0 0 9 2026-11-25T00:00:30Z",
        "host-1 2026-11-25 32 30 2 2 3 2026-11-25T10:02:00Z",
        "host-2 2026-11-25 7 7 0 0 0 2026-11-25T10:01:00Z",
    ])
    .await;
}

#[tokio::test]
async fn every_loss_has_a_column() {
    let coverage = views().iter().find(|view| view.name == "coverage").unwrap();
    for loss in Loss::ALL {
        let name = format!("lost_{}", loss.as_str().replace('-', "_"));
        assert!(coverage.columns.iter().any(|(column, _)| *column == name), "{name}");
    }
    // And each of them is in the sum.
    let entries = Loss::ALL.into_iter().enumerate().map(|(index, loss)| {
        let mut coverage = Coverage::default();
        coverage.never_came(loss, 1 << index);
        let (from, to) = (at("2026-11-25T10:00:00Z"), at("2026-11-25T10:01:00Z"));
        Entry::Covered(Covered {
            from,
            to,
            coverage,
            refusals: Refusals::default(),
            held: 0,
            cut_off: 0,
            crashes: 0,
        })
    });
    let told = Told::of(entries.collect()).await;
    told.check("SELECT sent, lost FROM coverage", &["2047 2047"]).await;
}

#[tokio::test]
async fn leases_and_shims_say_who_has_what() {
    let heard = Entry::Heard(Heard {
        workload: None,
        at: at("2026-11-25T10:00:00Z"),
        language: "python".to_owned(),
        sdk: "botocore".to_owned(),
        sdk_version: "1.44.5".to_owned(),
        shim_version: "0.1.0".to_owned(),
    });
    let told = Told::of(vec![heard, lease("orders", "222222222222", "2026-11-25T09:00:00Z")]).await;
    told.check(
        "SELECT application, workload, language, sdk, host FROM shims",
        &["unknown unknown python botocore host-1"],
    )
    .await;
    told.check("SELECT access_key, application, instance, role, account, fetched, ends FROM leases", &[
        "ASIAORDERS0000000000 orders 1 arn:aws:iam::222222222222:role/orders 222222222222 2026-11-25T09:00:00Z 2026-11-25T10:00:00Z",
    ])
    .await;
    // A call joins to its lease by the key.
    told.check("SELECT count(*) FROM leases l LEFT JOIN calls c ON c.access_key = l.access_key WHERE c.access_key IS NULL", &["1"]).await;
}
