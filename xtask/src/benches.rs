//! `cargo xtask bench`: runs a benchmark of the workspace and shows its ratios.
//!
//! A benchmark is a `benches/NAME.rs` of any crate. It compares with a floor or a peer in the same
//! run and writes `bench/NAME.json` below the target folder: a list of [`Measure`].

use std::{fs, process::ExitCode};

use comfy_table::{Table, presets};
use serde::Deserialize;

use crate::{house::House, programs, suites::BUILD_LIMIT, trouble::Trouble, verdict};

/// What `cargo xtask bench` is asked.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The benchmark; without it, the benchmarks are listed
    name: Option<String>,
    /// What the benchmark is told, such as `--quick`
    #[arg(last = true)]
    words: Vec<String>,
}

/// A measured thing, ours beside another's.
#[derive(Debug, Deserialize)]
struct Measure {
    measure: String,
    unit: String,
    ours: f64,
    other: Option<f64>,
    ratio: Option<f64>,
    goal: String,
    holds: bool,
}

/// Runs a benchmark. Its exit code says whether it ran, not whether the goals hold: machines differ.
pub(crate) fn bench(house: &House, options: &Options) -> Result<ExitCode, Trouble> {
    let benches =
        house.crates.iter().flat_map(|krate| krate.benches.iter().map(move |b| (b, krate)));
    let Some(name) = &options.name else {
        for (bench, krate) in benches {
            println!("{bench}  ({})", krate.folder);
        }
        return verdict(true);
    };
    let all: Vec<&str> = benches.map(|(bench, _)| bench.as_str()).collect();
    if !all.contains(&name.as_str()) {
        let (name, all) = (name.clone(), all.join(", "));
        return Err(Trouble::Unknown { kind: "benchmark", name, all });
    }
    let folder = house.target.join("bench");
    let file = folder.join(format!("{name}.json"));
    let path = file.display().to_string();
    fs::create_dir_all(&folder).map_err(|reason| Trouble::File { path: path.clone(), reason })?;
    // What an earlier run wrote must not be taken for this one's.
    if file.exists() {
        fs::remove_file(&file).map_err(|reason| Trouble::File { path: path.clone(), reason })?;
    }
    let mut cargo = programs::cargo(house);
    cargo.args(["bench", "--workspace", "--bench", name, "--"]).args(&options.words);
    programs::run(&mut cargo, BUILD_LIMIT)?.or_trouble(&cargo)?;
    let text =
        fs::read_to_string(&file).map_err(|reason| Trouble::File { path: path.clone(), reason })?;
    println!("{}\n{path}", table(&read(&path, &text)?));
    verdict(true)
}

fn read(path: &str, text: &str) -> Result<Vec<Measure>, Trouble> {
    serde_json::from_str(text).map_err(|error| Trouble::Unreadable {
        what: format!("`{path}`"),
        reason: error.to_string(),
    })
}

fn table(measures: &[Measure]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["measure", "unit", "ours", "other", "ratio", "goal", "holds"]);
    let number = |number: Option<f64>| number.map_or_else(String::new, |n| format!("{n:.3}"));
    for measure in measures {
        table.add_row([
            measure.measure.clone(),
            measure.unit.clone(),
            number(Some(measure.ours)),
            number(measure.other),
            number(measure.ratio),
            measure.goal.clone(),
            if measure.holds { "yes".to_owned() } else { "NO".to_owned() },
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_without_a_peer_has_no_ratio() {
        let text = r#"[{"measure": "memory", "unit": "MiB", "ours": 20.0, "other": null,
            "ratio": null, "goal": "<= 25", "holds": true}]"#;
        let shown = table(&read("x.json", text).unwrap()).to_string();
        assert!(shown.contains("memory") && shown.contains("20.000"), "{shown}");
    }

    #[test]
    fn a_goal_that_does_not_hold_stands_out() {
        let text = r#"[{"measure": "rps", "unit": "1/s", "ours": 6.0, "other": 10.0,
            "ratio": 0.6, "goal": ">= 0.7", "holds": false}]"#;
        assert!(table(&read("x.json", text).unwrap()).to_string().contains("NO"));
    }

    #[test]
    fn a_result_of_another_shape_is_refused_with_its_path() {
        let trouble = read("x.json", "[{}]").unwrap_err().to_string();
        assert!(trouble.contains("`x.json`") && trouble.contains("measure"), "{trouble}");
    }
}
