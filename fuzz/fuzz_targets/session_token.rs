//! Session tokens: none that we did not make is valid, and none that we made is for another.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use metadata::{TokenKey, TokenLife};
use secret::SecretKey;

fuzz_target!(|bytes: &[u8]| {
    let key = TokenKey::new(&SecretKey::new([7; 32]), [1; 16]);
    let boot = Duration::from_secs(60);
    assert!(key.check("orders/prod/1", bytes, boot).is_err(), "a token out of nothing");

    let Ok(life) = TokenLife::parse(bytes.split(|b| *b == b'\n').next().unwrap_or_default()) else {
        return;
    };
    let token = key.mint("orders/prod/1", life, boot, [3; 16]);
    let token = token.expose().as_bytes();
    assert_eq!(key.check("orders/prod/1", token, boot), Ok(life.seconds()));
    let end = boot + Duration::from_secs(life.seconds().into());
    assert!(key.check("orders/prod/1", token, end).is_err(), "a token after its life");
    assert!(key.check("orders/prod/2", token, boot).is_err(), "another workload's token");
});
