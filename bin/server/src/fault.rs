//! What callers are told when something inside fails. What exactly it was is for the operator.

use api::{Kind, Problem};
use state::StateError;

use crate::report;

/// Turns an error from inside into what a caller is told.
pub trait OrProblem<T> {
    /// The value, or the problem.
    ///
    /// # Errors
    /// Where there is no value.
    fn or_problem(self) -> Result<T, Problem>;
}

impl<T> OrProblem<T> for Result<T, StateError> {
    fn or_problem(self) -> Result<T, Problem> {
        self.map_err(|error| of_state(&error))
    }
}

impl<T> OrProblem<T> for Result<T, crate::seal::SealError> {
    fn or_problem(self) -> Result<T, Problem> {
        self.map_err(|error| internal(&error))
    }
}

impl<T> OrProblem<T> for Result<T, ledger::InvalidDraft> {
    fn or_problem(self) -> Result<T, Problem> {
        self.map_err(|error| Problem::invalid(error.to_string()))
    }
}

impl<T> OrProblem<T> for Result<T, serde_json::Error> {
    fn or_problem(self) -> Result<T, Problem> {
        self.map_err(|error| internal(&error))
    }
}

/// A fault that the operator reads about in the log.
pub fn internal(error: &dyn std::fmt::Display) -> Problem {
    report(&format!("a request failed: {error}"));
    Problem::new(Kind::Internal, "the server has a fault; its log says more under the request's id")
}

/// What the database's errors mean to a caller.
pub fn of_state(error: &StateError) -> Problem {
    match error {
        StateError::Unavailable { .. } => {
            report(&error.to_string());
            Problem::new(Kind::StateUnavailable, "the database cannot be reached; nothing was done")
        }
        StateError::Settings { .. } => {
            report(&error.to_string());
            Problem::new(Kind::StateUnavailable, "the database cannot be used; nothing was done")
        }
        StateError::Full { .. } | StateError::LedgerEnded(_) => {
            report(&error.to_string());
            Problem::new(Kind::LedgerUnavailable, "the ledger cannot be written; nothing was done")
        }
        StateError::Conflict { .. } => {
            Problem::conflict("something else was done in the meantime: look again")
        }
        StateError::LedgerRefused(reason) => Problem::invalid(reason.to_string()),
        StateError::Unsure => {
            report(&error.to_string());
            let detail = "the connection to the database was lost, and nobody knows whether it was done: look again";
            Problem::new(Kind::Internal, detail)
        }
        StateError::NotRecorded | StateError::Damaged { .. } => internal(error),
    }
}
