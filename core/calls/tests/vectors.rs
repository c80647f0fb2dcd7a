//! The language-neutral cases of `conformance/calls`: what every shim writes and the agent reads.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeSet;

use calls::{Event, Hello, Kind, Line, Losses, Outcome, ShimLoss, Trust, decode, lines};
use serde_json::{Map, Value, json};

const CSM: &str = include_str!("../../../conformance/calls/csm.json");
const VERSION_2: &str = include_str!("../../../conformance/calls/version2.json");
const MALFORMED: &str = include_str!("../../../conformance/calls/malformed.json");
const OUTCOMES: &str = include_str!("../../../conformance/calls/outcomes.json");

/// The cases of a file; their names are different.
fn cases(file: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(file).unwrap();
    let cases = file["cases"].as_array().unwrap().clone();
    let names: BTreeSet<&str> = cases.iter().map(|case| case["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    cases
}

/// The line of a case, byte for byte.
fn bytes(case: &Value) -> Vec<u8> {
    if let Some(hex) = case["bytes"].as_str() {
        let byte = |at| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap();
        return (0..hex.len()).step_by(2).map(byte).collect();
    }
    let line = case["line"].as_str().unwrap();
    let Some(repeat) = case["repeat"].as_array() else { return line.into() };
    let times = usize::try_from(repeat[1].as_u64().unwrap()).unwrap();
    line.replace('…', &repeat[0].as_str().unwrap().repeat(times)).into_bytes()
}

#[track_caller]
fn check(file: &str, at_least: usize) {
    let cases = cases(file);
    assert!(cases.len() >= at_least);
    for case in cases {
        let line = bytes(&case);
        let seen = match decode(&line) {
            Ok(decoded) => (spelled(&decoded.line), u64::from(decoded.ignored), Value::Null),
            Err(refused) => (Value::Null, 0, refused.as_str().into()),
        };
        let ignored = case["ignored"].as_u64().unwrap_or_default();
        let expected = (case["gives"].clone(), ignored, case["refused"].clone());
        assert_eq!(seen, expected, "{}", case["name"]);
    }
}

/// A line as the files spell it.
fn spelled(line: &Line<'_>) -> Value {
    let spelled = match line {
        Line::Event(event) => event_spelled(event),
        Line::Hello(Hello { language, sdk, sdk_version, shim_version, pid }) => json!({
            "tells": "hello", "language": language, "sdk": sdk, "sdk_version": sdk_version,
            "shim_version": shim_version, "pid": pid,
        }),
        Line::Losses(losses) => json!({ "tells": "losses", "lost": losses_spelled(losses) }),
        Line::Bye(losses) => json!({ "tells": "bye", "lost": losses_spelled(losses) }),
    };
    let Value::Object(members) = spelled else { unreachable!() };
    Value::Object(members.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

fn event_spelled(event: &Event<'_>) -> Value {
    let tells = match event.kind {
        Kind::Call => "call",
        Kind::Attempt => "attempt",
        Kind::Presign => "presign",
    };
    let trust = match event.trust {
        Trust::Monitoring => "monitoring",
        Trust::Shim => "shim",
    };
    let parameters = (!event.parameters.is_empty()).then_some(&event.parameters);
    json!({
        "tells": tells, "trust": trust, "service": event.service, "operation": event.operation,
        "region": event.region.as_ref().map(ToString::to_string), "host": event.host,
        "key": event.key.as_ref().map(ToString::to_string), "request_id": event.request_id,
        "status": event.status, "exception": event.exception, "outcome": event.outcome.as_str(),
        "duration_ms": event.duration.map(|duration| u64::try_from(duration.as_millis()).unwrap()),
        "user_agent": event.user_agent, "first_ms": event.first.as_millisecond(),
        "last_ms": event.last.as_millisecond(), "count": event.count, "parameters": parameters,
    })
}

fn losses_spelled(losses: &Losses) -> Map<String, Value> {
    let all = ShimLoss::ALL.into_iter().map(|loss| (loss.as_str().to_owned(), losses.of(loss)));
    all.filter(|(_, count)| *count > 0).map(|(name, count)| (name, count.into())).collect()
}

#[test]
fn monitoring_of_every_sdk_is_read_with_its_habits() {
    check(CSM, 27);
}

#[test]
fn lines_of_shims_are_read() {
    check(VERSION_2, 15);
}

#[test]
fn what_is_malformed_is_refused_for_its_reason() {
    check(MALFORMED, 57);
}

#[test]
fn every_reason_to_refuse_has_a_case() {
    let cases = cases(MALFORMED);
    let seen: BTreeSet<&str> = cases.iter().map(|case| case["refused"].as_str().unwrap()).collect();
    let all: BTreeSet<&str> = calls::Refused::ALL.into_iter().map(calls::Refused::as_str).collect();
    assert_eq!(seen, all);
}

#[test]
fn status_and_code_tell_what_became_of_a_call() {
    for case in cases(OUTCOMES) {
        let status = case["status"].as_u64().map(|status| u16::try_from(status).unwrap());
        let outcome = Outcome::of(status, case["code"].as_str());
        assert_eq!(outcome.as_str(), case["outcome"], "{}", case["name"]);
    }
}

#[test]
fn a_datagram_may_hold_several_objects() {
    let cases = cases(CSM);
    let all: Vec<Vec<u8>> = cases.iter().take(3).map(bytes).collect();
    let datagram = [all.join(&b"\n"[..]), b"\n\r\n".to_vec()].concat();
    assert_eq!(lines(&datagram).map(|line| decode(line).is_ok()).collect::<Vec<_>>(), [true; 3]);
    assert_eq!(lines(b"\n \n").count(), 0);
}

#[test]
fn nothing_of_a_session_token_is_in_what_is_decoded() {
    let marks = ["IQoJb3Jp", "AAAAAAAA", "SessionToken"];
    for case in cases(CSM).iter().chain(&cases(VERSION_2)) {
        let line = bytes(case);
        let shown = format!("{:?}", decode(&line).unwrap());
        assert!(marks.iter().all(|mark| !shown.contains(mark)), "{}", case["name"]);
    }
}

#[test]
fn a_line_without_escapes_is_borrowed() {
    let case = cases(VERSION_2).remove(0);
    let line = bytes(&case);
    let Line::Event(event) = decode(&line).unwrap().line else { panic!("no event") };
    let texts = [Some(&event.service), Some(&event.operation), event.host.as_ref()];
    let texts = texts.into_iter().chain([event.request_id.as_ref()]).flatten();
    let values =
        event.parameters.iter().flat_map(|(path, values)| [path].into_iter().chain(values));
    for text in texts.chain(values) {
        assert!(matches!(text, std::borrow::Cow::Borrowed(_)), "{text} was copied");
    }
}
