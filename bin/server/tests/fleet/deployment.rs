//! Three replicas over one database.

use std::{fs, sync::Arc};

use api::agents::Asked;
use practice::{
    postgres::Postgres,
    server::{self, Plan, Server},
    tools::Tools,
};
use tempfile::TempDir;

use crate::{host::Host, operator::Operator};

/// The role that everything is bound to.
pub(crate) const ROLE: &str = "arn:aws:iam::222222222222:role/orders";

/// Replicas and their database. Dropped, all of it is gone.
pub(crate) struct Deployment {
    pub(crate) servers: Vec<Server>,
    pub(crate) postgres: Postgres,
    _folder: TempDir,
}

impl Deployment {
    /// Starts so many replicas, one after the other; `None`, and a reason printed, where there is no
    /// PostgreSQL.
    pub(crate) fn start(replicas: usize) -> Option<Self> {
        let postgres = match Postgres::start(&Tools::find()) {
            Ok(postgres) => postgres,
            Err(error) => {
                println!("skipped: {error}");
                return None;
            }
        };
        let url = postgres.database().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let servers = (0..replicas).map(|number| {
            let home = server::replica(folder.path(), number);
            let plan = Plan::new(practice::agent::built("rolecall-server").unwrap(), home).unwrap();
            let key = plan.data().join("server.key");
            fs::create_dir_all(plan.data()).unwrap();
            // The replicas of one deployment share one key file; it opens what is sealed in the database.
            if let Some(first) = (number > 0).then(|| server::replica(folder.path(), 0)) {
                fs::copy(first.join("data/server.key"), &key).unwrap();
            } else {
                fs::write(&key, [7; 32]).unwrap();
            }
            own(&plan.data(), 0o700);
            own(&key, 0o600);
            plan.write("http://issuer.rolecall.example", &format!("[database]\nurl = {url:?}\n"))
                .unwrap();
            plan.start().unwrap()
        });
        let servers = servers.collect();
        Some(Self { servers, postgres, _folder: folder })
    }

    /// All replicas, beginning with one of them.
    pub(crate) fn from(&self, first: usize) -> Vec<&Server> {
        let count = self.servers.len();
        (0..count).map(|number| &self.servers[(first + number) % count]).collect()
    }

    /// Everything that so many hosts need to ask for tokens: each runs one workload of `orders/prod`.
    pub(crate) async fn hosts(&self, count: u32) -> (Operator, Vec<Arc<Host>>) {
        let admin = Operator::first(&self.servers[0]).await;
        let reviewer = Operator::another(&self.servers[0], "reviewer").await;
        admin.let_all_run().await;
        admin.bind(&reviewer, "orders", ROLE).await;
        admin.flip(api::switch::Scope::default(), Asked::On).await;
        let token = admin.join_token(count).await;
        let mut hosts = Vec::new();
        for number in 0..count {
            let host = Host::join(&self.from(number as usize), &token).await;
            host.report(1, &[workload(number)]).await.unwrap();
            hosts.push(Arc::new(host));
        }
        (admin, hosts)
    }
}

/// The workload that a host runs.
pub(crate) fn workload(host: u32) -> String {
    format!("orders/prod/{host}")
}

fn own(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
