//! A request that a host signed: whatever it says, nothing but the one question goes to STS alone.
#![no_main]

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use aws::{Forwarder, SignedRequest};
use libfuzzer_sys::fuzz_target;

// Lines: the nonce, the URL, the body, then `name: value`.
fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let (nonce, url, body) = (next(), next(), next());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned().into()));
    let request = SignedRequest { url, headers: headers.collect::<BTreeMap<_, _>>(), body };
    static FORWARDER: LazyLock<Forwarder> =
        LazyLock::new(|| Forwarder::new(None, Duration::from_secs(1)));
    if let Ok(place) = FORWARDER.place(&request, &nonce) {
        let host =
            place.strip_prefix("https://sts.").and_then(|rest| rest.strip_suffix('/')).unwrap();
        assert!(
            host == "amazonaws.com"
                || host.ends_with(".amazonaws.com")
                || host.ends_with(".amazonaws.com.cn")
        );
        assert!(
            host.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        );
        assert_eq!(request.body, "Action=GetCallerIdentity&Version=2011-06-15");
        assert_eq!(request.headers["x-rolecall-nonce"].expose(), &nonce);
    }
});
