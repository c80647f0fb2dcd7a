//! The demo: two workloads on one host, each in its own account, and neither in the other's.

mod loopback;
mod namespaces;
mod show;

use std::{process::ExitCode, time::Duration};

use clap::Args;
use practice::{
    clients::{Answer, Client},
    host::{self, Privilege},
    tools::Tools,
};
use serde::Serialize;

use crate::{house::House, programs, suites::BUILD_LIMIT, trouble::Trouble, verdict};

/// What `cargo xtask demo` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// End after the table instead of waiting, and fail if anything is not as promised
    #[arg(long)]
    once: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Use two loopback listeners even where there are namespaces
    #[arg(long)]
    loopback: bool,
    /// Do without a server: the agent's file says who gets what, and the agent holds the issuer's key
    #[arg(long)]
    standalone: bool,
}

/// What the demo shows.
#[derive(Debug, Default, Serialize)]
struct Shown {
    /// Each workload, as one of its programs sees itself.
    workloads: Vec<Acted>,
    /// Each attempt that must be refused.
    refused: Vec<Refused>,
    /// What was not as promised; empty when all is well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    broken: Vec<String>,
}

/// One workload and what its programs found out.
#[derive(Debug, Serialize)]
struct Acted {
    /// The workload.
    name: String,
    /// How the agent knew it.
    evidence: String,
    /// The account that its programs found themselves in.
    account: String,
    /// The role that its lease is for.
    role_arn: String,
    /// Who they are there, in STS's words.
    caller_arn: String,
    /// The programs, each unchanged.
    programs: Vec<Program>,
}

/// One program.
#[derive(Debug, Serialize)]
struct Program {
    /// Its name.
    name: String,
    /// The object that it wrote and read in its own account.
    object: Option<String>,
}

/// One attempt that was refused.
#[derive(Debug, Serialize)]
struct Refused {
    /// Who tried.
    who: String,
    /// What they wanted.
    wanted: String,
    /// What they got instead.
    why: String,
}

/// Applications of the demo.
const APPLICATIONS: [&str; 2] = ["orders", "billing"];
/// The programs that run in each workload.
const CLIENTS: [Client; 2] = [Client::Python, Client::Cli];
/// How long one program may take.
const PROGRAM: Duration = Duration::from_secs(60);

/// Runs the demo.
pub(crate) fn demo(house: &House, options: &Options) -> Result<ExitCode, Trouble> {
    if !host::is_inside() {
        prepare(house)?;
    }
    let tools = Tools::find();
    let way = match options.loopback {
        true => Privilege::None { why: "asked for with `--loopback`".to_owned() },
        false => host::privilege(&tools),
    };
    let shown = match way {
        Privilege::None { why } => {
            step(&format!("no network namespaces ({why}): two loopback listeners instead"));
            loopback::run(&tools, options)
        }
        way => {
            if let Some(code) = host::reenter(&tools, &way).map_err(trouble)? {
                return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
            }
            namespaces::run(options)
        }
    };
    let shown = shown?;
    verdict(shown.broken.is_empty())
}

/// Installs what is missing and builds the programs; the second run finds all of it done.
fn prepare(house: &House) -> Result<(), Trouble> {
    let mut progress = |line: &str| step(line);
    practice::setup::host(&mut progress).map_err(trouble)?;
    practice::setup::python(&mut progress).map_err(trouble)?;
    step("building the agent, the server and the command line");
    let mut build = programs::cargo(house);
    build.args(["build", "--quiet", "--package", "rolecall-agent", "--package", "rolecall"]);
    build.args(["--package", "rolecall-server"]);
    programs::run(&mut build, BUILD_LIMIT)?.or_trouble(&build)
}

impl Shown {
    /// Takes in what a workload's programs found out, and whether it is what was promised.
    fn acted(&mut self, name: &str, evidence: String, role_arn: String, answers: &[Answer]) {
        let promised = role_arn.split(':').nth(4).unwrap_or_default();
        let first = answers.first();
        let account = first.map(|answer| answer.account.clone()).unwrap_or_default();
        let caller_arn = first.map(|answer| answer.arn.clone()).unwrap_or_default();
        for Answer { client, account, arn, object, .. } in answers {
            if account != promised || *arn != caller_arn {
                self.broken.push(format!("{client} of {name} is {arn}, not {name} in {promised}"));
            }
            if object.is_none() {
                self.broken.push(format!("{client} of {name} wrote no object"));
            }
        }
        let programs = answers
            .iter()
            .map(|answer| Program { name: answer.client.clone(), object: answer.object.clone() })
            .collect();
        let name = name.to_owned();
        self.workloads.push(Acted { name, evidence, account, role_arn, caller_arn, programs });
    }

    /// Takes in an attempt, which must have ended with `status`.
    fn attempted(&mut self, who: &str, wanted: &str, status: &str, got: &str) {
        let why = format!("{got} {}", meaning(got));
        if got != status {
            self.broken.push(format!("{who} wanted {wanted} and got {got}, not {status}"));
        }
        self.refused.push(Refused { who: who.to_owned(), wanted: wanted.to_owned(), why });
    }
}

fn meaning(status: &str) -> &'static str {
    match status {
        "401" => "Unauthorized: the token was given to another workload",
        "403" => "Forbidden: the kernel's proofs name no workload",
        "404" => "Not Found: a workload has its own role and no other",
        _ => "",
    }
}

/// Tells what somebody types.
fn typed(line: &str) {
    step(&format!("  $ {line}"));
}

/// Tells what happens, beside the result.
fn step(line: &str) {
    eprintln!("  {line}");
}

fn trouble(error: impl std::fmt::Display) -> Trouble {
    Trouble::Missing(error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(account: &str) -> Answer {
        Answer {
            client: "python".to_owned(),
            account: account.to_owned(),
            arn: format!("arn:aws:sts::{account}:assumed-role/orders/orders"),
            access_key_id: None,
            bucket: None,
            object: Some("a".to_owned()),
        }
    }

    fn shown(answers: &[Answer]) -> Shown {
        let mut shown = Shown::default();
        let role = "arn:aws:iam::222222222222:role/orders".to_owned();
        shown.acted("orders", "netns orders".to_owned(), role, answers);
        shown
    }

    #[test]
    fn the_json_has_the_promised_names() {
        let mut shown = shown(&[answer("222222222222")]);
        shown.attempted("orders", "the credentials of billing", "401", "401");
        let value = serde_json::to_value(&shown).unwrap();
        let workload = json!({
            "name": "orders",
            "evidence": "netns orders",
            "account": "222222222222",
            "role_arn": "arn:aws:iam::222222222222:role/orders",
            "caller_arn": "arn:aws:sts::222222222222:assumed-role/orders/orders",
            "programs": [{ "name": "python", "object": "a" }],
        });
        let refused = json!({
            "who": "orders",
            "wanted": "the credentials of billing",
            "why": "401 Unauthorized: the token was given to another workload",
        });
        assert_eq!(value, json!({ "workloads": [workload], "refused": [refused] }));
    }

    #[test]
    fn what_is_not_as_promised_is_told() {
        assert!(shown(&[answer("222222222222")]).broken.is_empty());
        assert_eq!(shown(&[answer("333333333333")]).broken.len(), 1);
        let without_object = Answer { object: None, ..answer("222222222222") };
        assert_eq!(shown(&[without_object]).broken.len(), 1);
        let two = [answer("222222222222"), answer("333333333333")];
        assert_eq!(shown(&two).broken.len(), 1);
        let mut shown = shown(&[answer("222222222222")]);
        shown.attempted("orders", "the credentials of billing", "401", "200");
        assert_eq!(shown.broken.len(), 1);
    }
}
