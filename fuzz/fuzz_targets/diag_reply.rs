//! What the kernel says about a socket: read or refused, whatever the bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linux::parse_reply;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = parse_reply(bytes) {
        assert!(!error.to_string().is_empty());
    }
});
