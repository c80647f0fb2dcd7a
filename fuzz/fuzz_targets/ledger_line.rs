//! A ledger's lines: read or refused, written and read back equal, and no text makes the verifier panic.
#![no_main]

use ledger::Verifier;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let mut verifier = Verifier::new(Vec::new());
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(entry) = ledger::read_line(line) else { continue };
        let written = ledger::write_line(&entry);
        assert!(!written.contains('\n'));
        assert_eq!(ledger::read_line(written.as_bytes()).as_ref(), Ok(&entry));
        let good = entry.digest() == Ok(entry.hash);
        assert!(verifier.take(&entry).is_err() || good);
    }
    let _ = verifier.finish();
});
