//! People and the groups that they are in.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Access, Action, Label, Line, Page, PageAsked, Reason, bindings::Because, endpoint::endpoints,
};

/// The most groups that a person can be in.
pub const GROUPS_MAX: usize = 100;

/// A person's id, as the sign-in provider gave it.
pub type PersonId = Line<255>;

/// The groups that the server knows by itself, weakest first. There may be others, such as those that own
/// applications.
pub const SHIPPED_GROUPS: [&str; 5] = ["viewer", "owner", "operator", "security", "admin"];

/// Somebody who has signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// Their id.
    pub id: String,
    /// Their name.
    pub name: String,
    /// Their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The groups that they are in.
    pub groups: Vec<String>,
    /// When they signed in last; absent where they never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login: Option<Timestamp>,
    /// When they were shut out; absent where they were not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Timestamp>,
}

/// The groups that a person shall be in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupsOfPerson {
    /// The groups, all of them, at most 100.
    pub groups: Vec<Label>,
    /// Why.
    pub reason: Reason,
}

/// A person's id in a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PersonPath {
    /// The person.
    pub person: PersonId,
}

endpoints! {
    /// Lists the people who are known, by id.
    ListPeople = "list-people": GET "/v1/people", Access::Person(Action::ManagePeople),
        query PageAsked, answer Page<Person>;

    /// Says which groups a person is in. It counts from their next request on.
    PutGroupsOfPerson = "put-groups-of-person": PUT "/v1/people/{person}/groups",
        Access::Person(Action::ManagePeople), path PersonPath, body GroupsOfPerson, answer Person;

    /// Shuts a person out and ends their sessions.
    DisablePerson = "disable-person": POST "/v1/people/{person}/disable",
        Access::Person(Action::ManagePeople), path PersonPath, body Because, answer Person;
}
