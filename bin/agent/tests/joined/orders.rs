//! Orders that a test writes itself.

use api::{
    agents::Asked,
    orders::{OrderedPosition, Orders},
};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    fake::{Deployment, HOST, Server},
    host::Host,
};

/// An address at which no STS is.
pub(crate) const NO_STS: &str = "http://127.0.0.1:9";

/// A host that has joined.
pub(crate) fn joined(deployment: &Deployment, server: &Server) -> Host {
    let host = Host::new(server.address, NO_STS);
    host.join(deployment.token().expose(), &[]).success().unwrap();
    host
}

pub(crate) fn orders(revision: u64, positions: Vec<OrderedPosition>) -> Orders {
    let binding = json!({
        "application": "orders", "environment": "prod", "version": 1,
        "role": "arn:aws:iam::222222222222:role/orders",
        "audience": "sts.amazonaws.com", "duration_minutes": 60,
        "match": { "netns": "orders-*" },
    });
    Orders {
        host: HOST.to_owned(),
        revision,
        issued: Timestamp::now(),
        region: None,
        labels: [].into(),
        bindings: vec![serde_json::from_value(binding).unwrap()],
        positions,
    }
}

fn position(id: u64, position: Asked) -> OrderedPosition {
    let (scope, set) = (api::orders::Scope::default(), Timestamp::now());
    let percent = api::switch::ALL;
    OrderedPosition { id, scope, position, percent, set, expires: None, reason: None }
}

/// On for everybody.
pub(crate) fn on(id: u64) -> OrderedPosition {
    position(id, Asked::On)
}

/// Off for everybody.
pub(crate) fn off(id: u64) -> OrderedPosition {
    position(id, Asked::Off)
}

impl Deployment {
    /// What the host said last of the switch of its workload.
    pub(crate) fn asked(&self) -> Option<Asked> {
        self.state().report.as_ref()?.workloads.first().map(|seen| seen.asked_for)
    }
}
