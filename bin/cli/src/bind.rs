//! `rolecall bind`: who gets which role, proposed by one person and approved by another.

use std::{collections::BTreeMap, str::FromStr};

use api::{
    PageAsked, Reason,
    bindings::{
        Audience, Because, Binding, BindingsAsked, Change, Conditions, DryRunBinding,
        DurationMinutes, ListBindings, Proposal, ProposeBinding, ReadBinding, Review,
        ReviewBinding, Status, VersionPath, WithdrawBinding,
    },
};
use clap::{Args, Subcommand};
use cloud::RoleArn;
use workload::{Application, Environment};

use crate::{
    Done, Failure,
    line::{Line, Paging},
    paper::{facts, pairs, perhaps, table, when, word},
};

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  rolecall bind propose --app orders --env prod --role arn:aws:iam::111122223333:role/orders \\
      --match-unit 'orders-*.service' --reason 'CHG-17: orders moves to its own account'
  rolecall bind dry-run orders/prod/1
  rolecall bind review orders/prod/1 --approve --reason 'role and account are right'")]
pub(crate) enum Bind {
    /// Propose the next version of a binding. Nothing changes until somebody else approves it.
    Propose(Box<Propose>),
    /// Approve or reject what somebody else proposed.
    Review {
        /// The version: `application/environment/number`.
        version: Version,
        /// It comes in force at once.
        #[arg(long, required_unless_present = "reject")]
        approve: bool,
        /// It never does.
        #[arg(long, conflicts_with = "approve")]
        reject: bool,
        /// Why, or why not.
        #[arg(long)]
        reason: Reason,
    },
    /// Show one version.
    Show {
        /// The version: `application/environment/number`.
        version: Version,
    },
    /// List versions.
    List {
        /// Those of this application alone.
        #[arg(long, visible_alias = "app")]
        application: Option<Application>,
        /// Those of this environment alone.
        #[arg(long, visible_alias = "env")]
        environment: Option<Environment>,
        /// Those of which this became alone: proposed, in-force, rejected, withdrawn, superseded.
        #[arg(long, value_parser = status)]
        status: Option<Status>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Take a proposed version back.
    Withdraw {
        /// The version: `application/environment/number`.
        version: Version,
        /// Why.
        #[arg(long)]
        reason: Reason,
    },
    /// List the running workloads that would get another role if a version came in force now.
    DryRun {
        /// The version: `application/environment/number`.
        version: Version,
        #[command(flatten)]
        paging: Paging,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Propose {
    /// The application.
    #[arg(long, visible_alias = "app")]
    application: Application,
    /// The environment.
    #[arg(long, visible_alias = "env")]
    environment: Environment,
    /// The role in the application's own account.
    #[arg(long)]
    role: RoleArn,
    /// The audience of the token, if the role's trust policy names another than `sts.amazonaws.com`.
    #[arg(long)]
    audience: Option<Audience>,
    /// A session tag; may be given again.
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = pair)]
    tags: Vec<(String, String)>,
    /// Answer requests without a session token (IMDSv1) as well.
    #[arg(long)]
    imdsv1: bool,
    /// The life of a lease, in minutes.
    #[arg(long, value_name = "MINUTES")]
    duration: Option<DurationMinutes>,
    /// What a process must show: its network namespace's name, as a pattern. All that is named must hold.
    #[arg(long, value_name = "PATTERN")]
    match_netns: Option<String>,
    /// Its cgroup's path, as a pattern.
    #[arg(long, value_name = "PATTERN")]
    match_cgroup: Option<String>,
    /// Its systemd unit, as a pattern.
    #[arg(long, value_name = "PATTERN")]
    match_unit: Option<String>,
    /// A container label, its value a pattern; may be given again.
    #[arg(long = "match-label", value_name = "NAME=PATTERN", value_parser = pair)]
    match_labels: Vec<(String, String)>,
    /// Its network, such as `10.1.2.0/24`; counts only on hosts that trust addresses.
    #[arg(long, value_name = "NETWORK")]
    match_address: Option<String>,
    /// Why the binding shall be so.
    #[arg(long)]
    reason: Reason,
}

/// A version of a binding, as people type it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version(VersionPath);

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("a version looks like `orders/prod/3`, not like `{text}`");
        let mut parts = text.split('/');
        let (Some(application), Some(environment), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        Ok(Self(VersionPath {
            application: application.parse().map_err(|_| wrong())?,
            environment: environment.parse().map_err(|_| wrong())?,
            version: version.parse().map_err(|_| wrong())?,
        }))
    }
}

/// Reads `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("it looks like `NAME=VALUE`, not like `{text}`")),
    }
}

/// Pairs of which each name was typed once.
pub(crate) fn distinct(
    typed: &[(String, String)],
    what: &str,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut map = BTreeMap::new();
    for (name, value) in typed {
        if map.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::Input(format!("the {what} `{name}` is given twice")));
        }
    }
    Ok(map)
}

fn status(text: &str) -> Result<Status, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

impl Propose {
    fn proposal(&self) -> Result<Proposal, Failure> {
        let conditions = Conditions {
            netns: self.match_netns.clone(),
            cgroup: self.match_cgroup.clone(),
            unit: self.match_unit.clone(),
            labels: distinct(&self.match_labels, "label")?,
            address: self.match_address.clone(),
        };
        if conditions == Conditions::default() {
            let words = "say what a process must show: one of --match-netns, --match-cgroup, \
                         --match-unit, --match-label, --match-address";
            return Err(Failure::Input(words.to_owned()));
        }
        Ok(Proposal {
            application: self.application.clone(),
            environment: self.environment.clone(),
            role: self.role.clone(),
            audience: self.audience.clone(),
            tags: distinct(&self.tags, "tag")?,
            imdsv1: self.imdsv1,
            duration_minutes: self.duration,
            conditions,
            reason: self.reason.clone(),
        })
    }
}

impl Bind {
    pub(crate) async fn execute(&self, line: &Line) -> Result<Done, Failure> {
        match self {
            Self::Propose(propose) => {
                let binding = line.ask::<ProposeBinding>(&(), &(), &propose.proposal()?).await?;
                line.show(&binding, |binding| {
                    let name = name(binding);
                    let next = format!("somebody else: rolecall bind review {name} --approve");
                    format!("{}\n\n{next} --reason …", shown(binding))
                })?;
            }
            Self::Review { version, approve, reason, .. } => {
                let review = Review { approve: *approve, reason: reason.clone() };
                let binding = line.ask::<ReviewBinding>(&version.0, &(), &review).await?;
                line.show(&binding, shown)?;
            }
            Self::Show { version } => {
                let binding = line.ask::<ReadBinding>(&version.0, &(), &()).await?;
                line.show(&binding, shown)?;
            }
            Self::List { application, environment, status, paging } => {
                let listed = paging
                    .follow(async |limit, after| {
                        let asked = BindingsAsked {
                            application: application.clone(),
                            environment: environment.clone(),
                            status: *status,
                            limit,
                            after,
                        };
                        line.ask::<ListBindings>(&(), &asked, &()).await
                    })
                    .await?;
                line.list(&listed, bindings)?;
            }
            Self::Withdraw { version, reason } => {
                let because = Because { reason: reason.clone() };
                let binding = line.ask::<WithdrawBinding>(&version.0, &(), &because).await?;
                line.show(&binding, shown)?;
            }
            Self::DryRun { version, paging } => {
                let listed = paging
                    .follow(async |limit, after| {
                        let asked = PageAsked { limit, after };
                        line.ask::<DryRunBinding>(&version.0, &asked, &()).await
                    })
                    .await?;
                line.list(&listed, changes)?;
            }
        }
        Ok(Done::Yes)
    }
}

fn name(binding: &Binding) -> String {
    let terms = &binding.terms;
    format!("{}/{}/{}", terms.application, terms.environment, binding.version)
}

fn shown(binding: &Binding) -> String {
    let terms = &binding.terms;
    let said = |word: &api::bindings::Word| {
        let reason = word.reason.as_deref().map(|reason| format!(": {reason}"));
        format!("{} by {}{}", when(word.at), word.by, reason.unwrap_or_default())
    };
    facts([
        ("version", name(binding)),
        ("status", word(&binding.status)),
        ("role", terms.role.to_string()),
        ("match", conditions(&terms.conditions)),
        ("audience", terms.audience.to_string()),
        ("tags", pairs(&terms.tags)),
        ("imdsv1", if terms.imdsv1 { "answered".to_owned() } else { String::new() }),
        ("lease", format!("{} minutes", terms.duration_minutes)),
        ("proposed", said(&binding.proposed)),
        ("reviewed", binding.reviewed.as_ref().map(said).unwrap_or_default()),
        ("in force", binding.in_force_since.map(when).unwrap_or_default()),
        ("ended", binding.ended.map(when).unwrap_or_default()),
    ])
}

fn conditions(conditions: &Conditions) -> String {
    let Conditions { netns, cgroup, unit, labels, address } = conditions;
    let one =
        |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name}={value}"));
    let labels = labels.iter().map(|(name, value)| format!("label {name}={value}"));
    let all =
        [one("netns", netns), one("cgroup", cgroup), one("unit", unit), one("address", address)];
    all.into_iter().flatten().chain(labels).collect::<Vec<_>>().join(" and ")
}

fn bindings(bindings: &[Binding]) -> String {
    let mut table = table(["version", "status", "role", "match", "proposed by", "in force since"]);
    for binding in bindings {
        table.add_row([
            name(binding),
            word(&binding.status),
            binding.terms.role.to_string(),
            conditions(&binding.terms.conditions),
            binding.proposed.by.clone(),
            perhaps(binding.in_force_since),
        ]);
    }
    table.to_string()
}

fn changes(changes: &[Change]) -> String {
    let mut table = table(["workload", "host", "role now", "role then"]);
    let role = |role: &Option<RoleArn>| {
        role.as_ref().map_or_else(|| "none of ours".to_owned(), ToString::to_string)
    };
    for change in changes {
        table.add_row([
            change.workload.to_string(),
            change.host.clone(),
            role(&change.from),
            role(&change.to),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_three_parts() {
        let version: Version = "orders/prod/3".parse().unwrap();
        assert_eq!(version.0.version, 3);
        for wrong in ["", "orders", "orders/prod", "orders/prod/x", "orders/prod/3/", "/prod/3"] {
            assert!(wrong.parse::<Version>().unwrap_err().contains("orders/prod/3"), "{wrong}");
        }
    }

    #[test]
    fn a_pair_has_a_name_and_stands_once() {
        let two = ["a=1=2", "b="].map(|text| pair(text).unwrap());
        assert_eq!(pairs(&distinct(&two, "tag").unwrap()), "a=1=2 b=");
        let twice = ["a=1", "a=1"].map(|text| pair(text).unwrap());
        assert_eq!(distinct(&twice, "tag").unwrap_err().code(), 2);
        for wrong in ["", "a", "=1"] {
            assert!(pair(wrong).is_err(), "{wrong}");
        }
    }
}
