use std::borrow::Cow;

/// Why the database did not do what was asked of it, by who must act.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be reached, is too busy, or is about to be another one. It passes.
    #[error("the database cannot be reached or is too busy: {why}")]
    Unavailable {
        /// What it or the system said.
        why: String,
    },
    /// Its disk is full: its operator must make room. Nothing was changed.
    #[error("the database has no room left: {why}")]
    Full {
        /// What it said.
        why: String,
    },
    /// Something else is there already: the caller must look again.
    #[error("what is in the database does not allow that: {what}")]
    Conflict {
        /// The rule that it breaks.
        what: String,
    },
    /// What was done cannot be written down, so it is not done.
    #[error("the ledger does not take that")]
    LedgerRefused(#[from] ledger::InvalidDraft),
    /// The ledger has no number left.
    #[error(transparent)]
    LedgerEnded(#[from] ledger::Full),
    /// An act changed rows and recorded nothing: a mistake of the program. Nothing was changed.
    #[error("an act changed something without an entry in the ledger")]
    NotRecorded,
    /// What is stored is not what was written: the operator must look, and perhaps restore.
    #[error("the database is damaged: table `{table}` {why}")]
    Damaged {
        /// Where.
        table: &'static str,
        /// What is wrong with it.
        why: Cow<'static, str>,
    },
    /// The connection was lost at the end of an act, and nobody could be asked since what became of it.
    #[error("the connection to the database was lost, and nobody knows whether the act was done")]
    Unsure,
    /// The operator's settings do not fit the database.
    #[error("the database cannot be used: {why}")]
    Settings {
        /// What is wrong, and the way out.
        why: String,
    },
}

impl StateError {
    /// Whether the same may succeed a little later, without anybody's doing. What was asked for did not happen.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn settings(why: impl Into<String>) -> Self {
        Self::Settings { why: why.into() }
    }

    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into() }
    }

    pub(crate) fn damaged(table: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        Self::Damaged { table, why: why.into() }
    }
}

impl From<sqlx::Error> for StateError {
    fn from(error: sqlx::Error) -> Self {
        let why = error.to_string();
        match error {
            sqlx::Error::Database(error) => by_code(error.code().as_deref().unwrap_or(""), why),
            sqlx::Error::Configuration(_) | sqlx::Error::Tls(_) => Self::Settings { why },
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::TypeNotFound { .. } => {
                Self::damaged("?", format!("has columns of another kind: {why}"))
            }
            // Sockets, timeouts of the pool, a protocol that was cut off within an answer.
            _ => Self::Unavailable { why },
        }
    }
}

/// PostgreSQL's codes have five characters, and their class is the first two:
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>. SQLite's are numbers, of which the
/// lowest byte is the class: <https://www.sqlite.org/rescode.html>.
fn by_code(code: &str, why: String) -> StateError {
    if code.len() != 5 {
        return match code.parse::<u32>().unwrap_or(0) & 0xff {
            8 | 14 | 23 => StateError::Settings { why },
            11 | 26 | 1 => StateError::damaged("?", format!("cannot be read: {why}")),
            13 => StateError::Full { why },
            19 => StateError::Conflict { what: why },
            _ => StateError::Unavailable { why },
        };
    }
    match code {
        "53100" => StateError::Full { why },
        // A name or a column that is not there: somebody else changed the tables.
        "42P01" | "42703" | "42804" | "42883" | "XX001" | "XX002" => {
            StateError::damaged("?", format!("cannot be read: {why}"))
        }
        _ => match code.get(..2).unwrap_or("") {
            "23" | "22" => StateError::Conflict { what: why },
            "28" | "3D" | "3F" | "42" => StateError::Settings { why },
            _ => StateError::Unavailable { why },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: &str, kind: &str) {
        let said = format!("{:?}", by_code(code, String::new()));
        assert!(said.starts_with(kind), "`{code}`: {said}");
    }

    #[test]
    fn a_code_says_who_must_act() {
        for code in ["5", "517", "6", "10", "778", "08006", "25006", "40001", "53300", "55P03"] {
            check(code, "Unavailable");
        }
        for code in ["57014", "57P01", "57P03", "25P02", "25P03", "40P01"] {
            check(code, "Unavailable");
        }
        check("13", "Full");
        check("53100", "Full");
        check("1555", "Conflict");
        check("2067", "Conflict");
        check("23505", "Conflict");
        check("14", "Settings");
        check("1032", "Settings");
        check("28P01", "Settings");
        check("3D000", "Settings");
        check("11", "Damaged");
        check("26", "Damaged");
        check("42P01", "Damaged");
    }

    #[test]
    fn only_what_passes_by_itself_is_tried_again() {
        assert!(StateError::unavailable("gone").is_retryable());
        assert!(!StateError::Unsure.is_retryable());
        assert!(!StateError::Full { why: String::new() }.is_retryable());
    }
}
