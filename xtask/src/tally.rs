//! What test programs say of themselves: passed, failed, skipped and why.

/// What came out of one or more test programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that ran and held.
    pub(crate) passed: u64,
    /// Tests that ran and did not hold, by name.
    pub(crate) failed: Vec<String>,
    /// Tests that could not run here, with the reason.
    pub(crate) skipped: Vec<Skip>,
}

/// A test that could not run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    /// The test's name, or the suite's.
    pub(crate) test: String,
    /// Why, in the test's own words.
    pub(crate) reason: String,
    /// How many tests it stands for.
    pub(crate) count: u64,
}

impl Tally {
    /// One thing that held.
    pub(crate) fn pass() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    /// One thing that did not.
    pub(crate) fn fail(what: impl Into<String>) -> Self {
        Self { failed: vec![what.into()], ..Self::default() }
    }

    /// So many tests that could not run.
    pub(crate) fn skip(test: &str, reason: &str, count: u64) -> Self {
        let skip = Skip { test: test.to_owned(), reason: reason.to_owned(), count };
        Self { skipped: vec![skip], ..Self::default() }
    }

    /// Adds what another part found.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }

    /// How many tests failed.
    pub(crate) fn failures(&self) -> u64 {
        self.failed.len().try_into().unwrap_or(u64::MAX)
    }

    /// How many tests could not run.
    pub(crate) fn skips(&self) -> u64 {
        self.skipped.iter().map(|skip| skip.count).sum()
    }
}

/// Reads what a libtest program prints when run with `--show-output`.
///
/// What a passing test printed is not passed on, as `cargo test` would not show it either; only
/// its `skipped: ` line is looked for.
#[derive(Debug, Default)]
pub(crate) struct Libtest {
    /// The program's name, put before that of a failed test.
    program: String,
    section: Section,
    skipped: Vec<Skip>,
    tally: Tally,
    /// How many `test result:` lines came.
    results: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Section {
    /// `test name ... ok` and all that is passed on.
    #[default]
    Results,
    /// What a passing test printed; its name, once we know it.
    Successes(Option<String>),
    /// What failed tests printed, which is passed on too.
    Failures,
}

impl Libtest {
    /// A reader for the program of that name.
    pub(crate) fn new(program: &str) -> Self {
        Self { program: program.to_owned(), ..Self::default() }
    }

    /// Takes a line, and returns whether it is to be shown.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        if let Section::Successes(test) = &mut self.section {
            if let Some(name) =
                line.strip_prefix("---- ").and_then(|l| l.strip_suffix(" stdout ----"))
            {
                *test = Some(name.to_owned());
            } else if line == "successes:" {
                // The list of names that follows the outputs.
                *test = None;
            } else if line == "failures:" || (test.is_none() && line.starts_with("test result: ")) {
                self.section = Section::default();
                return self.line(line);
            } else if let (Some(name), Some(reason)) = (test, line.strip_prefix("skipped: "))
                && !self.skipped.iter().any(|skip| skip.test == *name)
            {
                let reason = reason.trim().to_owned();
                self.skipped.push(Skip { test: name.clone(), reason, count: 1 });
            }
            return false;
        }
        if line == "successes:" {
            self.section = Section::Successes(None);
            return false;
        }
        if line == "failures:" {
            self.section = Section::Failures;
        }
        if self.section == Section::Results
            && let Some(reason) = past_the_harness(line)
        {
            let test = self.program.clone();
            self.skipped.push(Skip { test, reason: reason.to_owned(), count: 1 });
            return false;
        }
        if let Some(name) = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED")) {
            self.tally.failed.push(format!("{}: {name}", self.program));
        }
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.results += 1;
            self.section = Section::Results;
            self.result(counts);
        }
        true
    }

    /// `ok. 2 passed; 0 failed; 1 ignored; …`
    fn result(&mut self, counts: &str) {
        let (_, counts) = counts.split_once(". ").unwrap_or_default();
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.tally.passed += number,
                "ignored" if number > 0 => {
                    let ignored = Tally::skip(&self.program, "marked `#[ignore]`", number);
                    self.tally.add(ignored);
                }
                _ => {}
            }
        }
        // A skipped test returns, so libtest counts it as passed.
        let skips = self.skipped.len().try_into().unwrap_or(u64::MAX);
        self.tally.passed = self.tally.passed.saturating_sub(skips);
        self.tally.skipped.append(&mut self.skipped);
    }

    /// What was found, given how the program ended. A program that died without a result, or that
    /// failed without naming a test, counts as one failure.
    pub(crate) fn finish(mut self, ended: &crate::programs::Ended) -> Tally {
        if (self.results == 0 || !ended.well()) && self.tally.failed.is_empty() {
            self.tally.failed.push(format!(
                "{}: {}",
                self.program,
                match self.results {
                    0 => format!("ended without a result ({})", ended.how()),
                    _ => ended.how(),
                }
            ));
        }
        self.tally
    }
}

/// The reason of a skip that a test wrote past the harness, straight to standard error. The harness
/// may have begun a line before.
fn past_the_harness(line: &str) -> Option<&str> {
    const MARK: &str = "skipped: ";
    let after_name = || line.strip_prefix("test ")?.split_once(" ... skipped: ");
    line.strip_prefix(MARK).or_else(|| Some(after_name()?.1)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::Ended;

    /// The output, how the program ended → passed, failed, skipped with reason, lines shown.
    #[track_caller]
    fn check(
        output: &str,
        ended: &Ended,
        passed: u64,
        failed: &[&str],
        skipped: &[(&str, &str)],
    ) -> String {
        let mut reader = Libtest::new("core/x");
        let shown: Vec<&str> = output.lines().filter(|line| reader.line(line)).collect();
        let tally = reader.finish(ended);
        assert_eq!(tally.passed, passed);
        assert_eq!(tally.failed, failed);
        let reasons: Vec<_> =
            tally.skipped.iter().map(|skip| (skip.test.as_str(), skip.reason.as_str())).collect();
        assert_eq!(reasons, skipped);
        shown.join("\n")
    }

    const SKIPPING: &str = "
running 3 tests
test a ... ok
test b ... ok
test c ... ok

successes:

---- a stdout ----
noise
test result: ok. 9 passed; 9 failed;
---- b stdout ----
skipped: no IPv6
skipped: said twice

successes:
    a
    b
    c

test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn a_test_that_prints_skipped_counts_as_skipped_and_not_as_passed() {
        check(SKIPPING, &Ended::Well, 2, &[], &[("b", "no IPv6")]);
    }

    #[test]
    fn the_output_of_passing_tests_is_not_shown() {
        let shown = check(SKIPPING, &Ended::Well, 2, &[], &[("b", "no IPv6")]);
        assert!(!shown.contains("noise") && shown.contains("test c ... ok"), "{shown}");
    }

    #[test]
    fn a_failed_test_is_named_and_its_output_is_shown() {
        let output = "
running 2 tests
test a ... ok
test b ... FAILED

successes:

successes:
    a

failures:

---- b stdout ----
skipped: not a skip, it failed
assertion failed

failures:
    b

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        let badly = Ended::Badly("exit status: 101".to_owned());
        let shown = check(output, &badly, 1, &["core/x: b"], &[]);
        assert!(shown.contains("assertion failed"), "{shown}");
    }

    #[test]
    fn a_program_that_dies_without_a_result_is_a_failure() {
        let badly = Ended::Badly("signal: 11 (SIGSEGV)".to_owned());
        let failed = "core/x: ended without a result (signal: 11 (SIGSEGV))";
        check("running 2 tests\ntest a ... ok\n", &badly, 0, &[failed], &[]);
    }

    #[test]
    fn a_skip_that_was_written_past_the_harness_counts_as_well() {
        let output = "
running 3 tests
skipped: tests::a: no root
test a ... ok
test b ... skipped: no root
ok
test c ... ok

successes:

successes:
    a

test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        let skipped = [("core/x", "tests::a: no root"), ("core/x", "no root")];
        check(output, &Ended::Well, 1, &[], &skipped);
    }

    #[test]
    fn an_exit_code_that_disagrees_with_the_result_is_a_failure() {
        let output = "test result: ok. 1 passed; 0 failed; 0 ignored;";
        check(
            output,
            &Ended::Badly("exit status: 1".to_owned()),
            1,
            &["core/x: exit status: 1"],
            &[],
        );
    }

    #[test]
    fn an_ignored_test_is_skipped_with_a_reason() {
        let output = "test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured";
        check(output, &Ended::Well, 1, &[], &[("core/x", "marked `#[ignore]`")]);
    }

    #[test]
    fn several_results_are_added_up() {
        let output = "test result: ok. 1 passed; 0 failed;\ntest result: ok. 4 passed; 0 failed;";
        check(output, &Ended::Well, 5, &[], &[]);
    }
}
