//! A host without an agent: it joins, reports and asks as one does.

use api::{
    Client, JoinToken,
    agents::{
        Asked, InEffect, Join, JoinRequest, Joined, MintToken, Minted, OrdersAsked, ReadOrders,
        Received, Report, SeenWorkload, SendReport, TokenRequest,
    },
    client::{AskError, Identity},
    orders::{Orders, SignedOrders},
};
use jiff::Timestamp;
use practice::server::Server;
use rcgen::{CertificateParams, KeyPair};
use secret::SecretText;

use crate::operator::client;

/// A host that has joined.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) client: Client,
    pub(crate) joined: Joined,
}

impl Host {
    /// Joins through the first of these servers, and knows all of them.
    pub(crate) async fn join(servers: &[&Server], token: &JoinToken) -> Self {
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let request =
            JoinRequest { token: token.clone(), csr_pem: csr, version: "0.1.0".parse().unwrap() };
        let joined = client(servers, None).ask::<Join>(&(), &(), &request).await.unwrap();
        let identity = Identity {
            certificate_pem: joined.certificate_pem.clone(),
            key_pem: SecretText::new(key.serialize_pem()),
        };
        Self { client: client(servers, Some(identity)), joined }
    }

    /// Reports what runs.
    pub(crate) async fn report(
        &self,
        sequence: u64,
        workloads: &[String],
    ) -> Result<Received, AskError> {
        let now = Timestamp::now();
        let seen = |workload: &String| SeenWorkload {
            workload: workload.parse().unwrap(),
            asked_for: Asked::On,
            in_effect: InEffect::Unknown,
            effective_by: None,
            effective_at: None,
            role: None,
            lease: None,
            first_seen: now,
        };
        let report = Report {
            boot: format!("boot-of-{}", self.joined.host),
            sequence,
            version: "0.1.0".parse().unwrap(),
            orders: None,
            workloads: workloads.iter().map(seen).collect(),
        };
        self.client.ask::<SendReport>(&(), &(), &report).await
    }

    /// Asks for a token.
    pub(crate) async fn token(&self, workload: &str, role: &str) -> Result<Minted, AskError> {
        let request =
            TokenRequest { workload: workload.parse().unwrap(), role: role.parse().unwrap() };
        self.client.ask::<MintToken>(&(), &(), &request).await
    }

    /// Waits for orders that are newer.
    pub(crate) async fn orders(&self, after: Option<u64>) -> Result<Option<Orders>, AskError> {
        let asked = OrdersAsked { after, wait_s: Some(api::Within::new(20).unwrap()) };
        let wait = std::time::Duration::from_secs(20);
        let orders: Option<SignedOrders> =
            self.client.wait::<ReadOrders>(&(), &asked, &(), wait).await?;
        Ok(orders.map(|signed| signed.read().unwrap()))
    }
}
