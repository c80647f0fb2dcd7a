//! A trust policy: judged or found unreadable, and each finding says what is to be done.
#![no_main]

use issuer::{Finding, Trust};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|policy: &str| {
    let url = "https://oidc.example.com/fleet".parse().unwrap();
    let provider =
        "arn:aws:iam::111122223333:oidc-provider/oidc.example.com/fleet".parse().unwrap();
    let trust = Trust::new(&url, &provider, "sts.amazonaws.com", "orders", "prod").unwrap();
    let findings = trust.check(None, policy);
    assert_eq!(findings.first(), Some(&Finding::NoProvider));
    for finding in &findings {
        assert!(!finding.to_string().is_empty() && !trust.fix(finding).is_empty());
    }
});
