//! Applications, the accounts that they have, and what binds them to roles.

use jiff::Timestamp;

use crate::act::Weight;
use crate::cell::{Cell, Cells, Value};
use crate::link::Statement;
use crate::stored::rows;
use crate::{Act, Reading, StateError};

rows! {
    /// An application.
    pub struct ApplicationRow in applications (application) {
        /// Its name.
        application: String,
        /// Who owns it.
        owner: String,
        /// What else belongs to it, as JSON.
        body: String,
        /// When it was changed last.
        changed: Timestamp,
    }

    /// An account of the provider.
    pub struct AccountRow in accounts (account) {
        /// Its number.
        account: String,
        /// The application that it belongs to.
        application: Option<String>,
        /// The environment of it that it belongs to.
        environment: Option<String>,
        /// What else belongs to it, as JSON.
        body: String,
        /// When it was changed last.
        changed: Timestamp,
    }

    /// A version of a binding.
    pub struct BindingRow in bindings (application, environment, version) {
        /// The application.
        application: String,
        /// The environment.
        environment: String,
        /// Its version, from 1.
        version: u64,
        /// What became of it.
        status: BindingStatus,
        /// What else belongs to it, as JSON.
        body: String,
    }
}

/// What became of a version of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BindingStatus {
    /// It waits for a reviewer.
    Proposed,
    /// It is in force: at most one of an application and environment is.
    InForce,
    /// A reviewer said no.
    Rejected,
    /// Its author took it back.
    Withdrawn,
    /// A later one is in force.
    Superseded,
}

/// Which versions of bindings are wanted: those that are equal in each field that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingFilter {
    /// Of this application.
    pub application: Option<String>,
    /// Of this environment.
    pub environment: Option<String>,
    /// Of this status.
    pub status: Option<BindingStatus>,
}

/// A version of a binding as a place in the list of them: application, environment, version.
pub type BindingKey = (String, String, u64);

impl BindingStatus {
    const ALL: [Self; 5] =
        [Self::Proposed, Self::InForce, Self::Rejected, Self::Withdrawn, Self::Superseded];

    /// As the database and the API spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::InForce => "in-force",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
            Self::Superseded => "superseded",
        }
    }
}

impl Cell for BindingStatus {
    fn read(cells: &mut Cells<'_>) -> Result<Self, StateError> {
        let word: String = cells.take()?;
        let known = Self::ALL.into_iter().find(|status| status.word() == word);
        known.ok_or_else(|| cells.wrong("has a status that no release wrote"))
    }

    fn value(&self) -> Value {
        Value::Text(Some(self.word().to_owned()))
    }
}

impl Reading {
    /// An application by its name.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn application(&mut self, name: &str) -> Result<Option<ApplicationRow>, StateError> {
        self.link.by_key(name).await
    }

    /// Applications by name, from the one after `after` on.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn applications(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ApplicationRow>, StateError> {
        self.link.page(after, limit).await
    }

    /// An account by its number.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn account(&mut self, account: &str) -> Result<Option<AccountRow>, StateError> {
        self.link.by_key(account).await
    }

    /// Accounts by number, from the one after `after` on.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn accounts(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<AccountRow>, StateError> {
        self.link.page(after, limit).await
    }

    /// A version of a binding.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn binding(
        &mut self,
        application: &str,
        environment: &str,
        version: u64,
    ) -> Result<Option<BindingRow>, StateError> {
        let rest = Statement::new("WHERE application = $1 AND environment = $2 AND version = $3");
        self.link.one(rest.text(application).text(environment).with(&version)).await
    }

    /// The version that is in force.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn binding_in_force(
        &mut self,
        application: &str,
        environment: &str,
    ) -> Result<Option<BindingRow>, StateError> {
        let rest =
            Statement::new("WHERE application = $1 AND environment = $2 AND status = 'in-force'");
        self.link.one(rest.text(application).text(environment)).await
    }

    /// The number of the next version.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn next_binding_version(
        &mut self,
        application: &str,
        environment: &str,
    ) -> Result<u64, StateError> {
        let last = Statement::new(
            "SELECT max(version) FROM bindings WHERE application = $1 AND environment = $2",
        );
        let last = last.text(application).text(environment);
        let last: Option<Option<u64>> = self.link.cell("bindings", last).await?;
        Ok(last.flatten().unwrap_or(0).saturating_add(1))
    }

    /// Versions of bindings by application, environment and version, from the one after `after` on.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn bindings(
        &mut self,
        filter: &BindingFilter,
        after: Option<&BindingKey>,
        limit: u32,
    ) -> Result<Vec<BindingRow>, StateError> {
        let BindingFilter { application, environment, status } = filter;
        let rest = Statement::new(
            "WHERE (application, environment, version) > ($1, $2, $3) \
             AND ($4 = '' OR application = $4) AND ($5 = '' OR environment = $5) \
             AND ($6 = '' OR status = $6) ORDER BY application, environment, version LIMIT $7",
        );
        let rest = match after {
            Some((application, environment, version)) => {
                rest.text(application).text(environment).with(version)
            }
            None => rest.text("").text("").with(&0_i64),
        };
        let rest = rest
            .text(application.as_deref().unwrap_or(""))
            .text(environment.as_deref().unwrap_or(""))
            .text(status.map_or("", BindingStatus::word));
        self.link.many(rest.with(&i64::from(limit))).await
    }

    /// Every version that is in force.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn bindings_in_force(&mut self) -> Result<Vec<BindingRow>, StateError> {
        let rest = "WHERE status = 'in-force' ORDER BY application, environment";
        self.link.many(Statement::new(rest)).await
    }
}

impl Act {
    /// Puts an application.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_application(&mut self, row: &ApplicationRow) -> Result<(), StateError> {
        self.put(Weight::Known, row).await
    }

    /// Removes an application; answers whether it was there.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn delete_application(&mut self, name: &str) -> Result<bool, StateError> {
        let delete = Statement::new("DELETE FROM applications WHERE application = $1").text(name);
        Ok(self.change(Weight::Known, delete).await? > 0)
    }

    /// Puts an account.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_account(&mut self, row: &AccountRow) -> Result<(), StateError> {
        self.put(Weight::Known, row).await
    }

    /// Removes an account; answers whether it was there.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn delete_account(&mut self, account: &str) -> Result<bool, StateError> {
        let delete = Statement::new("DELETE FROM accounts WHERE account = $1").text(account);
        Ok(self.change(Weight::Known, delete).await? > 0)
    }

    /// Puts a version of a binding. Where another is to be in force, supersede the one that is first.
    ///
    /// # Errors
    /// [`StateError::Conflict`] where two would be in force; otherwise [`StateError`], as all of these.
    pub async fn put_binding(&mut self, row: &BindingRow) -> Result<(), StateError> {
        self.put(Weight::Known, row).await
    }
}
