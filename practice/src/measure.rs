//! What a benchmark measured: for people, and for whoever compares runs.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;

/// One measured thing, ours beside the peer's.
#[derive(Debug, Serialize)]
pub struct Measure {
    /// What, and what is in it.
    pub measure: String,
    /// In what it is told.
    pub unit: &'static str,
    /// Ours.
    pub ours: f64,
    /// The peer's, where there is one.
    pub other: Option<f64>,
    /// Ours by the peer's, as the rounds had it.
    pub ratio: Option<f64>,
    /// What was promised.
    pub goal: String,
    /// Whether it is so.
    pub holds: bool,
}

impl Measure {
    /// A number that must not exceed a limit.
    pub fn at_most(measure: impl Into<String>, unit: &'static str, ours: f64, limit: f64) -> Self {
        Self {
            measure: measure.into(),
            unit,
            ours: rounded(ours),
            other: None,
            ratio: None,
            goal: format!("<= {limit} {unit}"),
            holds: ours <= limit,
        }
    }

    /// A number that nobody promised.
    pub fn told(measure: impl Into<String>, unit: &'static str, ours: f64) -> Self {
        let limit = f64::INFINITY;
        Self { goal: UNPROMISED.to_owned(), ..Self::at_most(measure, unit, ours, limit) }
    }

    /// Ours beside the peer's, a pair for every round. The numbers are medians, and the ratio is the
    /// median of the rounds' ratios: what disturbs a machine disturbs both of a pair.
    pub fn beside(
        measure: impl Into<String>,
        unit: &'static str,
        rounds: &[[f64; 2]],
        goal: &Goal,
    ) -> Self {
        let ratio = median(rounds.iter().map(|[ours, other]| ours / other).collect());
        let (goal, holds) = match goal {
            Goal::AtLeast(least) => (format!("ratio >= {least}"), ratio >= *least),
            Goal::AtMost(most) => (format!("ratio <= {most}"), ratio <= *most),
            Goal::None => (UNPROMISED.to_owned(), true),
        };
        Self {
            measure: measure.into(),
            unit,
            ours: rounded(median(rounds.iter().map(|[ours, _]| *ours).collect())),
            other: Some(rounded(median(rounds.iter().map(|[_, other]| *other).collect()))),
            ratio: Some(rounded(ratio)),
            goal,
            holds,
        }
    }
}

/// What is promised of a ratio.
pub enum Goal {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Nothing.
    None,
}

/// What stands in place of a goal where there is none.
const UNPROMISED: &str = "none, for comparison";

/// Tells what is going on, where progress belongs.
pub fn step(text: &str) {
    eprintln!("  {text}");
}

/// Prints the table and which goals do not hold, and writes `bench/NAME.json` below the target folder.
/// `scratch` is what cargo calls `CARGO_TARGET_TMPDIR`, which lies in that folder.
///
/// # Errors
/// Where the file cannot be written.
pub fn tell(scratch: &str, name: &str, measures: &[Measure]) -> io::Result<()> {
    let widest = measures.iter().map(|it| it.measure.len()).max().unwrap_or_default();
    println!();
    println!("{:widest$}  {:>10} {:>10} {:>7} unit  goal", "measure", "ours", "other", "ratio");
    for it in measures {
        let number = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let (other, ratio) = (number(it.other), number(it.ratio));
        let (name, ours, unit, goal) = (&it.measure, it.ours, it.unit, &it.goal);
        let verdict = match (goal.as_str(), it.holds) {
            (UNPROMISED, _) => "",
            (_, true) => ": holds",
            (_, false) => ": DOES NOT HOLD",
        };
        println!("{name:widest$}  {ours:>10} {other:>10} {ratio:>7} {unit:>4}  {goal}{verdict}");
    }
    let promised = measures.iter().filter(|it| it.goal != UNPROMISED);
    let broken = promised.clone().filter(|it| !it.holds).count();
    match broken {
        0 => println!("\nall goals hold"),
        broken => println!("\n{broken} of {} goals do not hold", promised.count()),
    }
    let file = file(scratch, name);
    std::fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    std::fs::write(
        &file,
        serde_json::to_string_pretty(measures).map_err(io::Error::other)? + "\n",
    )?;
    println!("{}", file.display());
    Ok(())
}

/// The middle one of some numbers; of an even count the lower of the two.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len().saturating_sub(1) / 2;
    numbers.get(middle).copied().unwrap_or(f64::NAN)
}

fn file(scratch: &str, name: &str) -> PathBuf {
    let target = Path::new(scratch).parent();
    target.unwrap_or(Path::new("target")).join(format!("bench/{name}.json"))
}

/// Three digits are more than such numbers are good for.
fn rounded(number: f64) -> f64 {
    let digits = if number.abs() < 100.0 { 1000.0 } else { 1.0 };
    (number * digits).round() / digits
}
