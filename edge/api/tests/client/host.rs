//! A server that says what a test wants, over real TLS.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use api::{
    Problem,
    client::{Address, Identity},
    trust::Fingerprint,
};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use secret::SecretText;
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// An authority of its own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What is wrong with a server's certificate.
#[derive(Clone, Copy)]
pub(crate) enum Life {
    Now,
    Ended,
    OtherName,
}

/// What a server says.
#[derive(Clone)]
pub(crate) enum Says {
    Text(u16, &'static str, String),
    Empty,
    /// Whose certificate was shown.
    Subject,
    /// The same, when it is released.
    Held,
    /// The connection ends without an answer.
    Nothing,
}

impl Says {
    pub(crate) fn json(text: &str) -> Self {
        Self::Text(200, "application/json", text.to_owned())
    }

    pub(crate) fn problem(problem: &Problem) -> Self {
        let text = serde_json::to_string(problem).unwrap();
        Self::Text(problem.status, Problem::MEDIA_TYPE, text)
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two authorities with one name are two authorities all the same.
        params.distinguished_name.push(DnType::CommonName, "a test's authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_pem(&self.pem()).unwrap()
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate_pem = params.signed_by(&key, &self.0).unwrap().pem();
        Identity { certificate_pem, key_pem: SecretText::new(key.serialize_pem()) }
    }
}

/// A server that ends with its test.
pub(crate) struct Server {
    address: Address,
    leaf: CertificateDer<'static>,
    pub(crate) asked: Arc<AtomicUsize>,
    pub(crate) last: Arc<Mutex<String>>,
    pub(crate) bearer: Arc<Mutex<Option<String>>>,
    pub(crate) release: Arc<Semaphore>,
    arrived: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Each connection's requests get the answers in turn, the last one again and again.
    pub(crate) async fn start(authority: &Authority, life: Life, says: Vec<Says>) -> Self {
        Self::begin(authority, authority, life, says).await
    }

    /// A server whose certificate is of `signed_by` and that shows `shown` beside it.
    pub(crate) async fn showing(signed_by: &Authority, shown: &Authority, says: Vec<Says>) -> Self {
        Self::begin(signed_by, shown, Life::Now, says).await
    }

    async fn begin(by: &Authority, shown: &Authority, life: Life, says: Vec<Says>) -> Self {
        let name = if let Life::OtherName = life { "other.example" } else { "127.0.0.1" };
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if let Life::Ended = life {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 2);
        }
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &by.0).unwrap();
        let chain = vec![leaf.der().clone(), shown.0.der().clone()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(by.0.der().clone()).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let clients = clients.allow_unauthenticated().build().unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
        let desk = Desk {
            says: says.into(),
            asked: Arc::default(),
            last: Arc::default(),
            bearer: Arc::default(),
            release: Arc::new(Semaphore::new(0)),
            arrived: Arc::default(),
        };
        let task = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), desk.clone()));
        let Desk { asked, last, bearer, release, arrived, .. } = desk;
        let leaf = leaf.der().clone();
        Self { address, leaf, asked, last, bearer, release, arrived, task }
    }

    pub(crate) fn address(&self) -> Address {
        self.address.clone()
    }

    pub(crate) fn leaf(&self) -> &[u8] {
        &self.leaf
    }

    /// Waits until somebody waits for an answer.
    pub(crate) async fn was_asked(&self) {
        self.arrived.notified().await;
    }
}

#[derive(Clone)]
struct Desk {
    says: Arc<[Says]>,
    asked: Arc<AtomicUsize>,
    last: Arc<Mutex<String>>,
    bearer: Arc<Mutex<Option<String>>>,
    release: Arc<Semaphore>,
    arrived: Arc<Notify>,
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, desk: Desk) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, desk) = (acceptor.clone(), desk.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let subject = stream.get_ref().1.peer_certificates().map(|chain| subject(&chain[0]));
            let subject = subject.unwrap_or_else(|| "nobody".to_owned());
            let answer = service_fn(move |request| {
                let (desk, subject) = (desk.clone(), subject.clone());
                async move { desk.answer(request, &subject).await }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

/// The name in a certificate, which a test's certificate has nowhere else.
fn subject(certificate: &CertificateDer<'_>) -> String {
    let text = String::from_utf8_lossy(certificate);
    let at = text.rfind("host-").expect("a test's host has a name");
    text[at..at + "host-1".len()].to_owned()
}

impl Desk {
    async fn answer(
        &self,
        request: Request<Incoming>,
        subject: &str,
    ) -> Result<Response<Full<Bytes>>, io::Error> {
        let turn = self.asked.fetch_add(1, Ordering::Relaxed);
        *self.last.lock().unwrap() =
            format!("{} {}", request.method(), request.uri().path_and_query().unwrap());
        *self.bearer.lock().unwrap() = request
            .headers()
            .get(header::AUTHORIZATION)
            .map(|value| value.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await;
        assert!(body.is_ok(), "the request has a body that can be read");
        self.arrived.notify_one();
        let me = || {
            let person = format!(r#"{{"id":"{subject}","name":"{subject}","groups":[]}}"#);
            format!(r#"{{"person":{person},"expires":"2026-01-01T00:00:00Z","actions":[]}}"#)
        };
        Ok(match self.says.get(turn).or(self.says.last()).unwrap() {
            Says::Text(status, media_type, text) => respond(*status, media_type, text.clone()),
            Says::Empty => Response::builder().status(204).body(Full::default()).unwrap(),
            Says::Subject => respond(200, "application/json", me()),
            Says::Held => {
                self.release.acquire().await.unwrap().forget();
                respond(200, "application/json", me())
            }
            Says::Nothing => return Err(io::Error::other("the connection ends")),
        })
    }
}

fn respond(status: u16, media_type: &str, text: String) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, media_type);
    response.body(Full::new(Bytes::from(text))).unwrap()
}
