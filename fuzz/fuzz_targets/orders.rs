//! Orders: read or refused, and what is read is written and read back equal.
#![no_main]

use api::orders::Orders;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(orders) = text.parse::<Orders>() {
        let text = orders.to_text().unwrap();
        assert_eq!(text.parse().as_ref(), Ok(&orders));
    }
});
