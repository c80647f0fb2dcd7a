//! The agent's file: taken or refused with a reason, whatever is in it.
#![no_main]

use agent::settings::Settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = Settings::parse("agent.toml", text, 0) {
        assert!(!error.to_string().is_empty());
    }
});
