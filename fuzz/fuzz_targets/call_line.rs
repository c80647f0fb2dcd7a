//! What SDKs and shims say of calls: read within its bounds or refused, redacted once and for all, and folded without
//! losing one.
#![no_main]

use std::time::Duration;

use calls::{
    Coverage, End, Event, Fold, Key, Line, Loss, Names, Needs, Objects, Sighting, Signer, Tell,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let mut fold = Fold::new(8 * 1024);
    let mut coverage = Coverage::default();
    for line in calls::lines(datagram) {
        let Ok(decoded) = calls::decode(line) else {
            coverage.never_came(Loss::Malformed, 1);
            continue;
        };
        match decoded.line {
            Line::Event(event) => take(event, &mut fold, &mut coverage),
            Line::Losses(losses) | Line::Bye(losses) => coverage.told(&losses),
            Line::Hello(_) => {}
        }
    }
    assert_eq!(coverage.balance(fold.held()), Ok(()));
    for record in fold.drain(Duration::MAX) {
        coverage.ended(End::Folded, record.sighting.count);
    }
    assert_eq!(coverage.balance(0), Ok(()));
});

fn take(mut event: Event<'_>, fold: &mut Fold, coverage: &mut Coverage) {
    assert!(event.parameters.len() <= Event::PATHS_MAX && event.first <= event.last);
    calls::redact(&mut event);
    assert_eq!(calls::redact(&mut event), 0);
    coverage.sent(event.count);
    let Some(sighting) = Sighting::of(&event) else { return coverage.ended(End::Attempt, 1) };
    let named = calls::name(&event, None, Objects::Whole);
    if let Needs::These(needs) = &named.needs {
        for names in needs.values() {
            let Names::These(arns) = names else { continue };
            assert!(arns.iter().all(|arn| arn.starts_with("arn:aws")));
        }
    }
    let key = Key::of(&event, None, Signer::Unknown, named);
    let told = fold.take(key, sighting, Tell::AtOnce, Duration::ZERO);
    if let Some(record) = told.first {
        coverage.ended(End::Stored, record.sighting.count);
    }
    for record in told.evicted {
        coverage.ended(End::Folded, record.sighting.count);
    }
    assert!(fold.bytes() <= 8 * 1024);
}
