//! Applications and the accounts that they live in.

use cloud::AccountId;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use workload::{Application as ApplicationName, Environment};

use crate::{Access, Action, Label, Line, Page, PageAsked, Within, endpoint::endpoints, text};

/// How much an application matters: 0 most, 4 least.
pub type Tier = Within<0, 4>;

/// What an application is for, in one line.
pub type Description = Line<500>;

/// What is known of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Application {
    /// Its name.
    #[serde(with = "text")]
    #[schemars(with = "text::ApplicationName")]
    pub application: ApplicationName,
    /// The group of people that owns it.
    pub owner: Label,
    /// How much it matters: 0 most, 4 least.
    pub tier: Tier,
    /// The environments that it runs in.
    #[serde(with = "text::list")]
    #[schemars(with = "Vec<text::EnvironmentName>")]
    pub environments: Vec<Environment>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
    /// When it was changed last.
    pub changed: Timestamp,
}

/// What shall be known of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplicationFacts {
    /// The group of people that owns it.
    pub owner: Label,
    /// How much it matters: 0 most, 4 least.
    pub tier: Tier,
    /// The environments that it runs in, at most 32.
    #[serde(with = "text::list")]
    #[schemars(with = "Vec<text::EnvironmentName>")]
    pub environments: Vec<Environment>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
}

impl ApplicationFacts {
    /// The most environments of one application.
    pub const ENVIRONMENTS_MAX: usize = 32;
}

/// An application's name in a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApplicationPath {
    /// The application.
    #[serde(with = "text")]
    #[schemars(with = "text::ApplicationName")]
    pub application: ApplicationName,
}

/// What is known of an AWS account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// Its number.
    #[serde(with = "text")]
    #[schemars(with = "text::AccountId")]
    pub account: AccountId,
    /// What people call it.
    pub name: Label,
    /// The application that it belongs to.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::ApplicationName>")]
    pub application: Option<ApplicationName>,
    /// The environment that it belongs to.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::EnvironmentName>")]
    pub environment: Option<Environment>,
    /// When it was changed last.
    pub changed: Timestamp,
}

/// What shall be known of an AWS account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountFacts {
    /// What people call it.
    pub name: Label,
    /// The application that it belongs to.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::ApplicationName>")]
    pub application: Option<ApplicationName>,
    /// The environment that it belongs to.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::EnvironmentName>")]
    pub environment: Option<Environment>,
}

/// An account's number in a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountPath {
    /// The account.
    #[serde(with = "text")]
    #[schemars(with = "text::AccountId")]
    pub account: AccountId,
}

endpoints! {
    /// Lists the applications that are known, by name.
    ListApplications = "list-applications": GET "/v1/applications", Access::Person(Action::View),
        query PageAsked, answer Page<Application>;

    /// Shows one application.
    ReadApplication = "read-application": GET "/v1/applications/{application}",
        Access::Person(Action::View), path ApplicationPath, answer Application;

    /// Says who owns an application, how much it matters and where it runs.
    ///
    /// An application that is not known yet is made. Everything that was known of it is replaced.
    PutApplication = "put-application": PUT "/v1/applications/{application}",
        Access::Person(Action::ManageApplications),
        path ApplicationPath, body ApplicationFacts, answer Application;

    /// Lists the AWS accounts that are known, by number.
    ListAccounts = "list-accounts": GET "/v1/accounts", Access::Person(Action::View),
        query PageAsked, answer Page<Account>;

    /// Says what an AWS account is called and what lives in it.
    ///
    /// An account that is not known yet is added. Everything that was known of it is replaced.
    PutAccount = "put-account": PUT "/v1/accounts/{account}",
        Access::Person(Action::ManageApplications),
        path AccountPath, body AccountFacts, answer Account;
}
