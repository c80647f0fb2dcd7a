//! What everybody may know of the issuer: its discovery document and its public keys, on a socket of their own,
//! so that it can be reached by AWS while the API is not.

use std::{io::BufReader, path::Path, sync::Arc};

use api::{Kind, Problem};
use http::{Method, Request};
use hyper::body::Incoming;
use rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::TcpListener;

use crate::{
    found::FoundError,
    http::{Door, Reply, accept, problem, public},
    server::Server,
};

/// Where the discovery document is, below the issuer's address.
/// [OpenID Connect Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig)
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Where the keys are; see `issuer::IssuerUrl::jwks_url`.
const JWKS: &str = "/.well-known/jwks.json";
/// For how long the documents may be kept, in seconds. A key is published for longer before it signs.
const KEPT_S: u32 = 300;

const _: () = assert!(issuer::KeyRing::<issuer::SigningKey>::LEAD.as_secs() > 2 * KEPT_S as u64);

/// Serves the documents until the server stops.
pub async fn serve(server: Arc<Server>, listener: TcpListener, door: Door) {
    let asked = Arc::clone(&server);
    accept(server, listener, door, move |_, request| {
        let reply = answer(&asked, &request);
        async move { reply }
    })
    .await;
}

fn answer(server: &Server, request: &Request<Incoming>) -> Reply {
    let refused = |kind, detail: &str| problem(&Problem::new(kind, detail), None);
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return refused(Kind::WrongMethod, "these documents can only be read");
    }
    let known = server.refresher.known();
    let Some(documents) = &known.documents else {
        return refused(Kind::Busy, "the issuer has no key yet");
    };
    // The issuer's address may have a path of its own, with or without it in front.
    let path = request.uri().path();
    if path.ends_with(DISCOVERY) {
        return public(documents.discovery.clone(), KEPT_S);
    }
    if path.ends_with(JWKS) {
        return public(documents.jwks.clone(), KEPT_S);
    }
    refused(
        Kind::NotFound,
        "there are `/.well-known/openid-configuration` and the keys that it names",
    )
}

/// TLS with the certificate and key in two files.
///
/// # Errors
/// When one cannot be read or used.
pub fn tls(certificate: &Path, key: &Path) -> Result<ServerConfig, FoundError> {
    let wrong = |path: &Path, why: String| FoundError::File {
        path: path.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, why),
    };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| FoundError::File { path, source }
    };
    let file = std::fs::File::open(certificate).map_err(failed(certificate))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(BufReader::new(file)).collect();
    let chain = chain.map_err(|error| wrong(certificate, error.to_string()))?;
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
    let mut config = config.map_err(|error| wrong(certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
