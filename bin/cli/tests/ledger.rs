//! `rolecall ledger verify` on files: what holds, what is broken, and where.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers included"
)]

use std::{
    fs,
    process::{Command, Output},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ledger::{Checkpoint, Draft, Entry, Statement, Tail};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A ledger of four entries, and a key that signs where it stands.
struct Book {
    folder: TempDir,
    entries: Vec<Entry>,
    key: EcdsaKeyPair,
}

impl Book {
    fn new() -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random);
        Self { folder: tempfile::tempdir().unwrap(), entries: chain("ann", 4), key: key.unwrap() }
    }

    fn keys(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let part = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let (x, y) = (part(&point[1..33]), part(&point[33..]));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k1", "x": x, "y": y }] })
    }

    fn checkpoint(&self, entry: &Entry) -> Checkpoint {
        let time = "2026-01-02T00:00:00Z".parse().unwrap();
        let statement = Statement { tail: entry.tail(), time, key: "k1".to_owned() };
        let signature = self.key.sign(&SystemRandom::new(), &statement.message()).unwrap();
        statement.signed(signature.as_ref())
    }

    /// Verifies these entries against these checkpoints.
    fn verify(&self, entries: &[Entry], checkpoints: &[Checkpoint]) -> Output {
        let lines: Vec<String> = entries.iter().map(ledger::write_line).collect();
        self.verify_text(&lines.join("\n"), checkpoints)
    }

    fn verify_text(&self, text: &str, checkpoints: &[Checkpoint]) -> Output {
        let path = |name: &str| self.folder.path().join(name);
        let signed: Vec<String> =
            checkpoints.iter().map(|signed| serde_json::to_string(signed).unwrap()).collect();
        fs::write(path("ledger.ndjson"), text).unwrap();
        fs::write(path("checkpoints.ndjson"), signed.join("\n")).unwrap();
        fs::write(path("keys.json"), self.keys().to_string()).unwrap();
        self.run("--file ledger.ndjson --checkpoints checkpoints.ndjson --keys keys.json -o json")
    }

    fn run(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_rolecall"))
            .args(["ledger", "verify"])
            .args(line.split(' '))
            .current_dir(&self.folder)
            .env("ROLECALL_CONFIG_DIR", self.folder.path())
            .output()
            .unwrap()
    }
}

fn chain(actor: &str, length: usize) -> Vec<Entry> {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut tail = Tail::EMPTY;
    let entries = (0..length).map(|number| {
        let detail = json!({ "number": number });
        let draft = Draft::new(actor, "switch.set", "fleet", detail).unwrap();
        let entry = tail.append(draft, now).unwrap();
        tail = entry.tail();
        entry
    });
    entries.collect()
}

#[track_caller]
fn check_broken(said: &Output, words: &str, good: u64) {
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let outcome: Value = serde_json::from_slice(&said.stdout).unwrap();
    let broken = outcome["broken"].as_str().unwrap();
    assert!(broken.contains(words), "{broken}");
    assert_eq!((&outcome["holds"], &outcome["entries"]), (&json!(false), &json!(good)));
}

#[test]
fn a_whole_ledger_holds_and_what_no_checkpoint_covers_is_said() {
    let book = Book::new();
    let said = book.verify(&book.entries, &[book.checkpoint(&book.entries[1])]);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    let outcome: Value = serde_json::from_slice(&said.stdout).unwrap();
    let last = &book.entries[3];
    assert_eq!(
        outcome,
        json!({ "holds": true, "entries": 4, "checkpoints": 1, "seq": 4,
                "hash": last.hash.to_string(), "unsigned_after": 2 })
    );
    let said = book.run("--file ledger.ndjson");
    assert_eq!(said.status.code(), Some(0));
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.contains("no checkpoint covers any of it"), "{text}");
}

#[test]
fn whatever_was_done_to_a_ledger_is_found_with_its_place() {
    let book = Book::new();
    let good = &book.entries;
    let signed = [book.checkpoint(&good[3])];

    let mut altered = good.clone();
    altered[1].actor = "bob".to_owned();
    check_broken(&book.verify(&altered, &signed), "entry 2 was altered", 1);

    let missing = [&good[..1], &good[2..]].concat();
    check_broken(&book.verify(&missing, &signed), "entry 2 is missing", 1);

    let twice = [&good[..2], &good[1..]].concat();
    check_broken(&book.verify(&twice, &signed), "entry 2 stands where entry 3 should", 2);

    let spliced = [&chain("bob", 2)[..], &good[2..]].concat();
    check_broken(&book.verify(&spliced, &signed), "entry 3 does not follow", 2);

    check_broken(&book.verify(&chain("bob", 4), &signed), "entry 4 is not the one", 3);
    check_broken(&book.verify(&good[..3], &signed), "ends at entry 3", 3);

    let mut text: Vec<String> = good.iter().map(ledger::write_line).collect();
    text[2].truncate(40);
    check_broken(&book.verify_text(&text.join("\n"), &signed), "line 3", 2);
}

#[test]
fn a_checkpoint_that_nobody_signed_proves_nothing() {
    let book = Book::new();
    let mut forged = book.checkpoint(&book.entries[3]);
    forged.time = "2026-01-03T00:00:00Z".parse().unwrap();
    check_broken(&book.verify(&book.entries, &[forged]), "its signature is not good", 0);
    let mut unknown = book.checkpoint(&book.entries[3]);
    unknown.key = "k2".to_owned();
    check_broken(&book.verify(&book.entries, &[unknown]), "no key with its id", 0);
}

#[test]
fn what_cannot_be_read_is_the_callers_to_mend() {
    let book = Book::new();
    book.verify(&book.entries, &[book.checkpoint(&book.entries[3])]);
    for (line, code) in [
        ("--file nothing.ndjson", 2),
        ("--file ledger.ndjson --checkpoints checkpoints.ndjson", 2),
        ("--file ledger.ndjson --checkpoints keys.json --keys keys.json", 2),
        ("--file ledger.ndjson --keys ledger.ndjson", 2),
        // Without a file the server is asked, and nobody is signed in.
        ("--keys keys.json", 3),
    ] {
        let said = book.run(line);
        assert_eq!(said.status.code(), Some(code), "{line}: {said:?}");
        assert!(said.stdout.is_empty() && !said.stderr.is_empty(), "{line}");
    }
}
