//! What clients do with the life that they are given: botocore's arithmetic, as read in its source.
//!
//! botocore takes credentials that have less than 15 minutes and a random 2 to 10 more left for
//! longer-lived than they are, and asks again 2 to 10 minutes later; others it asks for anew when
//! 15 minutes are left. So a client may use what it was given for ten minutes, however little life
//! it had.

use std::time::Duration;

use credentials::policy::{FETCH_MAX, LIFE_DEFAULT, LIFE_MAX, LIFE_MIN, SERVE_MIN, renewal_window};

use crate::host::{MINUTE, SECOND};

/// When botocore asks again, for one roll of its dice (in seconds).
pub(crate) fn asks_again_after(left: Duration, roll: u64) -> Duration {
    let refresh = 15 * MINUTE;
    let jitter = Duration::from_secs(roll);
    if left < refresh + jitter { jitter } else { left - refresh }
}

pub(crate) const ROLLS: std::ops::RangeInclusive<u64> = 120..=600;

/// The share of clients, in percent, that use credentials after their end.
fn expired(left: Duration) -> f64 {
    let late = ROLLS.filter(|roll| asks_again_after(left, *roll) > left).count();
    #[expect(clippy::cast_precision_loss, reason = "counts below 500")]
    let share = late as f64 * 100.0 / ROLLS.count() as f64;
    share
}

#[track_caller]
fn check(left_minutes: u32, expired_percent: f64) {
    let share = expired(left_minutes * MINUTE);
    assert!((share - expired_percent).abs() < 0.5, "{left_minutes} min: {share} %");
}

#[test]
fn ten_minutes_are_enough_for_every_client_and_nine_are_not() {
    for (left_minutes, expired_percent) in [
        (60, 0.0),
        (48, 0.0),
        (25, 0.0),
        (17, 0.0),
        (15, 0.0),
        (10, 0.0),
        (9, 12.5),
        (5, 62.4),
        (1, 100.0),
    ] {
        check(left_minutes, expired_percent);
    }
    assert!(expired(SERVE_MIN) == 0.0 && expired(SERVE_MIN - MINUTE) > 0.0);
}

#[test]
fn no_client_uses_expired_credentials_while_renewal_works() {
    for minutes in 15..=12 * 60 {
        let life = minutes * MINUTE;
        assert!((LIFE_MIN..=LIFE_MAX).contains(&life));
        let least = life - renewal_window(life).1 - FETCH_MAX;
        for left in [least, (least + life) / 2, life] {
            assert!(expired(left) == 0.0, "{life:?} {left:?}");
        }
    }
}

#[test]
fn a_client_of_an_hour_s_lease_is_never_told_that_it_is_short() {
    // Below 25 minutes botocore may warn of an "availability issue", below 17 it always does.
    let least = LIFE_DEFAULT - renewal_window(LIFE_DEFAULT).1 - FETCH_MAX;
    assert!(least > 25 * MINUTE + SECOND);
    for roll in ROLLS {
        assert!(asks_again_after(least, roll) > 10 * MINUTE);
    }
}
