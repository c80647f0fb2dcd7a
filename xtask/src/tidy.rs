//! `cargo xtask tidy`: the house is in order.
//!
//! Each rule says what it found, where, and how to put it right. Adding a rule is one entry of
//! [`RULES`].

mod code;
mod documents;
mod floors;
mod leftovers;

use std::{collections::BTreeMap, fmt, process::ExitCode};

use crate::{
    house::{Crate, House},
    tally::Tally,
    trouble::Trouble,
    verdict,
};

/// What the rules look at. Plain values, so that a test can make one.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    /// The crates of the workspace.
    pub(crate) crates: Vec<Crate>,
    /// Every text file that belongs to the clone, by path from the root.
    pub(crate) files: BTreeMap<String, String>,
}

impl Sight {
    /// The files with such an ending.
    pub(crate) fn with_ending(&self, ending: &str) -> impl Iterator<Item = (&str, &str)> {
        let ending = ending.to_owned();
        let fits = move |(path, _): &(&String, &String)| path.ends_with(&ending);
        self.files.iter().filter(fits).map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// Something that is not in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The path from the root, with a line where there is one.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) what: String,
    /// How to put it right.
    pub(crate) fix: String,
}

impl Finding {
    /// A finding in a file as a whole.
    pub(crate) fn new(place: &str, what: String, fix: &str) -> Self {
        Self { place: place.to_owned(), what, fix: fix.to_owned() }
    }

    /// A finding on a line; `index` counts from 0.
    pub(crate) fn at(path: &str, index: usize, what: String, fix: &str) -> Self {
        Self { place: format!("{path}:{}", index + 1), what, fix: fix.to_owned() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    fix: {}", self.place, self.what, self.fix)
    }
}

/// A rule about the house.
pub(crate) struct Rule {
    /// The rule, as a sentence.
    promise: &'static str,
    /// Where it is broken.
    check: fn(&Sight) -> Vec<Finding>,
    /// Whether a finding is only something to know.
    note: bool,
}

/// The rules.
pub(crate) const RULES: &[Rule] = &[
    Rule { promise: "crates lean only on the floors below", check: floors::floors, note: false },
    Rule { promise: "core leans on nothing impure", check: floors::purity, note: false },
    Rule { promise: "only edge/linux is unsafe", check: code::unsafety, note: false },
    Rule { promise: "nothing is named after nothing", check: code::names, note: false },
    Rule { promise: "no test is ignored", check: code::ignored, note: false },
    Rule { promise: "files stay readable", check: code::length, note: true },
    Rule { promise: "crate, manifest and map say the same", check: documents::map, note: false },
    Rule { promise: "named tests exist", check: documents::tests, note: false },
    Rule { promise: "every incident names a test", check: documents::incidents, note: false },
    Rule { promise: "links lead somewhere", check: documents::links, note: false },
    Rule { promise: "no marker without an issue", check: leftovers::markers, note: false },
    Rule { promise: "no machine and no registry is named", check: leftovers::places, note: false },
];

/// Checks the house and prints what is not in order.
pub(crate) fn tidy(house: &House) -> Result<ExitCode, Trouble> {
    let tally = tally(house)?;
    println!("{} of {} rules hold", tally.passed, RULES.len());
    verdict(tally.failures() == 0)
}

/// The same; each rule is one test.
pub(crate) fn tally(house: &House) -> Result<Tally, Trouble> {
    let sight = Sight { crates: house.crates.clone(), files: house.files()? };
    let mut tally = Tally::default();
    for Rule { promise, check, note } in RULES {
        let findings = check(&sight);
        let holds = findings.is_empty() || *note;
        println!("{} {promise}", if holds { "ok  " } else { "NOT " });
        for finding in &findings {
            println!("  {}{finding}", if *note { "note: " } else { "" });
        }
        tally.add(if holds { Tally::pass() } else { Tally::fail(*promise) });
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Sight {
        /// A clone with these files.
        pub(crate) fn of(files: &[(&str, &str)]) -> Self {
            let owned = |&(path, text): &(&str, &str)| (path.to_owned(), text.to_owned());
            Self { crates: Vec::new(), files: files.iter().map(owned).collect() }
        }

        /// Where a rule is broken.
        pub(crate) fn places(&self, check: fn(&Self) -> Vec<Finding>) -> Vec<String> {
            check(self).into_iter().map(|finding| finding.place).collect()
        }
    }

    #[test]
    fn a_finding_says_where_what_and_how_to_put_it_right() {
        let finding = Finding::at("a.rs", 2, "it is wrong".to_owned(), "make it right");
        assert_eq!(finding.to_string(), "a.rs:3: it is wrong\n    fix: make it right");
    }
}
