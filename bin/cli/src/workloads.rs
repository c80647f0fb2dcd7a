//! `rolecall workloads` and `rolecall token explain`.

use api::{
    Name,
    agents::Asked,
    explain::{Explain, ExplainAsked, Explanation, Holds},
    workloads::{ListWorkloads, RunningWorkload, WorkloadsAsked},
};
use clap::{Args, Subcommand};
use workload::{Application, Environment, Workload};

use crate::{
    Done, Failure,
    line::{Line, Paging},
    paper::{perhaps, table, when, word},
};

/// Which workloads are asked for.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolecall workloads
  rolecall workloads --app orders --switch on -o json")]
pub(crate) struct Workloads {
    /// Those of this application alone.
    #[arg(long, visible_alias = "app")]
    application: Option<Application>,
    /// Those of this environment alone.
    #[arg(long, visible_alias = "env")]
    environment: Option<Environment>,
    /// Those on this host alone, by its id.
    #[arg(long)]
    host: Option<Name>,
    /// Those for which the switch says so alone: on or off.
    #[arg(long, value_parser = asked)]
    switch: Option<Asked>,
    #[command(flatten)]
    paging: Paging,
}

fn asked(text: &str) -> Result<Asked, String> {
    serde_json::from_value(text.into()).map_err(|_| "it is `on` or `off`".to_owned())
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  rolecall token explain orders/prod/orders-1
  rolecall token explain orders/prod/orders-1 --host h-1")]
pub(crate) enum Token {
    /// Explain why a workload would get a token for its role now, or why not. Exit code 1 if it would not.
    Explain {
        /// The workload: `application/environment/instance`.
        workload: Workload,
        /// The host, by its id; the one that reported the workload last where absent.
        #[arg(long)]
        host: Option<Name>,
    },
}

impl Workloads {
    pub(crate) async fn execute(&self, line: &Line) -> Result<Done, Failure> {
        let listed = self
            .paging
            .follow(async |limit, after| {
                let asked = WorkloadsAsked {
                    application: self.application.clone(),
                    environment: self.environment.clone(),
                    host: self.host.clone(),
                    switch: self.switch,
                    limit,
                    after,
                };
                line.ask::<ListWorkloads>(&(), &asked, &()).await
            })
            .await?;
        line.list(&listed, workloads)?;
        Ok(Done::Yes)
    }
}

impl Token {
    pub(crate) async fn execute(&self, line: &Line) -> Result<Done, Failure> {
        let Self::Explain { workload, host } = self;
        let asked = ExplainAsked { workload: workload.clone(), host: host.clone() };
        let explanation = line.ask::<Explain>(&(), &asked, &()).await?;
        line.show(&explanation, explained)?;
        Ok(if explanation.role.is_some() { Done::Yes } else { Done::No })
    }
}

fn workloads(workloads: &[RunningWorkload]) -> String {
    let mut table =
        table(["workload", "host", "switch", "in effect", "by", "role", "lease ends", "reported"]);
    for RunningWorkload { host, seen, reported, current, switch } in workloads {
        // What an old report says is not known to be so now.
        let in_effect = if *current { word(&seen.in_effect) } else { "unknown".to_owned() };
        let reported =
            if *current { when(*reported) } else { format!("{} (old)", when(*reported)) };
        table.add_row([
            seen.workload.to_string(),
            host.clone(),
            word(switch),
            in_effect,
            perhaps(seen.effective_at.or(seen.effective_by)),
            seen.role.as_ref().map_or_else(|| "none of ours".to_owned(), ToString::to_string),
            perhaps(seen.lease.as_ref().map(|lease| lease.ends)),
            reported,
        ]);
    }
    table.to_string()
}

fn explained(explanation: &Explanation) -> String {
    let mut table = table(["question", "holds", "answer"]);
    for step in &explanation.steps {
        let holds = match step.holds {
            Holds::Yes => "yes",
            Holds::No => "no",
            Holds::Unknown => "unknown",
        };
        table.add_row([step.question.as_str(), holds, step.answer.as_str()]);
    }
    let host = explanation.host.as_deref().unwrap_or("no host that is known");
    format!("{} on {host}\n{table}\n{}", explanation.workload, explanation.outcome)
}
