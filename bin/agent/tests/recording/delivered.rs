//! From an unchanged program to SQL: the whole way, with a server that is killed on it.

use practice::{
    clients::Client,
    control::Who,
    program::Invocation,
    stage::{ENVIRONMENT, Scene, Source, Stage},
};
use serde_json::{Value, json};

use crate::{
    programs::{LIMIT, dressed, needs, served},
    stage::{name, on_stage, status, until},
};

/// The rows of an answer, as somebody who may ask gets them.
fn asked(stage: &Stage, sql: &str) -> Option<Value> {
    let control = stage.control.as_ref().unwrap();
    let answer = control.rolecall(Who::Admin, &["calls", "sql", sql]).ok()?;
    Some(answer["rows"].clone())
}

#[test]
fn calls_are_in_the_lake_once_although_the_server_is_killed_and_are_asked_in_sql() {
    let scene = Scene::default().source(Source::Server(|_| {})).calls("count_s = 1");
    on_stage(
        name!(),
        |tools| needs(Client::Python, tools),
        &scene,
        |mut stage| {
            let workload = served(&stage, "orders-1");
            let bucket = stage.cloud.application("orders").unwrap().bucket.clone();
            let role = stage.cloud.application("orders").unwrap().role_arn.clone().unwrap();
            let run = |stage: &Stage, errand: &str| {
                let errand = stage.errand(errand).unwrap().bucket(&bucket);
                let put = |program: Invocation| {
                    let program = dressed(Client::Python, &stage.tools, program);
                    workload.place(program.env("ROLECALL_CALLS_SOCKET", stage.calls_socket()))
                };
                Client::Python.run(&stage.tools, &errand, &put, LIMIT).unwrap();
            };
            run(&stage, "first");
            let id = format!("orders/{ENVIRONMENT}/orders-1");
            let sql = "SELECT operation, outcome, workload, role, signer, sum(count) AS calls FROM calls \
                   WHERE service = 'S3' GROUP BY operation, outcome, workload, role, signer ORDER BY operation";
            let rows = |calls: u64| {
                json!([
                    ["GetObject", "done", id, role, "leased", calls],
                    ["PutObject", "done", id, role, "leased", calls],
                ])
            };
            until("the first calls are there", || {
                asked(&stage, sql).filter(|found| *found == rows(1))
            });

            // What is called while there is no server waits, and is there once when it comes back.
            stage.control.as_mut().unwrap().server.kill().unwrap();
            run(&stage, "second");
            stage.control.as_mut().unwrap().server.resume().unwrap();
            until("the second calls are there, and no call twice", || {
                asked(&stage, sql).filter(|found| *found == rows(2))
            });

            let touched = "SELECT resource, application FROM resource_roles WHERE resource LIKE 'arn:aws:s3%'";
            let arn = asked(&stage, touched).unwrap()[0][0].as_str().unwrap().to_owned();
            assert!(arn.starts_with(&format!("arn:aws:s3:::{bucket}/")), "{arn}");
            let control = stage.control.as_ref().unwrap();
            let who = control.rolecall(
                Who::Admin,
                &["calls", "who-touches", &format!("arn:aws:s3:::{bucket}/*")],
            );
            assert_eq!(who.unwrap()["rows"][0][1], role);
            for words in [&["needs", "orders"][..], &["top"], &["tail"], &["denied"], &["coverage"]]
            {
                let words = [&["calls"], words].concat();
                control.rolecall(Who::Admin, &words).unwrap();
            }
            let wrong =
                control.rolecall(Who::Admin, &["calls", "sql", "DELETE FROM calls"]).unwrap_err();
            assert!(wrong.to_string().contains("only a query"), "{wrong}");

            let leased = asked(&stage, "SELECT count(*) FROM leases WHERE application = 'orders'");
            assert!(leased.unwrap()[0][0].as_u64() >= Some(1));
            let heard = asked(&stage, "SELECT DISTINCT sdk FROM shims").unwrap();
            assert_eq!(heard, json!([["botocore"]]));
            let delivery = status(&stage.agent)["delivery"].clone();
            assert!(delivery["next"].as_u64() > Some(1), "{delivery}");
        },
    );
}
