//! `rolecall hosts`: which hosts there are, how they join, and what each may run.

use api::{
    Name, PageAsked, Reason,
    bindings::Because,
    hosts::{
        DeleteGroup, Group, GroupFacts, GroupPath, Host, HostPath, JoinedBy, ListGroups, ListHosts,
        PutGroup, ReadHost, RevokeHost,
    },
    joining::{
        DeleteJoinRule, JoinRule, JoinRuleFacts, JoinRulePath, JoinTokenEntry, JoinTokenFacts,
        JoinTokenPath, LifeMinutes, ListJoinRules, ListJoinTokens, MakeJoinToken, PutJoinRule,
        RevokeJoinToken, RoleNamePattern, Uses,
    },
    switch::ReasonAsked,
};
use clap::{Args, Subcommand};
use cloud::{AccountId, Region};
use jiff::Timestamp;
use workload::Pattern;

use crate::{
    Done, Failure,
    bind::{distinct, pair},
    line::{Line, Paging},
    paper::{facts, note, pairs, perhaps, table, when},
};

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  rolecall hosts groups put batch --select role=batch --may-run 'orders/*,billing/prod'
  rolecall hosts token --label role=batch --region eu-central-1 --uses 20
  rolecall hosts list
  rolecall hosts revoke h-1 --reason 'INC-4: taken'")]
pub(crate) enum Hosts {
    /// List the hosts that have joined.
    List(Paging),
    /// Show one host.
    Show {
        /// Its id.
        host: Name,
    },
    /// Revoke a host: it gets no token, no orders and no new certificate from now on.
    Revoke {
        /// Its id.
        host: Name,
        /// Why.
        #[arg(long)]
        reason: Reason,
    },
    /// Make a token that hosts join by. Its text is shown this once.
    Token(Token),
    /// The tokens that were made.
    #[command(subcommand)]
    Tokens(Tokens),
    /// Groups of hosts, and what each may run.
    #[command(subcommand)]
    Groups(Groups),
    /// Rules by which hosts join as the AWS role that they have.
    #[command(subcommand)]
    Rules(Rules),
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// What is said of the hosts that join by it; may be given again.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// The region that they are in.
    #[arg(long)]
    region: Option<Region>,
    /// How many hosts may join by it; 1 where absent.
    #[arg(long)]
    uses: Option<Uses>,
    /// How long it lives, in minutes; 60 where absent.
    #[arg(long, value_name = "MINUTES")]
    life: Option<LifeMinutes>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tokens {
    /// List them, latest first, without their text.
    List(Paging),
    /// Let nobody join by one any more. Hosts that did stay.
    Revoke {
        /// Its id.
        id: Name,
        /// Why.
        #[arg(long)]
        reason: Reason,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Groups {
    /// List the groups.
    List(Paging),
    /// Say which hosts are in a group and what they may run; replaces what was said.
    Put {
        /// Its name.
        group: Name,
        /// A label that a host must have; may be given again, and all must fit.
        #[arg(
            long = "select",
            value_name = "NAME=VALUE",
            value_parser = pair,
            required_unless_present = "everything"
        )]
        selector: Vec<(String, String)>,
        /// It selects every host.
        #[arg(long, conflicts_with = "selector")]
        everything: bool,
        /// What its hosts may run: `orders/prod`, `orders/*`, `*/test`; with commas between them.
        #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
        may_run: Vec<Pattern>,
    },
    /// Remove a group: its hosts may no longer run what it alone lists.
    Delete {
        /// Its name.
        group: Name,
        /// Why.
        #[arg(long)]
        reason: Reason,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// List the rules.
    List(Paging),
    /// Say which AWS roles may join and what is said of their hosts; replaces what was said.
    Put {
        /// Its name.
        rule: Name,
        /// The account that the role is in.
        #[arg(long)]
        account: AccountId,
        /// The role's name; `*` stands for any characters.
        #[arg(long, value_name = "PATTERN")]
        role_name: RoleNamePattern,
        /// What is said of the hosts; may be given again.
        #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
        labels: Vec<(String, String)>,
        /// The region that they are in.
        #[arg(long)]
        region: Option<Region>,
    },
    /// Remove a rule. Hosts that joined by it stay.
    Delete {
        /// Its name.
        rule: Name,
        /// Why.
        #[arg(long)]
        reason: Reason,
    },
}

impl Hosts {
    pub(crate) async fn execute(&self, line: &Line) -> Result<Done, Failure> {
        match self {
            Self::List(paging) => {
                let listed = paging
                    .follow(async |limit, after| {
                        line.ask::<ListHosts>(&(), &PageAsked { limit, after }, &()).await
                    })
                    .await?;
                line.list(&listed, hosts)?;
            }
            Self::Show { host } => {
                let host = line.ask::<ReadHost>(&HostPath { host: host.clone() }, &(), &()).await?;
                line.show(&host, shown)?;
            }
            Self::Revoke { host, reason } => {
                let because = Because { reason: reason.clone() };
                let path = HostPath { host: host.clone() };
                let host = line.ask::<RevokeHost>(&path, &(), &because).await?;
                line.show(&host, |host| {
                    format!("{}\n\ncredentials that it holds live to their end", shown(host))
                })?;
            }
            Self::Token(token) => token.execute(line).await?,
            Self::Tokens(tokens) => tokens.execute(line).await?,
            Self::Groups(groups) => groups.execute(line).await?,
            Self::Rules(rules) => rules.execute(line).await?,
        }
        Ok(Done::Yes)
    }
}

impl Token {
    async fn execute(&self, line: &Line) -> Result<(), Failure> {
        let facts = JoinTokenFacts {
            labels: distinct(&self.labels, "label")?,
            region: self.region.clone(),
            uses: self.uses,
            life_minutes: self.life,
        };
        let made = line.ask::<MakeJoinToken>(&(), &(), &facts).await?;
        line.show(&made, |made| {
            format!(
                "{}\n\nit is shown this once and ends {}; on the host: rolecall-agent join",
                made.token.to_secret().expose(),
                when(made.expires)
            )
        })
    }
}

impl Tokens {
    async fn execute(&self, line: &Line) -> Result<(), Failure> {
        match self {
            Self::List(paging) => {
                let listed = paging
                    .follow(async |limit, after| {
                        line.ask::<ListJoinTokens>(&(), &PageAsked { limit, after }, &()).await
                    })
                    .await?;
                line.list(&listed, |tokens| join_tokens(tokens, Timestamp::now()))
            }
            Self::Revoke { id, reason } => {
                let path = JoinTokenPath { id: id.clone() };
                line.ask::<RevokeJoinToken>(&path, &because(reason), &()).await?;
                note(&format!("nobody can join by `{id}` any more"));
                Ok(())
            }
        }
    }
}

impl Groups {
    async fn execute(&self, line: &Line) -> Result<(), Failure> {
        match self {
            Self::List(paging) => {
                let listed = paging
                    .follow(async |limit, after| {
                        line.ask::<ListGroups>(&(), &PageAsked { limit, after }, &()).await
                    })
                    .await?;
                line.list(&listed, groups)
            }
            Self::Put { group, selector, everything, may_run } => {
                let path = GroupPath { group: group.clone() };
                let facts = GroupFacts {
                    selector: distinct(selector, "label")?,
                    everything: *everything,
                    may_run: may_run.clone(),
                };
                let group = line.ask::<PutGroup>(&path, &(), &facts).await?;
                line.show(&group, |group| groups(std::slice::from_ref(group)))
            }
            Self::Delete { group, reason } => {
                let path = GroupPath { group: group.clone() };
                line.ask::<DeleteGroup>(&path, &because(reason), &()).await?;
                note(&format!("the group `{group}` is removed"));
                Ok(())
            }
        }
    }
}

impl Rules {
    async fn execute(&self, line: &Line) -> Result<(), Failure> {
        match self {
            Self::List(paging) => {
                let listed = paging
                    .follow(async |limit, after| {
                        line.ask::<ListJoinRules>(&(), &PageAsked { limit, after }, &()).await
                    })
                    .await?;
                line.list(&listed, rules)
            }
            Self::Put { rule, account, role_name, labels, region } => {
                let facts = JoinRuleFacts {
                    account: *account,
                    role_name: role_name.clone(),
                    labels: distinct(labels, "label")?,
                    region: region.clone(),
                };
                let path = JoinRulePath { rule: rule.clone() };
                let rule = line.ask::<PutJoinRule>(&path, &(), &facts).await?;
                line.show(&rule, |rule| rules(std::slice::from_ref(rule)))
            }
            Self::Delete { rule, reason } => {
                let path = JoinRulePath { rule: rule.clone() };
                line.ask::<DeleteJoinRule>(&path, &because(reason), &()).await?;
                note(&format!("the rule `{rule}` is removed"));
                Ok(())
            }
        }
    }
}

fn because(reason: &Reason) -> ReasonAsked {
    ReasonAsked { reason: reason.clone() }
}

fn region(region: Option<&Region>) -> String {
    region.map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn hosts(hosts: &[Host]) -> String {
    let mut table = table(["host", "name", "region", "groups", "workloads", "reported", "state"]);
    for host in hosts {
        let state = if host.revoked.is_some() { "revoked" } else { "joined" };
        table.add_row([
            host.host.clone(),
            host.name.clone(),
            region(host.region.as_ref()),
            host.groups.iter().map(Name::as_str).collect::<Vec<_>>().join(" "),
            host.workloads.to_string(),
            host.last_report.map_or_else(|| "never".to_owned(), when),
            state.to_owned(),
        ]);
    }
    table.to_string()
}

fn shown(host: &Host) -> String {
    let joined = match &host.joined_by {
        JoinedBy::Token { id } => format!("by the token `{id}`"),
        JoinedBy::Aws { rule, arn } => format!("by the rule `{rule}` as {arn}"),
    };
    let orders = host
        .orders
        .as_ref()
        .map(|orders| format!("revision {} of {}", orders.revision, when(orders.issued)));
    let revoked = host.revoked.as_ref().map(|word| {
        let reason = word.reason.as_deref().unwrap_or("no reason");
        format!("{} by {}: {reason}", when(word.at), word.by)
    });
    facts([
        ("host", host.host.clone()),
        ("name", host.name.clone()),
        ("region", region(host.region.as_ref())),
        ("labels", pairs(&host.labels)),
        ("groups", host.groups.iter().map(Name::as_str).collect::<Vec<_>>().join(" ")),
        ("joined", format!("{} {joined}", when(host.joined))),
        ("certificate ends", when(host.certificate_expires)),
        ("reported", host.last_report.map_or_else(|| "never".to_owned(), when)),
        ("agent", host.version.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("orders held", orders.unwrap_or_else(|| "unknown".to_owned())),
        ("workloads", host.workloads.to_string()),
        ("revoked", revoked.unwrap_or_default()),
    ])
}

fn join_tokens(tokens: &[JoinTokenEntry], now: Timestamp) -> String {
    let mut table = table(["id", "state", "used", "labels", "region", "made", "by", "ends"]);
    for token in tokens {
        let state = match token.revoked {
            Some(_) => "revoked",
            None if token.expires <= now => "ended",
            None if token.used >= token.uses => "used up",
            None => "open",
        };
        table.add_row([
            token.id.clone(),
            state.to_owned(),
            format!("{} of {}", token.used, token.uses),
            pairs(&token.labels),
            region(token.region.as_ref()),
            when(token.made),
            token.actor.clone(),
            perhaps(Some(token.expires)),
        ]);
    }
    table.to_string()
}

fn groups(groups: &[Group]) -> String {
    let mut table = table(["group", "selects", "hosts", "may run"]);
    for group in groups {
        let selects = match group.everything {
            true => "every host".to_owned(),
            false => pairs(&group.selector),
        };
        table.add_row([
            group.group.to_string(),
            selects,
            group.hosts.to_string(),
            group.may_run.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        ]);
    }
    table.to_string()
}

fn rules(rules: &[JoinRule]) -> String {
    let mut table = table(["rule", "account", "role", "labels", "region", "changed"]);
    for rule in rules {
        let terms = &rule.terms;
        table.add_row([
            rule.rule.to_string(),
            terms.account.to_string(),
            terms.role_name.to_string(),
            pairs(&terms.labels),
            region(terms.region.as_ref()),
            when(rule.changed),
        ]);
    }
    table.to_string()
}
