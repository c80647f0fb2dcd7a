//! `rolecall policies`: what people may do, in Cedar's language.

use std::{fs, path::PathBuf};

use api::{
    Reason,
    policies::{
        DryRunPolicies, POLICIES_MAX, PoliciesDryRun, PoliciesFacts, PoliciesTried, PutPolicies,
        ReadPolicies,
    },
};
use clap::Subcommand;

use crate::{
    Done, Failure,
    line::Line,
    paper::{table, when},
};

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  rolecall policies show > policies.cedar
  rolecall policies dry-run policies.cedar
  rolecall policies put policies.cedar --reason 'owners may flip their own switch'")]
pub(crate) enum Policies {
    /// Show the policies in force.
    Show {
        /// The schema that they are checked against instead.
        #[arg(long)]
        schema: bool,
    },
    /// Put other policies in force.
    Put {
        /// Their text.
        file: PathBuf,
        /// Why.
        #[arg(long)]
        reason: Reason,
    },
    /// Tell what is wrong with policies and which past decisions would change. Exit code 1 if they cannot
    /// be put in force.
    DryRun {
        /// Their text.
        file: PathBuf,
    },
}

impl Policies {
    pub(crate) async fn execute(&self, line: &Line) -> Result<Done, Failure> {
        match self {
            Self::Show { schema } => {
                let policies = line.ask::<ReadPolicies>(&(), &(), &()).await?;
                line.show(&policies, |policies| match schema {
                    true => policies.schema.clone(),
                    false => policies.text.clone(),
                })?;
                Ok(Done::Yes)
            }
            Self::Put { file, reason } => {
                let facts = PoliciesFacts { text: read(file)?, reason: reason.clone() };
                let policies = line.ask::<PutPolicies>(&(), &(), &facts).await?;
                line.show(&policies, |policies| {
                    format!(
                        "version {} is in force since {}",
                        policies.version,
                        when(policies.since)
                    )
                })?;
                Ok(Done::Yes)
            }
            Self::DryRun { file } => {
                let tried = PoliciesTried { text: read(file)? };
                let outcome = line.ask::<DryRunPolicies>(&(), &(), &tried).await?;
                line.show(&outcome, tell)?;
                Ok(if outcome.errors.is_empty() { Done::Yes } else { Done::No })
            }
        }
    }
}

fn read(file: &PathBuf) -> Result<String, Failure> {
    let at =
        |why: &dyn ToString| Failure::Input(format!("`{}`: {}", file.display(), why.to_string()));
    let size = fs::metadata(file).map_err(|error| at(&error))?.len();
    if usize::try_from(size).is_ok_and(|size| size <= POLICIES_MAX) {
        return fs::read_to_string(file).map_err(|error| at(&error));
    }
    Err(at(&format!("it has {size} bytes, more than the {POLICIES_MAX} that policies may have")))
}

fn tell(outcome: &PoliciesDryRun) -> String {
    let PoliciesDryRun { errors, decisions, changes } = outcome;
    if !errors.is_empty() {
        return format!("they cannot be put in force:\n{}", errors.join("\n"));
    }
    let mut table = table(["when", "person", "action", "subject", "was", "would be"]);
    let said = |allowed: bool| if allowed { "allowed" } else { "refused" };
    for change in changes {
        table.add_row([
            when(change.time),
            change.person.clone(),
            change.action.to_string(),
            change.subject.clone(),
            said(change.was_allowed).to_owned(),
            said(change.would_be_allowed).to_owned(),
        ]);
    }
    match changes.len() {
        0 => format!("none of {decisions} past decisions would change"),
        changed => format!("{changed} of {decisions} past decisions would change\n{table}"),
    }
}
