use std::{collections::BTreeMap, time::Duration};

use issuer::{
    Claims, InvalidManifest, Jwk, KeyId, KeyRing, Lead, Manifest, PublishRefused, RotateRefused,
    State,
};
use jiff::Timestamp;
use proptest::prelude::*;

use crate::random::key;

fn at(seconds: u64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(seconds)
}

const LEAD: u64 = KeyRing::LEAD.as_secs();
const RETENTION: u64 = KeyRing::RETENTION.as_secs();

/// A ring of one key that has just been rotated in, and the one before it.
fn rotated() -> KeyRing {
    let mut keys = KeyRing::new(key(0), at(0));
    keys.publish(key(1), at(10)).unwrap();
    keys.rotate(at(10 + LEAD), Lead::Required).unwrap();
    keys
}

#[track_caller]
fn check(keys: &KeyRing, expected: &[(u64, State)]) {
    let found: Vec<_> = keys.iter().map(|(key, state)| (key.kid().clone(), state)).collect();
    let expected: Vec<_> =
        expected.iter().map(|&(seed, state)| (key(seed).kid().clone(), state)).collect();
    assert_eq!(found, expected);
}

#[track_caller]
fn check_manifest(text: &str, expected: &InvalidManifest) {
    assert_eq!(&Manifest::parse(text).unwrap_err(), expected);
}

#[test]
fn a_new_issuer_signs_at_once() {
    check(&KeyRing::new(key(0), at(0)), &[(0, State::Active { since: at(0) })]);
}

#[test]
fn a_published_key_does_not_sign_yet() {
    let mut keys = KeyRing::new(key(0), at(0));
    keys.publish(key(1), at(10)).unwrap();
    let next = (1, State::Next { published: at(10) });
    check(&keys, &[next, (0, State::Active { since: at(0) })]);
    assert_eq!(keys.active().kid(), key(0).kid());
}

#[test]
fn a_key_signs_only_after_verifiers_could_see_it() {
    let mut keys = KeyRing::new(key(0), at(0));
    keys.publish(key(1), at(10)).unwrap();
    let refused = keys.rotate(at(9 + LEAD), Lead::Required);
    let (kid, ready) = (key(1).kid().clone(), at(10 + LEAD));
    assert_eq!(refused, Err(RotateRefused::TooSoon { kid, ready }));
    keys.rotate(ready, Lead::Required).unwrap();
    let retired = State::Retired { until: at(10 + LEAD + RETENTION) };
    check(&keys, &[(1, State::Active { since: ready }), (0, retired)]);
}

#[test]
fn a_stolen_key_is_replaced_and_withdrawn_at_once() {
    let mut keys = KeyRing::new(key(0), at(0));
    keys.publish(key(1), at(10)).unwrap();
    keys.rotate(at(11), Lead::Waived).unwrap();
    assert!(keys.withdraw(key(0).kid()));
    assert!(!keys.withdraw(key(1).kid()), "the active key stays");
    check(&keys, &[(1, State::Active { since: at(11) })]);
}

#[test]
fn a_retired_key_is_published_until_its_last_token_is_dead() {
    let mut keys = rotated();
    assert_eq!(keys.prune(at(10 + LEAD + RETENTION - 1)), []);
    assert_eq!(keys.prune(at(10 + LEAD + RETENTION)), [key(0).kid().clone()]);
    check(&keys, &[(1, State::Active { since: at(10 + LEAD) })]);
}

#[test]
fn a_clock_set_back_does_not_orphan_tokens() {
    let mut keys = KeyRing::new(key(0), at(5000));
    keys.publish(key(1), at(5000)).unwrap();
    keys.rotate(at(0), Lead::Waived).unwrap();
    let retired = State::Retired { until: at(5000 + RETENTION) };
    check(&keys, &[(1, State::Active { since: at(0) }), (0, retired)]);
}

#[test]
fn one_key_waits_at_a_time_and_none_comes_back() {
    let mut keys = rotated();
    assert_eq!(keys.publish(key(0), at(0)), Err(PublishRefused::Known(key(0).kid().clone())));
    keys.publish(key(2), at(0)).unwrap();
    assert_eq!(keys.publish(key(3), at(0)), Err(PublishRefused::Waiting(key(2).kid().clone())));
    assert!(keys.withdraw(key(2).kid()));
    assert_eq!(keys.rotate(at(0), Lead::Waived), Err(RotateRefused::NoNext));
}

#[test]
fn a_ring_is_bounded() {
    let mut keys = KeyRing::new(key(0), at(0));
    for seed in 1..16 {
        keys.publish(key(seed), at(0)).unwrap();
        keys.rotate(at(0), Lead::Waived).unwrap();
    }
    assert_eq!(keys.publish(key(16), at(0)), Err(PublishRefused::Full));
    keys.prune(at(RETENTION));
    keys.publish(key(16), at(0)).unwrap();
}

#[test]
fn a_ring_comes_back_from_the_disk_as_it_went() {
    let mut keys = rotated();
    keys.publish(key(2), at(LEAD + 20)).unwrap();
    let manifest = Manifest::parse(&keys.manifest().to_json()).unwrap();
    let again = KeyRing::assemble(&manifest, vec![key(0), key(1), key(2)]).unwrap();
    assert_eq!(again.manifest(), keys.manifest());
    assert!(!keys.manifest().to_json().contains("PRIVATE"));
}

#[test]
fn keys_and_manifest_must_fit() {
    let manifest = rotated().manifest();
    let assemble = |seeds: &[u64]| {
        KeyRing::assemble(&manifest, seeds.iter().map(|&seed| key(seed)).collect()).map(|_| ())
    };
    assert_eq!(assemble(&[1]), Err(InvalidManifest::KeyMissing(key(0).kid().clone())));
    assert_eq!(assemble(&[0, 1, 2]), Err(InvalidManifest::KeyUnknown(key(2).kid().clone())));
    assert_eq!(assemble(&[1, 1]), Err(InvalidManifest::KeyMissing(key(0).kid().clone())));
    let other = Manifest::parse(&manifest.to_json().replace("ES256", "RS256")).unwrap();
    let refused = KeyRing::assemble(&other, vec![key(0), key(1)]).map(|_| ());
    assert_eq!(refused, Err(InvalidManifest::OtherAlgorithm(key(1).kid().clone())));
}

#[test]
fn a_damaged_manifest_is_refused_with_its_reason() {
    let good = rotated().manifest().to_json();
    let (zero, one) = (key(0).kid().clone(), key(1).kid().clone());
    let time = |text: &str| good.replace("2026-01-02T00:00:10Z", text);
    check_manifest(&good.replace("\"version\": 1", "\"version\": 2"), &InvalidManifest::Version(2));
    check_manifest(&time("yesterday"), &InvalidManifest::Time("yesterday".to_owned()));
    check_manifest(&good.replace(one.as_str(), zero.as_str()), &InvalidManifest::Twice(zero));
    check_manifest(r#"{"version":1,"keys":[]}"#, &InvalidManifest::Active(0));
    let long = " ".repeat(Manifest::LENGTH_MAX + 1);
    check_manifest(&long, &InvalidManifest::TooLong(long.len()));
    for (from, to) in [("retired", "active"), ("until", "since"), ("kid", "name"), ("ES", "HS")] {
        Manifest::parse(&good.replace(from, to)).unwrap_err();
    }
    Manifest::parse("").unwrap_err();
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Publish,
    Rotate(bool),
    Prune,
    Sign,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..2 * LEAD).prop_map(Step::Wait),
        (0..RETENTION).prop_map(Step::Wait),
        Just(Step::Publish),
        any::<bool>().prop_map(Step::Rotate),
        Just(Step::Prune),
        Just(Step::Sign),
        Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_one_key_signs_and_every_live_token_can_be_checked(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let (mut keys, mut now, mut seed) = (KeyRing::new(key(0), at(0)), 0, 0);
        let mut seeds: BTreeMap<KeyId, u64> = [(key(0).kid().clone(), 0)].into();
        let mut published: BTreeMap<KeyId, u64> = BTreeMap::new();
        let mut tokens: Vec<(KeyId, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::Publish => {
                    seed += 1;
                    let fresh = key(seed);
                    let kid = fresh.kid().clone();
                    if keys.publish(fresh, at(now)).is_ok() {
                        seeds.insert(kid.clone(), seed);
                        published.insert(kid, now);
                    }
                }
                Step::Rotate(waived) => {
                    let lead = if waived { Lead::Waived } else { Lead::Required };
                    if keys.rotate(at(now), lead).is_ok() && !waived {
                        prop_assert!(published[keys.active().kid()] + LEAD <= now);
                    }
                }
                Step::Prune => drop(keys.prune(at(now))),
                Step::Sign => {
                    let expires = now + Claims::LIFE_MAX.as_secs();
                    tokens.push((keys.active().kid().clone(), expires));
                }
                Step::Restart => {
                    let manifest = Manifest::parse(&keys.manifest().to_json()).unwrap();
                    let files = keys.iter().map(|(found, _)| key(seeds[found.kid()])).collect();
                    let again = KeyRing::assemble(&manifest, files).unwrap();
                    prop_assert_eq!(again.manifest(), manifest);
                    keys = again;
                }
            }
            let kids: Vec<&KeyId> = keys.iter().map(|(key, _)| key.kid()).collect();
            let count = |is: fn(&State) -> bool| keys.iter().filter(|(_, state)| is(state)).count();
            prop_assert_eq!(count(|state| matches!(state, State::Active { .. })), 1);
            let waiting = count(|state| matches!(state, State::Next { .. }));
            prop_assert!(waiting <= 1);
            prop_assert!(kids.len() <= KeyRing::KEYS_MAX);
            for (kid, expires) in &tokens {
                prop_assert!(*expires < now || kids.contains(&kid), "a live token lost its key");
            }
        }
    }

    #[test]
    fn no_text_breaks_the_manifest_reader(text in "\\PC{0,200}") {
        prop_assert!(Manifest::parse(&text).is_err());
    }
}

#[test]
fn what_was_retired_or_withdrawn_never_comes_back() {
    let mut keys = rotated();
    keys.prune(at(10 + LEAD + RETENTION));
    assert_eq!(keys.publish(key(0), at(0)), Err(PublishRefused::Gone(key(0).kid().clone())));
    keys.publish(key(2), at(0)).unwrap();
    assert!(keys.withdraw(key(2).kid()));
    assert_eq!(keys.publish(key(2), at(0)), Err(PublishRefused::Gone(key(2).kid().clone())));
    let mut keys = KeyRing::new(key(3), at(0)).with_gone([key(4).kid().clone()]);
    assert_eq!(keys.publish(key(4), at(0)), Err(PublishRefused::Gone(key(4).kid().clone())));
}

#[test]
fn a_ring_of_public_keys_is_kept_like_any_other() {
    let ring = rotated();
    let public: Vec<Jwk> = ring.iter().map(|(key, _)| key.public().clone()).collect();
    let again = KeyRing::assemble(&ring.manifest(), public).unwrap();
    assert_eq!(again.manifest(), ring.manifest());
    assert_eq!(issuer::jwks(&again), issuer::jwks(&ring));
}

#[test]
fn a_manifest_is_made_of_rows_as_of_text() {
    let manifest = rotated().manifest();
    assert_eq!(Manifest::new(manifest.entries().to_vec()), Ok(manifest.clone()));
    let [active, retired] = manifest.entries() else { panic!("two keys") };
    let twice = Manifest::new(vec![active.clone(), retired.clone(), retired.clone()]);
    assert_eq!(twice, Err(InvalidManifest::Twice(retired.kid.clone())));
    assert_eq!(Manifest::new(vec![retired.clone()]), Err(InvalidManifest::Active(0)));
}
