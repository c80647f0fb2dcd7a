//! A ledger's lines: read or refused, written and read back equal, and no text makes the verifier panic.
//! A number that is not whole is read, since it is JSON, but no writer writes one: it has no digest.
#![no_main]

use ledger::Verifier;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let mut verifier = Verifier::new(Vec::new());
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(entry) = ledger::read_line(line) else { continue };
        let written = ledger::write_line(&entry);
        assert!(!written.contains('\n'));
        let read_back =
            ledger::read_line(written.as_bytes()).expect("what was written can be read");
        let digest = entry.digest();
        assert_eq!(read_back.digest(), digest);
        if digest.is_ok() {
            assert_eq!(read_back, entry);
        }
        let good = digest == Ok(entry.hash);
        assert!(verifier.take(&entry).is_err() || good);
    }
    let _ = verifier.finish();
});
