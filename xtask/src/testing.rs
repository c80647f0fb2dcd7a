//! `cargo xtask test`: runs suites in order and says at the end what held.

mod built;
mod report;

use std::{
    cell::OnceCell,
    process::ExitCode,
    time::{Duration, Instant},
};

use practice::setup::{self, SetupError};

use crate::{
    fuzzing,
    house::House,
    private_host::PrivateHost,
    programs::{self, Hear},
    suites::{BUILD_LIMIT, Check, Need, PROGRAM_LIMIT, Place, Run, SUITES, Suite},
    tally::{Libtest, Tally},
    tidy,
    trouble::Trouble,
    verdict,
};

use built::{Built, Program};

/// What `cargo xtask test` is asked.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The suites to run; all of them when none is named
    #[arg(value_name = "SUITE")]
    suites: Vec<String>,
    /// Only show which suites there are
    #[arg(long)]
    list: bool,
    /// Run the other suites as well when one fails
    #[arg(long)]
    keep_going: bool,
}

/// A suite and what came of it.
pub(crate) struct Outcome {
    suite: &'static Suite,
    tally: Tally,
    /// How long it ran; nothing when it was not reached.
    took: Option<Duration>,
}

/// Installs what tests and demo need. What must be left to a person is said, and the rest is done.
pub(crate) fn setup() -> Result<ExitCode, Trouble> {
    let Prepared { left, broken } = prepare(Need::ALL);
    if left.is_empty() && broken.is_empty() {
        println!("all that the tests and the demo need is installed");
    }
    verdict(left.is_empty() && broken.is_empty())
}

/// Runs suites.
pub(crate) fn test(house: &House, options: &Options) -> Result<ExitCode, Trouble> {
    if options.list {
        println!("{}", report::list());
        return verdict(true);
    }
    let chosen = choose(&options.suites)?;
    let runner = Runner { house, built: OnceCell::new() };
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut stopped = false;
    for suite in chosen {
        if stopped {
            outcomes.push(Outcome { suite, tally: Tally::default(), took: None });
            continue;
        }
        report::header(suite);
        let begun = Instant::now();
        // A suite that could not do its work has failed; the others may still be of use.
        let tally = runner.run(suite).unwrap_or_else(|trouble| {
            eprintln!("error: {trouble}");
            Tally::fail(trouble.to_string())
        });
        stopped = tally.failures() > 0 && !options.keep_going;
        let outcome = Outcome { suite, tally, took: Some(begun.elapsed()) };
        report::footer(&outcome);
        outcomes.push(outcome);
    }
    report::end(&outcomes);
    verdict(outcomes.iter().all(|outcome| outcome.tally.failures() == 0))
}

/// The suites of these names in the order of the table; all when none is named.
fn choose(names: &[String]) -> Result<Vec<&'static Suite>, Trouble> {
    for name in names {
        if !SUITES.iter().any(|suite| suite.name == name) {
            let all: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
            let (name, all) = (name.clone(), all.join(", "));
            return Err(Trouble::Unknown { kind: "suite", name, all });
        }
    }
    let chosen = |suite: &&Suite| names.is_empty() || names.iter().any(|name| name == suite.name);
    Ok(SUITES.iter().filter(chosen).collect())
}

struct Runner<'a> {
    house: &'a House,
    /// The test programs, built once when the first suite needs them.
    built: OnceCell<Result<Built, String>>,
}

impl Runner<'_> {
    fn run(&self, suite: &'static Suite) -> Result<Tally, Trouble> {
        // Tests that lack what is left to a person say themselves that they are skipped.
        let Prepared { broken, .. } = prepare(suite.needs);
        let mut tally = self.run_prepared(suite)?;
        tally.failed.extend(broken);
        Ok(tally)
    }

    fn run_prepared(&self, suite: &'static Suite) -> Result<Tally, Trouble> {
        match suite.run {
            Run::Checks(checks) => self.checks(checks),
            Run::Tidy => tidy::tally(self.house),
            Run::Programs(place) => self.programs(suite.name, place),
            Run::Docs => self.docs(),
            Run::Fuzz(seconds) => fuzzing::smoke(self.house, seconds),
        }
    }

    fn checks(&self, checks: &[Check]) -> Result<Tally, Trouble> {
        let mut tally = Tally::default();
        for Check { words, component } in checks {
            let mut cargo = programs::cargo(self.house);
            let typed = programs::typed(cargo.args(*words));
            let subcommand = words.first().copied().unwrap_or_default();
            let mut ask = programs::cargo(self.house);
            if let Some(component) = component
                && !programs::works(ask.args([subcommand, "--version"]))
            {
                let reason = format!(
                    "`cargo {subcommand}` is missing; `rustup component add {component}` installs it"
                );
                println!("skipped: {reason}");
                tally.add(Tally::skip(&typed, &reason, 1));
                continue;
            }
            println!("$ {typed}");
            let ended = programs::run(&mut cargo, BUILD_LIMIT)?;
            tally.add(if ended.well() { Tally::pass() } else { Tally::fail(typed) });
        }
        Ok(tally)
    }

    fn programs(&self, suite: &str, place: Place) -> Result<Tally, Trouble> {
        let built = self.built.get_or_init(|| {
            println!("$ {}", programs::typed(&built::command(self.house)));
            Built::build(self.house).map_err(|trouble| trouble.to_string())
        });
        let built = match built {
            Ok(built) => built,
            Err(trouble) => return Ok(Tally::fail(format!("the tests do not build: {trouble}"))),
        };
        let mine: Vec<&Program> = built.of(suite).collect();
        if mine.is_empty() {
            return Err(Trouble::Missing(format!("no test program belongs to `{suite}`")));
        }
        let way = match place {
            Place::Here => None,
            Place::PrivateHost => match PrivateHost::find(self.house) {
                Ok(way) => Some(way),
                Err(reason) => {
                    println!("skipped: {reason}");
                    let count = mine.iter().map(|program| built.count(self.house, program)).sum();
                    return Ok(Tally::skip(suite, &reason, count));
                }
            },
        };
        let mut tally = Tally::default();
        for program in mine {
            println!("\n── {}", program.name);
            let mut command = built.command(self.house, program, way);
            let mut reader = Libtest::new(&program.name);
            let ended =
                programs::read(command.arg("--show-output"), Hear::All, PROGRAM_LIMIT, |line| {
                    if reader.line(line) {
                        println!("{line}");
                    }
                })?;
            let found = reader.finish(&ended);
            report::skips(&found);
            tally.add(found);
        }
        Ok(tally)
    }

    fn docs(&self) -> Result<Tally, Trouble> {
        let mut cargo = programs::cargo(self.house);
        cargo.args(["test", "--workspace", "--doc", "--no-fail-fast"]);
        println!("$ {}", programs::typed(&cargo));
        let mut reader = Libtest::new("doc");
        let ended = programs::read(&mut cargo, Hear::Output, BUILD_LIMIT, |line| {
            if reader.line(line) {
                println!("{line}");
            }
        })?;
        let mut tally = reader.finish(&ended);
        let mut cargo = programs::cargo(self.house);
        cargo.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        let typed = programs::typed(&cargo);
        println!("$ {typed}");
        let ended = programs::run(&mut cargo, BUILD_LIMIT)?;
        tally.add(if ended.well() { Tally::pass() } else { Tally::fail(typed) });
        Ok(tally)
    }
}

/// What could not be installed.
#[derive(Debug, Default)]
struct Prepared {
    /// What a person must do, word for word.
    left: Vec<String>,
    /// What should have worked and did not.
    broken: Vec<String>,
}

/// Installs what is not there yet; quick when all is. One piece that fails does not keep the others
/// from being installed.
fn prepare(needs: &[Need]) -> Prepared {
    let mut prepared = Prepared::default();
    for need in needs {
        let mut progress = |step: &str| println!("setup: {step}");
        let done = match need {
            Need::Host => setup::host(&mut progress),
            Need::Containers => setup::containers(&mut progress),
            Need::Packaging => setup::packaging(&mut progress),
            Need::Python => setup::python(&mut progress),
            Need::Postgres => setup::postgres(&mut progress),
            Need::People => setup::people(&mut progress),
            Need::Node => setup::node(&mut progress),
            Need::Go => setup::go(&mut progress),
            Need::Java => setup::java(&mut progress),
            Need::JsShim => setup::js_shim(&mut progress),
            Need::GoShim => setup::go_shim(&mut progress),
            Need::JavaShim => setup::java_shim(&mut progress),
            Need::ShimmedPython => setup::shimmed_python(&mut progress),
            Need::Names => setup::names(&mut progress),
            Need::Rust => setup::rust(&mut progress),
        };
        let Err(error) = done else { continue };
        eprintln!("setup: {error}");
        match error {
            SetupError::System { .. } => prepared.left.push(error.to_string()),
            _ => prepared.broken.push(format!("setup: {error}")),
        }
    }
    prepared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], chosen: &[&str]) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let found: Vec<_> = choose(&names).unwrap().iter().map(|suite| suite.name).collect();
        assert_eq!(found, chosen);
    }

    #[test]
    fn named_suites_run_in_the_order_of_the_table() {
        check(&["unit", "format"], &["format", "unit"]);
    }

    #[test]
    fn without_a_name_every_suite_runs() {
        check(&[], &SUITES.iter().map(|suite| suite.name).collect::<Vec<_>>());
    }

    #[test]
    fn an_unknown_suite_is_refused_and_the_known_ones_are_listed() {
        let trouble = choose(&["untit".to_owned()]).unwrap_err().to_string();
        assert!(trouble.starts_with("there is no suite `untit`; there are: format, "), "{trouble}");
    }
}
