//! The practice cloud as a whole, and that every client works in it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, helpers included"
)]

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use practice::clients::{Answer, Client, Errand};
use practice::cloud::{ApplicationAccount, Cloud, Layout};
use practice::program::{Finished, Invocation};
use practice::tools::Tools;

/// A cloud in a folder of its own, which goes with it.
struct Stage {
    tools: Tools,
    cloud: Cloud,
    folder: PathBuf,
}

impl Stage {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("practice-{name}-{}", std::process::id()));
        let tools = Tools::find();
        let layout = Layout::new(Ipv4Addr::LOCALHOST.into(), &folder)
            .issuer("https://issuer.example", &folder);
        let cloud = Cloud::start(&tools, &layout).unwrap();
        Self { tools, cloud, folder }
    }

    /// With the host's key in the environment: no door of the agent is used.
    fn errand(&self) -> Errand {
        let errand = Errand::new(self.cloud.endpoint(), "eu-west-1", &self.folder).unwrap();
        self.cloud
            .host()
            .environment()
            .into_iter()
            .fold(errand, |errand, (name, value)| errand.env(name, &value))
    }

    /// With the lent role of an application, as the host may have it.
    fn lent(&self, application: &ApplicationAccount) -> Errand {
        let arguments =
            ["sts", "assume-role", "--role-session-name", "one", "--output", "json", "--role-arn"];
        let said = Invocation::new(self.tools.aws().unwrap())
            .args(arguments)
            .args([&application.lent_role_arn, "--external-id", &application.external_id])
            .envs(self.cloud.host().environment())
            .env("AWS_ENDPOINT_URL", self.cloud.endpoint())
            .env("AWS_DEFAULT_REGION", "eu-west-1")
            .run(LIMIT)
            .and_then(Finished::success)
            .unwrap();
        let got: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        let word = |name: &str| got["Credentials"][name].as_str().unwrap().to_owned();
        Errand::new(self.cloud.endpoint(), "eu-west-1", &self.folder)
            .unwrap()
            .bucket(&application.bucket)
            .env("AWS_ACCESS_KEY_ID", &word("AccessKeyId"))
            .env("AWS_SECRET_ACCESS_KEY", &word("SecretAccessKey"))
            .env("AWS_SESSION_TOKEN", &word("SessionToken"))
    }

    #[track_caller]
    fn check(&self, client: Client) -> Answer {
        let answer = client.run(&self.tools, &self.errand(), &|it| it, LIMIT).unwrap();
        assert_eq!(answer.client, client.name());
        assert_eq!(answer.account, "111111111111");
        assert_eq!(answer.arn, self.cloud.host().arn);
        answer
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn every_client_tells_who_it_is() {
    let stage = Stage::new("clients");
    for client in Client::ALL {
        let started = std::time::Instant::now();
        let answer = stage.check(client);
        println!("{client}: {} ms", started.elapsed().as_millis());
        let id = &stage.cloud.host().access_key_id;
        assert_eq!(answer.access_key_id.as_ref(), (client != Client::Cli).then_some(id));
    }
    let calls = stage.cloud.sts_calls().unwrap();
    assert_eq!(
        calls.iter().filter(|call| call.action == "GetCallerIdentity" && call.allowed()).count(),
        6
    );
}

#[test]
fn every_client_stores_an_object_in_its_own_account_and_in_no_other() {
    let stage = Stage::new("objects");
    let [orders, billing] = stage.cloud.applications() else { panic!("two applications") };
    let errand = stage.lent(orders);
    for client in Client::ALL {
        let answer = client.run(&stage.tools, &errand, &|it| it, LIMIT).unwrap();
        assert_eq!(
            (answer.account.as_str(), answer.arn.as_str()),
            ("222222222222", "arn:aws:sts::222222222222:assumed-role/orders-lent/one")
        );
        // The Rust client stores nothing.
        let stored = (client != Client::Rust)
            .then(|| (orders.bucket.clone(), format!("practice/{client}.txt")));
        assert_eq!(answer.bucket.zip(answer.object), stored, "{client}");
    }
    let refused =
        Client::Go.run(&stage.tools, &errand.bucket(&billing.bucket), &|it| it, LIMIT).unwrap_err();
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");
}

#[test]
fn the_accounts_are_made_and_their_buckets_are_shut_to_the_host() {
    let stage = Stage::new("accounts");
    let orders = stage.cloud.application("orders").unwrap();
    assert_eq!(orders.role_arn.as_deref(), Some("arn:aws:iam::222222222222:role/orders"));
    assert_eq!(orders.lent_role_arn, "arn:aws:iam::222222222222:role/orders-lent");
    let errand = stage.errand().bucket(&orders.bucket);
    let refused = Client::Go.run(&stage.tools, &errand, &|it| it, LIMIT).unwrap_err().to_string();
    assert!(refused.contains("AccessDenied"), "{refused}");
}

#[test]
fn a_client_that_repeats_keeps_answering() {
    let stage = Stage::new("repeat");
    let every = Duration::from_millis(1);
    let mut running =
        Client::Python.start(&stage.tools, &stage.errand(), &|it| it, 3, every).unwrap();
    for _ in 0..3 {
        let answer = Answer::parse(&running.line(LIMIT, |_| true).unwrap()).unwrap();
        assert_eq!(answer.account, "111111111111");
    }
    running.wait(LIMIT).unwrap().success().unwrap();
}

#[test]
fn a_trust_policy_can_be_changed_and_a_bad_one_is_refused() {
    let stage = Stage::new("trust");
    let role = &stage.cloud.application("orders").unwrap().lent_role_arn;
    let nobody = serde_json::json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Deny", "Principal": { "AWS": "*" }, "Action": "sts:AssumeRole" }
    ] });
    stage.cloud.set_trust(role, &nobody).unwrap();
    let absent = "arn:aws:iam::222222222222:role/absent";
    let refused = stage.cloud.set_trust(absent, &nobody).unwrap_err().to_string();
    assert!(refused.contains("NoSuchEntity"), "{refused}");
}

#[test]
fn a_cloud_that_is_dropped_is_gone() {
    let stage = Stage::new("gone");
    let (gate, moto) = (stage.cloud.address().unwrap(), stage.cloud.moto());
    drop(stage);
    for address in [gate, moto] {
        assert!(std::net::TcpStream::connect(address).is_err(), "{address}");
    }
}

const LIMIT: Duration = Duration::from_secs(60);
