//! What a verifier does, on another implementation of the same algorithms.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::Value;

pub(crate) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub(crate) fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// The claims of a token that some key of a JWKS document signed, or nothing.
pub(crate) fn verify(token: &str, jwks: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header: Value = serde_json::from_slice(&decode(header)).ok()?;
    let jwks: Value = serde_json::from_str(jwks).ok()?;
    let mut keys = jwks["keys"].as_array()?.iter();
    let key = keys.find(|key| key["kid"] == header["kid"] && key["alg"] == header["alg"])?;
    verify_with(key, signed.as_bytes(), &decode(signature))
        .then(|| serde_json::from_slice(&decode(claims)).unwrap())
}

/// Whether the key, as a JWK, signed these bytes.
pub(crate) fn verify_with(key: &Value, signed: &[u8], signature: &[u8]) -> bool {
    let member = |name: &str| decode(key[name].as_str().unwrap());
    if key["kty"] == "RSA" {
        let public = RsaPublicKeyComponents { n: member("n"), e: member("e") };
        public.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature).is_ok()
    } else {
        let point = [vec![4], member("x"), member("y")].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).is_ok()
    }
}
