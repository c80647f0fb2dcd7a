//! A fake of the server, over real TLS: it says what a test wants, which the real one never would.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use api::{
    Endpoint, JoinToken, Kind, Problem,
    agents::{
        Join, JoinRequest, Joined, MintToken, ReadOrders, Received, Renew, RenewRequest, Report,
        SendReport, TokenRequest,
    },
    orders::{Orders, SignedOrders},
    trust::Fingerprint,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa,
    KeyPair,
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use secret::SecretText;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::TlsAcceptor;

/// The host that everybody becomes who joins.
pub(crate) const HOST: &str = "h-1";

/// An authority, and the key of its orders.
pub(crate) struct Deployment {
    authority: CertifiedIssuer<'static, KeyPair>,
    orders: EcdsaKeyPair,
    state: Mutex<State>,
    told: watch::Sender<Option<SignedOrders>>,
}

/// What it was asked and what it says.
#[derive(Default)]
pub(crate) struct State {
    /// The last report.
    pub(crate) report: Option<Report>,
    pub(crate) reports: usize,
    /// What tokens were asked for.
    pub(crate) minted: Vec<TokenRequest>,
    /// What is said to whoever asks for a token.
    pub(crate) refuses: Vec<Kind>,
    /// Whether the host was revoked.
    pub(crate) revoked: bool,
    /// In how many seconds a certificate shall be renewed.
    pub(crate) renew_in_s: i64,
    /// The certificates that were shown.
    pub(crate) shown: Vec<Vec<u8>>,
    /// How many certificates were asked for.
    pub(crate) renewals: usize,
}

/// One server of a deployment. Dropped, it is gone, and its connections with it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Deployment {
    pub(crate) fn new() -> Arc<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let orders = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap();
        let state = Mutex::new(State { renew_in_s: 3600, ..State::default() });
        Arc::new(Self { authority, orders, state, told: watch::channel(None).0 })
    }

    /// A token by which a host may join.
    pub(crate) fn token(&self) -> SecretText {
        let pin = Fingerprint::of_pem(&self.authority.pem()).unwrap().pin();
        let secret = SecretText::new("AAECAwQFBgcICQoLDA0ODw".to_owned());
        JoinToken::new("t1", secret, pin).unwrap().to_secret()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Gives orders to whoever waits.
    pub(crate) fn order(&self, orders: &Orders) {
        let text = orders.to_text().unwrap();
        let message = SignedOrders::message(&text);
        let signature = self.orders.sign(&SystemRandom::new(), &message).unwrap();
        let signature = URL_SAFE_NO_PAD.encode(signature);
        self.order_as(SignedOrders { orders: text, key: "k1".to_owned(), signature });
    }

    /// Gives orders as they are.
    pub(crate) fn order_as(&self, signed: SignedOrders) {
        self.told.send_replace(Some(signed));
    }

    /// What was said last.
    pub(crate) fn said(&self) -> SignedOrders {
        self.told.borrow().clone().unwrap()
    }

    /// Starts a server at a free port, or at one that is known.
    pub(crate) fn serve(self: &Arc<Self>, at: Option<SocketAddr>) -> Server {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let at = at.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = runtime.block_on(TcpListener::bind(at)).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(accept(Arc::clone(self), listener, TlsAcceptor::from(self.tls())));
        Server { address, runtime: Some(runtime) }
    }

    fn tls(&self) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &self.authority).unwrap();
        let chain = vec![leaf.der().clone(), self.authority.der().clone()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    fn joined(&self, csr_pem: &str) -> Joined {
        let request = CertificateSigningRequestParams::from_pem(csr_pem).unwrap();
        let point = self.orders.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (text(&point[1..33]), text(&point[33..]));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "k1", "x": x, "y": y });
        let (now, renew_in) =
            (Timestamp::now(), SignedDuration::from_secs(self.state().renew_in_s));
        Joined {
            host: HOST.to_owned(),
            name: "one".to_owned(),
            certificate_pem: request.signed_by(&self.authority).unwrap().pem(),
            ca_pem: self.authority.pem(),
            expires: now + SignedDuration::from_hours(24),
            renew_after: now + renew_in,
            orders_keys: vec![jwk.as_object().unwrap().clone()],
            region: Some("eu-west-1".parse().unwrap()),
            labels: [("pool".to_owned(), "web".to_owned())].into(),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = head.uri.path();
        if path == Join::PATH {
            let JoinRequest { token, csr_pem, .. } = read(&body);
            return if token.to_secret() == self.token() {
                said(&self.joined(&csr_pem))
            } else {
                problem(Kind::JoinRefused)
            };
        }
        if self.state().revoked {
            return problem(Kind::Revoked);
        }
        match path {
            Renew::PATH => {
                let RenewRequest { csr_pem } = read(&body);
                self.state().renewals += 1;
                said(&self.joined(&csr_pem))
            }
            SendReport::PATH => {
                let mut state = self.state();
                state.report = Some(read(&body));
                state.reports += 1;
                said(&Received { revision: 0 })
            }
            MintToken::PATH => {
                let mut state = self.state();
                state.minted.push(read(&body));
                let kind = state.refuses.first().copied().unwrap_or(Kind::Internal);
                if state.refuses.len() > 1 {
                    state.refuses.remove(0);
                }
                problem(kind)
            }
            ReadOrders::PATH => {
                let query = head.uri.query().unwrap_or_default();
                let after = query.split('&').find_map(|pair| pair.strip_prefix("after="));
                self.orders(after.map(|after| after.parse().unwrap())).await
            }
            _ => problem(Kind::NotFound),
        }
    }

    async fn orders(&self, after: Option<u64>) -> Response<Full<Bytes>> {
        let newer = |signed: &Option<SignedOrders>| {
            let revision =
                signed.as_ref().map(|signed| signed.read().map_or(u64::MAX, |o| o.revision));
            revision > after
        };
        let mut told = self.told.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(25), told.wait_for(newer)).await;
        match waited {
            Ok(signed) => said(&*signed.unwrap()),
            Err(_) => Response::builder().status(204).body(Full::default()).unwrap(),
        }
    }
}

async fn accept(deployment: Arc<Deployment>, listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        let (deployment, acceptor) = (Arc::clone(&deployment), acceptor.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            if let Some(chain) = stream.get_ref().1.peer_certificates() {
                deployment.state().shown.push(chain[0].to_vec());
            }
            let answer = service_fn(move |request| {
                let deployment = Arc::clone(&deployment);
                async move { Ok::<_, io::Error>(deployment.answer(request).await) }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> T {
    serde_json::from_slice(body).unwrap()
}

fn said<T: Serialize>(answer: &T) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(answer).unwrap();
    let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
    response.body(Full::from(body)).unwrap()
}

fn problem(kind: Kind) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(&Problem::new(kind, format!("the fake says {kind}"))).unwrap();
    let response =
        Response::builder().status(kind.status()).header(header::CONTENT_TYPE, Problem::MEDIA_TYPE);
    response.body(Full::from(body)).unwrap()
}
