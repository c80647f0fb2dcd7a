//! Whatever the bytes, a line is read or refused; what is read is what was written, and within its bounds.

use std::collections::BTreeMap;

use calls::{Decoded, Event, Kind, Line, Refused, decode};
use proptest::prelude::*;
use serde_json::{Value, json};

/// What holds of everything that is read.
#[track_caller]
fn check(decoded: &Decoded<'_>) {
    let Line::Event(event) = &decoded.line else { return };
    let short = |text: &str, max: usize| !text.is_empty() && text.len() <= max;
    assert!(short(&event.service, Event::NAME_MAX) && short(&event.operation, Event::NAME_MAX));
    assert!(event.user_agent.iter().all(|text| short(text, Event::USER_AGENT_MAX)));
    assert!(event.exception.iter().all(|text| short(text, Event::EXCEPTION_MAX)));
    assert!(event.host.iter().all(|text| short(text, Event::HOST_MAX)));
    assert!((1..=Event::COUNT_MAX).contains(&event.count) && event.first <= event.last);
    assert!(event.kind != Kind::Attempt || event.count == 1);
    assert!(event.duration.iter().all(|duration| *duration <= Event::DURATION_MAX));
    assert!(event.status.iter().all(|status| (100..=599).contains(status)));
    assert!(event.parameters.len() <= Event::PATHS_MAX);
    for (path, values) in &event.parameters {
        assert!(short(path, Event::PATH_MAX) && values.len() <= Event::VALUES_MAX);
        assert!(values.iter().all(|value| value.len() <= Event::VALUE_MAX));
    }
}

/// Members as a line, in the order in which they stand.
fn line(members: &[(&str, Value)]) -> Vec<u8> {
    let member = |(name, value): &(&str, Value)| format!("{}:{value}", json!(name));
    let members: Vec<String> = members.iter().map(member).collect();
    format!("{{{}}}", members.join(",")).into_bytes()
}

fn any_members() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let parameters = prop::collection::btree_map(
        "[A-Za-z]{1,12}(\\[\\]|\\{\\})?(\\.[A-Za-z]{1,8}){0,2}",
        prop::collection::vec(".{0,20}", 0..4),
        0..6,
    );
    let (name, count) = ("[A-Za-z][A-Za-z ]{0,20}", 1..=Event::COUNT_MAX);
    let times = (0..253_402_300_800_000_u64, 0..253_402_300_800_000_u64);
    let agent = "[ -~]{0,300}";
    (name, name, times, count, 100..600_u16, parameters, agent)
        .prop_map(|(service, operation, (first, last), count, status, parameters, agent)| {
            vec![
                ("Version", json!(2)),
                ("Type", json!("ApiCall")),
                ("Service", json!(service)),
                ("Api", json!(operation)),
                ("Timestamp", json!(first)),
                ("Last", json!(last)),
                ("Count", json!(count)),
                ("FinalHttpStatusCode", json!(status)),
                ("Parameters", json!(parameters)),
                ("UserAgent", json!(agent)),
                ("Weather", json!({ "today": ["rain", 1.5, null] })),
            ]
        })
        .prop_shuffle()
}

/// Texts that are nearly JSON.
fn any_text() -> impl Strategy<Value = String> {
    let token = prop::sample::select(
        &[
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"Type\"",
            "\"ApiCall\"",
            "\"Version\"",
            "2",
            "-1",
            "1e9",
            "null",
            "true",
            "\"\\u0000\"",
            "\"Parameters\"",
            "\"Lost\"",
            "\"Count\"",
            "\"Bye\"",
            " ",
        ][..],
    );
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn what_is_written_in_any_order_is_what_is_read(members in any_members()) {
        let line = line(&members);
        let members: BTreeMap<&str, Value> = members.into_iter().collect();
        let Decoded { line, ignored } = decode(&line).unwrap();
        let Line::Event(event) = line else { panic!("no event") };
        prop_assert_eq!(ignored, 1);
        prop_assert_eq!(&members["Service"], &json!(event.service));
        prop_assert_eq!(&members["Api"], &json!(event.operation));
        prop_assert_eq!(&members["Count"], &json!(event.count));
        prop_assert_eq!(&members["FinalHttpStatusCode"], &json!(event.status));
        prop_assert_eq!(&members["Parameters"], &json!(event.parameters));
        prop_assert_eq!(&members["Timestamp"], &json!(event.first.as_millisecond()));
        let agent = members["UserAgent"].as_str().unwrap();
        prop_assert!(agent.starts_with(event.user_agent.as_deref().unwrap_or_default()));
    }

    #[test]
    fn a_line_that_is_cut_off_anywhere_is_refused(members in any_members(), cut in any::<prop::sample::Index>()) {
        let line = line(&members);
        let cut = cut.index(line.len());
        let refused = decode(&line[..cut]).unwrap_err();
        prop_assert!(matches!(refused, Refused::NotJson | Refused::NotText));
    }

    #[test]
    fn a_line_with_one_byte_changed_is_read_within_its_bounds_or_refused(
        members in any_members(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut line = line(&members);
        let at = at.index(line.len());
        line[at] = byte;
        decode(&line).iter().for_each(check);
    }

    #[test]
    fn any_bytes_are_read_within_their_bounds_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode(&bytes).iter().for_each(check);
    }

    #[test]
    fn what_is_nearly_json_is_read_within_its_bounds_or_refused(text in any_text()) {
        decode(text.as_bytes()).iter().for_each(check);
    }

    #[test]
    fn a_member_that_stands_there_twice_is_refused(members in any_members(), which in any::<prop::sample::Index>()) {
        let mut members = members;
        let again = members[which.index(members.len())].clone();
        members.push(again);
        let line = line(&members);
        prop_assert_eq!(decode(&line), Err(Refused::Duplicate));
    }
}

#[test]
fn the_longest_datagram_is_read() {
    let start =
        r#"{"Type":"ApiCall","Service":"S3","Api":"GetObject","Timestamp":1,"SessionToken":""#;
    let token = "A".repeat(calls::DATAGRAM_MAX - start.len() - 2);
    check(&decode(format!("{start}{token}\"}}").as_bytes()).unwrap());
}

#[test]
fn the_longest_line_is_read() {
    let start =
        r#"{"Version":2,"Type":"ApiCall","Service":"S3","Api":"GetObject","Timestamp":1,"X":""#;
    let rest = "A".repeat(calls::LINE_MAX - start.len() - 2);
    check(&decode(format!("{start}{rest}\"}}").as_bytes()).unwrap());
}
