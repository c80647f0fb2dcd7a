//! Whoever changes a ledger is found out.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use jiff::Timestamp;
use ledger::{
    Broken, Checkpoint, Draft, Entry, Statement, Tail, Verified, Verifier, read_line, write_line,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

fn ledger(length: u64) -> Vec<Entry> {
    let mut tail = Tail::EMPTY;
    (1..=length)
        .map(|index| {
            let detail = json!({ "index": index, "nested": { "z": [true, null], "a": "é" } });
            let draft = Draft::new("alice", "switch.set", format!("host/{index}"), detail).unwrap();
            let entry = tail.append(draft, at(i64::try_from(index).unwrap())).unwrap();
            tail = entry.tail();
            entry
        })
        .collect()
}

fn checkpoint(entry: &Entry) -> Checkpoint {
    Statement { tail: entry.tail(), time: at(1000), key: "k".to_owned() }.signed(b"by k")
}

fn verify(entries: &[Entry], checkpoints: &[Checkpoint]) -> Result<Verified, Broken> {
    let mut verifier = Verifier::new(checkpoints.to_vec());
    entries.iter().try_for_each(|entry| verifier.take(entry))?;
    verifier.finish()
}

fn check(entries: &[Entry], checkpoints: &[Checkpoint], expected: Broken) {
    assert_eq!(verify(entries, checkpoints), Err(expected));
}

/// The entries from `from` on, each with a hash and a link that fit what it says.
fn rehashed(mut entries: Vec<Entry>, from: usize) -> Vec<Entry> {
    for index in from..entries.len() {
        entries[index].previous =
            index.checked_sub(1).map_or(Tail::EMPTY.hash, |i| entries[i].hash);
        entries[index].hash = entries[index].digest().unwrap();
    }
    entries
}

#[test]
fn a_whole_ledger_holds_with_and_without_checkpoints() {
    let entries = ledger(20);
    let tail = entries[19].tail();
    assert_eq!(verify(&entries, &[]), Ok(Verified { entries: 20, checkpoints: 0, tail }));
    let both = [checkpoint(&entries[19]), checkpoint(&entries[4]), checkpoint(&entries[4])];
    assert_eq!(verify(&entries, &both), Ok(Verified { entries: 20, checkpoints: 3, tail }));
    assert_eq!(verify(&[], &[]).unwrap().tail, Tail::EMPTY);
}

#[test]
fn a_later_part_holds_after_what_is_trusted() {
    let entries = ledger(20);
    let known = [checkpoint(&entries[4]), checkpoint(&entries[14])];
    let mut verifier = Verifier::after(entries[9].tail(), known.to_vec());
    entries[10..].iter().for_each(|entry| verifier.take(entry).unwrap());
    assert_eq!(verifier.finish().unwrap().checkpoints, 1);
}

#[test]
fn a_removed_entry_is_found() {
    let mut entries = ledger(20);
    entries.remove(6);
    check(&entries, &[], Broken::Missing { expected: 7, found: 8 });
}

#[test]
fn a_removed_entry_is_found_although_all_later_ones_were_numbered_and_hashed_anew() {
    let mut entries = ledger(20);
    let known = checkpoint(&entries[19]);
    entries.remove(6);
    (6..19).for_each(|index| entries[index].seq -= 1);
    let entries = rehashed(entries, 6);
    check(&entries, &[known], Broken::CutOff { last: 19, signed: 20, time: at(1000) });
}

#[test]
fn swapped_entries_are_found() {
    let mut entries = ledger(20);
    entries.swap(6, 7);
    check(&entries, &[], Broken::Missing { expected: 7, found: 8 });
    let mut entries = ledger(20);
    let (six, seven) = (entries[6].seq, entries[7].seq);
    entries.swap(6, 7);
    (entries[6].seq, entries[7].seq) = (six, seven);
    check(&entries, &[], Broken::Altered { seq: 7 });
}

#[test]
fn an_entry_that_stands_twice_is_found() {
    let mut entries = ledger(20);
    entries.insert(7, entries[6].clone());
    check(&entries, &[], Broken::Again { expected: 8, found: 7 });
}

#[test]
fn a_replaced_entry_is_found_by_the_one_after_it() {
    let mut entries = ledger(20);
    entries[6].actor = "mallory".to_owned();
    entries[6].hash = entries[6].digest().unwrap();
    check(&entries, &[], Broken::Unlinked { seq: 8 });
}

#[test]
fn a_ledger_written_anew_from_some_point_is_found_by_a_checkpoint() {
    let mut entries = ledger(20);
    let known = checkpoint(&entries[9]);
    entries[6].actor = "mallory".to_owned();
    let entries = rehashed(entries, 6);
    assert!(verify(&entries, &[]).is_ok(), "a chain alone cannot show it");
    check(&entries, &[known], Broken::Rewritten { seq: 10, time: at(1000) });
}

#[test]
fn a_truncated_tail_is_found_by_a_checkpoint() {
    let entries = ledger(20);
    let known = checkpoint(&entries[19]);
    assert!(verify(&entries[..15], &[]).is_ok(), "a chain alone cannot show it");
    check(
        &entries[..15],
        std::slice::from_ref(&known),
        Broken::CutOff { last: 15, signed: 20, time: at(1000) },
    );
    check(&[], &[known], Broken::CutOff { last: 0, signed: 20, time: at(1000) });
}

#[test]
fn a_checkpoint_is_good_only_as_it_was_signed() {
    let good = checkpoint(&ledger(3)[2]);
    let message = good.statement().message();
    let verify = |key: &str, said: &[u8], signature: &[u8]| {
        key == "k" && said == message && signature == b"by k"
    };
    assert!(good.is_signed(verify));
    let bad = [
        Checkpoint { seq: 2, ..good.clone() },
        Checkpoint { hash: Tail::EMPTY.hash, ..good.clone() },
        Checkpoint { time: at(1001), ..good.clone() },
        Checkpoint { key: "l".to_owned(), ..good.clone() },
        Checkpoint { signature: "AAAA".to_owned(), ..good.clone() },
        Checkpoint { signature: "not base64url!".to_owned(), ..good },
    ];
    assert!(bad.iter().all(|bad| !bad.is_signed(verify)));
}

fn any_detail() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let inner = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::btree_map(".{0,6}", inner, 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

proptest! {
    #[test]
    fn an_entry_survives_being_written_as_a_line(
        detail in any_detail(), nanosecond in 0..4_000_000_000_000_000_000_i128,
    ) {
        let draft = Draft::new("alice", "switch.set", "fleet", detail).unwrap();
        let now = Timestamp::from_nanosecond(nanosecond).unwrap();
        let entry = ledger(3)[2].tail().append(draft, now).unwrap();
        let read = read_line(write_line(&entry).as_bytes()).unwrap();
        prop_assert_eq!(read.digest(), Ok(entry.hash));
        prop_assert_eq!(read, entry);
    }

    #[test]
    fn one_flipped_bit_of_a_ledger_as_text_is_found(
        length in 1..12_u64, place in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let entries = ledger(length);
        let known = checkpoint(entries.last().unwrap());
        let mut text: Vec<u8> =
            entries.iter().flat_map(|entry| (write_line(entry) + "\n").into_bytes()).collect();
        let place = place.index(text.len() - 1);
        text[place] ^= 1 << bit;
        let lines = text.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n');
        let read: Result<Vec<Entry>, _> = lines.map(read_line).collect();
        // Either a line is no entry any more, or the chain does not hold, or the same was said in other letters.
        if let Ok(read) = read {
            prop_assert!(verify(&read, &[known]).is_err() || read == entries);
        }
    }

    #[test]
    fn whatever_is_read_as_a_line_does_not_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_line(&line).map(|entry| entry.digest());
    }
}
