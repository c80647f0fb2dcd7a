//! What the server shows, and whose certificates it takes.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::{default_provider, sign::any_supported_type},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use crate::authority::{Authority, ServerCertificate};

/// The certificate that the server shows now. Each replica makes its own and renews it as it runs.
pub struct OwnCertificate(RwLock<Arc<CertifiedKey>>);

impl OwnCertificate {
    /// Shows this one.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn new(certificate: ServerCertificate) -> Result<Self, rustls::Error> {
        Ok(Self(RwLock::new(certified(certificate)?)))
    }

    /// Shows this one from the next connection on.
    ///
    /// # Errors
    /// When the key cannot be used; then the old one stays.
    pub fn replace(&self, certificate: ServerCertificate) -> Result<(), rustls::Error> {
        let certified = certified(certificate)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }
}

impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnCertificate")
    }
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn certified(certificate: ServerCertificate) -> Result<Arc<CertifiedKey>, rustls::Error> {
    let key = any_supported_type(&certificate.key)?;
    Ok(Arc::new(CertifiedKey::new(certificate.chain, key)))
}

/// TLS as the API speaks it: clients may show a certificate of our authority; one of anybody else, or one
/// that has ended, makes no connection.
///
/// # Errors
/// When the authority's certificate cannot be used.
pub fn tls(authority: &Authority, own: Arc<OwnCertificate>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone())?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(own);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A session that is taken up again would not be asked for its certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
