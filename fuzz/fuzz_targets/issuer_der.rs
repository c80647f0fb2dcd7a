//! What key services answer: public keys and signatures in DER are read or refused, and what is read is one
//! thing.
#![no_main]

use issuer::{Jwk, p256_signature};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    if let Ok(key) = Jwk::from_der(der) {
        assert_eq!(Jwk::from_der(der).as_ref(), Ok(&key));
        let json = key.to_json();
        assert_eq!(json["kid"], key.kid().as_str());
        // Nothing may stand behind a key.
        assert!(Jwk::from_der(&[der, &[0]].concat()).is_err());
    }
    if let Ok(fixed) = p256_signature(der) {
        let (r, s) = fixed.split_at(32);
        assert!(r.iter().any(|&byte| byte != 0) && s.iter().any(|&byte| byte != 0));
        // DER has one spelling for two numbers.
        assert_eq!(written(r, s), der);
    }
});

fn written(r: &[u8], s: &[u8]) -> Vec<u8> {
    let body = [number(r), number(s)].concat();
    [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
}

fn number(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
    let plain = bytes.get(start..).unwrap_or_default();
    let sign: &[u8] = if plain.first().is_some_and(|&byte| byte >= 0x80) { &[0] } else { &[] };
    let length = u8::try_from(sign.len() + plain.len()).unwrap();
    [&[0x02, length], sign, plain].concat()
}
