use std::fmt;

use serde::Serialize;

use crate::{Door, Mismatch, Severity};

/// How an implementation did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every case, in the order of the files.
    pub cases: Vec<CaseReport>,
}

/// How it did in one case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseReport {
    /// The case's name.
    pub name: String,
    /// Where the expectation comes from.
    pub source: String,
    /// What follows from not meeting it.
    pub severity: Severity,
    /// The service that was asked.
    pub door: Door,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Every step was as expected.
    Passed,
    /// A step was not.
    Failed {
        /// The method and target of the step, as they stand in the case.
        step: String,
        /// What was wrong with its answer.
        mismatches: Vec<Mismatch>,
    },
    /// The case says nothing about this implementation.
    Skipped {
        /// What is not so.
        why: String,
    },
}

impl Report {
    /// How many cases passed.
    pub fn passed(&self) -> usize {
        self.cases.iter().filter(|case| case.outcome == Outcome::Passed).count()
    }

    /// How many cases of this severity failed.
    pub fn failed(&self, severity: Severity) -> usize {
        let failed = |case: &&CaseReport| {
            case.severity == severity && matches!(case.outcome, Outcome::Failed { .. })
        };
        self.cases.iter().filter(failed).count()
    }

    /// How many cases were skipped.
    pub fn skipped(&self) -> usize {
        self.cases.iter().filter(|case| matches!(case.outcome, Outcome::Skipped { .. })).count()
    }

    /// Whether something was shown, and nothing that must be so is not. A run that skipped every
    /// case shows nothing.
    pub fn conforms(&self) -> bool {
        self.passed() > 0 && self.failed(Severity::Must) == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in &self.cases {
            let door = match case.door {
                Door::Instance => "instance",
                Door::Container => "container",
                Door::PodIdentity => "pod identity",
            };
            let mark = match (&case.outcome, case.severity) {
                (Outcome::Passed, _) => "pass",
                (Outcome::Failed { .. }, Severity::Must) => "FAIL",
                (Outcome::Failed { .. }, Severity::Should) => "warn",
                (Outcome::Skipped { .. }, _) => "skip",
            };
            writeln!(f, "{mark}  {door:<12}  {}", case.name)?;
            match &case.outcome {
                Outcome::Passed => {}
                Outcome::Skipped { why } => writeln!(f, "{:22}{why}", "")?,
                Outcome::Failed { step, mismatches } => {
                    writeln!(f, "{:22}{step}", "")?;
                    for mismatch in mismatches {
                        writeln!(f, "{:22}{mismatch}", "")?;
                    }
                    writeln!(f, "{:22}source: {}", "", case.source)?;
                }
            }
        }
        let (must, should) = (self.failed(Severity::Must), self.failed(Severity::Should));
        let (passed, skipped) = (self.passed(), self.skipped());
        write!(f, "{passed} passed, {must} failed, {should} warnings, {skipped} skipped")
    }
}
