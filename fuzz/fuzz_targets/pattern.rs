//! Which applications and environments: parsed or refused, in one spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use workload::Pattern;

fuzz_target!(|text: &str| {
    if let Ok(pattern) = text.parse::<Pattern>() {
        assert_eq!(pattern.to_string(), text);
        assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }
});
