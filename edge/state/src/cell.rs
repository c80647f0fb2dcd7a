//! What stands in one column: a text, a number or nothing.

use jiff::Timestamp;
use secret::SecretText;
use sqlx::Row as _;

use crate::StateError;

/// A value on its way to the database.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
}

/// A row of an answer.
pub(crate) enum Row {
    Sqlite(sqlx::sqlite::SqliteRow),
    Postgres(sqlx::postgres::PgRow),
}

/// The cells of a row, read from left to right.
pub(crate) struct Cells<'a> {
    row: &'a Row,
    table: &'static str,
    next: usize,
}

/// What a column can hold.
pub(crate) trait Cell: Sized {
    fn read(cells: &mut Cells<'_>) -> Result<Self, StateError>;
    fn value(&self) -> Value;
}

impl<'a> Cells<'a> {
    pub(crate) fn new(row: &'a Row, table: &'static str) -> Self {
        Self { row, table, next: 0 }
    }

    /// The next cell.
    pub(crate) fn take<T: Cell>(&mut self) -> Result<T, StateError> {
        T::read(self)
    }

    pub(crate) fn wrong(&self, why: &'static str) -> StateError {
        StateError::damaged(self.table, why)
    }

    fn text(&mut self) -> Result<Option<String>, StateError> {
        let at = self.step();
        let read = match self.row {
            Row::Sqlite(row) => row.try_get(at),
            Row::Postgres(row) => row.try_get(at),
        };
        read.map_err(|error| self.unreadable(&error))
    }

    fn number(&mut self) -> Result<Option<i64>, StateError> {
        let at = self.step();
        let read = match self.row {
            Row::Sqlite(row) => row.try_get(at),
            Row::Postgres(row) => row.try_get(at),
        };
        read.map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &sqlx::Error) -> StateError {
        StateError::damaged(self.table, error.to_string())
    }

    fn step(&mut self) -> usize {
        let at = self.next;
        self.next += 1;
        at
    }
}

const MISSING: &str = "lacks a value that every row has";

impl Cell for Option<String> {
    fn read(cells: &mut Cells<'_>) -> Result<Self, StateError> {
        cells.text()
    }

    fn value(&self) -> Value {
        Value::Text(self.clone())
    }
}

impl Cell for String {
    fn read(cells: &mut Cells<'_>) -> Result<Self, StateError> {
        cells.text()?.ok_or_else(|| cells.wrong(MISSING))
    }

    fn value(&self) -> Value {
        Value::Text(Some(self.clone()))
    }
}

impl Cell for SecretText {
    fn read(cells: &mut Cells<'_>) -> Result<Self, StateError> {
        cells.take::<String>().map(Self::new)
    }

    fn value(&self) -> Value {
        self.expose().value()
    }
}

impl Cell for Option<i64> {
    fn read(cells: &mut Cells<'_>) -> Result<Self, StateError> {
        cells.number()
    }

    fn value(&self) -> Value {
        Value::Number(*self)
    }
}

impl Cell for i64 {
    fn read(cells: &mut Cells<'_>) -> Result<Self, StateError> {
        cells.number()?.ok_or_else(|| cells.wrong(MISSING))
    }

    fn value(&self) -> Value {
        Value::Number(Some(*self))
    }
}

impl Cell for bool {
    fn read(cells: &mut Cells<'_>) -> Result<Self, StateError> {
        match cells.take::<i64>()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(cells.wrong("has a number that is neither 0 nor 1")),
        }
    }

    fn value(&self) -> Value {
        i64::from(*self).value()
    }
}

/// Cells that are numbers in the database, and may be absent.
macro_rules! numbers {
    ($($kind:ty: $to:expr, $from:expr, $why:literal;)*) => {$(
        impl Cell for Option<$kind> {
            fn read(cells: &mut Cells<'_>) -> Result<Self, StateError> {
                let Some(number) = cells.number()? else { return Ok(None) };
                let from: fn(i64) -> Option<$kind> = $from;
                from(number).map(Some).ok_or_else(|| cells.wrong($why))
            }

            fn value(&self) -> Value {
                let to: fn(&$kind) -> i64 = $to;
                Value::Number(self.as_ref().map(to))
            }
        }

        impl Cell for $kind {
            fn read(cells: &mut Cells<'_>) -> Result<Self, StateError> {
                cells.take::<Option<$kind>>()?.ok_or_else(|| cells.wrong(MISSING))
            }

            fn value(&self) -> Value {
                let to: fn(&$kind) -> i64 = $to;
                Value::Number(Some(to(self)))
            }
        }
    )*};
}

numbers! {
    // Nothing counts as far as 2^63; a bound beyond it means the end.
    u64: |number| i64::try_from(*number).unwrap_or(i64::MAX), |number| u64::try_from(number).ok(),
        "has a count below zero";
    Timestamp: |time| time.as_microsecond(), |number| Timestamp::from_microsecond(number).ok(),
        "has a time that no calendar has";
}
