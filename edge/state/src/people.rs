//! People, what they are in the middle of, and what they may.

use jiff::{SignedDuration, Timestamp};
use secret::SecretText;

use crate::act::Weight;
use crate::cell::Cells;
use crate::link::Statement;
use crate::stored::{Stored as _, rows};
use crate::{Act, Reading, State, StateError};

rows! {
    /// A person who is known.
    pub struct PersonRow in people (person) {
        /// Their id.
        person: String,
        /// What else belongs to them, as JSON.
        body: String,
        /// When they were shut out.
        disabled: Option<Timestamp>,
        /// When they came in last.
        last_login: Option<Timestamp>,
    }

    /// A session of a person.
    pub struct SessionRow in sessions (hash) {
        /// A hash of its secret.
        hash: String,
        /// The person.
        person: String,
        /// When it began.
        created: Timestamp,
        /// When it was used last.
        used: Timestamp,
        /// When it ends.
        expires: Timestamp,
        /// What else belongs to it, as JSON.
        body: String,
    }

    /// A login that somebody is in the middle of.
    pub struct LoginRow in logins (hash) {
        /// A hash of its handle.
        hash: String,
        /// Which way of logging in it is.
        kind: String,
        /// What else belongs to it, as JSON: what proves that both ends of it are one is among it.
        body: SecretText,
        /// When it ends.
        expires: Timestamp,
    }

    /// A text of policies.
    pub struct PolicyRow in policies (version) {
        /// Its version, from 1: the highest is in force.
        version: u64,
        /// The text.
        text: String,
        /// Who put it in force.
        actor: String,
        /// Why.
        reason: String,
        /// Since when.
        since: Timestamp,
    }

    /// A decision about what a person wanted to do.
    pub struct DecisionRow in decisions (id) {
        /// Its id.
        id: String,
        /// When.
        time: Timestamp,
        /// Who.
        person: String,
        /// What they wanted to do.
        action: String,
        /// To what.
        subject: String,
        /// Whether they may.
        allowed: bool,
        /// What else was looked at, as JSON.
        body: String,
    }
}

/// How long a host's report is kept that is followed by none. Its certificate lives shorter.
pub const REPORTS_KEPT: SignedDuration = SignedDuration::from_hours(25);

/// How many decisions are kept: the latest.
pub const DECISIONS_KEPT: u32 = 10_000;

impl Reading {
    /// A person by their id.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn person(&mut self, person: &str) -> Result<Option<PersonRow>, StateError> {
        self.link.by_key(person).await
    }

    /// People by id, from the one after `after` on.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn people(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<PersonRow>, StateError> {
        self.link.page(after, limit).await
    }

    /// A session by the hash of its secret, whether or not its time is over.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn session(&mut self, hash: &str) -> Result<Option<SessionRow>, StateError> {
        self.link.by_key(hash).await
    }

    /// A login by the hash of its handle, whether or not its time is over. It stays.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn login(&mut self, hash: &str) -> Result<Option<LoginRow>, StateError> {
        self.link.by_key(hash).await
    }

    /// The policies in force; none where none were ever put.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn policies(&mut self) -> Result<Option<PolicyRow>, StateError> {
        self.link.one(Statement::new("ORDER BY version DESC LIMIT 1")).await
    }

    /// Policies by their version.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn policies_of(&mut self, version: u64) -> Result<Option<PolicyRow>, StateError> {
        self.link.one(Statement::new("WHERE version = $1").with(&version)).await
    }

    /// Decisions, latest first.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn decisions(&mut self, limit: u32) -> Result<Vec<DecisionRow>, StateError> {
        let rest = Statement::new("ORDER BY time DESC, id DESC LIMIT $1").with(&i64::from(limit));
        self.link.many(rest).await
    }
}

impl Act {
    /// Puts a person.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_person(&mut self, row: &PersonRow) -> Result<(), StateError> {
        self.put(Weight::Recorded, row).await
    }

    /// Puts a session.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_session(&mut self, row: &SessionRow) -> Result<(), StateError> {
        self.put(Weight::Recorded, row).await
    }

    /// Ends a session; answers whether it was there.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn delete_session(&mut self, hash: &str) -> Result<bool, StateError> {
        let delete = Statement::new("DELETE FROM sessions WHERE hash = $1").text(hash);
        Ok(self.change(Weight::Recorded, delete).await? > 0)
    }

    /// Ends all sessions of a person; answers how many there were.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn delete_sessions(&mut self, person: &str) -> Result<u64, StateError> {
        let delete = Statement::new("DELETE FROM sessions WHERE person = $1").text(person);
        self.change(Weight::Recorded, delete).await
    }

    /// Adds the next policies.
    ///
    /// # Errors
    /// [`StateError::Conflict`] where there are some with that version; otherwise [`StateError`], as all of
    /// these.
    pub async fn put_policies(&mut self, row: &PolicyRow) -> Result<(), StateError> {
        self.insert(Weight::Known, row).await
    }

    /// Adds the decision that allowed this act.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_decision(&mut self, row: &DecisionRow) -> Result<(), StateError> {
        self.insert(Weight::Aside, row).await
    }
}

impl State {
    /// Notes that a session was used.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn touch_session(&self, hash: &str, used: Timestamp) -> Result<(), StateError> {
        let touch = Statement::new("UPDATE sessions SET used = $1 WHERE hash = $2 AND used < $1");
        self.run_aside(touch.with(&used).text(hash)).await.map(|_| ())
    }

    /// Keeps a login, in place of one with the same handle.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_login(&self, row: &LoginRow) -> Result<(), StateError> {
        let mut link = self.aside().await?;
        link.put(row).await?;
        link.commit().await
    }

    /// Takes a login whose time is not over. Only one caller gets it.
    ///
    /// # Errors
    /// [`StateError`], as all of these; then nobody may have it.
    pub async fn take_login(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<LoginRow>, StateError> {
        let mut link = self.aside().await?;
        let take = Statement::new(format!(
            "DELETE FROM logins WHERE hash = $1 AND expires > $2 RETURNING {}",
            LoginRow::COLUMNS.join(", ")
        ));
        let taken = link.rows(take.text(hash).with(&now)).await?;
        link.commit().await?;
        let read = |row| LoginRow::read(&mut Cells::new(row, LoginRow::TABLE));
        taken.first().map(read).transpose()
    }

    /// Adds a decision that allowed no act: one that refused, or one about a look.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_decision(&self, row: &DecisionRow) -> Result<(), StateError> {
        let mut link = self.aside().await?;
        link.insert(row).await?;
        link.commit().await
    }

    /// Forgets sessions, logins and nonces whose time is over, what hosts reported that have said nothing for
    /// [`REPORTS_KEPT`], and all but the latest [`DECISIONS_KEPT`] decisions; answers how many rows there were.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn prune(&self, now: Timestamp) -> Result<u64, StateError> {
        let mut forgotten = 0;
        for table in ["sessions", "logins", "nonces"] {
            let over = Statement::new(format!("DELETE FROM {table} WHERE expires <= $1"));
            forgotten += self.run_aside(over.with(&now)).await?;
        }
        // A host whose certificate ended meanwhile must join anew: what it ran is its own affair no more.
        for table in ["workloads", "reports"] {
            let gone = "host IN (SELECT host FROM reports WHERE received <= $1)";
            let gone = Statement::new(format!("DELETE FROM {table} WHERE {gone}"));
            forgotten += self.run_aside(gone.with(&(now - REPORTS_KEPT))).await?;
        }
        let old = Statement::new(
            "DELETE FROM decisions WHERE (time, id) <= \
             (SELECT time, id FROM decisions ORDER BY time DESC, id DESC LIMIT 1 OFFSET $1)",
        );
        Ok(forgotten + self.run_aside(old.with(&i64::from(DECISIONS_KEPT))).await?)
    }
}
