//! The people who run a deployment, as they would from the command line.

use std::time::Duration;

use api::{
    Client, Endpoint, JoinToken,
    agents::Asked,
    applications::{ApplicationFacts, ApplicationPath, PutApplication},
    bindings::{Conditions, Proposal, ProposeBinding, Review, ReviewBinding, VersionPath},
    client::{AskError, Identity, Settings, Trust},
    hosts::{GroupFacts, GroupPath, PutGroup},
    joining::{JoinTokenFacts, MakeJoinToken},
    login::{LoginByToken, TokenLogin},
    switch::{Flip, Position, Scope, SetPosition},
};
use practice::server::Server;
use secret::SecretText;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    pub(crate) client: Client,
}

impl Operator {
    /// Signs in with the one-time token of the first admin.
    pub(crate) async fn first(server: &Server) -> Self {
        let token = server.first_admin().expect("a first start prints a one-time token");
        Self::by_token(server, token).await
    }

    /// Signs in as another person: the token is made on the machine itself.
    pub(crate) async fn another(server: &Server, name: &str) -> Self {
        let made = server.plan().attempt(&["admin-token", "--person", name]).unwrap();
        let made = made.success().unwrap();
        let token = made.stdout.split_whitespace().find(|word| word.starts_with("rca_"));
        Self::by_token(server, token.expect("the command prints the token").to_owned()).await
    }

    async fn by_token(server: &Server, token: String) -> Self {
        let client = client(&[server], None);
        let body = TokenLogin { token: SecretText::new(token) };
        let session = client.ask::<LoginByToken>(&(), &(), &body).await.unwrap();
        client.set_bearer(Some(&session.token)).unwrap();
        Self { client }
    }

    /// Asks what needs nothing but a body.
    pub(crate) async fn say<E: Endpoint<Path = (), Query = ()>>(
        &self,
        body: E::Body,
    ) -> Result<E::Answer, AskError> {
        self.client.ask::<E>(&(), &(), &body).await
    }

    /// Lets every host run everything.
    pub(crate) async fn let_all_run(&self) {
        let facts = GroupFacts {
            selector: std::collections::BTreeMap::new(),
            everything: true,
            may_run: vec!["*/*".parse().unwrap()],
        };
        let path = GroupPath { group: "all".parse().unwrap() };
        self.client.ask::<PutGroup>(&path, &(), &facts).await.unwrap();
    }

    /// A token by which so many hosts may join.
    pub(crate) async fn join_token(&self, uses: u32) -> JoinToken {
        let facts = JoinTokenFacts {
            uses: Some(api::Within::new(uses).unwrap()),
            ..JoinTokenFacts::default()
        };
        self.say::<MakeJoinToken>(facts).await.unwrap().token
    }

    /// Binds an application in `prod` to a role, with the other person's approval.
    pub(crate) async fn bind(&self, reviewer: &Self, application: &str, role: &str) {
        let path = ApplicationPath { application: application.parse().unwrap() };
        let facts = ApplicationFacts {
            owner: "owners".parse().unwrap(),
            tier: api::Within::new(1).unwrap(),
            environments: vec!["prod".parse().unwrap()],
            description: None,
        };
        self.client.ask::<PutApplication>(&path, &(), &facts).await.unwrap();
        let proposal = Proposal {
            application: application.parse().unwrap(),
            environment: "prod".parse().unwrap(),
            role: role.parse().unwrap(),
            audience: None,
            tags: std::collections::BTreeMap::new(),
            imdsv1: false,
            duration_minutes: None,
            conditions: Conditions {
                netns: Some(format!("{application}{{,-*}}")),
                ..Conditions::default()
            },
            reason: "it moves to its own account".parse().unwrap(),
        };
        let binding = self.say::<ProposeBinding>(proposal).await.unwrap();
        let path = VersionPath {
            application: binding.terms.application,
            environment: binding.terms.environment,
            version: binding.version,
        };
        let review = Review { approve: true, reason: "looked at".parse().unwrap() };
        reviewer.client.ask::<ReviewBinding>(&path, &(), &review).await.unwrap();
    }

    /// Sets a position of the switch.
    pub(crate) async fn flip(&self, scope: Scope, position: Asked) -> Position {
        let reason = "as planned".parse().unwrap();
        let flip = Flip { scope, position, percent: None, reason, expires: None };
        self.say::<SetPosition>(flip).await.unwrap()
    }
}

/// A client of all of these servers, which trusts the authority that the first of them printed.
pub(crate) fn client(servers: &[&Server], identity: Option<Identity>) -> Client {
    let fingerprint = servers[0].fingerprint().expect("a start prints the fingerprint");
    Client::new(Settings {
        addresses: servers.iter().map(|server| server.plan().url().parse().unwrap()).collect(),
        trust: Trust::Fingerprint(fingerprint.parse().unwrap()),
        identity,
        bearer: None,
        timeout: TIMEOUT,
    })
    .unwrap()
}
