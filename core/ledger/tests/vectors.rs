//! The language-neutral cases: bytes that every writer and every verifier must agree on. They were computed by
//! another program in another language.

use ledger::{Checkpoint, Tail, Verifier, read_line};

const ENTRIES: &str = include_str!("../../../conformance/ledger/entries.ndjson");
const CHECKPOINT: &str = include_str!("../../../conformance/ledger/checkpoint.json");

#[test]
fn the_entries_have_the_hashes_that_another_program_computed() {
    let mut verifier = Verifier::new(Vec::new());
    for line in ENTRIES.lines() {
        verifier.take(&read_line(line.as_bytes()).unwrap()).unwrap();
    }
    assert_eq!(verifier.finish().unwrap().entries, 3);
}

#[test]
fn a_checkpoint_signs_the_bytes_that_another_program_computed() {
    let case: serde_json::Value = serde_json::from_str(CHECKPOINT).unwrap();
    let text = |name: &str| case[name].as_str().unwrap().to_owned();
    let checkpoint = Checkpoint {
        seq: case["seq"].as_u64().unwrap(),
        hash: text("hash").parse().unwrap(),
        time: text("time").parse().unwrap(),
        key: text("key"),
        signature: String::new(),
    };
    let last = read_line(ENTRIES.lines().last().unwrap().as_bytes()).unwrap();
    assert_eq!(last.tail(), Tail { seq: checkpoint.seq, hash: checkpoint.hash });
    let message: String =
        checkpoint.statement().message().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(message, text("message"));
}
