//! What the JSON of each row says, and the way from rows to [`Knowledge`].

use std::collections::BTreeMap;

use api::{
    applications::{Account, Application},
    bindings::{Binding, Status, Word},
    hosts::{GroupFacts, JoinedBy},
    joining::{JoinRule, JoinRuleTerms, JoinTokenFacts},
    orders::{OrderedBinding, OrderedPosition, Scope},
    switch::{EndedHow, Position},
};
use cloud::Region;
use credentials::entitlement::Group;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use state::{
    AccountRow, ApplicationRow, BindingRow, BindingStatus, GroupRow, HostRow, JoinRuleRow,
    PositionRow, StateError,
};

use crate::knowledge::{Facts, Knowledge, KnownHost};

/// What belongs to a host beside its columns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostBody {
    /// The region's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What the operator said of it.
    pub labels: BTreeMap<String, String>,
    /// How it joined.
    pub joined_by: JoinedBy,
    /// Who revoked it, when and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Word>,
}

/// What belongs to a join token beside its columns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinTokenBody {
    /// Who made it.
    pub actor: String,
    /// What was asked for.
    pub facts: JoinTokenFacts,
}

impl HostBody {
    /// The region that the host is in.
    pub fn region(&self) -> Option<Region> {
        // It was a region when it was written.
        self.region.as_deref().and_then(|region| region.parse().ok())
    }
}

/// Reads the JSON of a row.
///
/// # Errors
/// [`StateError::Damaged`] where it is not what this server writes: its operator must look, and perhaps
/// restore.
pub fn read<T: DeserializeOwned>(
    table: &'static str,
    key: &str,
    body: &str,
) -> Result<T, StateError> {
    serde_json::from_str(body).map_err(|error| StateError::Damaged {
        table,
        why: format!("has a row `{key}` that cannot be read: {error}").into(),
    })
}

/// Writes the JSON of a row.
///
/// # Errors
/// Never for values of this crate: all of them are texts, numbers and lists.
pub fn write<T: Serialize>(table: &'static str, value: &T) -> Result<String, StateError> {
    serde_json::to_string(value).map_err(|error| StateError::Damaged {
        table,
        why: format!("was to get a row that cannot be written: {error}").into(),
    })
}

/// An application out of its row.
///
/// # Errors
/// As [`read`], like all of these.
pub fn application(row: &ApplicationRow) -> Result<Application, StateError> {
    read("applications", &row.application, &row.body)
}

/// The row of an application.
///
/// # Errors
/// As [`write()`], like all of these.
pub fn application_row(application: &Application) -> Result<ApplicationRow, StateError> {
    Ok(ApplicationRow {
        application: application.application.to_string(),
        owner: application.owner.to_string(),
        body: write("applications", application)?,
        changed: application.changed,
    })
}

/// An account out of its row.
///
/// # Errors
/// As [`read`].
pub fn account(row: &AccountRow) -> Result<Account, StateError> {
    read("accounts", &row.account, &row.body)
}

/// The row of an account.
///
/// # Errors
/// As [`write()`].
pub fn account_row(account: &Account) -> Result<AccountRow, StateError> {
    Ok(AccountRow {
        account: account.account.to_string(),
        application: account.application.as_ref().map(ToString::to_string),
        environment: account.environment.as_ref().map(ToString::to_string),
        body: write("accounts", account)?,
        changed: account.changed,
    })
}

/// What belongs to a host.
///
/// # Errors
/// As [`read`].
pub fn host(row: &HostRow) -> Result<HostBody, StateError> {
    read("hosts", &row.host, &row.body)
}

/// A host as it decides.
///
/// # Errors
/// As [`read`].
pub fn known_host(row: &HostRow) -> Result<KnownHost, StateError> {
    let body = host(row)?;
    Ok(KnownHost {
        id: row.host.clone(),
        name: row.name.clone(),
        region: body.region(),
        labels: body.labels,
        revoked: row.revoked.is_some(),
    })
}

/// A group of hosts out of its row.
///
/// # Errors
/// As [`read`].
pub fn group(row: &GroupRow) -> Result<Group, StateError> {
    let GroupFacts { selector, everything, may_run } = read("groups", &row.name, &row.body)?;
    Ok(Group { name: row.name.clone(), selector, everything, may_run })
}

/// A join rule out of its row.
///
/// # Errors
/// As [`read`].
pub fn join_rule(row: &JoinRuleRow) -> Result<JoinRule, StateError> {
    let terms: JoinRuleTerms = read("join_rules", &row.rule, &row.body)?;
    let rule = row.rule.parse().map_err(|error| StateError::Damaged {
        table: "join_rules",
        why: format!("has a row with a name that is none: {error}").into(),
    })?;
    Ok(JoinRule { rule, terms, changed: row.changed })
}

/// A version of a binding out of its row.
///
/// # Errors
/// As [`read`].
pub fn binding(row: &BindingRow) -> Result<Binding, StateError> {
    let BindingRow { application, environment, version, .. } = row;
    read("bindings", &format!("{application}/{environment}/{version}"), &row.body)
}

/// The row of a version of a binding.
///
/// # Errors
/// As [`write()`].
pub fn binding_row(binding: &Binding) -> Result<BindingRow, StateError> {
    Ok(BindingRow {
        application: binding.terms.application.to_string(),
        environment: binding.terms.environment.to_string(),
        version: binding.version,
        status: status_word(binding.status),
        body: write("bindings", binding)?,
    })
}

/// What became of a version, in the words of rows.
pub const fn status_word(status: Status) -> BindingStatus {
    match status {
        Status::Proposed => BindingStatus::Proposed,
        Status::InForce => BindingStatus::InForce,
        Status::Rejected => BindingStatus::Rejected,
        Status::Withdrawn => BindingStatus::Withdrawn,
        Status::Superseded => BindingStatus::Superseded,
    }
}

/// A position of the switch out of its row.
///
/// # Errors
/// As [`read`].
pub fn position(row: &PositionRow) -> Result<Position, StateError> {
    read("positions", &row.id.to_string(), &row.body)
}

/// The row of a position of the switch.
///
/// # Errors
/// As [`write()`].
pub fn position_row(position: &Position) -> Result<PositionRow, StateError> {
    let how = |how| match how {
        EndedHow::Cleared => "cleared",
        EndedHow::Replaced => "replaced",
        EndedHow::Expired => "expired",
    };
    Ok(PositionRow {
        id: position.id,
        scope: scope_text(&position.scope)?,
        body: write("positions", position)?,
        set_at: position.set,
        expires: position.expires,
        ended: position.ended.as_ref().map(|ended| ended.at),
        ended_how: position.ended.as_ref().map(|ended| how(ended.how).to_owned()),
    })
}

/// A scope in its one spelling: two are the same scope where these texts are the same.
///
/// # Errors
/// As [`write()`].
pub fn scope_text(scope: &Scope) -> Result<String, StateError> {
    // A structure is written in the order of its fields, and what is absent is not written.
    write("positions", scope)
}

/// A position in the words of orders.
pub fn ordered(position: Position) -> OrderedPosition {
    let Position { id, scope, position, percent, reason, set, expires, .. } = position;
    OrderedPosition { id, scope, position, percent, set, expires, reason: Some(reason) }
}

/// Everything that decides, out of its rows.
///
/// # Errors
/// As [`read`], for the first row that cannot be read: with a part of what decides nothing is decided.
pub fn knowledge(rows: &state::Knowledge) -> Result<Knowledge, StateError> {
    let in_force = |row: &BindingRow| {
        let Binding { terms, version, .. } = binding(row)?;
        Ok(OrderedBinding { terms, version })
    };
    Ok(Knowledge::new(Facts {
        revision: rows.revision,
        hosts: rows.hosts.iter().map(known_host).collect::<Result<_, _>>()?,
        groups: rows.groups.iter().map(group).collect::<Result<_, _>>()?,
        bindings: rows.bindings.iter().map(in_force).collect::<Result<_, StateError>>()?,
        positions: rows
            .positions
            .iter()
            .map(|row| position(row).map(ordered))
            .collect::<Result<_, _>>()?,
        applications: rows.applications.iter().map(application).collect::<Result<_, _>>()?,
        join_rules: rows.join_rules.iter().map(join_rule).collect::<Result<_, _>>()?,
    }))
}
