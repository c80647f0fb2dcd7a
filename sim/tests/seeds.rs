//! A seed and a scenario make a run, and the same ones the same run.

use sim::{Flaw, Scenario, Seed};

/// Hours with little in them are enough to differ.
#[track_caller]
fn check(scenario: &Scenario) {
    let report = sim::run(Seed(7), scenario);
    assert_eq!(sim::run(Seed(7), scenario), report);
    assert_ne!(sim::run(Seed(8), scenario).steps, report.steps);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    check(&Scenario::chaos());
    check(&Scenario::reloads());
    check(&Scenario::restarts());
}

#[test]
fn a_violation_is_found_again_with_its_last_steps() {
    let scenario = Scenario::calm().with_flaw(Flaw::LosesResults);
    let (first, again) = (sim::run(Seed(1), &scenario), sim::run(Seed(1), &scenario));
    assert_eq!(first.violations, again.violations);
    let violation = first.violations.first().expect("a violation");
    assert!(violation.trace.len() > 10 && violation.to_string().contains("ROLECALL_SIM_SEED=0x1"));
}
