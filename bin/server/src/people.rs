//! People: who they are, and which groups they are in.

use std::collections::BTreeSet;

use api::{Problem, people};
use serde::{Deserialize, Serialize};
use state::PersonRow;

use crate::fault::OrProblem;

/// What begins the ids of people whom no sign-in provider knows.
pub const LOCAL: &str = "local:";

/// Who signs in with the one-time token.
pub const FIRST_ADMIN: &str = "local:admin";

/// What is kept of a person beside the columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Body {
    /// Their name.
    pub name: String,
    /// Their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The groups that the provider said when they signed in last.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub claimed: BTreeSet<String>,
    /// The groups that people of ours put them into.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub given: BTreeSet<String>,
}

/// What the ledger calls a person.
pub(crate) fn actor(person: &str) -> String {
    format!("person:{person}")
}

/// A person as others see them.
pub(crate) fn known(row: &PersonRow) -> Result<people::Person, Problem> {
    let body: Body = serde_json::from_str(&row.body).or_problem()?;
    Ok(people::Person {
        id: row.person.clone(),
        name: body.name,
        email: body.email,
        groups: body.claimed.union(&body.given).cloned().collect(),
        last_login: row.last_login,
        disabled: row.disabled,
    })
}
