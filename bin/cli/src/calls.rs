//! `rolecall calls`: which calls were made, asked of the server's lake in SQL.

use api::{
    Within,
    calls::{
        CallsAnswer, CallsAsked, Column, ListSenders, QUERY_MAX_S, QueryCalls, ROWS_MAX, Senders,
    },
};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde_json::Value;
use workload::Application;

use crate::{
    Done, Failure,
    line::Line,
    paper::{note, table, when},
};

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  rolecall calls top --app orders
  rolecall calls who-touches 'arn:aws:s3:::reports/*'
  rolecall calls needs orders
  rolecall calls denied
  rolecall calls sql \"SELECT role, count(*) FROM last_used GROUP BY role\" -o json
  rolecall calls coverage

What is not there was not seen, which is not the same as not done: `coverage` says what was lost, and which hosts send.")]
pub(crate) enum Calls {
    /// Show what is called most.
    Top(Scope),
    /// Show the latest calls.
    Tail(Scope),
    /// Ask in SQL; the views are in docs/reference/calls-sql.md.
    Sql {
        /// One SELECT.
        sql: String,
        #[command(flatten)]
        scope: Scope,
    },
    /// Show who used a resource.
    WhoTouches {
        /// Its ARN; `*` stands for anything.
        resource: String,
        #[command(flatten)]
        scope: Scope,
    },
    /// Show which actions an application needed, on which resources.
    Needs {
        /// The application.
        application: Application,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// Show what is denied now: denied within 24 hours, and not done since.
    Denied(Scope),
    /// Show what was sent and what became of it, and how far each host's calls are stored.
    Coverage(Bounds),
}

/// What of the calls is looked at.
#[derive(Clone, Debug, Args)]
pub(crate) struct Scope {
    /// Those of this application alone. Its owners may always ask so.
    #[arg(long, visible_alias = "app")]
    application: Option<Application>,
    #[command(flatten)]
    bounds: Bounds,
}

/// How much a question may take.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Bounds {
    /// How many rows at most.
    #[arg(long, value_name = "N", default_value = "1000")]
    rows: Within<1, ROWS_MAX>,
    /// How long it may take, in seconds.
    #[arg(long, value_name = "S", default_value = "30")]
    timeout_s: Within<1, QUERY_MAX_S>,
}

const TOP: &str = "\
SELECT application, environment, service, operation, outcome, sum(count) AS calls, max(last) AS last
FROM calls GROUP BY application, environment, service, operation, outcome ORDER BY calls DESC, last DESC";

const TAIL: &str = "\
SELECT last, workload, service, operation, outcome, error, count, signer, resources
FROM calls ORDER BY last DESC";

const DENIED: &str = "\
SELECT last, application, environment, role, service, operation, resources, error, count
FROM denied_now ORDER BY last DESC";

const NEEDS: &str = "\
SELECT action, resource, max(last) AS last, sum(count) AS calls,
    sum(CASE WHEN outcome = 'denied' THEN count ELSE 0 END) AS denied, min(basis) AS basis
FROM needs GROUP BY action, resource ORDER BY action, resource";

const COVERAGE: &str = "\
SELECT day, host, sent, stored, folded, attempts, held, lost, cut_off, crashes
FROM coverage ORDER BY day DESC, host";

impl Calls {
    pub(crate) async fn execute(&self, line: &Line) -> Result<Done, Failure> {
        let everything = |bounds: &Bounds| Scope { application: None, bounds: *bounds };
        match self {
            Self::Top(scope) => ask(line, TOP, scope).await,
            Self::Tail(scope) => ask(line, TAIL, scope).await,
            Self::Sql { sql, scope } => ask(line, sql, scope).await,
            Self::WhoTouches { resource, scope } => ask(line, &who_touches(resource), scope).await,
            Self::Needs { application, bounds } => {
                let scope = Scope { application: Some(application.clone()), bounds: *bounds };
                ask(line, NEEDS, &scope).await
            }
            Self::Denied(scope) => ask(line, DENIED, scope).await,
            Self::Coverage(bounds) => {
                let answer = question(line, COVERAGE, &everything(bounds)).await?;
                let senders = line.ask::<ListSenders>(&(), &(), &()).await?;
                let both = serde_json::json!({ "coverage": answer, "senders": senders.senders });
                line.show(&both, |_| format!("{}\n{}", rows(&answer), sent(&senders)))?;
                Ok(Done::Yes)
            }
        }
    }
}

/// Who used what fits a pattern. Text is put into SQL as text, whatever is in it.
fn who_touches(resource: &str) -> String {
    let mut pattern = String::new();
    for char in resource.chars() {
        match char {
            '*' => pattern.push('%'),
            '%' | '_' | '\\' => pattern.extend(['\\', char]),
            '\'' => pattern.push_str("''"),
            other => pattern.push(other),
        }
    }
    format!(
        "SELECT resource, role, access_key, application, environment, signer, actions, count, denied, last \
         FROM resource_roles WHERE resource LIKE '{pattern}' ORDER BY last DESC"
    )
}

async fn question(line: &Line, sql: &str, scope: &Scope) -> Result<CallsAnswer, Failure> {
    let Bounds { rows, timeout_s } = scope.bounds;
    let asked = CallsAsked {
        sql: sql.to_owned(),
        application: scope.application.clone(),
        rows: Some(rows),
        timeout_s: Some(timeout_s),
    };
    let wait = std::time::Duration::from_secs(timeout_s.get().into());
    Ok(line.client.wait::<QueryCalls>(&(), &(), &asked, wait).await?)
}

async fn ask(line: &Line, sql: &str, scope: &Scope) -> Result<Done, Failure> {
    let answer = question(line, sql, scope).await?;
    line.show(&answer, rows)?;
    if answer.truncated {
        note("rolecall: there are more rows than these: raise --rows, or ask about less");
    }
    Ok(Done::Yes)
}

fn rows(answer: &CallsAnswer) -> String {
    if answer.rows.is_empty() {
        return format!("none in {} segments, as of {}", answer.segments, when(answer.as_of));
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(answer.columns.iter().map(|Column { name, .. }| name.as_str()));
    for row in &answer.rows {
        table.add_row(row.iter().map(cell));
    }
    table.to_string()
}

/// A value as people read it. What is not known is told as that.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    }
}

fn sent(senders: &Senders) -> String {
    let mut table = table(["host", "name", "stored to frame", "calls", "missing", "since"]);
    for sender in &senders.senders {
        table.add_row([
            sender.host.clone(),
            sender.name.clone(),
            sender.next.to_string(),
            sender.calls.to_string(),
            sender.missing.to_string(),
            when(sender.changed),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(resource: &str, pattern: &str) {
        let sql = who_touches(resource);
        assert!(sql.contains(&format!("LIKE '{pattern}' ORDER")), "{sql}");
    }

    #[test]
    fn a_resource_is_text_in_a_question_and_a_star_stands_for_anything() {
        check("arn:aws:s3:::reports/*", "arn:aws:s3:::reports/%");
        check("arn:aws:s3:::a_b%", "arn:aws:s3:::a\\_b\\%");
        check("x' OR 'a' = 'a", "x'' OR ''a'' = ''a");
    }

    #[test]
    fn what_is_not_known_is_told_as_that() {
        assert_eq!(cell(&Value::Null), "unknown");
        assert_eq!(cell(&serde_json::json!(["a", null])), "a\nunknown");
    }
}
