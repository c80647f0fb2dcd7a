//! What must not be kept is not kept, and what questions are asked about is.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use calls::{Event, Line, Sensitive, decode, redact, sensitive};
use proptest::prelude::*;
use serde_json::{Value, json};

const CASES: &str = include_str!("../../../conformance/calls/redaction.json");

fn line(service: &str, operation: &str, path: &str, value: &str) -> Vec<u8> {
    let line = json!({
        "Version": 2, "Type": "ApiCall", "Service": service, "Api": operation, "Timestamp": 1,
        "Parameters": { path: [value, "<redacted secret>"] },
    });
    line.to_string().into_bytes()
}

fn event(line: &[u8]) -> Event<'_> {
    let Line::Event(event) = decode(line).unwrap().line else { panic!("no event") };
    event
}

#[track_caller]
fn check(case: &Value) {
    let text = |name: &str| case[name].as_str().unwrap();
    let (service, path, value) = (text("service"), text("path"), text("value"));
    let kind = sensitive(service, path, value).map(Sensitive::as_str);
    assert_eq!(kind, case["kind"].as_str(), "{}", case["name"]);

    let line = line(service, text("operation"), path, value);
    let mut event = event(&line);
    let replaced = redact(&mut event);
    assert_eq!(replaced, usize::from(kind.is_some()), "{}", case["name"]);
    let marker = kind.map(|kind| format!("<redacted {kind}>"));
    let expected = [marker.as_deref().unwrap_or(value), "<redacted secret>"];
    assert_eq!(event.parameters[path], expected, "{}", case["name"]);
    if kind.is_some() {
        assert!(!format!("{event:?}").contains(value), "{}", case["name"]);
    }
}

#[test]
fn what_must_never_be_kept_is_replaced_by_its_kind_and_the_rest_is_kept() {
    let file: Value = serde_json::from_str(CASES).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 60);
    cases.iter().for_each(check);
}

#[test]
fn every_kind_has_a_case() {
    let file: Value = serde_json::from_str(CASES).unwrap();
    let cases = file["cases"].as_array().unwrap();
    for kind in Sensitive::ALL {
        assert!(cases.iter().any(|case| case["kind"] == kind.as_str()), "{kind}");
    }
}

const PATHS: &[&str] = &["Bucket", "Item{}.S", "MessageBody", "Value", "UserData", "Policy", "Key"];

proptest! {
    #[test]
    fn redacting_again_changes_nothing(
        service in prop::sample::select(&["DynamoDB", "S3", "SQS", "SSM", "EC2"][..]),
        path in prop::sample::select(PATHS),
        value in ".{0,40}|IQoJ[a-z]{90,110}|https://a\\?X-Amz-Signature=[a-f]{3}",
    ) {
        let line = line(service, "Do", path, &value);
        let mut once = event(&line);
        let replaced = redact(&mut once);
        let mut twice = once.clone();
        prop_assert_eq!(redact(&mut twice), 0);
        prop_assert_eq!(&once, &twice);
        prop_assert!(replaced <= 1);
        let kept = sensitive(service, path, &value).is_none();
        prop_assert_eq!(kept, once.parameters[path][0] == value);
    }
}
