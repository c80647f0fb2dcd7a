//! `cargo xtask fuzz` and the bounded run of every target in `cargo xtask test fuzz`.
//!
//! Fuzzing runs on the stable toolchain, without a sanitizer: the code has no `unsafe` to watch.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::Duration,
};

use practice::setup;
use serde_json::Value;

use crate::{
    house::{House, text},
    programs::{self, Ended},
    suites::BUILD_LIMIT,
    tally::Tally,
    trouble::Trouble,
    verdict,
};

/// What `cargo xtask fuzz` is asked.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The target; without it, each in turn
    target: Option<String>,
    /// How long each target is fuzzed
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only show which targets there are
    #[arg(long)]
    list: bool,
}

/// Fuzzes one target or each in turn.
pub(crate) fn fuzz(house: &House, options: &Options) -> Result<ExitCode, Trouble> {
    let mut targets = targets(house)?;
    if options.list {
        println!("{}", targets.join("\n"));
        return verdict(true);
    }
    if let Some(name) = &options.target {
        if !targets.contains(name) {
            let (name, all) = (name.clone(), targets.join(", "));
            return Err(Trouble::Unknown { kind: "fuzz target", name, all });
        }
        targets.retain(|target| target == name);
    }
    let tally = each(house, &targets, options.seconds)?;
    verdict(tally.failures() == 0)
}

/// Fuzzes every target for a few seconds; each is one test.
pub(crate) fn smoke(house: &House, seconds: u32) -> Result<Tally, Trouble> {
    let targets = targets(house)?;
    if targets.is_empty() {
        return Ok(Tally::fail("there are no fuzz targets"));
    }
    // libFuzzer is written in C++.
    if !programs::works(Command::new("c++").arg("--version"))
        && let Err(error) = setup::system_packages(&["g++"], &mut |step| println!("setup: {step}"))
    {
        println!("skipped: {error}");
        let count = targets.len().try_into().unwrap_or(u64::MAX);
        return Ok(Tally::skip("fuzz", &error.to_string(), count));
    }
    each(house, &targets, seconds)
}

fn each(house: &House, targets: &[String], seconds: u32) -> Result<Tally, Trouble> {
    install(house)?;
    let mut build = cargo_fuzz(house, "build");
    println!("$ {}", programs::typed(&build));
    programs::run(&mut build, BUILD_LIMIT)?.or_trouble(&build)?;
    let mut tally = Tally::default();
    for target in targets {
        let mut command = run_command(house, target, seconds)?;
        println!("\n── {target}\n$ {}", programs::typed(&command));
        let limit = Duration::from_secs(u64::from(seconds) + 300);
        tally.add(match programs::run(&mut command, limit)? {
            Ended::Well => Tally::pass(),
            badly => Tally::fail(format!("{target}: {}", badly.how())),
        });
    }
    Ok(tally)
}

/// The targets that `fuzz/Cargo.toml` names.
fn targets(house: &House) -> Result<Vec<String>, Trouble> {
    let mut cargo = programs::cargo(house);
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
    cargo.args(["--manifest-path", "fuzz/Cargo.toml"]);
    let metadata: Value =
        serde_json::from_str(&programs::output(&mut cargo)?).map_err(|error| {
            Trouble::Unreadable {
                what: "the answer of `cargo metadata` for fuzz/".to_owned(),
                reason: error.to_string(),
            }
        })?;
    let list =
        |value: &Value, key| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let is_bin = |target: &Value| list(target, "kind").iter().any(|kind| kind == "bin");
    let packages = list(&metadata, "packages");
    let mut names: Vec<String> = packages
        .iter()
        .flat_map(|package| list(package, "targets"))
        .filter(is_bin)
        .map(|target| text(&target, "name"))
        .collect();
    names.sort();
    Ok(names)
}

/// Installs `cargo fuzz` below the target folder, unless it is there.
fn install(house: &House) -> Result<(), Trouble> {
    let mut ask = programs::cargo(house);
    ask.args(["fuzz", "--version"]).env("PATH", programs::path_with(&tools(house).join("bin")));
    if programs::works(&mut ask) {
        return Ok(());
    }
    let mut cargo = programs::cargo(house);
    cargo.args(["install", "cargo-fuzz", "--locked", "--root"]).arg(tools(house));
    // In its own folder: the workspace's target folder is not for programs of others.
    cargo.arg("--target-dir").arg(tools(house).join("build"));
    println!("$ {}", programs::typed(&cargo));
    programs::run(&mut cargo, BUILD_LIMIT)?.or_trouble(&cargo)
}

fn tools(house: &House) -> std::path::PathBuf {
    house.target.join("practice/cargo")
}

fn cargo_fuzz(house: &House, verb: &str) -> Command {
    let mut command = programs::cargo(house);
    command.env("PATH", programs::path_with(&tools(house).join("bin")));
    command.args(["fuzz", verb, "--fuzz-dir", "fuzz", "--sanitizer", "none", "--all-features"]);
    command.arg("--target-dir").arg(house.target.join("fuzz"));
    command
}

/// What fuzzing finds goes to `fuzz/corpus`, which git ignores; it starts from `fuzz/seeds` too.
fn run_command(house: &House, target: &str, seconds: u32) -> Result<Command, Trouble> {
    let corpus = Path::new("fuzz/corpus").join(target);
    fs::create_dir_all(house.root.join(&corpus))
        .map_err(|reason| Trouble::File { path: corpus.display().to_string(), reason })?;
    let mut command = cargo_fuzz(house, "run");
    command.arg(target).arg(corpus);
    let seeds = Path::new("fuzz/seeds").join(target);
    if house.root.join(&seeds).is_dir() {
        command.arg(seeds);
    }
    command.args(["--", "-timeout=10", "-verbosity=0", "-print_final_stats=1"]);
    command.arg(format!("-max_total_time={seconds}"));
    Ok(command)
}
