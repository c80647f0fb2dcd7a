//! A signing key's file: read or refused, and what is read is written and read back as one key.
#![no_main]

use issuer::SigningKey;
use libfuzzer_sys::fuzz_target;
use secret::SecretText;

fuzz_target!(|text: &str| {
    match SigningKey::from_pem(&SecretText::new(text.to_owned())) {
        Ok(key) => {
            let again = SigningKey::from_pem(&key.to_pem().unwrap()).unwrap();
            assert_eq!(again.kid(), key.kid());
        }
        // The reason must never quote the file.
        Err(error) => assert!(error.to_string().len() < 256),
    }
});
