//! An agent with a flaw breaks a law, and the laws notice. Else they would be checked in vain.

use sim::{Flaw, Law, Scenario, Seed, laws};

const SEEDS: [Seed; 3] = [Seed(1), Seed(2), Seed(3)];

/// Each flaw, where it shows, and a law that it breaks.
fn flaws() -> Vec<(Flaw, Scenario, Law)> {
    vec![
        (Flaw::TakesNeighboursForOne, Scenario::calm(), laws::NO_FOREIGN_SECRET),
        (Flaw::KeepsAnswers, Scenario::calm(), laws::NEVER_EXPIRED),
        (Flaw::LosesResults, Scenario::calm(), laws::ALWAYS_THE_NEWEST),
        (Flaw::RenewsAtTheEnd, Scenario::outage(), laws::SERVED_LONG),
        (Flaw::FetchesTwice, Scenario::calm(), laws::ONE_CALL_IN_FLIGHT),
        (Flaw::FetchesAnew, Scenario::calm(), laws::ONE_CALL_PER_RENEWAL),
        (Flaw::RenewsAtTheEnd, Scenario::outage(), laws::NO_CLIENT_ERROR),
        (Flaw::IgnoresReloads, Scenario::reloads(), laws::ROLE_IN_FORCE),
        (Flaw::SaysNothingWell, Scenario::throttling(), laws::NO_EMPTY_SUCCESS),
        (Flaw::GivesUp, Scenario::throttling(), laws::EVERYBODY_IS_SERVED),
        (Flaw::RemembersTheGone, Scenario::chaos(), laws::MEMORY_IS_BOUNDED),
        (Flaw::AsksForAnother, Scenario::calm(), laws::ASKED_IN_ITS_NAME),
        (Flaw::Blames, Scenario::throttling(), laws::NOBODY_IS_BLAMED),
        (Flaw::TakesBrokenFiles, Scenario::reloads(), laws::BROKEN_FILES_ARE_REFUSED),
    ]
}

/// The flaw breaks the law in one of a few runs, and without it the law holds in each of them.
#[track_caller]
fn check((flaw, scenario, law): &(Flaw, Scenario, Law)) {
    let broken = SEEDS.iter().any(|seed| {
        let flawed = sim::run(*seed, &scenario.clone().with_flaw(*flaw));
        let flawless = sim::run(*seed, scenario);
        assert!(flawless.violation(*law).is_none(), "{flawless}");
        flawed.violation(*law).is_some()
    });
    assert!(broken, "{flaw:?} in scenario `{}` breaks no `{}`", scenario.name, law.name);
}

#[test]
fn every_flaw_is_noticed() {
    std::thread::scope(|threads| {
        let checks: Vec<_> =
            flaws().into_iter().map(|flaw| threads.spawn(move || check(&flaw))).collect();
        assert!(checks.into_iter().all(|check| check.join().is_ok()));
    });
}

#[test]
fn every_law_is_broken_by_a_flaw() {
    for law in laws::ALL {
        assert!(flaws().iter().any(|(_, _, broken)| *broken == law), "no flaw breaks `{law}`");
    }
}
