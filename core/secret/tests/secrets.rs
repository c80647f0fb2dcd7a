//! A secret is compared like the bytes it holds, and none of them is ever printed.

use proptest::prelude::*;
use secret::{SecretBytes, SecretKey, SecretText};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn secrets_are_equal_exactly_when_what_they_hold_is(
        left in "[ab]{0,3}", right in "[ab]{0,3}",
    ) {
        let equal = left == right;
        let text = SecretText::new(left.clone());
        prop_assert_eq!(text.matches(right.as_bytes()), equal);
        prop_assert_eq!(text == SecretText::new(right.clone()), equal);
        let bytes = SecretBytes::new(left.into_bytes());
        prop_assert_eq!(bytes == SecretBytes::new(right.into_bytes()), equal);
    }

    #[test]
    fn one_wrong_bit_anywhere_makes_another_key(key: [u8; 32], bit in 0..256_usize) {
        let mut other = key;
        for (index, byte) in other.iter_mut().enumerate() {
            *byte ^= u8::from(index == bit / 8) << (bit % 8);
        }
        prop_assert!(SecretKey::new(key) == SecretKey::new(key));
        prop_assert!(SecretKey::new(key) != SecretKey::new(other));
    }

    #[test]
    fn printing_says_nothing_of_what_is_held(text in "\\PC{0,40}", bytes: Vec<u8>) {
        let printed = format!("{:?}", (SecretText::new(text), SecretBytes::new(bytes)));
        prop_assert_eq!(printed, "([secret], [secret])");
    }

    #[test]
    fn what_was_given_is_lent_back(text in "\\PC{0,40}") {
        let secret = SecretText::from(text.clone());
        prop_assert_eq!(secret.expose(), &text);
    }
}
