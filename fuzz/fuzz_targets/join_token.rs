//! Join tokens: one spelling each, and what is printed of one is the same whatever its secret is.
#![no_main]

use api::JoinToken;
use libfuzzer_sys::fuzz_target;
use secret::SecretText;

fuzz_target!(|text: &str| {
    if let Ok(token) = text.parse::<JoinToken>() {
        assert_eq!(token.to_secret().expose(), text);
        let secret = SecretText::new("the-secret-of-another-token".to_owned());
        let other = JoinToken::new(token.id(), secret, token.pin()).expect("its parts are right");
        assert_eq!(format!("{token:?}"), format!("{other:?}"));
    }
});
