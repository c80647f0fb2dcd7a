//! What is put into a frame is read as it was, and what is no batch is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{sync::Arc, time::Duration};

use calls::{
    Access, AccessKeyId, BATCH_MAX, Basis, Batch, Coverage, Covered, End, Entry, Heard, Key,
    Leased, Loss, Named, NamedBy, Names, Needs, NotABatch, Outcome, Parameters, Plane, Record,
    Refusals, Refused, Sighting, Signer, Trust, Why, read_batch,
};
use jiff::Timestamp;
use proptest::{option, prelude::*};
use workload::Workload;

fn who() -> impl Strategy<Value = Workload> {
    (0..3_u8).prop_map(|number| format!("orders/prod/{number}").parse().unwrap())
}

fn access_key() -> impl Strategy<Value = AccessKeyId<'static>> {
    "ASIA[A-Z2-7]{16}".prop_map(|id| AccessKeyId::parse(id).unwrap())
}

fn time() -> impl Strategy<Value = Timestamp> {
    (-1_000_000_000_000..4_000_000_000_000_i64)
        .prop_map(|ms| Timestamp::from_millisecond(ms).unwrap())
}

fn signer() -> impl Strategy<Value = Signer> {
    let role = "arn:aws:iam::111122223333:role/apps/orders".parse().unwrap();
    let leased = who().prop_map(move |to| Signer::Leased { role: Clone::clone(&role), to });
    prop_oneof![leased, Just(Signer::Foreign), Just(Signer::Unknown)]
}

fn names() -> impl Strategy<Value = Names> {
    let arn = "arn:aws:s3:::[a-z\"\\\\é]{1,9}";
    let these = prop::collection::btree_set(arn, 0..4).prop_map(Names::These);
    prop_oneof![Just(Names::Unknown), these]
}

fn named() -> impl Strategy<Value = Named> {
    let these = prop::collection::btree_map("s3:[A-Z][a-z]{1,9}", names(), 0..4);
    let needs = prop_oneof![Just(Needs::Unknown), these.prop_map(Needs::These)];
    let access = prop_oneof![Just(Access::List), Just(Access::Permissions), Just(Access::Tagging)];
    let by = prop_oneof![Just(NamedBy::Arn), Just(NamedBy::Bare), Just(NamedBy::Alias)];
    let (basis, plane) = (any::<bool>(), any::<bool>());
    let marks = (option::of(basis), option::of(access), option::of(plane), option::of(by));
    (needs, marks).prop_map(|(needs, (basis, access, plane, by))| Named {
        needs,
        basis: basis.map(|listed| if listed { Basis::Listed } else { Basis::Assumed }),
        access,
        plane: plane.map(|data| if data { Plane::Data } else { Plane::Management }),
        by,
    })
}

fn unnamed() -> impl Strategy<Value = Parameters<'static>> {
    let values = prop::collection::vec("[a-z\n\u{7f}]{0,9}".prop_map(Into::into), 0..4);
    prop::collection::btree_map("[A-Z][a-z]{1,9}".prop_map(Into::into), values, 0..4)
}

fn key() -> impl Strategy<Value = Key> {
    let who = option::of(who());
    let about = (who, option::of(access_key()), signer(), any::<bool>(), named(), unnamed());
    let outcome = prop::sample::select(Outcome::ALL.to_vec());
    (about, any::<bool>(), outcome)
        .prop_map(|((workload, access_key, signer, shim, named, unnamed), region, outcome)| Key {
            workload,
            access_key,
            signer,
            trust: if shim { Trust::Shim } else { Trust::Monitoring },
            service: "S3".into(),
            operation: "GetObject".into(),
            region: region.then(|| "eu-central-1".parse().unwrap()),
            named,
            unnamed,
            outcome,
        })
        // A lease is to somebody; where the caller is the same, it is not written twice.
        .prop_filter("a signer that can be", |key| {
            key.workload.is_some() || !matches!(key.signer, Signer::Leased { .. })
        })
}

fn sighting() -> impl Strategy<Value = Sighting> {
    let text = || option::of("[ -~é]{1,60}");
    let longest = option::of((0..86_400_000_u64).prop_map(Duration::from_millis));
    let examples = (text(), text(), text(), text(), longest);
    (1..1_000_000_000_u64, time(), 0..100_000_i64, examples).prop_map(
        |(count, first, later, (request_id, exception, user_agent, host, longest))| Sighting {
            count,
            first,
            last: Timestamp::from_millisecond(first.as_millisecond() + later).unwrap(),
            request_id,
            exception,
            user_agent,
            host,
            longest,
        },
    )
}

fn covered() -> impl Strategy<Value = Covered> {
    let losses = prop::collection::vec((0..Loss::ALL.len(), 1..9_u64), 0..4);
    let refused = prop::collection::vec((0..Refused::ALL.len(), 1..9_u64), 0..4);
    (time(), time(), 0..1_000_u64, losses, refused, any::<u32>()).prop_map(
        |(from, to, sent, losses, refused, held)| {
            let (mut coverage, mut refusals) = (Coverage::default(), Refusals::default());
            coverage.sent(sent);
            coverage.ended(End::Folded, sent / 2);
            coverage.ended(End::Attempt, sent / 3);
            losses.iter().for_each(|(loss, count)| {
                coverage.ended(End::Lost(*Loss::ALL.get(*loss).unwrap()), *count);
            });
            refused.iter().for_each(|(why, count)| {
                refusals.add(*Refused::ALL.get(*why).unwrap(), *count);
            });
            let (held, cut_off) = (held.into(), sent);
            Covered { from, to, coverage, refusals, held, cut_off, crashes: 1 }
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let why = prop::sample::select(vec![Why::First, Why::Repeats, Why::Evicted]);
    let calls = (key(), sighting(), why).prop_map(|(key, sighting, why)| {
        Entry::Calls(Record { key: Arc::new(key), sighting, why })
    });
    let leased =
        (access_key(), who(), time(), time()).prop_map(|(access_key, workload, from, until)| {
            let role = "arn:aws:iam::111122223333:role/apps/orders".parse().unwrap();
            Entry::Leased(Leased { access_key, workload, role, from, until })
        });
    let heard = (option::of(who()), time(), "[ -~]{1,64}").prop_map(|(workload, at, text)| {
        Entry::Heard(Heard {
            workload,
            at,
            language: text.clone(),
            sdk: text.clone(),
            sdk_version: text.clone(),
            shim_version: text,
        })
    });
    prop_oneof![4 => calls, 1 => leased, 1 => heard, 1 => covered().prop_map(Entry::Covered)]
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was(entries in prop::collection::vec(entry(), 0..40)) {
        let mut batch = Batch::default();
        entries.iter().for_each(|entry| batch.push(entry));
        let counts = entries.iter().filter_map(|entry| match entry {
            Entry::Calls(record) => Some(record.sighting.count),
            _ => None,
        });
        prop_assert_eq!((batch.records(), batch.calls()), (counts.clone().count() as u64, counts.sum()));
        prop_assert_eq!(read_batch(&batch.finish()).unwrap(), entries);
        prop_assert!(batch.is_empty() && batch.calls() == 0);
    }

    #[test]
    fn any_bytes_are_a_batch_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_batch(&bytes);
        if let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        let _ = read_batch(&bytes);
    }
}

fn packed(lines: &str) -> Vec<u8> {
    [vec![1], lz4_flex::block::compress_prepend_size(lines.as_bytes())].concat()
}

#[track_caller]
fn check(lines: &str, expected: Result<usize, &str>) {
    let read = read_batch(&packed(lines)).map(|entries| entries.len());
    assert_eq!(read.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{lines}");
}

const LEASED: &str = r#"{"e":"leased","k":"ASIAY34FZKBOKMUTVV7A","w":"orders/prod/1","r":"arn:aws:iam::111122223333:role/a","f":1,"l":2}"#;
const CALLS: &str =
    r#"{"e":"calls","t":"shim","s":"S3","o":"GetObject","out":"done","c":1,"f":1,"y":"first"}"#;

#[test]
fn what_a_later_agent_says_besides_is_ignored() {
    check(CALLS, Ok(1));
    check(&CALLS.replace("\"c\"", "\"later\":[1],\"c\""), Ok(1));
    check(&format!("{LEASED}\n\n{CALLS}\n"), Ok(2));
}

#[test]
fn an_entry_that_cannot_be_is_refused_with_its_number_and_without_what_it_says() {
    let wrong = |number: usize, reason: &str| format!("entry {number}: {reason}");
    let unknown = "not an entry that this program knows";
    let text = "a text that is empty, too long, or has control characters";
    let cases = [
        (LEASED.replace("orders/prod/1", "orders"), "not a workload"),
        (LEASED.replace("ASIAY34FZKBOKMUTVV7A", "secret"), "not an access key"),
        (LEASED.replace("role/a", "user/a"), "not a role"),
        (LEASED.replace("\"f\":1", "\"f\":9e18"), unknown),
        (LEASED.replace("leased", "lease"), unknown),
        (CALLS.replace("\"c\":1", "\"c\":0"), "a count of nothing"),
        (CALLS.replace("\"c\":1", "\"c\":-1"), unknown),
        (CALLS.replace("\"S3\"", "\"\""), text),
        (CALLS.replace("\"S3\"", r#""a\nb""#), text),
        (CALLS.replace("GetObject", &"x".repeat(129)), text),
        (CALLS.replace("\"done\"", "\"undone\""), unknown),
        (CALLS.replace("\"t\":\"shim\",", ""), "no trust"),
        (
            CALLS.replace("\"c\":1", "\"c\":1,\"r\":\"arn:aws:iam::111122223333:role/a\""),
            "a lease of nobody",
        ),
        (CALLS.replace("\"c\":1", "\"c\":1,\"rg\":\"EU\""), "not a region"),
    ];
    for (line, reason) in cases {
        check(&format!("{CALLS}\n{line}"), Err(&wrong(2, reason)));
    }
}

#[test]
fn a_batch_that_is_too_long_or_of_a_later_version_is_refused() {
    let mut long = packed(CALLS);
    long.splice(1..5, u32::try_from(BATCH_MAX + 1).unwrap().to_le_bytes());
    assert_eq!(read_batch(&long), Err(NotABatch::Packing));
    let mut later = packed(CALLS);
    later.splice(..1, [2]);
    assert_eq!(read_batch(&later), Err(NotABatch::Version(2)));
    assert_eq!(read_batch(&[]), Err(NotABatch::Packing));
    let many = format!("{CALLS}\n").repeat(calls::ENTRIES_MAX + 1);
    assert_eq!(read_batch(&packed(&many)), Err(NotABatch::TooMany));
}

#[test]
fn what_no_table_names_is_kept_with_its_parameters_and_the_rest_without() {
    let line = |service: &str| {
        format!(
            r#"{{"Version":2,"Type":"ApiCall","Service":"{service}","Api":"GetObject","Timestamp":1,
            "Parameters":{{"Bucket":["reports"],"Key":["a/b"]}}}}"#
        )
    };
    for (service, kept) in [("S3", 0), ("A service of tomorrow", 2)] {
        let line = line(service);
        let Ok(calls::Line::Event(event)) = calls::decode(line.as_bytes()).map(|read| read.line)
        else {
            unreachable!("{line}")
        };
        let named = calls::name(&event, None, calls::Objects::FirstSegment);
        let key = Key::of(&event, None, Signer::Unknown, named);
        assert_eq!(key.unnamed.len(), kept, "{service}");
    }
}
