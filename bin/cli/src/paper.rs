//! How answers look: a table for people, one JSON document for programs.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{
    Table,
    presets::{NOTHING, UTF8_FULL_CONDENSED},
};
use jiff::Timestamp;
use serde::Serialize;

use crate::Failure;

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs: one JSON document.
    Json,
}

/// Prints a text. Whoever closes the other end has seen enough.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end());
}

/// Says something beside the answer: how far it is, what else to know.
#[expect(clippy::print_stderr, reason = "this is what standard error is for")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// Prints an answer as it was asked for.
pub(crate) fn show<T: Serialize>(
    output: Output,
    answer: &T,
    table: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match output {
        Output::Table => print(&table(answer)),
        Output::Json => print(&serde_json::to_string_pretty(answer).map_err(Failure::world)?),
    }
    Ok(())
}

/// An empty table with its header.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    table
}

/// One thing with its properties, one a line.
pub(crate) fn facts<const N: usize>(rows: [(&str, String); N]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        table.add_row([name.to_owned(), value]);
    }
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// A time, to the second.
pub(crate) fn when(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A time that may not have come.
pub(crate) fn perhaps(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), when)
}

/// The word that JSON has for a value.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// Names and values in one line.
pub(crate) fn pairs(of: &std::collections::BTreeMap<String, String>) -> String {
    of.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_takes_no_line() {
        let text = facts([("host", "h1".to_owned()), ("region", String::new())]);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("host") && text.contains("h1"), "{text}");
    }

    #[test]
    fn times_are_told_to_the_second() {
        let time = "2026-01-02T03:04:05.678Z".parse().unwrap();
        assert_eq!(when(time), "2026-01-02 03:04:05Z");
        assert_eq!(perhaps(None), "-");
    }
}
