//! Applications and accounts.

use std::{collections::BTreeSet, sync::Arc};

use api::{
    Action, Page, PageAsked, Problem,
    applications::{
        Account, AccountFacts, AccountPath, Application, ApplicationFacts, ApplicationPath,
    },
};
use serde_json::json;
use state::{AccountRow, StateError};
use workload::{Application as ApplicationName, Environment};

use super::{commit, resource};
use crate::{caller::Person, cursor, fault::OrProblem, policies::Resource, rows, server::Server};

/// Lists applications by name.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn list(
    server: Arc<Server>,
    _: Person,
    (): (),
    asked: PageAsked,
    (): (),
) -> Result<Page<Application>, Problem> {
    let (limit, after) =
        (cursor::limit(asked.limit), cursor::read::<String>(asked.after.as_ref())?);
    let mut reading = server.state.read().await.or_problem()?;
    let rows = reading.applications(after.as_deref(), limit + 1).await.or_problem()?;
    let page = cursor::page(rows, limit, |row| row.application.clone());
    let items = page.items.iter().map(rows::application).collect::<Result<_, _>>();
    Ok(Page { items: items.or_problem()?, next: page.next })
}

/// Shows one application.
///
/// # Errors
/// When there is none of that name.
pub async fn read(
    server: Arc<Server>,
    _: Person,
    ApplicationPath { application }: ApplicationPath,
    (): (),
    (): (),
) -> Result<Application, Problem> {
    let mut reading = server.state.read().await.or_problem()?;
    let row = reading.application(application.as_str()).await.or_problem()?;
    let unknown = || Problem::not_found(format!("no application `{application}` is known"));
    rows::application(&row.ok_or_else(unknown)?).or_problem()
}

/// Says who owns an application, how much it matters and where it runs.
///
/// # Errors
/// When an environment stands twice or there are too many.
pub async fn put(
    server: Arc<Server>,
    person: Person,
    ApplicationPath { application }: ApplicationPath,
    (): (),
    facts: ApplicationFacts,
) -> Result<Application, Problem> {
    let ApplicationFacts { owner, tier, environments, description } = facts;
    let most = ApplicationFacts::ENVIRONMENTS_MAX;
    let distinct: BTreeSet<_> = environments.iter().collect();
    if environments.len() > most || distinct.len() < environments.len() {
        let wrong = format!("must be at most {most}, each of them once");
        return Err(
            Problem::invalid("the environments cannot be kept").with_field("environments", wrong)
        );
    }
    let known = server.refresher.known();
    let about = resource(&known.knowledge, &application, None);
    let permit = person.may(&server, Action::ManageApplications, &about).await?;
    let mut act = server.act(&permit).await?;
    let changed = act.now();
    let application = Application { application, owner, tier, environments, description, changed };
    let detail = json!({
        "owner": application.owner.as_str(),
        "tier": application.tier.get(),
        "environments": application.environments.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "description": application.description.as_ref().map(ToString::to_string),
    });
    let subject = application.application.to_string();
    act.record("application.put", &subject, detail).await?;
    let row = rows::application_row(&application).or_problem()?;
    act.put_application(&row).await.or_problem()?;
    commit(&server, act).await?;
    Ok(application)
}

/// Lists accounts by number.
///
/// # Errors
/// As all endpoints: when the database gives no answer.
pub async fn list_accounts(
    server: Arc<Server>,
    _: Person,
    (): (),
    asked: PageAsked,
    (): (),
) -> Result<Page<Account>, Problem> {
    let (limit, after) =
        (cursor::limit(asked.limit), cursor::read::<String>(asked.after.as_ref())?);
    let mut reading = server.state.read().await.or_problem()?;
    let rows = reading.accounts(after.as_deref(), limit + 1).await.or_problem()?;
    let page = cursor::page(rows, limit, |row| row.account.clone());
    let items = page.items.iter().map(rows::account).collect::<Result<_, _>>();
    Ok(Page { items: items.or_problem()?, next: page.next })
}

/// Says what an account is called and what lives in it.
///
/// # Errors
/// When it belongs to an environment without an application.
pub async fn put_account(
    server: Arc<Server>,
    person: Person,
    AccountPath { account }: AccountPath,
    (): (),
    facts: AccountFacts,
) -> Result<Account, Problem> {
    let AccountFacts { name, application, environment } = facts;
    if environment.is_some() && application.is_none() {
        let wrong = "needs an `application`: an environment is one of an application";
        return Err(Problem::invalid("the account cannot be kept").with_field("environment", wrong));
    }
    let known = server.refresher.known();
    let about = |application: Option<&ApplicationName>, environment: Option<&Environment>| {
        application.map_or(Resource::Deployment, |application| {
            resource(&known.knowledge, application, environment)
        })
    };
    // Whoever gives an account away must have a say where it is now.
    let number = account.to_string();
    let before = account_of(server.state.read().await.or_problem()?.account(&number).await)?;
    if let Some(Account { application, environment, .. }) = &before {
        let now = about(application.as_ref(), environment.as_ref());
        person.may(&server, Action::ManageApplications, &now).await?.seen();
    }
    let there = about(application.as_ref(), environment.as_ref());
    let permit = person.may(&server, Action::ManageApplications, &there).await?;
    let mut act = server.act(&permit).await?;
    if account_of(act.account(&number).await)? != before {
        return Err(Problem::conflict("somebody else has just changed the account: look again"));
    }
    let account = Account { account, name, application, environment, changed: act.now() };
    let detail = json!({
        "name": account.name.as_str(),
        "application": account.application.as_ref().map(ToString::to_string),
        "environment": account.environment.as_ref().map(ToString::to_string),
    });
    let subject = account.account.to_string();
    act.record("account.put", &subject, detail).await?;
    let row = rows::account_row(&account).or_problem()?;
    act.put_account(&row).await.or_problem()?;
    commit(&server, act).await?;
    Ok(account)
}

fn account_of(row: Result<Option<AccountRow>, StateError>) -> Result<Option<Account>, Problem> {
    row.and_then(|row| row.as_ref().map(rows::account).transpose()).or_problem()
}
