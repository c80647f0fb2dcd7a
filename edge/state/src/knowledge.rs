use crate::link::Statement;
use crate::{
    AccountRow, ApplicationRow, BindingRow, GroupRow, HostRow, IssuerKeyRow, JoinRuleRow,
    PolicyRow, PositionRow, Reading, SealedRow, StateError,
};

/// All that decides, as it was at one moment. A server holds a copy and takes another when the revision has grown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knowledge {
    /// Its revision.
    pub revision: u64,
    /// Every application, by name.
    pub applications: Vec<ApplicationRow>,
    /// Every account, by number.
    pub accounts: Vec<AccountRow>,
    /// Every host that ever joined, by id, those that were revoked among them.
    pub hosts: Vec<HostRow>,
    /// Every group, by name.
    pub groups: Vec<GroupRow>,
    /// Every join rule, by name.
    pub join_rules: Vec<JoinRuleRow>,
    /// The bindings in force, by application and environment.
    pub bindings: Vec<BindingRow>,
    /// The positions that were not ended, latest first; some may be over by now.
    pub positions: Vec<PositionRow>,
    /// The keys of the issuer, by id.
    pub issuer_keys: Vec<IssuerKeyRow>,
    /// The policies in force; none where none were ever put.
    pub policies: Option<PolicyRow>,
    /// The servers' secrets, sealed, by name.
    pub sealed: Vec<SealedRow>,
}

impl Reading {
    /// All that decides.
    ///
    /// # Errors
    /// [`StateError`], as all of these.
    pub async fn knowledge(&mut self) -> Result<Knowledge, StateError> {
        Ok(Knowledge {
            revision: self.revision(),
            applications: self.link.many(Statement::new("ORDER BY application")).await?,
            accounts: self.link.many(Statement::new("ORDER BY account")).await?,
            hosts: self.all_hosts().await?,
            groups: self.link.many(Statement::new("ORDER BY name")).await?,
            join_rules: self.link.many(Statement::new("ORDER BY rule")).await?,
            bindings: self.bindings_in_force().await?,
            positions: self.live_positions().await?,
            issuer_keys: self.issuer_keys().await?,
            policies: self.policies().await?,
            sealed: self.all_sealed().await?,
        })
    }
}
