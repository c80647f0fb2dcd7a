use issuer::{InvalidSubject, IssuerUrl, KeyRing, SigningKey, discovery, jwks, trust_policy};
use jiff::Timestamp;
use secret::SecretText;
use serde_json::{Value, json};

use crate::random::key;

fn url() -> IssuerUrl {
    "https://oidc.example.com/fleet".parse().unwrap()
}

/// The document ends in a newline and says this.
#[track_caller]
fn check(document: &str, expected: &Value) {
    assert!(document.ends_with("}\n"), "{document}");
    assert_eq!(&serde_json::from_str::<Value>(document).unwrap(), expected);
}

#[test]
fn the_discovery_document_has_what_openid_and_aws_ask_for() {
    let expected = json!({
        "issuer": "https://oidc.example.com/fleet",
        "jwks_uri": "https://oidc.example.com/fleet/.well-known/jwks.json",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "scopes_supported": ["openid"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        "claims_supported": [
            "iss", "sub", "aud", "iat", "nbf", "exp", "jti",
            "https://aws.amazon.com/tags", "https://aws.amazon.com/source_identity",
        ],
    });
    check(&discovery(&url()), &expected);
    let place = "https://oidc.example.com/fleet/.well-known/openid-configuration";
    assert_eq!(url().discovery_url(), place);
}

#[test]
fn the_jwks_document_has_every_public_key_and_nothing_private() {
    let pem = include_str!("keys/rfc7515-a2-rs256.pem");
    let rsa = SigningKey::from_pem(&SecretText::new(pem.to_owned())).unwrap();
    let (n, rsa_kid) = (rsa.public().to_json()["n"].clone(), rsa.kid().clone());
    let waiting = key(1);
    let (point, kid) = (waiting.public().to_json(), waiting.kid().clone());
    let mut keys = KeyRing::new(rsa, Timestamp::UNIX_EPOCH);
    keys.publish(waiting, Timestamp::UNIX_EPOCH).unwrap();
    let expected = json!({ "keys": [
        { "kty": "EC", "use": "sig", "alg": "ES256", "kid": kid.as_str(),
          "crv": "P-256", "x": point["x"], "y": point["y"] },
        { "kty": "RSA", "use": "sig", "alg": "RS256", "kid": rsa_kid.as_str(),
          "n": n, "e": "AQAB" },
    ] });
    check(&jwks(&keys), &expected);
}

#[test]
fn a_trust_policy_lets_in_one_application_in_one_environment() {
    let provider = url().provider_arn(&"aws".parse().unwrap(), "111122223333".parse().unwrap());
    let provider = provider.unwrap();
    let policy = trust_policy(&url(), &provider, "sts.amazonaws.com", "orders", "prod").unwrap();
    let expected = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {
                "Federated": "arn:aws:iam::111122223333:oidc-provider/oidc.example.com/fleet",
            },
            "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"],
            "Condition": {
                "StringEquals": { "oidc.example.com/fleet:aud": "sts.amazonaws.com" },
                "StringLike": {
                    "oidc.example.com/fleet:sub":
                        "application:orders:environment:prod:instance:*",
                },
            },
        }],
    });
    check(&policy, &expected);
    let refused = trust_policy(&url(), &provider, "sts.amazonaws.com", "*", "prod");
    assert!(matches!(refused, Err(InvalidSubject::Name { part: "application", .. })));
}
