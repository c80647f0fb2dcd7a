//! A server, the people who steer it, and a practice cloud that trusts its issuer.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use api::{
    Client, Endpoint,
    agents::{Asked, SeenWorkload},
    applications::{ApplicationFacts, ApplicationPath, PutApplication, Tier},
    bindings::{Proposal, ProposeBinding, Review, ReviewBinding, VersionPath},
    client::{AskError, Settings, Trust},
    hosts::{GroupFacts, GroupPath, PutGroup},
    joining::{JoinRuleFacts, JoinRulePath, JoinTokenFacts, MakeJoinToken, PutJoinRule},
    login::{BeginDeviceLogin, DeviceHandle, DevicePoll, PollDeviceLogin},
    switch::{Flip, Scope, SetPosition},
    workloads::{ListWorkloads, WorkloadsAsked},
};
use aws::{AssumeRole, HostCredentials, Sts, StsSettings};
use practice::{
    agent::built,
    cloud::{Cloud, Issuer, Layout},
    people::{Browser, Provider},
    server::{Plan, Server},
    tools::Tools,
};
use serde_json::json;

use crate::host::until;

/// The issuer's address, as the accounts of the cloud know it.
const ISSUER: &str = "https://issuer.rolecall.example";
/// Where the provider sends browsers back to; devices need none.
const BACK: &str = "https://rolecall.test/v1/login/callback";
const TIMEOUT: Duration = Duration::from_secs(60);

/// All of it. Dropped, it is gone.
pub(crate) struct Deployment {
    pub(crate) server: Server,
    pub(crate) cloud: Cloud,
    runtime: tokio::runtime::Runtime,
    ada: Client,
    bob: Client,
    _provider: Provider,
    _folder: tempfile::TempDir,
}

impl Deployment {
    /// A server with two operators, where every host with the label `pool=web` may run `orders`.
    pub(crate) fn new() -> Self {
        let (tools, folder) = (Tools::find(), tempfile::tempdir().unwrap());
        let people: [(&str, &[&str]); 2] = [("ada", &["operator"]), ("bob", &["operator"])];
        let provider = Provider::start(&tools, folder.path().join("people"), BACK, &people);
        let provider = provider.unwrap();
        let plan = Plan::new(built("rolecall-server").unwrap(), folder.path().join("server"));
        let plan = plan.unwrap();
        let cloud = cloud(&tools, folder.path(), plan.issuer_url());
        let people = provider.section(BACK).unwrap();
        plan.write(ISSUER, &format!("{people}\n[aws]\nendpoint = {:?}\n", cloud.endpoint()))
            .unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let server = plan.start().unwrap();
        let ada = runtime.block_on(sign_in(&server, "ada"));
        let bob = runtime.block_on(sign_in(&server, "bob"));
        let new = Self { server, cloud, runtime, ada, bob, _provider: provider, _folder: folder };
        let group = GroupPath { group: "web".parse().unwrap() };
        let facts = GroupFacts {
            selector: [("pool".to_owned(), "web".to_owned())].into(),
            everything: false,
            may_run: vec!["orders/*".parse().unwrap()],
        };
        new.ask::<PutGroup>(&group, &(), &facts).unwrap();
        new
    }

    /// Where the server answers.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.plan().api
    }

    /// What an operator asks.
    pub(crate) fn ask<E: Endpoint>(
        &self,
        path: &E::Path,
        query: &E::Query,
        body: &E::Body,
    ) -> Result<E::Answer, AskError> {
        self.wait(self.ada.ask::<E>(path, query, body))
    }

    pub(crate) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }

    /// A token by which a host joins the pool.
    pub(crate) fn token(&self) -> String {
        let facts = JoinTokenFacts {
            labels: [("pool".to_owned(), "web".to_owned())].into(),
            ..JoinTokenFacts::default()
        };
        let made = self.ask::<MakeJoinToken>(&(), &(), &facts).unwrap();
        made.token.to_secret().expose().clone()
    }

    /// Lets hosts with a role of the account of `orders` join the pool.
    pub(crate) fn let_join(&self, role_name: &str) {
        let path = JoinRulePath { rule: "orders".parse().unwrap() };
        let facts = JoinRuleFacts {
            account: "222222222222".parse().unwrap(),
            role_name: role_name.parse().unwrap(),
            labels: [("pool".to_owned(), "web".to_owned())].into(),
            region: None,
        };
        self.ask::<PutJoinRule>(&path, &(), &facts).unwrap();
    }

    /// What an instance with the role `orders-lent` has, as a program there finds it in its environment.
    pub(crate) fn role_of_a_host(&self) -> [(&'static str, String); 3] {
        let (orders, key) = (self.cloud.application("orders").unwrap(), self.cloud.host());
        let settings = StsSettings {
            region: "eu-west-1".parse().unwrap(),
            endpoint: Some(self.cloud.endpoint().to_owned()),
            timeout: TIMEOUT,
            mark: None,
            host_credentials: HostCredentials::Fixed {
                access_key_id: key.access_key_id.clone(),
                secret_access_key: key.secret_access_key.clone().into(),
            },
        };
        let question = AssumeRole {
            role: orders.lent_role_arn.parse().unwrap(),
            session_name: "i-0123456789abcdef0".to_owned(),
            external_id: Some(orders.external_id.clone()),
            source_identity: None,
            tags: BTreeMap::new(),
            duration: Duration::from_secs(900),
        };
        let issued = async { Sts::new(&settings).await.assume_role(question).await };
        let issued = self.wait(issued).unwrap();
        [
            ("AWS_ACCESS_KEY_ID", issued.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", issued.secret_access_key.expose().clone()),
            ("AWS_SESSION_TOKEN", issued.session_token.expose().clone()),
        ]
    }

    /// One operator proposes what an application is bound to, and the other approves it.
    pub(crate) fn bind(&self, application: &str) {
        let path = ApplicationPath { application: application.parse().unwrap() };
        let facts = ApplicationFacts {
            owner: "team-a".parse().unwrap(),
            tier: Tier::new(2).unwrap(),
            environments: vec!["prod".parse().unwrap()],
            description: None,
        };
        self.ask::<PutApplication>(&path, &(), &facts).unwrap();
        let role = self.cloud.application(application).unwrap().role_arn.clone().unwrap();
        let proposal = json!({
            "application": application, "environment": "prod", "role": role,
            "match": { "netns": format!("{application}-*") }, "reason": "a test",
        });
        let proposal: Proposal = serde_json::from_value(proposal).unwrap();
        let proposed = self.ask::<ProposeBinding>(&(), &(), &proposal).unwrap();
        let path = VersionPath {
            application: proposed.terms.application,
            environment: proposed.terms.environment,
            version: proposed.version,
        };
        let review = Review { approve: true, reason: "a test".parse().unwrap() };
        self.ask::<ReviewBinding>(&path, &(), &review).expect_err("nobody reviews their own");
        self.wait(self.bob.ask::<ReviewBinding>(&path, &(), &review)).unwrap();
    }

    /// Sets the switch for the whole fleet.
    pub(crate) fn flip(&self, position: Asked) {
        let flip = Flip {
            scope: Scope::default(),
            position,
            percent: None,
            reason: "a test".parse().unwrap(),
            expires: None,
        };
        self.ask::<SetPosition>(&(), &(), &flip).unwrap();
    }

    /// What the server knows of the only workload.
    pub(crate) fn seen(&self) -> Option<SeenWorkload> {
        let all = self.ask::<ListWorkloads>(&(), &WorkloadsAsked::default(), &());
        all.ok()?.items.pop().map(|running| running.seen)
    }

    /// Waits until the host does what the switch says, by its own word.
    #[track_caller]
    pub(crate) fn until_asked(&self, asked: Asked) {
        until("the host obeys", || self.seen().is_some_and(|seen| seen.asked_for == asked));
    }
}

fn cloud(tools: &Tools, folder: &Path, documents: String) -> Cloud {
    let mut layout = Layout::new([127, 0, 0, 1].into(), folder.join("cloud"));
    layout.issuer = Some(Issuer { url: ISSUER.to_owned(), documents });
    Cloud::start(tools, &layout).unwrap()
}

/// Signs somebody in as on a machine without a browser.
async fn sign_in(server: &Server, name: &'static str) -> Client {
    let fingerprint = server.fingerprint().unwrap().parse().unwrap();
    let client = Client::new(Settings {
        addresses: vec![server.plan().url().parse().unwrap()],
        trust: Trust::Fingerprint(fingerprint),
        identity: None,
        bearer: None,
        timeout: TIMEOUT,
    });
    let client = client.unwrap();
    let login = client.ask::<BeginDeviceLogin>(&(), &(), &()).await.unwrap();
    let at = login.verification_uri_complete.unwrap();
    let walk = tokio::task::spawn_blocking(move || Browser::default().sign_in(&at, name));
    walk.await.unwrap().unwrap();
    let handle = DeviceHandle { handle: login.handle };
    let began = std::time::Instant::now();
    loop {
        let wait_s = match client.ask::<PollDeviceLogin>(&(), &(), &handle).await.unwrap() {
            DevicePoll::SignedIn { session } => {
                client.set_bearer(Some(&session.token)).unwrap();
                return client;
            }
            DevicePoll::Pending { interval_s } => interval_s,
        };
        assert!(began.elapsed() < TIMEOUT, "{name} is not signed in");
        // The provider says how often it may be asked.
        tokio::time::sleep(Duration::from_secs(u64::from(wait_s))).await;
    }
}
