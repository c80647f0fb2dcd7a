//! By what a server is known, and how a host shows who it is.

use std::sync::Arc;

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use secret::SecretText;

use crate::trust::{Fingerprint, Pin};

/// By what the server is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// By authorities, as PEM: the server's own, or that of a proxy in front of it.
    Authority(String),
    /// By the pin of its authority, which a join token holds: for the first connection of a host. The server
    /// must show its authority beside its own certificate.
    Pin(Pin),
    /// By the whole fingerprint of its authority: for the first sign-in of a person.
    Fingerprint(Fingerprint),
}

/// What a host shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its certificate, and what leads from it to the authority, as PEM.
    pub certificate_pem: String,
    /// The private key, as PEM.
    pub key_pem: SecretText,
}

/// The settings cannot be used. Who wrote them must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// There is no address.
    #[error("there must be at least one server's address")]
    NoAddress,
    /// The authority is no certificate.
    #[error("the server's authority must be a certificate as PEM: {0}")]
    Authority(String),
    /// The certificate or its key cannot be used.
    #[error("the client certificate and its key cannot be used: {0}")]
    Identity(String),
    /// The session's token holds what no header can.
    #[error("the session's token has a character that none has; sign in again")]
    Bearer,
    /// TLS cannot be set up.
    #[error("tls cannot be set up: {0}")]
    Tls(String),
}

pub(super) fn config(
    trust: &Trust,
    identity: Option<&Identity>,
) -> Result<ClientConfig, InvalidSettings> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| InvalidSettings::Tls(error.to_string()))?;
    let builder = match trust {
        Trust::Authority(pem) => builder.with_root_certificates(authorities(pem)?),
        Trust::Pin(pin) => builder
            .dangerous()
            .with_custom_certificate_verifier(Pinned::verifier(Mark::Pin(*pin), provider)),
        Trust::Fingerprint(whole) => builder
            .dangerous()
            .with_custom_certificate_verifier(Pinned::verifier(Mark::Whole(*whole), provider)),
    };
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let wrong = |error: &dyn ToString| InvalidSettings::Identity(error.to_string());
    let chain = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.expose().as_bytes())
        .map_err(|error| wrong(&error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| wrong(&error))
}

fn authorities(pem: &str) -> Result<RootCertStore, InvalidSettings> {
    let wrong = |error: &dyn ToString| InvalidSettings::Authority(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"there is none"));
    }
    Ok(roots)
}

/// What an authority is known by.
#[derive(Clone, Copy, Debug)]
enum Mark {
    Pin(Pin),
    Whole(Fingerprint),
}

impl Mark {
    fn fits(self, certificate: &CertificateDer<'_>) -> bool {
        let whole = Fingerprint::of_der(certificate);
        match self {
            Self::Pin(pin) => whole.pin() == pin,
            Self::Whole(wanted) => whole == wanted,
        }
    }
}

/// Trusts exactly the chain whose authority has the mark.
#[derive(Debug)]
struct Pinned {
    mark: Mark,
    provider: Arc<CryptoProvider>,
}

/// No certificate that was shown is the authority that was asked for.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("none of the certificates that it shows is the authority with the expected fingerprint")]
pub(super) struct Stranger;

impl Pinned {
    fn verifier(mark: Mark, provider: Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Self { mark, provider })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let stranger = || CertificateError::Other(rustls::OtherError(Arc::new(Stranger)));
        let authority = intermediates.iter().find(|shown| self.mark.fits(shown));
        let authority = authority.ok_or_else(stranger)?;
        // From here on it is the authority and nothing else is, as if a file had named it.
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
