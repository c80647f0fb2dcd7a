//! One transaction with either database, and statements that both understand.

use sqlx::{AssertSqlSafe, Postgres, Sqlite, Transaction};

use crate::StateError;
use crate::cell::{Cell, Cells, Row, Value};
use crate::stored::Stored;

/// An open transaction. Dropped, it is rolled back.
pub(crate) struct Link {
    open: Open,
    /// False from the beginning of each statement to its good end. A transaction in which one failed, or
    /// was given up halfway, is over: PostgreSQL would roll it back at the end and call that a success.
    sound: bool,
}

pub(crate) enum Open {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// A statement in the SQL of both, with `$1` for its first value.
pub(crate) struct Statement {
    sql: String,
    values: Vec<Value>,
}

/// Runs the same on either.
macro_rules! on_either {
    ($link:expr, $statement:expr, $query:ident, $open:ident => $run:expr) => {{
        let Statement { sql, values } = $statement;
        match &mut $link.open {
            Open::Sqlite($open) => {
                let $query = values.into_iter().fold(
                    // Made of this crate's own words: values are bound.
                    sqlx::query(AssertSqlSafe(sql)),
                    |query, value| match value {
                        Value::Text(text) => query.bind(text),
                        Value::Number(number) => query.bind(number),
                    },
                );
                $run.map(|done| done.into_either())
            }
            Open::Postgres($open) => {
                let $query =
                    values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| {
                        match value {
                            Value::Text(text) => query.bind(text),
                            Value::Number(number) => query.bind(number),
                        }
                    });
                $run.map(|done| done.into_either())
            }
        }
    }};
}

impl Statement {
    pub(crate) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), values: Vec::new() }
    }

    /// Binds the next value.
    #[must_use]
    pub(crate) fn with(mut self, cell: &impl Cell) -> Self {
        self.values.push(cell.value());
        self
    }

    /// Binds the next value, a text.
    #[must_use]
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.values.push(Value::Text(Some(text.to_owned())));
        self
    }

    /// Binds values.
    #[must_use]
    pub(crate) fn all(mut self, values: Vec<Value>) -> Self {
        self.values.extend(values);
        self
    }
}

impl Link {
    pub(crate) fn new(open: Open) -> Self {
        Self { open, sound: true }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.open, Open::Postgres(_))
    }

    /// Runs a statement; answers how many rows it changed.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64, StateError> {
        self.begin_statement(&statement)?;
        let done = on_either!(self, statement, query, open => query.execute(&mut **open).await)?;
        self.sound = true;
        Ok(done)
    }

    /// Runs a statement; answers its rows.
    pub(crate) async fn rows(&mut self, statement: Statement) -> Result<Vec<Row>, StateError> {
        self.begin_statement(&statement)?;
        let rows = on_either!(self, statement, query, open => query.fetch_all(&mut **open).await)?;
        self.sound = true;
        Ok(rows)
    }

    fn begin_statement(&mut self, statement: &Statement) -> Result<(), StateError> {
        self.check_sound()?;
        self.sound = false;
        let has_zero =
            |value: &Value| matches!(value, Value::Text(Some(text)) if text.contains('\0'));
        // SQLite would hold it, PostgreSQL would not.
        if statement.values.iter().any(has_zero) {
            return Err(StateError::Conflict { what: "a text has a zero byte".to_owned() });
        }
        Ok(())
    }

    fn check_sound(&self) -> Result<(), StateError> {
        if self.sound {
            return Ok(());
        }
        Err(StateError::unavailable("an earlier statement of the transaction failed"))
    }

    /// The one cell of the first row; none where there is no row.
    pub(crate) async fn cell<T: Cell>(
        &mut self,
        table: &'static str,
        statement: Statement,
    ) -> Result<Option<T>, StateError> {
        let rows = self.rows(statement).await?;
        rows.first().map(|row| Cells::new(row, table).take()).transpose()
    }

    /// The rows of a table that `rest` picks, from `WHERE` on.
    pub(crate) async fn many<T: Stored>(&mut self, rest: Statement) -> Result<Vec<T>, StateError> {
        let Statement { sql: rest, values } = rest;
        let sql = format!("SELECT {} FROM {} {rest}", T::COLUMNS.join(", "), T::TABLE);
        let rows = self.rows(Statement { sql, values }).await?;
        rows.iter().map(|row| T::read(&mut Cells::new(row, T::TABLE))).collect()
    }

    /// The row that `rest` picks, if any.
    pub(crate) async fn one<T: Stored>(
        &mut self,
        rest: Statement,
    ) -> Result<Option<T>, StateError> {
        Ok(self.many(rest).await?.pop())
    }

    /// The row with a key that is one text.
    pub(crate) async fn by_key<T: Stored>(&mut self, key: &str) -> Result<Option<T>, StateError> {
        let rest = format!("WHERE {} = $1", T::KEY.concat());
        self.one(Statement::new(rest).text(key)).await
    }

    /// Rows by their key, which is one text, from the one after `after` on.
    pub(crate) async fn page<T: Stored>(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<T>, StateError> {
        let key = T::KEY.concat();
        let rest = Statement::new(format!("WHERE {key} > $1 ORDER BY {key} LIMIT $2"));
        // No key is empty.
        self.many(rest.text(after.unwrap_or("")).with(&i64::from(limit))).await
    }

    /// Puts a row in the place of the one with its key, or as a new one.
    pub(crate) async fn put<T: Stored>(&mut self, row: &T) -> Result<(), StateError> {
        self.execute(Statement::new(put_sql::<T>()).all(row.values())).await.map(|_| ())
    }

    /// Adds a row; one with its key must not be there.
    pub(crate) async fn insert<T: Stored>(&mut self, row: &T) -> Result<(), StateError> {
        self.execute(Statement::new(insert_sql::<T>()).all(row.values())).await.map(|_| ())
    }

    /// Adds rows, many in one statement; those with their keys must not be there.
    pub(crate) async fn insert_all<T: Stored>(&mut self, rows: &[T]) -> Result<(), StateError> {
        let mut left = rows;
        while !left.is_empty() {
            // Powers of two, so that there are few statements to prepare.
            let count = (1 << left.len().ilog2()).min(ROWS_MAX);
            let (some, others) = left.split_at(count);
            let values = some.iter().flat_map(T::values).collect();
            let sql = insert_many_sql::<T>(&self.tuples(count, T::COLUMNS.len()));
            self.execute(Statement::new(sql).all(values)).await?;
            left = others;
        }
        Ok(())
    }

    /// Marks for so many rows of so many values, which are the first of their statement and used once each, in
    /// order. A mark without a number is SQLite's quickest: for any other it searches a list of all of
    /// them, once for each.
    pub(crate) fn tuples(&self, rows: usize, columns: usize) -> String {
        if self.is_postgres() {
            return tuples(rows, columns);
        }
        let tuple = format!("({})", vec!["?"; columns].join(", "));
        vec![tuple; rows].join(", ")
    }

    pub(crate) async fn commit(self) -> Result<(), StateError> {
        self.check_sound()?;
        match self.open {
            Open::Sqlite(open) => open.commit().await?,
            Open::Postgres(open) => open.commit().await?,
        }
        Ok(())
    }
}

/// The most rows of one statement. Either database takes tens of thousands of values.
const ROWS_MAX: usize = 64;

pub(crate) fn insert_sql<T: Stored>() -> String {
    insert_many_sql::<T>(&tuples(1, T::COLUMNS.len()))
}

fn insert_many_sql<T: Stored>(tuples: &str) -> String {
    let (table, columns) = (T::TABLE, T::COLUMNS.join(", "));
    format!("INSERT INTO {table} ({columns}) VALUES {tuples}")
}

/// `($1, $2), ($3, $4)`: marks for so many rows of so many values.
fn tuples(rows: usize, columns: usize) -> String {
    let tuple = |row: usize| {
        let marks = (1..=columns).map(|column| format!("${}", row * columns + column));
        format!("({})", marks.collect::<Vec<_>>().join(", "))
    };
    (0..rows).map(tuple).collect::<Vec<_>>().join(", ")
}

pub(crate) fn put_sql<T: Stored>() -> String {
    let others = T::COLUMNS.iter().filter(|column| !T::KEY.contains(column));
    let sets: Vec<String> = others.map(|column| format!("{column} = excluded.{column}")).collect();
    let (insert, key) = (insert_sql::<T>(), T::KEY.join(", "));
    format!("{insert} ON CONFLICT ({key}) DO UPDATE SET {}", sets.join(", "))
}

/// What either database answers, as one kind.
trait IntoEither {
    type Either;
    fn into_either(self) -> Self::Either;
}

impl IntoEither for sqlx::sqlite::SqliteQueryResult {
    type Either = u64;
    fn into_either(self) -> u64 {
        self.rows_affected()
    }
}

impl IntoEither for sqlx::postgres::PgQueryResult {
    type Either = u64;
    fn into_either(self) -> u64 {
        self.rows_affected()
    }
}

impl IntoEither for Vec<sqlx::sqlite::SqliteRow> {
    type Either = Vec<Row>;
    fn into_either(self) -> Vec<Row> {
        self.into_iter().map(Row::Sqlite).collect()
    }
}

impl IntoEither for Vec<sqlx::postgres::PgRow> {
    type Either = Vec<Row>;
    fn into_either(self) -> Vec<Row> {
        self.into_iter().map(Row::Postgres).collect()
    }
}
