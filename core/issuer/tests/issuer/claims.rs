use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use issuer::{
    Claims, InvalidClaims, InvalidSubject, InvalidTags, IssuerUrl, KeyRing, SessionTags,
    SigningKey, Subject, jwks,
};
use jiff::Timestamp;
use proptest::prelude::*;
use secret::SecretText;
use serde_json::json;

use crate::{
    random::{key, seeded},
    verifier::{encode, verify},
};

fn wall() -> Timestamp {
    "2026-01-01T00:00:00.9Z".parse().unwrap()
}

fn claims() -> Claims {
    let url: IssuerUrl = "https://oidc.example.com/fleet".parse().unwrap();
    let subject = Subject::new("orders", "prod", "orders-1").unwrap();
    Claims::new(&url, &subject, "sts.amazonaws.com", wall(), [7; 16]).unwrap()
}

fn tags(tags: &[(&str, &str)], transitive: &[&str]) -> Result<SessionTags, InvalidTags> {
    let tags = tags.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
    let transitive: BTreeSet<String> = transitive.iter().map(|&key| key.to_owned()).collect();
    SessionTags::new(tags.collect(), transitive)
}

#[track_caller]
fn check_tags(given: &[(&str, &str)], transitive: &[&str], expected: Result<(), &str>) {
    let found = tags(given, transitive).map(|_| ()).map_err(|error| error.to_string());
    match (found, expected) {
        (Ok(()), Ok(())) => {}
        (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
        (found, expected) => panic!("{found:?} is not {expected:?}"),
    }
}

#[track_caller]
fn check_subject(parts: [&str; 3], expected: &Result<&str, InvalidSubject>) {
    let [application, environment, instance] = parts;
    let found = Subject::new(application, environment, instance);
    assert_eq!(found.as_ref().map(Subject::as_str), expected.as_ref().map(|text| *text));
}

#[test]
fn the_claims_are_those_that_aws_documents() {
    let tags = tags(&[("application", "orders"), ("environment", "prod")], &["application"]);
    let claims = claims().with_tags(tags.unwrap()).unwrap();
    let claims = claims.with_source_identity("orders-1").unwrap();
    let expected = json!({
        "iss": "https://oidc.example.com/fleet",
        "sub": "application:orders:environment:prod:instance:orders-1",
        "aud": "sts.amazonaws.com",
        "iat": 1_767_225_600,
        "nbf": 1_767_225_540,
        "exp": 1_767_225_900,
        "jti": "BwcHBwcHBwcHBwcHBwcHBw",
        "https://aws.amazon.com/tags": {
            "principal_tags": { "application": ["orders"], "environment": ["prod"] },
            "transitive_tag_keys": ["application"],
        },
        "https://aws.amazon.com/source_identity": "orders-1",
    });
    assert_eq!(claims.to_json(), expected);
}

#[test]
fn a_token_without_tags_has_no_claim_for_them() {
    let plain = claims().to_json();
    assert_eq!(plain.as_object().unwrap().len(), 7);
    let tagged = claims().with_tags(tags(&[("team", "a")], &[]).unwrap()).unwrap().to_json();
    assert_eq!(
        tagged["https://aws.amazon.com/tags"],
        json!({ "principal_tags": { "team": ["a"] } })
    );
}

#[test]
fn another_library_verifies_a_token_of_either_algorithm() {
    let rsa = SecretText::new(include_str!("keys/rfc7515-a2-rs256.pem").to_owned());
    for key in [SigningKey::from_pem(&rsa).unwrap(), key(1)] {
        let keys = KeyRing::new(key, wall());
        let token = claims().token(&keys, &mut seeded(2)).unwrap();
        assert_eq!(verify(token.expose(), &jwks(&keys)), Some(claims().to_json()));
        let forged = KeyRing::new(super::random::key(9), wall());
        assert_eq!(verify(token.expose(), &jwks(&forged)), None, "by another issuer's keys");
        let (head, signature) = token.expose().rsplit_once('.').unwrap();
        let (header, _) = head.split_once('.').unwrap();
        let other = claims().with_life(Duration::from_secs(299)).unwrap().to_json().to_string();
        let changed = format!("{header}.{}.{signature}", encode(&other));
        assert_eq!(verify(&changed, &jwks(&keys)), None, "with another claim");
    }
}

#[test]
fn life_can_only_be_shortened() {
    let life = |seconds| claims().with_life(Duration::from_secs(seconds));
    let exp = life(30).unwrap().to_json()["exp"].as_i64().unwrap();
    assert_eq!(exp, wall().as_second() + 30);
    life(300).unwrap();
    assert_eq!(life(301), Err(InvalidClaims::Life(Duration::from_secs(301))));
    life(0).unwrap_err();
    claims().with_life(Duration::from_millis(1500)).unwrap_err();
}

#[test]
fn an_audience_is_a_client_id_of_iam() {
    let url: IssuerUrl = "https://oidc.example.com".parse().unwrap();
    let subject = Subject::new("a", "b", "c").unwrap();
    let audience = |text: &str| Claims::new(&url, &subject, text, wall(), [0; 16]);
    audience(&"a".repeat(255)).unwrap();
    for wrong in ["", "two words", "line\n", "ü", &"a".repeat(256)] {
        audience(wrong).unwrap_err();
    }
}

#[test]
fn a_source_identity_has_two_to_64_plain_characters() {
    claims().with_source_identity("o1").unwrap();
    claims().with_source_identity(&"a_+=,.@-".repeat(8)).unwrap();
    for wrong in ["", "o", "orders:1", "orders 1", "ördérs", &"a".repeat(65)] {
        claims().with_source_identity(wrong).unwrap_err();
    }
}

#[test]
fn tags_keep_within_the_limits_of_sts() {
    check_tags(&[("Größe", "10 m² + 1"), ("a.b:c/d=e+f-g@h_i", "")], &["Größe"], Ok(()));
    check_tags(&[("", "x")], &[], Err("key must be"));
    check_tags(&[("a*", "x")], &[], Err("key must be"));
    check_tags(&[("a\tb", "x")], &[], Err("key must be"));
    check_tags(&[("AWS:role", "x")], &[], Err("key must be"));
    check_tags(&[("a", "{}")], &[], Err("value of session tag `a`"));
    check_tags(&[("team", "x"), ("Team", "y")], &[], Err("differ in case alone"));
    check_tags(&[("team", "x")], &["Team"], Err("`Team` is not among the tags"));
    check_tags(&[(&"k".repeat(128), &"ü".repeat(256))], &[], Ok(()));
    check_tags(&[(&"k".repeat(129), "")], &[], Err("key must be"));
    check_tags(&[("k", &"v".repeat(257))], &[], Err("value of session tag `k`"));
}

#[test]
fn a_session_has_fifty_tags_at_most() {
    let many = |count: usize| (0..count).map(|n| (format!("k{n}"), String::new())).collect();
    SessionTags::new(many(50), BTreeSet::new()).unwrap();
    assert_eq!(SessionTags::new(many(51), BTreeSet::new()), Err(InvalidTags::Count(51)));
}

#[test]
fn a_token_that_sts_would_find_too_long_is_refused() {
    let wide = (0..50).map(|n| (format!("{n:0128}"), "v".repeat(256))).collect();
    let tags = SessionTags::new(wide, BTreeSet::new()).unwrap();
    let refused = claims().with_tags(tags).unwrap_err();
    assert!(matches!(refused, InvalidClaims::TokenTooLong(20_001..)), "{refused}");
}

#[test]
fn a_subject_names_application_environment_and_instance() {
    let expected = "application:orders:environment:prod:instance:web@1.service:2";
    check_subject(["orders", "prod", "web@1.service:2"], &Ok(expected));
}

#[test]
fn a_name_cannot_reach_into_the_next_field_or_match_others() {
    for value in ["", "a:b", "a*", "a?", "a b", "a/b", "ü", &"a".repeat(65)] {
        let refused = |part| Err(InvalidSubject::Name { part, value: value.to_owned() });
        check_subject([value, "prod", "1"], &refused("application"));
        check_subject(["orders", value, "1"], &refused("environment"));
    }
    for value in ["", "a*", "a?", "a b", "a/b", "ü", &"a".repeat(129)] {
        let refused = InvalidSubject::Instance(value.to_owned());
        check_subject(["orders", "prod", value], &Err(refused));
    }
}

#[test]
fn a_long_instance_is_cut_but_stays_itself() {
    let (name, tail) = ("n".repeat(64), "i".repeat(127));
    let subject = |last: &str| Subject::new(&name, &name, &(tail.clone() + last)).unwrap();
    assert_eq!(subject("1").as_str().len(), Subject::LENGTH_MAX);
    assert_eq!(subject("1"), subject("1"));
    assert_ne!(subject("1"), subject("2"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_subject_is_matched_by_its_own_pattern_alone(
        application in "[a-z.-]{1,64}", environment in "[a-z.-]{1,64}", instance in "[a-z:@]{1,128}",
        other in "[a-z.-]{1,64}",
    ) {
        let subject = Subject::new(&application, &environment, &instance).unwrap();
        prop_assert!(subject.as_str().len() <= Subject::LENGTH_MAX);
        let pattern = |name: &str| format!("application:{name}:environment:{environment}:instance:");
        prop_assert!(subject.as_str().starts_with(&pattern(&application)));
        prop_assert_eq!(subject.as_str().starts_with(&pattern(&other)), application == other);
    }

    #[test]
    fn every_token_that_is_made_fits_and_says_what_was_asked(
        tags in prop::collection::btree_map("[a-zA-Z é.]{1,20}", "\\PC{0,20}", 0..6),
        identity in "\\PC{0,10}", seconds in 1..=300_u64, seed: u64,
    ) {
        let Ok(session) = SessionTags::new(tags.clone(), BTreeSet::new()) else { return Ok(()) };
        let claims = claims().with_life(Duration::from_secs(seconds)).unwrap();
        let claims = claims.with_tags(session).unwrap();
        let claims = claims.clone().with_source_identity(&identity).unwrap_or(claims);
        let keys = KeyRing::new(key(seed), wall());
        let token = claims.token(&keys, &mut seeded(seed)).unwrap();
        prop_assert!(token.expose().len() <= Claims::TOKEN_MAX);
        let said = verify(token.expose(), &jwks(&keys)).unwrap();
        prop_assert_eq!(&said, &claims.to_json());
        let count = |name: &str| said[name].as_i64().unwrap();
        prop_assert_eq!(count("exp") - count("iat"), i64::try_from(seconds).unwrap());
        prop_assert!(count("nbf") <= count("iat"));
        let expected: BTreeMap<_, _> = tags.into_iter().map(|(k, v)| (k, vec![v])).collect();
        if !expected.is_empty() {
            prop_assert_eq!(&said["https://aws.amazon.com/tags"]["principal_tags"], &json!(expected));
        }
    }
}
