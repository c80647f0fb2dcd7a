//! The tests of each language, run by its own runner with its real SDK.

use std::time::Duration;

use practice::{shims::Shim, tools::Tools};

const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Runs them, and shows what they said: an unfinished test is only as good as its words.
#[track_caller]
fn check(shim: Shim) {
    let tools = Tools::find();
    for (about, test) in shim.tests(&tools).unwrap() {
        let done = test.run(LIMIT).unwrap();
        println!("{shim:?} {about}:\n{}\n{}", done.stdout, done.stderr);
        assert_eq!(done.code, Some(0), "{shim:?} {about}");
        // Runners are content with nothing; Maven is told not to be.
        for nothing in ["Ran 0 tests", "# tests 0", "skipped=", "no tests to run"] {
            let said = done.stdout.contains(nothing) || done.stderr.contains(nothing);
            assert!(!said, "{shim:?} {about}: {nothing}");
        }
    }
}

#[test]
fn the_python_shim_keeps_its_laws() {
    check(Shim::Python);
}

#[test]
fn the_java_shim_keeps_its_laws() {
    check(Shim::Java);
}

#[test]
fn the_javascript_shim_keeps_its_laws() {
    check(Shim::Js);
}

#[test]
fn the_go_shim_keeps_its_laws() {
    check(Shim::Go);
}
