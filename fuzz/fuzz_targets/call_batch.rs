//! What a server reads of an agent's frames: within its bounds or refused, and the same when it is written again.
#![no_main]

use calls::{Batch, ENTRIES_MAX, read_batch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    // As lines, so that the fuzzer need not find out how they are packed.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    read(&[&[1][..], &length, &literal(bytes)].concat());
});

fn read(bytes: &[u8]) {
    let Ok(entries) = read_batch(bytes) else { return };
    assert!(entries.len() <= ENTRIES_MAX);
    let mut batch = Batch::default();
    entries.iter().for_each(|entry| batch.push(entry));
    assert_eq!(read_batch(&batch.finish()), Ok(entries));
}

/// A block of LZ4 that is nothing but these bytes.
fn literal(bytes: &[u8]) -> Vec<u8> {
    let Some(more) = bytes.len().checked_sub(15) else {
        return [&[u8::try_from(bytes.len() << 4).unwrap_or_default()], bytes].concat();
    };
    let mut block = vec![0xf0];
    block.extend(std::iter::repeat_n(255, more / 255));
    block.push(u8::try_from(more % 255).unwrap_or_default());
    block.extend(bytes);
    block
}
