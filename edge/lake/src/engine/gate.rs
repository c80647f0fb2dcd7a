//! What may be asked: one query that only reads.

use datafusion::sql::{
    parser::{DFParser, Statement},
    sqlparser::{ast, dialect::GenericDialect, tokenizer::Token, tokenizer::Tokenizer},
};

use crate::error::QueryError;

/// The longest question, in bytes.
const LENGTH_MAX: usize = 64 << 10;
/// The most operators of a question. Each may nest an expression in another, and what is nested too deeply
/// ends the thread that looks at it.
const OPERATORS_MAX: usize = 400;

/// Reads a question.
pub(super) fn one_query(sql: &str) -> Result<Statement, QueryError> {
    if sql.len() > LENGTH_MAX {
        return Err(QueryError::Wrong(format!("the question is longer than {LENGTH_MAX} bytes")));
    }
    if operators(sql)? > OPERATORS_MAX {
        let why = format!(
            "the question has more than {OPERATORS_MAX} operators: ask with IN, or in parts"
        );
        return Err(QueryError::Wrong(why));
    }
    let mut statements =
        DFParser::parse_sql(sql).map_err(|error| QueryError::Wrong(error.strip_backtrace()))?;
    let only = statements.pop_front();
    let Some(statement) = only.filter(|_| statements.is_empty()) else {
        return Err(QueryError::NotAQuery("there must be exactly one statement".to_owned()));
    };
    if is_query(&statement) {
        Ok(statement)
    } else {
        Err(QueryError::NotAQuery("it must begin with `SELECT`, `WITH` or `EXPLAIN`".to_owned()))
    }
}

fn is_query(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => matches!(**statement, ast::Statement::Query(_)),
        Statement::Explain(explain) => is_query(&explain.statement),
        _ => false,
    }
}

/// How many words and signs of a question may nest what follows.
fn operators(sql: &str) -> Result<usize, QueryError> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize();
    let tokens = tokens.map_err(|error| QueryError::Wrong(error.to_string()))?;
    let nests = |token: &&Token| match token {
        Token::Word(word) => {
            word.quote_style.is_none()
                && [
                    "and",
                    "or",
                    "not",
                    "is",
                    "union",
                    "intersect",
                    "except",
                    "join",
                    "case",
                    "select",
                ]
                .iter()
                .any(|it| word.value.eq_ignore_ascii_case(it))
        }
        Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::RParen
        | Token::RBracket
        | Token::SemiColon
        | Token::EOF => false,
        _ => true,
    };
    Ok(tokens.iter().filter(nests).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, allowed: bool) {
        let refused = one_query(sql).err();
        assert_eq!(refused.is_none(), allowed, "{sql}: {refused:?}");
    }

    #[test]
    fn one_query_may_be_asked() {
        check("SELECT 1", true);
        check("select 1;", true);
        check("WITH a AS (SELECT 1 AS b) SELECT b FROM a", true);
        check("EXPLAIN SELECT 1", true);
        check("(SELECT 1) UNION (SELECT 2)", true);
        check("SELECT 'DROP TABLE calls; --'", true);
    }

    #[test]
    fn nothing_else_may() {
        for sql in [
            "",
            ";",
            "-- nothing",
            "SELECT 1; SELECT 2",
            "DROP TABLE calls",
            "CREATE TABLE a AS SELECT 1",
            "CREATE VIEW a AS SELECT 1",
            "CREATE EXTERNAL TABLE a STORED AS PARQUET LOCATION '/etc'",
            "INSERT INTO calls VALUES (1)",
            "UPDATE calls SET count = 1",
            "DELETE FROM calls",
            "COPY (SELECT 1) TO '/tmp/a.csv'",
            "SET datafusion.execution.batch_size = 1",
            "RESET datafusion.execution.batch_size",
            "EXPLAIN INSERT INTO calls VALUES (1)",
            "PREPARE a AS SELECT 1",
            "EXECUTE a",
            "SHOW ALL",
            "BEGIN",
            "CREATE FUNCTION a() RETURNS INT RETURN 1",
            "SELECT 'half",
        ] {
            check(sql, false);
        }
    }

    #[test]
    fn a_question_is_bounded_in_length_and_depth() {
        check(&format!("SELECT 1{}", " + 1".repeat(OPERATORS_MAX)), false);
        check(&format!("SELECT 1{}", ", 1".repeat(5000)), true);
        check(&format!("SELECT {}1{}", "(".repeat(300), ")".repeat(300)), false);
        check(&format!("SELECT '{}'", "a".repeat(LENGTH_MAX)), false);
    }
}
