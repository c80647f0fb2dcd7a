//! The coverage ledger adds up.

use calls::{Coverage, End, Imbalance, Line, Loss, ShimLoss, decode};
use proptest::prelude::*;

fn check(coverage: &Coverage, held: u64, expected: Result<(), Imbalance>) {
    assert_eq!(coverage.balance(held), expected);
}

#[test]
fn every_loss_has_a_counter_and_a_name_of_its_own() {
    for loss in Loss::ALL {
        let mut coverage = Coverage::default();
        coverage.never_came(loss, 3);
        let there: Vec<_> = coverage.ends().filter(|(_, count)| *count > 0).collect();
        assert_eq!(there, [(End::Lost(loss), 3)]);
        assert_eq!(Loss::ALL.iter().filter(|other| other.as_str() == loss.as_str()).count(), 1);
        check(&coverage, 0, Ok(()));
    }
}

#[test]
fn one_that_is_forgotten_or_counted_twice_is_found() {
    let mut coverage = Coverage::default();
    coverage.sent(5);
    coverage.ended(End::Folded, 4);
    check(&coverage, 0, Err(Imbalance { sent: 5, accounted: 4 }));
    check(&coverage, 1, Ok(()));
    check(&coverage, 2, Err(Imbalance { sent: 5, accounted: 6 }));
}

#[test]
fn what_a_shim_says_that_it_lost_is_sent_and_lost() {
    let line = br#"{"Version":2,"Type":"Bye","Lost":{"full":12,"error":2,"eclipse":1}}"#;
    let Ok(Line::Bye(losses)) = decode(line).map(|decoded| decoded.line) else {
        panic!("another line")
    };
    let mut coverage = Coverage::default();
    coverage.told(&losses);
    assert_eq!((coverage.sent_in_all(), coverage.lost_in_all()), (15, 15));
    assert_eq!(coverage.of(End::Lost(Loss::Shim(ShimLoss::Full))), 12);
    assert_eq!(coverage.of(End::Lost(Loss::Shim(ShimLoss::Other))), 1);
    check(&coverage, 0, Ok(()));
}

fn any_end() -> impl Strategy<Value = End> {
    let loss = prop::sample::select(&Loss::ALL[..]).prop_map(End::Lost);
    prop_oneof![Just(End::Stored), Just(End::Folded), Just(End::Attempt), loss]
}

fn any_entries() -> impl Strategy<Value = Vec<(End, u32)>> {
    prop::collection::vec((any_end(), any::<u32>()), 0..50)
}

fn coverage(entries: &[(End, u32)]) -> Coverage {
    let mut coverage = Coverage::default();
    for (end, count) in entries {
        coverage.sent(u64::from(*count));
        coverage.ended(*end, u64::from(*count));
    }
    coverage
}

proptest! {
    #[test]
    fn what_was_sent_is_what_became_of_it_and_what_is_held(
        entries in any_entries(), held in any::<u32>(), astray in 1..1000_u64,
    ) {
        let mut coverage = coverage(&entries);
        coverage.sent(u64::from(held));
        prop_assert_eq!(coverage.balance(u64::from(held)), Ok(()));
        prop_assert!(coverage.balance(u64::from(held) + astray).is_err());
        coverage.sent(astray);
        prop_assert!(coverage.balance(u64::from(held)).is_err());
    }

    #[test]
    fn merging_is_adding_in_any_order(a in any_entries(), b in any_entries(), c in any_entries()) {
        let together = coverage(&[a.clone(), b.clone(), c.clone()].concat());
        let mut left = coverage(&a);
        left.merge(&coverage(&b));
        left.merge(&coverage(&c));
        let mut right = coverage(&c);
        right.merge(&coverage(&b));
        right.merge(&coverage(&a));
        prop_assert_eq!(&left, &together);
        prop_assert_eq!(&right, &together);
        prop_assert_eq!(together.balance(0), Ok(()));
    }
}

#[test]
fn what_came_since_and_what_was_before_is_what_there_is() {
    let mut before = Coverage::default();
    before.sent(7);
    before.ended(End::Stored, 3);
    let mut now = before.clone();
    now.never_came(Loss::KernelDrop, 5);
    now.ended(End::Folded, 2);
    let since = now.since(&before);
    assert_eq!((since.sent_in_all(), since.of(End::Stored), since.lost_in_all()), (5, 0, 5));
    before.merge(&since);
    assert_eq!(before, now);
}
