use issuer::{Algorithm, InvalidKey, SigningKey};
use proptest::prelude::*;
use secret::SecretText;

use crate::{
    random::{Exhausted, key, seeded},
    verifier::{decode, verify_with},
};

const RFC_7515_A2: &str = include_str!("keys/rfc7515-a2-rs256.pem");
const RFC_7515_A3: &str = include_str!("keys/rfc7515-a3-es256.pem");
const RFC_6979_A2_5: &str = include_str!("keys/rfc6979-a2-5-es256.pem");

fn read(pem: &str) -> Result<SigningKey, InvalidKey> {
    SigningKey::from_pem(&SecretText::new(pem.to_owned()))
}

/// The key verifies the signature of the specification, and its own is `expected`, where the
/// algorithm leaves no choice.
#[track_caller]
fn check(pem: &str, message: &[u8], published: &[u8], expected: Option<&[u8]>) {
    let key = read(pem).unwrap();
    let public = key.public().to_json();
    assert!(verify_with(&public, message, published), "the published signature");
    let signature = key.sign(message, &mut seeded(1)).unwrap();
    assert!(verify_with(&public, message, &signature), "our signature");
    assert_eq!(signature, key.sign(message, &mut seeded(2)).unwrap(), "signed twice");
    assert!(!verify_with(&public, b"another message", &signature));
    if let Some(expected) = expected {
        assert_eq!(signature, expected);
    }
}

#[track_caller]
fn check_refused(pem: &str, expected: &InvalidKey) {
    assert_eq!(&read(pem).unwrap_err(), expected);
}

#[test]
fn rs256_signs_as_rfc_7515_appendix_a2_prints() {
    let signed = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9\
        leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = decode(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2F\
         p5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQB\
         MHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeY\
         I2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    check(RFC_7515_A2, signed.as_bytes(), &signature, Some(&signature));
}

#[test]
fn es256_verifies_what_rfc_7515_appendix_a3_prints() {
    let signed = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9\
        leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = decode(
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
    check(RFC_7515_A3, signed.as_bytes(), &signature, None);
}

#[test]
fn es256_nonces_are_those_of_rfc_6979_appendix_a2_5() {
    let signature = [
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
    ];
    let signature = signature.concat();
    let bytes = signature.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let bytes: Vec<u8> = bytes.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    check(RFC_6979_A2_5, b"sample", &bytes, Some(&bytes));
}

#[test]
fn a_generated_key_survives_its_file() {
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm, &mut seeded(3)).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let again = SigningKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!((again.kid(), again.public()), (key.kid(), key.public()));
        let signature = again.sign(b"message", &mut seeded(4)).unwrap();
        assert!(verify_with(&key.public().to_json(), b"message", &signature));
    }
}

#[test]
fn a_key_prints_as_its_name_alone() {
    let key = read(RFC_7515_A3).unwrap();
    assert_eq!(format!("{key:?}"), format!("SigningKey(ES256 {})", key.kid()));
}

#[test]
fn without_randomness_no_key_is_made_and_rsa_does_not_sign() {
    for algorithm in Algorithm::ALL {
        SigningKey::generate(algorithm, &mut Exhausted).unwrap_err();
    }
    read(RFC_7515_A2).unwrap().sign(b"message", &mut Exhausted).unwrap_err();
    read(RFC_7515_A3).unwrap().sign(b"message", &mut Exhausted).unwrap();
}

#[test]
fn a_file_that_is_not_an_unencrypted_pkcs8_key_is_refused() {
    check_refused("", &InvalidKey::NotPkcs8);
    check_refused(&RFC_7515_A3.replace("PRIVATE", "PUBLIC"), &InvalidKey::NotPkcs8);
    check_refused(&RFC_7515_A3.replace("PRIVATE", "EC PRIVATE"), &InvalidKey::NotPkcs8);
    check_refused(&RFC_7515_A3.replace("PRIVATE", "ENCRYPTED PRIVATE"), &InvalidKey::NotPkcs8);
}

#[test]
fn a_key_for_other_algorithms_is_refused() {
    check_refused(include_str!("keys/too-small-rs256.pem"), &InvalidKey::Unsupported);
    check_refused(include_str!("keys/other-curve.pem"), &InvalidKey::Unsupported);
}

#[test]
fn a_huge_file_is_refused_unread() {
    let huge = RFC_7515_A3.to_owned() + &"\n".repeat(SigningKey::PEM_MAX);
    check_refused(&huge, &InvalidKey::TooLong(huge.len()));
}

#[test]
fn white_space_around_a_key_does_no_harm() {
    assert_eq!(
        read(&format!("\n{RFC_7515_A3}\n\n")).unwrap().kid(),
        read(RFC_7515_A3).unwrap().kid()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_never_becomes_a_key_and_never_panics(text in ".{0,400}") {
        prop_assert!(read(&text).is_err());
        let framed = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        prop_assert!(read(&framed).is_err());
    }

    #[test]
    fn a_damaged_key_never_panics_and_what_it_signs_its_public_key_verifies(
        rsa: bool, at in 30..1600_usize, letter in "[A-Za-z0-9+/]",
    ) {
        let mut pem = if rsa { RFC_7515_A2 } else { RFC_7515_A3 }.to_owned();
        let at = at % pem.len();
        pem.replace_range(at..=at, &letter);
        if let Ok(key) = read(&pem)
            && let Ok(signature) = key.sign(b"message", &mut seeded(5))
        {
            prop_assert!(verify_with(&key.public().to_json(), b"message", &signature));
        }
    }

    #[test]
    fn different_keys_have_different_names(left in 0..1000_u64, right in 0..1000_u64) {
        prop_assert_eq!(key(left).kid() == key(right).kid(), left == right);
    }
}
