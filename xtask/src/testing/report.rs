use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::Outcome;
use crate::{
    suites::{SUITES, Suite},
    tally::Tally,
};

/// Begins a suite.
pub(super) fn header(suite: &Suite) {
    println!("\n━━━ {} ━━━ {}", suite.name, suite.promise);
}

/// Ends a suite.
pub(super) fn footer(outcome: &Outcome) {
    let Outcome { suite, tally, took } = outcome;
    let (passed, failed, skipped) = (tally.passed, tally.failures(), tally.skips());
    let seconds = seconds(*took);
    println!("\n{}: {passed} passed, {failed} failed, {skipped} skipped, {seconds} s", suite.name);
}

/// Says which tests could not run.
pub(super) fn skips(tally: &Tally) {
    for skip in &tally.skipped {
        println!("skipped: {} ({})", skip.reason, skip.test);
    }
}

/// Ends everything: a table, then what failed and what was skipped, then the sum on a line alone.
pub(super) fn end(outcomes: &[Outcome]) {
    println!("\n{}", summary(outcomes));
    for outcome in outcomes {
        for skip in &outcome.tally.skipped {
            println!("skipped: {}: {} ({})", outcome.suite.name, skip.reason, skip.test);
        }
    }
    for outcome in outcomes {
        for failed in &outcome.tally.failed {
            println!("failed: {}: {failed}", outcome.suite.name);
        }
    }
    println!("{}", last_line(outcomes));
}

fn last_line(outcomes: &[Outcome]) -> String {
    let sum = |of: fn(&Tally) -> u64| outcomes.iter().map(|o| of(&o.tally)).sum::<u64>();
    let (passed, failed) = (sum(|tally| tally.passed), sum(Tally::failures));
    format!("{passed} passed, {failed} failed, {} skipped", sum(Tally::skips))
}

fn summary(outcomes: &[Outcome]) -> Table {
    let mut table = table(&["suite", "passed", "failed", "skipped", "seconds"]);
    for Outcome { suite, tally, took } in outcomes {
        table.add_row(match took {
            None => vec![suite.name.to_owned(), "not run".to_owned()],
            Some(_) => vec![
                suite.name.to_owned(),
                tally.passed.to_string(),
                tally.failures().to_string(),
                tally.skips().to_string(),
                seconds(*took),
            ],
        });
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// What suites there are.
pub(super) fn list() -> Table {
    let mut table = table(&["suite", "what it promises"]);
    for suite in SUITES {
        table.add_row([suite.name, suite.promise]);
    }
    table
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table
}

fn seconds(took: Option<Duration>) -> String {
    format!("{:.1}", took.unwrap_or_default().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_sum_alone() {
        let outcome = |suite, tally| Outcome { suite, tally, took: Some(Duration::from_secs(1)) };
        let outcomes: Vec<_> = SUITES
            .iter()
            .zip([Tally::pass(), Tally::fail("x"), Tally::skip("all", "no root", 7)])
            .map(|(suite, tally)| outcome(suite, tally))
            .collect();
        assert_eq!(last_line(&outcomes), "1 passed, 1 failed, 7 skipped");
    }

    #[test]
    fn a_suite_that_was_not_reached_says_so() {
        let outcomes: Vec<_> = SUITES
            .iter()
            .take(1)
            .map(|suite| Outcome { suite, tally: Tally::default(), took: None })
            .collect();
        assert!(summary(&outcomes).to_string().contains("not run"));
    }
}
