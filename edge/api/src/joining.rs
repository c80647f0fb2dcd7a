//! How hosts may join: one-time tokens, and rules about AWS roles.

use std::collections::BTreeMap;

use cloud::{AccountId, Region};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Access, Action, Line, Name, Page, PageAsked, Within, endpoint::endpoints,
    join_token::JoinToken, switch::ReasonAsked, text,
};

/// How often a token may be used.
pub type Uses = Within<1, 1000>;

/// How long a token lives, in minutes: at most 30 days.
pub type LifeMinutes = Within<1, 43_200>;

/// The uses of a token where nobody says.
pub const USES: Uses = Uses::literal::<1>();

/// The life of a token where nobody says, in minutes.
pub const LIFE_MINUTES: LifeMinutes = LifeMinutes::literal::<60>();

/// A token to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenFacts {
    /// What is said of the hosts that join by it, at most 32 labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The region that they are in.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Region>")]
    pub region: Option<Region>,
    /// How many hosts may join by it; 1 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<Uses>,
    /// How long it lives, in minutes; 60 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_minutes: Option<LifeMinutes>,
}

/// A token that was made. Its text is shown this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewJoinToken {
    /// Its id.
    pub id: String,
    /// Its text, to be given to `rolecall-agent join`.
    #[schemars(with = "text::JoinTokenText")]
    pub token: JoinToken,
    /// When it ends.
    pub expires: Timestamp,
}

/// A token, without its text: nobody has it but who made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinTokenEntry {
    /// Its id.
    pub id: String,
    /// What is said of the hosts that join by it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The region that they are in.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Region>")]
    pub region: Option<Region>,
    /// How many hosts may join by it.
    pub uses: u64,
    /// How many have.
    pub used: u64,
    /// Who made it.
    pub actor: String,
    /// When it was made.
    pub made: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// When somebody revoked it; absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

/// A token's id in a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinTokenPath {
    /// The id.
    pub id: Name,
}

/// The name of a role in an account, as a pattern: `*` stands for any characters.
pub type RoleNamePattern = Line<64>;

/// Which AWS roles may join, and what is said of the hosts that do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinRule {
    /// Its name.
    pub rule: Name,
    /// What it says.
    #[serde(flatten)]
    pub terms: JoinRuleTerms,
    /// When it was changed last.
    pub changed: Timestamp,
}

/// What a join rule says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinRuleTerms {
    /// The account that the role is in.
    #[serde(with = "text")]
    #[schemars(with = "text::AccountId")]
    pub account: AccountId,
    /// The role's name; `*` stands for any characters.
    pub role_name: RoleNamePattern,
    /// What is said of the hosts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The region that they are in.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Region>")]
    pub region: Option<Region>,
}

/// What a join rule shall say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRuleFacts {
    /// The account that the role is in.
    #[serde(with = "text")]
    #[schemars(with = "text::AccountId")]
    pub account: AccountId,
    /// The role's name; `*` stands for any characters.
    pub role_name: RoleNamePattern,
    /// What is said of the hosts, at most 32 labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The region that they are in.
    #[serde(default, with = "text::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Region>")]
    pub region: Option<Region>,
}

/// A join rule's name in a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinRulePath {
    /// The rule.
    pub rule: Name,
}

endpoints! {
    /// Makes a token that hosts join by.
    ///
    /// Its text is in the answer alone and cannot be shown again.
    MakeJoinToken = "make-join-token": POST "/v1/join-tokens", Access::Person(Action::ManageHosts),
        body JoinTokenFacts, answer NewJoinToken;

    /// Lists the tokens that were made, latest first, without their text.
    ListJoinTokens = "list-join-tokens": GET "/v1/join-tokens", Access::Person(Action::ManageHosts),
        query PageAsked, answer Page<JoinTokenEntry>;

    /// Revokes a token: nobody can join by it any more. Hosts that did stay.
    RevokeJoinToken = "revoke-join-token": DELETE "/v1/join-tokens/{id}",
        Access::Person(Action::ManageHosts), path JoinTokenPath, query ReasonAsked;

    /// Lists the rules by which hosts join as their AWS role, by name.
    ListJoinRules = "list-join-rules": GET "/v1/join-rules", Access::Person(Action::ManageHosts),
        query PageAsked, answer Page<JoinRule>;

    /// Says which AWS roles may join, and what is said of the hosts that do.
    ///
    /// A rule that is not known yet is made.
    PutJoinRule = "put-join-rule": PUT "/v1/join-rules/{rule}", Access::Person(Action::ManageHosts),
        path JoinRulePath, body JoinRuleFacts, answer JoinRule;

    /// Removes a join rule. Hosts that joined by it stay.
    DeleteJoinRule = "delete-join-rule": DELETE "/v1/join-rules/{rule}",
        Access::Person(Action::ManageHosts), path JoinRulePath, query ReasonAsked;
}
