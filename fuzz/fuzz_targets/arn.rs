//! The provider's nouns: parsed or refused, and what is parsed prints as something equal.
#![no_main]

use std::{fmt::Display, str::FromStr};

use cloud::{AccountId, Arn, Partition, Region, RoleArn, RoleSession};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    check::<AccountId>(text);
    check::<Arn>(text);
    check::<Partition>(text);
    check::<Region>(text);
    check::<RoleArn>(text);
    check::<RoleSession>(text);
});

fn check<T: FromStr<Err: Display> + Display + PartialEq>(text: &str) {
    match text.parse::<T>() {
        Ok(noun) => assert!(noun.to_string().parse().is_ok_and(|again: T| again == noun)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
