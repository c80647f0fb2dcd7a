//! The issuer's URL: parsed or refused, in one spelling, and practice takes all that AWS takes.
#![no_main]

use issuer::IssuerUrl;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let strict: Result<IssuerUrl, _> = text.parse();
    let practice = IssuerUrl::practice(text);
    assert!(strict.is_err() || practice == strict);
    if let Ok(url) = practice {
        assert_eq!(url.as_str(), text);
        assert!(!url.discovery_url().contains("//.well-known"));
        assert!(url.provider_arn(&"aws".parse().unwrap(), "111122223333".parse().unwrap()).is_ok());
    }
});
