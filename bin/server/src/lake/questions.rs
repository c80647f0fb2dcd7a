//! Questions in SQL, over everything that is stored.

use std::time::Duration;

use ::lake::{Answer, Engine, Limits, QueryError};
use api::{
    Kind, Problem,
    calls::{CallsAnswer, CallsAsked, Column, SQL_MAX},
};
use serde_json::Value;
use state::State;
use tokio::sync::Semaphore;

use super::{of_lake, snapshot};
use crate::{clock::Clock, fault::OrProblem};

/// How many rows are given where nobody says.
const ROWS: u32 = 1000;
/// How long a question may take where nobody says, in seconds.
const TIMEOUT_S: u32 = 30;
/// The longest answer, in bytes of JSON. A client reads no more.
const ANSWER_MAX: usize = 12 << 20;
/// How long a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers questions, a few at a time.
#[derive(Debug)]
pub struct Questions {
    engine: Engine,
    limits: Limits,
    turns: Semaphore,
}

impl Questions {
    pub(super) fn new(engine: Engine, limits: Limits, at_once: u64) -> Self {
        let turns = Semaphore::new(usize::try_from(at_once).unwrap_or(1));
        Self { engine, limits, turns }
    }

    /// Answers a question about all that is stored now.
    ///
    /// # Errors
    /// When the question is wrong or takes too much, or the lake cannot be read.
    pub async fn answer(
        &self,
        state: &State,
        clock: &Clock,
        asked: CallsAsked,
    ) -> Result<CallsAnswer, Problem> {
        let CallsAsked { sql, application, rows, timeout_s } = asked;
        if sql.len() > SQL_MAX {
            return Err(Problem::invalid("the question is too long")
                .with_field("sql", format!("at most {SQL_MAX} bytes, not {}", sql.len())));
        }
        let busy = || Problem::new(Kind::Busy, "too many questions are being answered: ask again");
        let turn = tokio::time::timeout(PATIENCE, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let limits = Limits {
            rows: usize::try_from(rows.map_or(ROWS, api::Within::get)).unwrap_or(usize::MAX),
            time: Duration::from_secs(timeout_s.map_or(TIMEOUT_S, api::Within::get).into()),
            ..self.limits
        };
        let (as_of, snapshot) = (clock.now(), snapshot(state).await.or_problem()?);
        let segments = snapshot.0.len() as u64;
        let engine = self.engine.within(limits);
        let answer = engine.query_of(application.as_ref(), &sql, as_of, &snapshot).await;
        let mut answer = answer.map_err(|error| of_query(&error))?;
        let columns = columns(&answer);
        let (rows, cut) = collect(&mut answer, &columns).await?;
        let truncated = cut || answer.is_truncated();
        Ok(CallsAnswer { columns, rows, truncated, as_of, segments })
    }
}

fn columns(answer: &Answer) -> Vec<Column> {
    let column = |(name, kind): (String, &'static str)| Column { name, kind: kind.to_owned() };
    answer.columns().into_iter().map(column).collect()
}

/// The rows, and whether some are left out because the answer would be too long.
async fn collect(
    answer: &mut Answer,
    columns: &[Column],
) -> Result<(Vec<Vec<Value>>, bool), Problem> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = answer.next().await.map_err(|error| of_query(&error))? {
        let lines = ::lake::json(&batch).map_err(|error| of_query(&error))?;
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            bytes += line.len();
            if bytes > ANSWER_MAX {
                return Ok((rows, true));
            }
            let mut row: serde_json::Map<String, Value> =
                serde_json::from_slice(line).or_problem()?;
            let value = |column: &Column| row.remove(&column.name).unwrap_or_default();
            rows.push(columns.iter().map(value).collect());
        }
    }
    Ok((rows, false))
}

fn of_query(error: &QueryError) -> Problem {
    let wrong = |title: &str| Problem::invalid(title).with_field("sql", error.to_string());
    match error {
        QueryError::Wrong(_) => wrong("the question cannot be understood"),
        QueryError::NotAQuery(_) => wrong("only a query can be asked"),
        QueryError::TooBig { .. } | QueryError::TooLong { .. } => {
            wrong("the question takes too much")
        }
        QueryError::Lake(error) => of_lake(error),
    }
}
