//! The issuer's manifest: parsed or refused, and what is parsed is written and read back equal.
#![no_main]

use issuer::{KeyRing, Manifest, SigningKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(manifest) = Manifest::parse(text) {
        assert_eq!(Manifest::parse(&manifest.to_json()).as_ref(), Ok(&manifest));
        assert!(KeyRing::<SigningKey>::assemble(&manifest, Vec::new()).is_err());
    }
});
