//! Unchanged programs in namespaces, with nothing but the role of their own account.

use std::{path::PathBuf, time::Duration};

use practice::{
    clients::Client,
    host::Workload,
    program::Invocation,
    shims::Shim,
    stage::{ENVIRONMENT, Scene, Stage},
    tools::{Missing, Tools},
};
use serde_json::Value;

use crate::stage::{name, of_kind, on_stage, recorded, status, until};

pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// Lets a program have a shim, by what is set beside it alone.
pub(crate) fn dressed(client: Client, tools: &Tools, program: Invocation) -> Invocation {
    match client {
        Client::Python => program.program(Shim::Python.hook(tools).unwrap()),
        Client::Java => {
            let jar = Shim::Java.hook(tools).unwrap();
            program.env("JAVA_TOOL_OPTIONS", format!("-javaagent:{}", jar.display()))
        }
        Client::Js => {
            let hook = Shim::Js.hook(tools).unwrap();
            program.env("NODE_OPTIONS", format!("--require={}", hook.display()))
        }
        Client::Go => program.program(Shim::Go.hook(tools).unwrap()),
        other => panic!("no shim for {other}"),
    }
}

pub(crate) fn needs(client: Client, tools: &Tools) -> Vec<Result<PathBuf, Missing>> {
    match client {
        Client::Java => {
            vec![tools.java(), tools.java_client().map(PathBuf::from), tools.java_shim()]
        }
        Client::Js => vec![tools.node(), tools.js_client()],
        Client::Go => vec![tools.shimmed_go_client()],
        _ => vec![tools.python(), tools.shimmed_python()],
    }
}

/// A workload that the agent serves.
pub(crate) fn served(stage: &Stage, name: &str) -> Workload {
    let workload = stage.workload(name).unwrap();
    until("the namespace is served", || {
        let status = stage.agent.command(&["status"]).unwrap();
        let served = status["namespaces"].as_array().unwrap();
        served.iter().any(|one| one["name"] == name).then_some(())
    });
    workload
}

/// The records of calls of one action, once there are any.
fn calls_of(stage: &Stage, action: &str) -> Vec<Value> {
    until(action, || {
        let entries = recorded(&stage.agent);
        let calls = of_kind(&entries, "calls").into_iter();
        let of: Vec<Value> =
            calls.filter(|one| one["actions"].get(action).is_some()).cloned().collect();
        (!of.is_empty()).then_some(of)
    })
}

/// A client in a workload is recorded as that workload, with its lease, its role, and what it did to what.
#[track_caller]
fn check(test: &str, client: Client, sdk: &str) {
    let scene = Scene::default().calls("objects = \"whole\"");
    on_stage(
        test,
        |tools| needs(client, tools),
        &scene,
        |stage| {
            let workload = served(&stage, "orders-1");
            let account = stage.cloud.application("orders").unwrap();
            let errand = stage.errand("errand").unwrap().bucket(&account.bucket);
            let put = |program: Invocation| {
                let program = dressed(client, &stage.tools, program);
                workload.place(program.env("ROLECALL_CALLS_SOCKET", stage.calls_socket()))
            };
            let answer = client.run(&stage.tools, &errand, &put, LIMIT).unwrap();

            let id = format!("orders/{ENVIRONMENT}/orders-1");
            let object = format!("arn:aws:s3:::{}/{}", account.bucket, answer.object.unwrap());
            for action in ["s3:PutObject", "s3:GetObject"] {
                let calls = calls_of(&stage, action);
                let [call] = calls.as_slice() else { panic!("{calls:#?}") };
                assert_eq!(
                    (&call["workload"], &call["signer"]),
                    (&id.clone().into(), &"leased".into())
                );
                assert_eq!(call["role"].as_str(), account.role_arn.as_deref());
                assert_eq!(call["actions"][action], serde_json::json!([object]));
                assert_eq!(
                    (&call["leased_to"], &call["outcome"]),
                    (&id.clone().into(), &"done".into())
                );
                assert_eq!((&call["count"], &call["plane"]), (&1.into(), &"data".into()));
                assert!(call["request_id"].is_string(), "{call:#}");
            }
            let entries = recorded(&stage.agent);
            let leased = of_kind(&entries, "leased");
            let heard = of_kind(&entries, "heard");
            assert_eq!(
                (&heard[0]["workload"], &heard[0]["sdk"]),
                (&id.clone().into(), &sdk.into())
            );
            let key = &calls_of(&stage, "s3:GetObject")[0]["access_key"];
            assert!(
                leased
                    .iter()
                    .any(|one| one["access_key"] == *key && one["workload"] == id.as_str())
            );
            let status = status(&stage.agent);
            assert_eq!(status["coverage"]["adds_up"], true, "{status:#}");
            assert_eq!(status["noticed"]["foreign"], 0, "{status:#}");
            assert_eq!(status["noticed"]["redacted"], 0, "{status:#}");
        },
    );
}

#[test]
fn an_unchanged_python_program_is_recorded_with_its_workload_role_and_resources() {
    check(name!(), Client::Python, "botocore");
}

#[test]
fn an_unchanged_java_program_is_recorded_with_its_workload_role_and_resources() {
    check(name!(), Client::Java, "aws-sdk-java");
}

#[test]
fn an_unchanged_javascript_program_is_recorded_with_its_workload_role_and_resources() {
    check(name!(), Client::Js, "@smithy/core");
}

#[test]
fn an_unchanged_go_program_is_recorded_with_its_workload_role_and_resources() {
    check(name!(), Client::Go, "aws-sdk-go-v2");
}

#[test]
fn a_stolen_lease_that_another_workload_uses_is_recorded_with_both_names() {
    let scene = Scene::default().calls("");
    on_stage(
        name!(),
        |tools| needs(Client::Python, tools),
        &scene,
        |stage| {
            let (owner, thief) = (served(&stage, "orders-1"), served(&stage, "billing-1"));
            let python = stage.tools.python().unwrap();
            let steal = "import botocore.session as s\n\
                     c = s.Session().get_credentials().get_frozen_credentials()\n\
                     print(c.access_key, c.secret_key, c.token)";
            let stolen = owner.place(Invocation::new(python).args(["-c", steal]));
            let stolen = stolen.run(LIMIT).unwrap().success().unwrap().stdout;
            let [id, secret, token] = stolen.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("no credentials")
            };
            let bucket = &stage.cloud.application("orders").unwrap().bucket;
            let errand = stage.errand("errand").unwrap().bucket(bucket);
            let put = |program: Invocation| {
                let program = dressed(Client::Python, &stage.tools, program)
                    .env("ROLECALL_CALLS_SOCKET", stage.calls_socket())
                    .env("AWS_ACCESS_KEY_ID", id)
                    .env("AWS_SECRET_ACCESS_KEY", secret)
                    .env("AWS_SESSION_TOKEN", token);
                thief.place(program)
            };
            Client::Python.run(&stage.tools, &errand, &put, LIMIT).unwrap();
            let call = &calls_of(&stage, "s3:GetObject")[0];
            assert_eq!(call["workload"], format!("billing/{ENVIRONMENT}/billing-1"));
            assert_eq!(call["leased_to"], format!("orders/{ENVIRONMENT}/orders-1"));
            assert!(status(&stage.agent)["noticed"]["passed_on"].as_u64() >= Some(2));
            let everything = format!("{:?}{}", recorded(&stage.agent), stage.agent.said());
            for secret in [secret, token] {
                assert!(!everything.contains(secret), "a secret was recorded");
            }
        },
    );
}

#[test]
fn monitoring_of_an_sdk_without_a_shim_is_recorded_for_its_namespace_and_trusted_less() {
    let scene = Scene::default().calls("");
    on_stage(
        name!(),
        |tools| vec![tools.python()],
        &scene,
        |stage| {
            let workload = served(&stage, "orders-1");
            let errand = stage.errand("errand").unwrap();
            let errand = errand.bucket(&stage.cloud.application("orders").unwrap().bucket);
            let put = |program: Invocation| workload.place(program.env("AWS_CSM_ENABLED", "true"));
            Client::Python.run(&stage.tools, &errand, &put, LIMIT).unwrap();
            let call = &calls_of(&stage, "s3:GetObject")[0];
            assert_eq!(call["workload"], format!("orders/{ENVIRONMENT}/orders-1"));
            assert_eq!(
                (&call["trust"], &call["signer"]),
                (&"monitoring".into(), &"unknown".into())
            );
            assert_eq!(call["actions"]["s3:GetObject"], Value::Null, "the resource is unknown");
            let status = status(&stage.agent);
            let attempts = status["coverage"]["attempts"].as_u64();
            assert!(attempts >= Some(3) && status["coverage"]["adds_up"] == true, "{status:#}");
            assert!(status["monitored"].as_array().unwrap().iter().any(|one| one == "orders-1"));
        },
    );
}
