//! Public keys and signatures as key services answer them, against what another library makes.

use issuer::{
    Algorithm, InvalidPublicKey, InvalidSignature, Jwk, Key as _, SigningKey, p256_signature,
};
use proptest::prelude::*;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use secret::SecretText;

use crate::{
    random::{key, seeded},
    verifier::verify_with,
};

const RSA_2048: &[u8] = include_bytes!("keys/rfc7515-a2-rs256.pub.der");
const P_256: &[u8] = include_bytes!("keys/rfc7515-a3-es256.pub.der");
const TOO_SMALL: &[u8] = include_bytes!("keys/too-small-rs256.pub.der");
const OTHER_CURVE: &[u8] = include_bytes!("keys/other-curve.pub.der");

fn private(pem: &str) -> SigningKey {
    SigningKey::from_pem(&SecretText::new(pem.to_owned())).unwrap()
}

/// `SubjectPublicKeyInfo` of a point on P-256: RFC 5480 section 2.
fn spki(point: &[u8]) -> Vec<u8> {
    let head = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
    [head.as_slice(), point].concat()
}

#[track_caller]
fn check_refused(der: &[u8], expected: &InvalidPublicKey) {
    assert_eq!(&Jwk::from_der(der).unwrap_err(), expected);
}

#[test]
fn a_public_key_in_der_is_the_one_of_its_private_half() {
    let rsa = private(include_str!("keys/rfc7515-a2-rs256.pem"));
    assert_eq!(&Jwk::from_der(RSA_2048).unwrap(), rsa.public());
    let p256 = private(include_str!("keys/rfc7515-a3-es256.pem"));
    assert_eq!(&Jwk::from_der(P_256).unwrap(), p256.public());
    assert_eq!(Jwk::from_der(P_256).unwrap().algorithm(), Algorithm::Es256);
}

#[test]
fn other_public_keys_are_refused_with_their_reason() {
    check_refused(TOO_SMALL, &InvalidPublicKey::Unsupported);
    check_refused(OTHER_CURVE, &InvalidPublicKey::Unsupported);
    check_refused(b"", &InvalidPublicKey::NotSpki);
    check_refused(&[P_256, b"more"].concat(), &InvalidPublicKey::NotSpki);
    check_refused(&[0; Jwk::DER_MAX + 1], &InvalidPublicKey::TooLong(Jwk::DER_MAX + 1));
    let off_curve = spki(&[vec![4], vec![1; 64]].concat());
    check_refused(&off_curve, &InvalidPublicKey::Damaged(Algorithm::Es256));
}

#[test]
fn what_another_library_signs_in_der_verifies_as_a_tokens_signature() {
    let random = SystemRandom::new();
    for _ in 0..64 {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random);
        let pair = pair.unwrap();
        let public = Jwk::from_der(&spki(pair.public_key().as_ref())).unwrap();
        let der = pair.sign(&random, b"message").unwrap();
        let fixed = p256_signature(der.as_ref()).unwrap();
        assert!(verify_with(&public.to_json(), b"message", &fixed));
    }
}

#[test]
fn a_signature_that_is_not_one_is_refused() {
    let (one, zero) = ([0x30, 6, 2, 1, 1, 2, 1, 1], [0x30, 6, 2, 1, 0, 2, 1, 1]);
    let mut fixed = [0; 64];
    (fixed[31], fixed[63]) = (1, 1);
    assert_eq!(p256_signature(&one), Ok(fixed));
    assert_eq!(p256_signature(&zero), Err(InvalidSignature));
    assert_eq!(p256_signature(b""), Err(InvalidSignature));
    assert_eq!(p256_signature(&[one.as_slice(), &[0]].concat()), Err(InvalidSignature));
    // A longer form of the same length, and a number that is negative.
    assert_eq!(p256_signature(&[0x30, 0x81, 6, 2, 1, 1, 2, 1, 1]), Err(InvalidSignature));
    assert_eq!(p256_signature(&[0x30, 6, 2, 1, 0x81, 2, 1, 1]), Err(InvalidSignature));
}

#[test]
fn a_key_that_signs_elsewhere_makes_the_same_token() {
    use issuer::{Claims, KeyRing, Subject};
    let wall = "2026-01-01T00:00:00Z".parse().unwrap();
    let url = "https://oidc.example.com".parse().unwrap();
    let subject = Subject::new("orders", "prod", "orders-1").unwrap();
    let claims = Claims::new(&url, &subject, "sts.amazonaws.com", wall, [7; 16]).unwrap();
    let here = claims.token(&KeyRing::new(key(1), wall), &mut seeded(2)).unwrap();

    let elsewhere = KeyRing::new(key(1).public().clone(), wall);
    let unsigned = claims.unsigned(elsewhere.active().public());
    let signature = key(1).sign(unsigned.bytes(), &mut seeded(3)).unwrap();
    assert_eq!(unsigned.signed(&signature).expose(), here.expose());
}

proptest! {
    #[test]
    fn no_bytes_break_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        prop_assert!(Jwk::from_der(&bytes).is_err());
        prop_assert!(p256_signature(&bytes).is_err());
    }

    #[test]
    fn a_damaged_public_key_is_refused_or_another(at in 0..91_usize, byte: u8) {
        let mut der = P_256.to_vec();
        der[at] = byte;
        if let Ok(key) = Jwk::from_der(&der) {
            prop_assert_eq!(key.kid() == Jwk::from_der(P_256).unwrap().kid(), der == P_256);
        }
    }
}
