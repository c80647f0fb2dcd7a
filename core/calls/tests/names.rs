//! What a call is about, by the embedded table.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeMap;

use calls::{
    Access, Basis, Line, Named, NamedBy, Names, Needs, Objects, Plane, decode, name, names_version,
    table_coverage,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const CASES: &str = include_str!("../../../conformance/calls/names.json");

fn named(case: &Value) -> Named {
    let mut line = json!({
        "Version": 2, "Type": "ApiCall", "Timestamp": 1, "Region": "eu-central-1",
        "Service": case["service"], "Api": case["operation"], "Parameters": case["parameters"],
    });
    for (member, in_case) in [("Region", "region"), ("AccessKey", "key"), ("Version", "version")] {
        if !case[in_case].is_null() {
            line[member] = case[in_case].clone();
        }
    }
    let line = line.to_string();
    let Line::Event(event) = decode(line.as_bytes()).unwrap().line else { panic!("no event") };
    let account =
        case.get("account").unwrap_or(&json!("111122223333")).as_str().map(|a| a.parse().unwrap());
    let objects = if case["objects"] == "whole" { Objects::Whole } else { Objects::FirstSegment };
    name(&event, account.as_ref(), objects)
}

fn told(named: &Named) -> Value {
    let needs = match &named.needs {
        Needs::Unknown => Value::Null,
        Needs::These(needs) => needs
            .iter()
            .map(|(action, names)| {
                let names = match names {
                    Names::Unknown => Value::Null,
                    Names::These(names) => json!(names),
                };
                (action.clone(), names)
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
    };
    let mut told = json!({ "needs": needs });
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            told[name] = json!(value.to_lowercase());
        }
    };
    put("basis", named.basis.map(|it: Basis| format!("{it:?}")));
    put("access", named.access.map(|it: Access| format!("{it:?}")));
    put("plane", named.plane.map(|it: Plane| format!("{it:?}")));
    put("by", named.by.map(|it: NamedBy| format!("{it:?}")));
    told
}

#[test]
fn calls_are_named_as_the_vectors_say() {
    let file: Value = serde_json::from_str(CASES).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 40, "{}", cases.len());
    let mut wrong = BTreeMap::new();
    for case in cases {
        let told = told(&named(case));
        if told != case["gives"] {
            wrong.insert(case["name"].as_str().unwrap(), told);
        }
    }
    assert!(wrong.is_empty(), "{}", serde_json::to_string_pretty(&wrong).unwrap());
}

/// The promise of SPECIFICATION.md. `cargo xtask gen` prints the same numbers, with what they are made of.
#[test]
fn nearly_all_operations_have_a_listed_action_and_most_with_a_resource_give_an_arn() {
    let covered = table_coverage();
    println!("{} {covered:?}", names_version());
    let share = |part: u32, of: u32| f64::from(part) / f64::from(of);
    assert!(covered.operations > 19_000, "{covered:?}");
    assert!(share(covered.listed, covered.operations) > 0.95, "{covered:?}");
    assert!(share(covered.with_arn, covered.with_resource) > 0.85, "{covered:?}");
}

proptest! {
    #[test]
    fn whatever_is_in_the_parameters_a_resource_is_an_arn_or_unknown(
        operation in prop::sample::select(&[
            ("S3", "GetObject"), ("S3", "CopyObject"), ("SQS", "SendMessage"), ("KMS", "Decrypt"),
            ("DynamoDB", "Query"), ("Lambda", "Invoke"), ("SSM", "GetParameter"), ("SNS", "Publish"),
            ("Secrets Manager", "GetSecretValue"), ("API Gateway", "GetRestApi"),
        ][..]),
        path in prop::sample::select(&[
            "Bucket", "Key", "CopySource", "QueueUrl", "KeyId", "TableName", "IndexName", "FunctionName",
            "Name", "TopicArn", "SecretId", "restApiId", "RequestItems{}",
        ][..]),
        values in prop::collection::vec(
            "\\PC{1,30}|arn:aws:s3:::[a-z]{3}|https?://\\PC{0,20}|alias/[a-z]{2}|[a-z]{2}/[a-z/]{0,9}", 1..16),
    ) {
        let (service, operation) = operation;
        let case = json!({
            "service": service, "operation": operation,
            "parameters": { path: values, "Bucket2": ["x"] },
        });
        if let Needs::These(needs) = named(&case).needs {
            for names in needs.values() {
                if let Names::These(names) = names {
                    for arn in names {
                        prop_assert!(arn.starts_with("arn:aws"), "{arn}");
                        prop_assert!(!arn.contains(['\u{1}', '\u{2}', '\u{3}', '$']) || values.iter().any(|v| v.contains('$')), "{arn}");
                    }
                    prop_assert!(names.len() <= 64);
                }
            }
        }
    }
}
