//! A deployment in a folder of its own: one replica in this process, and whoever asks it over real TLS.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use api::{Endpoint, JoinToken, Problem, agents, login};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jiff::{SignedDuration, Timestamp};
use ledger::Draft;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use server::{clock::Clock, config::Config, random, run::Replica, server::Server, sessions};
use state::{PersonRow, SessionRow};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// What a test waits for at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// A replica and the folder that it lives in. Dropped, it stops in order.
pub(crate) struct House {
    pub(crate) server: Arc<Server>,
    pub(crate) api: SocketAddr,
    pub(crate) issuer: SocketAddr,
    pub(crate) first_admin: String,
    ahead: Arc<AtomicI64>,
    runtime: Option<Runtime>,
    serving: Option<tokio::task::JoinHandle<()>>,
    folder: TempDir,
}

/// Asks over connections of its own.
pub(crate) type Asking = Client<HttpsConnector<HttpConnector>, Full<bytes::Bytes>>;

/// What came back.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A host: its id, and what it shows.
#[derive(Clone, Debug)]
pub(crate) struct HostIdentity {
    pub(crate) id: String,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

/// How somebody asks.
#[derive(Clone, Default)]
pub(crate) struct As<'a> {
    pub(crate) bearer: Option<&'a str>,
    pub(crate) host: Option<&'a HostIdentity>,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The kind of the problem; nothing where there is none.
    pub(crate) fn problem(&self) -> String {
        let problem = serde_json::from_slice::<Problem>(&self.body);
        problem.map(|problem| problem.kind.slug().to_owned()).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

impl House {
    /// A deployment that begins now; `rest` is put at the end of its file.
    pub(crate) fn new(rest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::within(folder, rest)
    }

    /// The replica that a folder belongs to.
    pub(crate) fn within(folder: TempDir, rest: &str) -> Self {
        let at = folder.path();
        let text = format!(
            "data = {:?}\nlisten = \"127.0.0.1:0\"\nnames = [\"localhost\", \"127.0.0.1\"]\n\
             [issuer]\nurl = \"http://issuer.test\"\nallow_http = true\nlisten = \"127.0.0.1:0\"\n\
             [log]\nrequests = {:?}\n{rest}",
            at.join("data"),
            at.join("requests.log"),
        );
        let config = Config::parse("server.toml", &text).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let ahead = Arc::new(AtomicI64::new(0));
        let clock = {
            let ahead = Arc::clone(&ahead);
            Clock::saying(move || {
                Timestamp::now() + SignedDuration::from_secs(ahead.load(Ordering::Relaxed))
            })
        };
        let replica = runtime.block_on(Replica::open(config, clock)).unwrap();
        let (server, api) = (Arc::clone(&replica.server), replica.api);
        let issuer = replica.issuer.unwrap();
        let first_admin = replica.first_admin.as_ref().map(|token| token.expose().clone());
        let serving = runtime.spawn(async move {
            replica.serve().await;
        });
        Self {
            server,
            api,
            issuer,
            first_admin: first_admin.unwrap_or_default(),
            ahead,
            runtime: Some(runtime),
            serving: Some(serving),
            folder,
        }
    }

    /// Lets the replica's clock jump ahead.
    pub(crate) fn later(&self, by: SignedDuration) {
        self.ahead.fetch_add(by.as_secs(), Ordering::Relaxed);
    }

    /// Stops the replica in order; what it kept is in the folder.
    pub(crate) fn stop(mut self) -> TempDir {
        self.end();
        let folder = tempfile::tempdir().unwrap();
        std::mem::replace(&mut self.folder, folder)
    }

    fn end(&mut self) {
        self.server.stop();
        if let (Some(runtime), Some(serving)) = (self.runtime.take(), self.serving.take()) {
            let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, serving).await });
            runtime.shutdown_timeout(Duration::from_secs(5));
            if !std::thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(future)
    }

    /// Asks over TLS.
    #[track_caller]
    pub(crate) fn ask(
        &self,
        who: &As<'_>,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Said {
        self.try_ask(who, method, target, body).unwrap()
    }

    pub(crate) fn try_ask(
        &self,
        who: &As<'_>,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Said, String> {
        let client = self.client(who.host);
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("https://localhost:{}{target}", self.api.port()));
        if let Some(token) = who.bearer {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in &who.headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        let request = request.body(Full::new(body.into())).unwrap();
        self.wait(async {
            let asked = async {
                let response =
                    client.request(request).await.map_err(|error| format!("{error:?}"))?;
                let (head, body) = response.into_parts();
                let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
                Ok(Said { status: head.status, headers: head.headers, body: body.to_vec() })
            };
            tokio::time::timeout(PATIENCE, asked).await.unwrap()
        })
    }

    /// A client with a connection of its own.
    pub(crate) fn client(&self, host: Option<&HostIdentity>) -> Asking {
        let mut roots = RootCertStore::empty();
        roots.add(self.server.authority.certificate().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match host {
            None => config.with_no_client_auth(),
            Some(host) => {
                let chain =
                    CertificateDer::from_pem_slice(host.certificate_pem.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(host.key_pem.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_all_versions();
        Client::builder(TokioExecutor::new()).build(connector.build())
    }

    /// Signs in as the first admin, once.
    pub(crate) fn admin(&self) -> String {
        let asked = json!({ "token": self.first_admin });
        let target = <login::LoginByToken as Endpoint>::PATH;
        let said = self.ask(&As::default(), Method::POST, target, Some(&asked));
        assert_eq!(said.status, StatusCode::OK, "{}", said.problem());
        said.json()["token"].as_str().unwrap().to_owned()
    }

    /// A session of somebody who is in these groups, as if a provider had said so.
    pub(crate) fn person(&self, id: &str, groups: &[&str]) -> String {
        let token = random::secret(login::SESSION_PREFIX).unwrap().expose().clone();
        let now = self.server.clock.now();
        self.wait(async {
            let mut act = self.server.state.act().await.unwrap();
            let draft = Draft::new("test", "test.person-made", id, json!({})).unwrap();
            act.record(draft, now).await.unwrap();
            let body = json!({ "name": id, "claimed": groups }).to_string();
            let (person, last_login) = (id.to_owned(), Some(now));
            act.put_person(&PersonRow { person, body, disabled: None, last_login }).await.unwrap();
            let row = SessionRow {
                hash: random::hash(&token),
                person: id.to_owned(),
                created: now,
                used: now,
                expires: now + sessions::LIFE,
                body: "{}".to_owned(),
            };
            act.put_session(&row).await.unwrap();
            act.commit(now).await.unwrap();
        });
        token
    }

    /// Lets a host join by a token that an admin makes.
    pub(crate) fn host(&self, admin: &str) -> HostIdentity {
        let who = As { bearer: Some(admin), ..As::default() };
        let made = self.ask(&who, Method::POST, "/v1/join-tokens", Some(&json!({})));
        assert_eq!(made.status, StatusCode::OK, "{:?}", made.problem());
        let token: JoinToken = made.json()["token"].as_str().unwrap().parse().unwrap();
        assert_eq!(token.pin(), self.server.authority.pin());
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let asked = json!({ "token": token, "csr_pem": csr, "version": "test" });
        let target = <agents::Join as Endpoint>::PATH;
        let joined = self.ask(&As::default(), Method::POST, target, Some(&asked));
        assert_eq!(joined.status, StatusCode::OK, "{:?}", joined.problem());
        let joined = joined.json();
        HostIdentity {
            id: joined["host"].as_str().unwrap().to_owned(),
            certificate_pem: joined["certificate_pem"].as_str().unwrap().to_owned(),
            key_pem: key.serialize_pem(),
        }
    }

    /// What the ledger says, entry by entry.
    pub(crate) fn ledger(&self) -> Vec<ledger::Entry> {
        self.wait(async {
            let mut reading = self.server.state.read().await.unwrap();
            reading.entries(0, 500).await.unwrap()
        })
    }

    /// How often the ledger has each event.
    pub(crate) fn events(&self) -> BTreeMap<String, usize> {
        let mut events = BTreeMap::new();
        for entry in self.ledger() {
            *events.entry(entry.event).or_default() += 1;
        }
        events
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.end();
    }
}
