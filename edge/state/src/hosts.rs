//! Hosts, their groups, and how they join.

use jiff::Timestamp;

use crate::act::Weight;
use crate::link::Statement;
use crate::reports::ReportRow;
use crate::stored::rows;
use crate::{Act, Reading, State, StateError};

rows! {
    /// A host that joined.
    pub struct HostRow in hosts (host) {
        /// Its id.
        host: String,
        /// What people call it.
        name: String,
        /// What else belongs to it, as JSON.
        body: String,
        /// When it joined.
        joined: Timestamp,
        /// When its certificate ends.
        certificate_expires: Timestamp,
        /// When it was revoked.
        revoked: Option<Timestamp>,
    }

    /// A group of hosts.
    pub struct GroupRow in groups (name) {
        /// Its name.
        name: String,
        /// What it selects and lets run, as JSON.
        body: String,
        /// When it was changed last.
        changed: Timestamp,
    }

    /// A rule by which hosts join as their role.
    pub struct JoinRuleRow in join_rules (rule) {
        /// Its name.
        rule: String,
        /// What it says, as JSON.
        body: String,
        /// When it was changed last.
        changed: Timestamp,
    }

    /// A token by which hosts join.
    pub struct JoinTokenRow in join_tokens (id) {
        /// Its id.
        id: String,
        /// A hash of its secret.
        secret_hash: String,
        /// How many hosts may join by it.
        uses: u64,
        /// How many have.
        used: u64,
        /// When it was made.
        made: Timestamp,
        /// When it ends.
        expires: Timestamp,
        /// When it was revoked.
        revoked: Option<Timestamp>,
        /// What else belongs to it, as JSON.
        body: String,
    }

    /// A nonce that was given out.
    struct NonceRow in nonces (hash) {
        hash: String,
        expires: Timestamp,
    }
}

/// A token as a place in the list of them: when it was made, and its id.
pub type JoinTokenKey = (Timestamp, String);

impl Reading {
    /// A host by its id, revoked or not.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn host(&mut self, host: &str) -> Result<Option<HostRow>, StateError> {
        self.link.by_key(host).await
    }

    /// Hosts by id, from the one after `after` on, each with what it reported last.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn hosts(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(HostRow, Option<ReportRow>)>, StateError> {
        let hosts: Vec<HostRow> = self.link.page(after, limit).await?;
        let (Some(first), Some(last)) = (hosts.first(), hosts.last()) else {
            return Ok(Vec::new());
        };
        let between = Statement::new("WHERE host >= $1 AND host <= $2 ORDER BY host");
        let reports: Vec<ReportRow> =
            self.link.many(between.text(&first.host).text(&last.host)).await?;
        let mut reports = reports.into_iter().peekable();
        let with_report = |host: HostRow| {
            // Reports of hosts that are not among them are passed over.
            while reports.next_if(|report| report.host < host.host).is_some() {}
            let report = reports.next_if(|report| report.host == host.host);
            (host, report)
        };
        Ok(hosts.into_iter().map(with_report).collect())
    }

    /// Every host, by id, revoked or not.
    pub(crate) async fn all_hosts(&mut self) -> Result<Vec<HostRow>, StateError> {
        self.link.many(Statement::new("ORDER BY host")).await
    }

    /// A group by its name.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn group(&mut self, name: &str) -> Result<Option<GroupRow>, StateError> {
        self.link.by_key(name).await
    }

    /// Groups by name, from the one after `after` on.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn groups(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<GroupRow>, StateError> {
        self.link.page(after, limit).await
    }

    /// A join rule by its name.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn join_rule(&mut self, rule: &str) -> Result<Option<JoinRuleRow>, StateError> {
        self.link.by_key(rule).await
    }

    /// Join rules by name, from the one after `after` on.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn join_rules(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<JoinRuleRow>, StateError> {
        self.link.page(after, limit).await
    }

    /// A join token by its id.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn join_token(&mut self, id: &str) -> Result<Option<JoinTokenRow>, StateError> {
        self.link.by_key(id).await
    }

    /// Join tokens, latest first, from the one after `after` on.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn join_tokens(
        &mut self,
        after: Option<&JoinTokenKey>,
        limit: u32,
    ) -> Result<Vec<JoinTokenRow>, StateError> {
        let order = "ORDER BY made DESC, id DESC LIMIT";
        let rest = match after {
            Some((made, id)) => Statement::new(format!("WHERE (made, id) < ($1, $2) {order} $3"))
                .with(made)
                .text(id),
            None => Statement::new(format!("{order} $1")),
        };
        self.link.many(rest.with(&i64::from(limit))).await
    }
}

impl Act {
    /// Puts a host.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_host(&mut self, row: &HostRow) -> Result<(), StateError> {
        self.put(Weight::Known, row).await
    }

    /// Notes a host's new certificate; answers whether there is such a host that is not revoked. Nothing is
    /// decided by it, so the revision stays.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn renew_host(&mut self, host: &str, expires: Timestamp) -> Result<bool, StateError> {
        let renew = Statement::new(
            "UPDATE hosts SET certificate_expires = $1 WHERE host = $2 AND revoked IS NULL",
        );
        Ok(self.change(Weight::Recorded, renew.with(&expires).text(host)).await? > 0)
    }

    /// Puts a group.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_group(&mut self, row: &GroupRow) -> Result<(), StateError> {
        self.put(Weight::Known, row).await
    }

    /// Removes a group; answers whether it was there.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn delete_group(&mut self, name: &str) -> Result<bool, StateError> {
        let delete = Statement::new("DELETE FROM groups WHERE name = $1").text(name);
        Ok(self.change(Weight::Known, delete).await? > 0)
    }

    /// Puts a join rule.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_join_rule(&mut self, row: &JoinRuleRow) -> Result<(), StateError> {
        self.put(Weight::Known, row).await
    }

    /// Removes a join rule; answers whether it was there.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn delete_join_rule(&mut self, rule: &str) -> Result<bool, StateError> {
        let delete = Statement::new("DELETE FROM join_rules WHERE rule = $1").text(rule);
        Ok(self.change(Weight::Known, delete).await? > 0)
    }

    /// Puts a join token.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_join_token(&mut self, row: &JoinTokenRow) -> Result<(), StateError> {
        self.put(Weight::Recorded, row).await
    }

    /// Uses a join token once; none where there is no such token, its secret is another, or it is used up,
    /// over or revoked.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn use_join_token(
        &mut self,
        id: &str,
        secret_hash: &str,
        now: Timestamp,
    ) -> Result<Option<JoinTokenRow>, StateError> {
        let spend = Statement::new(
            "UPDATE join_tokens SET used = used + 1 \
             WHERE id = $1 AND secret_hash = $2 AND used < uses AND expires > $3 AND revoked IS NULL",
        );
        let spend = spend.text(id).text(secret_hash).with(&now);
        if self.change(Weight::Recorded, spend).await? == 0 {
            return Ok(None);
        }
        self.join_token(id).await
    }
}

impl State {
    /// Keeps a nonce until it is taken or its time is over.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn put_nonce(&self, hash: &str, expires: Timestamp) -> Result<(), StateError> {
        let mut link = self.aside().await?;
        link.insert(&NonceRow { hash: hash.to_owned(), expires }).await?;
        link.commit().await
    }

    /// Takes a nonce; answers whether it was there and its time is not over. It is only so once.
    ///
    /// # Errors
    /// [`StateError`], as all of these; then nobody may have it.
    pub async fn take_nonce(&self, hash: &str, now: Timestamp) -> Result<bool, StateError> {
        let take = Statement::new("DELETE FROM nonces WHERE hash = $1 AND expires > $2");
        Ok(self.run_aside(take.text(hash).with(&now)).await? > 0)
    }
}
