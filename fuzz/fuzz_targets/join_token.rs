//! Join tokens: one spelling each, and no error or print that repeats the secret.
#![no_main]

use api::JoinToken;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(token) = text.parse::<JoinToken>() {
        assert_eq!(token.to_secret().expose(), text);
        let rest =
            format!("{token:?}").replace(token.id(), "").replace(&token.pin().to_string(), "");
        assert!(!rest.contains(token.secret().expose().as_str()));
    }
});
