//! `rolecall apps` and `rolecall accounts`.

use api::{
    Label, PageAsked,
    applications::{
        Account, AccountFacts, AccountPath, Application, ApplicationFacts, ApplicationPath,
        Description, ListAccounts, ListApplications, PutAccount, PutApplication, ReadApplication,
        Tier,
    },
};
use clap::Subcommand;
use cloud::AccountId;
use workload::{Application as ApplicationName, Environment};

use crate::{
    Done, Failure,
    line::{Line, Paging},
    paper::{facts, table, when},
};

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  rolecall apps list
  rolecall apps put orders --owner payments --tier 1 --env prod,test")]
pub(crate) enum Apps {
    /// List the applications.
    List(Paging),
    /// Show one application.
    Show {
        /// Its name.
        application: ApplicationName,
    },
    /// Say who owns an application, how much it matters and where it runs; replaces what was known.
    Put {
        /// Its name.
        application: ApplicationName,
        /// The group of people that owns it.
        #[arg(long)]
        owner: Label,
        /// How much it matters: 0 most, 4 least.
        #[arg(long, default_value = "2")]
        tier: Tier,
        /// The environments that it runs in.
        #[arg(
            long = "environment",
            visible_alias = "env",
            value_delimiter = ',',
            required = true,
            value_name = "ENVIRONMENT"
        )]
        environments: Vec<Environment>,
        /// What it is for.
        #[arg(long)]
        description: Option<Description>,
    },
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  rolecall accounts list
  rolecall accounts put 111122223333 --name orders-prod --app orders --env prod")]
pub(crate) enum Accounts {
    /// List the AWS accounts.
    List(Paging),
    /// Say what an account is called and what lives in it; replaces what was known.
    Put {
        /// Its number.
        account: AccountId,
        /// What people call it.
        #[arg(long)]
        name: Label,
        /// The application that it belongs to.
        #[arg(long, visible_alias = "app")]
        application: Option<ApplicationName>,
        /// The environment that it belongs to.
        #[arg(long, visible_alias = "env")]
        environment: Option<Environment>,
    },
}

impl Apps {
    pub(crate) async fn execute(&self, line: &Line) -> Result<Done, Failure> {
        match self {
            Self::List(paging) => {
                let listed = paging
                    .follow(async |limit, after| {
                        line.ask::<ListApplications>(&(), &PageAsked { limit, after }, &()).await
                    })
                    .await?;
                line.list(&listed, |applications| {
                    let mut table = table(["application", "owner", "tier", "environments"]);
                    for known in applications {
                        table.add_row([
                            known.application.to_string(),
                            known.owner.to_string(),
                            known.tier.to_string(),
                            environments(known),
                        ]);
                    }
                    table.to_string()
                })?;
            }
            Self::Show { application } => {
                let path = ApplicationPath { application: application.clone() };
                let known = line.ask::<ReadApplication>(&path, &(), &()).await?;
                line.show(&known, shown)?;
            }
            Self::Put { application, owner, tier, environments, description } => {
                let path = ApplicationPath { application: application.clone() };
                let facts = ApplicationFacts {
                    owner: owner.clone(),
                    tier: *tier,
                    environments: environments.clone(),
                    description: description.clone(),
                };
                let known = line.ask::<PutApplication>(&path, &(), &facts).await?;
                line.show(&known, shown)?;
            }
        }
        Ok(Done::Yes)
    }
}

fn environments(known: &Application) -> String {
    known.environments.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn shown(known: &Application) -> String {
    facts([
        ("application", known.application.to_string()),
        ("owner", known.owner.to_string()),
        ("tier", known.tier.to_string()),
        ("environments", environments(known)),
        ("description", known.description.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("changed", when(known.changed)),
    ])
}

impl Accounts {
    pub(crate) async fn execute(&self, line: &Line) -> Result<Done, Failure> {
        match self {
            Self::List(paging) => {
                let listed = paging
                    .follow(async |limit, after| {
                        line.ask::<ListAccounts>(&(), &PageAsked { limit, after }, &()).await
                    })
                    .await?;
                line.list(&listed, accounts)?;
            }
            Self::Put { account, name, application, environment } => {
                let path = AccountPath { account: *account };
                let facts = AccountFacts {
                    name: name.clone(),
                    application: application.clone(),
                    environment: environment.clone(),
                };
                let known = line.ask::<PutAccount>(&path, &(), &facts).await?;
                line.show(&known, |known| accounts(std::slice::from_ref(known)))?;
            }
        }
        Ok(Done::Yes)
    }
}

fn accounts(accounts: &[Account]) -> String {
    let mut table = table(["account", "name", "application", "environment"]);
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    for known in accounts {
        table.add_row([
            known.account.to_string(),
            known.name.to_string(),
            text(known.application.as_ref().map(ToString::to_string)),
            text(known.environment.as_ref().map(ToString::to_string)),
        ]);
    }
    table.to_string()
}
