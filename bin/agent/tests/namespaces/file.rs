//! The agent's file, for what a scene does not say.

use practice::stage::{ENVIRONMENT, ISSUER, REGION, Stage};

/// A file that is being written.
pub(crate) struct File {
    sts: String,
    bindings: String,
    namespaces: String,
    metadata: String,
    tables: String,
    key: String,
}

impl File {
    /// Without bindings, and with nobody served.
    pub(crate) fn new(stage: &Stage) -> Self {
        Self {
            sts: stage.cloud.endpoint().to_owned(),
            bindings: String::new(),
            namespaces: String::new(),
            metadata: String::new(),
            tables: String::new(),
            key: stage.workspace.folder().join("host.key").display().to_string(),
        }
    }

    pub(crate) fn sts(mut self, endpoint: impl Into<String>) -> Self {
        self.sts = endpoint.into();
        self
    }

    /// Binds an application to its own role.
    pub(crate) fn bind(mut self, stage: &Stage, application: &str, rule: &str, more: &str) -> Self {
        let role = crate::stage::role_of(stage, application);
        self.bindings += &format!(
            "[[binding]]\napplication = {application:?}\nenvironment = {ENVIRONMENT:?}\n\
             role = {role:?}\nsource = \"web-identity\"\nmatch = {{ {rule} }}\n{more}\n"
        );
        self
    }

    /// Binds an application to the role that the host may assume.
    pub(crate) fn lend(mut self, stage: &Stage, application: &str, rule: &str) -> Self {
        let account = stage.cloud.application(application).unwrap();
        self.bindings += &format!(
            "[[binding]]\napplication = {application:?}\nenvironment = {ENVIRONMENT:?}\n\
             role = {:?}\nsource = \"assume-role\"\nexternal_id = {:?}\nmatch = {{ {rule} }}\n",
            account.lent_role_arn, account.external_id
        );
        self
    }

    /// Serves the workspace's namespaces.
    pub(crate) fn watching(mut self, stage: &Stage) -> Self {
        self.namespaces = stage.workspace.namespaces().display().to_string();
        self
    }

    /// A line of `[metadata]`.
    pub(crate) fn metadata(mut self, line: &str) -> Self {
        self.metadata += &format!("{line}\n");
        self
    }

    /// Whole tables.
    pub(crate) fn tables(mut self, text: &str) -> Self {
        self.tables += &format!("{text}\n");
        self
    }

    fn text(&self) -> String {
        let Self { sts, bindings, namespaces, metadata, tables, key } = self;
        format!(
            "[sts]\nendpoint = {sts:?}\nhost_key_file = {key:?}\n\n[issuer]\nurl = {ISSUER:?}\n\n\
             {bindings}\n[metadata]\nnamespaces = {namespaces:?}\n{metadata}\n{tables}"
        )
    }

    /// Puts it in the place of the old one; the agent is not told.
    pub(crate) fn write(&self, stage: &Stage) {
        stage.agent.plan().write(REGION, &self.text()).unwrap();
    }

    /// Starts the agent anew with it.
    pub(crate) fn restart(&self, stage: &mut Stage) {
        stage.agent.stop().unwrap();
        self.write(stage);
        stage.agent.resume().unwrap_or_else(|error| panic!("{error}"));
    }
}
