//! The server's own certificate authority: the only one that agents trust.
//!
//! It makes two kinds of certificates. The server's own one is made anew in memory by each replica, from
//! the authority's key. A host's one says nothing but which host it is, `rolecall:host/<id>`; what the host
//! asked for beside its key is not looked at.

use std::{net::IpAddr, time::Duration};

use api::{Problem, trust::Pin};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use ring::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use secret::SecretBytes;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// How long the authority lives.
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(24 * 365 * 20);
/// How long a server's own certificate lives.
const SERVER_LIFE: SignedDuration = SignedDuration::from_hours(24 * 30);
/// After how long a server makes itself another one.
pub const SERVER_RENEW: Duration = Duration::from_hours(24 * 10);
/// How long a host's certificate lives.
pub const HOST_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// After how long a host should ask for another one: then it can do without a server for the other half.
pub const HOST_RENEW: SignedDuration = SignedDuration::from_hours(12);
/// How far the clock of whoever checks may be behind.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// The longest certificate signing request that is looked at, in bytes.
const CSR_MAX: usize = 16 * 1024;
/// What the name in a host's certificate begins with.
const HOST: &str = "rolecall:host/";

const _: () = assert!(HOST_RENEW.as_secs() * 2 <= HOST_LIFE.as_secs());

/// The authority and its private key.
#[derive(Debug)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

/// What a server shows at its door.
#[derive(Debug)]
pub struct ServerCertificate {
    /// The server's certificate, and the authority's behind it.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

/// A host's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCertificate {
    /// The certificate, as PEM.
    pub pem: String,
    /// When it ends.
    pub expires: Timestamp,
    /// When it should be renewed.
    pub renew_after: Timestamp,
}

/// Whom a client's certificate names. That our authority signed it was checked when the connection was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The host's id.
    pub host: String,
    /// When the certificate ends.
    pub expires: Timestamp,
}

/// The authority cannot be made, read or used. The server's operator must act.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate cannot be made.
    #[error("cannot make a certificate for {what}: {source}")]
    Unmade {
        /// For whom.
        what: String,
        /// What is wrong.
        source: rcgen::Error,
    },
    /// What the database holds is not an authority.
    #[error("the authority in the database is damaged: {0}; restore the database")]
    Damaged(String),
}

impl Authority {
    /// Makes another authority. Every agent must join anew then, so it is done once per deployment.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn make(now: Timestamp) -> Result<Self, AuthorityError> {
        let unmade = |source| AuthorityError::Unmade { what: "the authority".to_owned(), source };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unmade)?;
        let mut params = lives(now, AUTHORITY_LIFE);
        params.distinguished_name = named("Rolecall authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(unmade)?;
        let pem = certificate.pem();
        Ok(Self { certificate: certificate.into(), pem, key })
    }

    /// Reads an authority out of its certificate (PEM) and its private key (PKCS #8).
    ///
    /// # Errors
    /// When one of them is damaged, or they do not belong together.
    pub fn restore(pem: &str, key: &SecretBytes) -> Result<Self, AuthorityError> {
        let damaged = |reason: String| AuthorityError::Damaged(reason);
        let (_, parsed) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
            .map_err(|error| damaged(error.to_string()))?;
        let pkcs8 = PrivatePkcs8KeyDer::from(key.expose().as_slice());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ECDSA_P256_SHA256);
        let key = key.map_err(|error| damaged(error.to_string()))?;
        let (_, certificate) = X509Certificate::from_der(&parsed.contents)
            .map_err(|error| damaged(error.to_string()))?;
        if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(damaged("certificate and key do not belong together".to_owned()));
        }
        Ok(Self { certificate: parsed.contents.into(), pem: pem.to_owned(), key })
    }

    /// The certificate, as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The private key (PKCS #8), for the database, sealed.
    pub fn private_key(&self) -> SecretBytes {
        SecretBytes::new(self.key.serialize_der())
    }

    /// `sha256:` and the SHA-256 of the certificate in hexadecimal digits, for people to compare.
    pub fn fingerprint(&self) -> String {
        let hash = digest(&SHA256, &self.certificate);
        hash.as_ref().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
    }

    /// By what a host that joins knows the authority.
    pub fn pin(&self) -> Pin {
        let hash = digest(&SHA256, &self.certificate);
        let (start, _) = hash.as_ref().split_first_chunk().unwrap_or((&[0; 16], &[]));
        Pin::from(*start)
    }

    /// A certificate for a server with these names.
    ///
    /// # Errors
    /// When a name cannot stand in one, or the system has no randomness.
    pub fn server(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<ServerCertificate, AuthorityError> {
        let unmade = |source| AuthorityError::Unmade { what: format!("`{names:?}`"), source };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unmade)?;
        let mut params = lives(now, SERVER_LIFE);
        params.distinguished_name = named("Rolecall server");
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse::<IpAddr>() {
                Ok(address) => Ok(SanType::IpAddress(address)),
                Err(_) => name.as_str().try_into().map(SanType::DnsName),
            })
            .collect::<Result<_, _>>()
            .map_err(unmade)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate =
            params.signed_by(&key, &self.issuer().map_err(unmade)?).map_err(unmade)?;
        Ok(ServerCertificate {
            chain: vec![certificate.into(), self.certificate.clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }

    /// A certificate for the key of a host's certificate signing request. Nothing else of the request is
    /// looked at.
    ///
    /// # Errors
    /// When it is no request, is not signed by its key, or the key is not on P-256: the caller must mend it.
    pub fn host(
        &self,
        host: &str,
        csr_pem: &str,
        now: Timestamp,
    ) -> Result<HostCertificate, Problem> {
        let refused = |reason: String| {
            Problem::invalid("the certificate signing request cannot be used")
                .with_field("csr_pem", reason)
        };
        if csr_pem.len() > CSR_MAX {
            return Err(refused(format!("must be at most {CSR_MAX} bytes long")));
        }
        let request = CertificateSigningRequestParams::from_pem(csr_pem);
        let request = request.map_err(|error| refused(error.to_string()))?;
        let key = request.public_key;
        if rcgen::PublicKeyData::algorithm(&key) != &PKCS_ECDSA_P256_SHA256 {
            return Err(refused("the key must be an elliptic one on P-256".to_owned()));
        }
        let mut params = lives(now, HOST_LIFE);
        params.distinguished_name = named(host);
        let uri = format!("{HOST}{host}").try_into().map_err(|_| refused("no host".to_owned()))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let issuer = self.issuer().map_err(|error| refused(error.to_string()))?;
        let certificate = params.signed_by(&key, &issuer);
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        let (expires, renew_after) =
            (whole_second(now + HOST_LIFE), whole_second(now + HOST_RENEW));
        Ok(HostCertificate { pem: certificate.pem(), expires, renew_after })
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, rcgen::Error> {
        Issuer::from_ca_cert_der(&self.certificate, &self.key)
    }
}

impl Shown {
    /// Reads whom a certificate names; `None` where it is not a host's.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else { return None };
        let host = uri.strip_prefix(HOST).filter(|host| !host.is_empty())?;
        let expires = certificate.validity().not_after.timestamp();
        Some(Self { host: host.to_owned(), expires: Timestamp::from_second(expires).ok()? })
    }
}

/// What every certificate has: a life, and its issuer's name for its key.
fn lives(now: Timestamp, life: SignedDuration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date(now - SKEW);
    params.not_after = date(now + life);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn date(at: Timestamp) -> time::OffsetDateTime {
    // Both count from 1970 and reach further than certificates do.
    time::OffsetDateTime::from_unix_timestamp(at.as_second())
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

/// Certificates know whole seconds.
fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00.25Z".parse().unwrap()
    }

    fn request(params: &CertificateParams, key: &KeyPair) -> String {
        params.serialize_request(key).unwrap().pem().unwrap()
    }

    #[test]
    fn an_authority_comes_back_from_what_is_kept() {
        let made = Authority::make(now()).unwrap();
        let restored = Authority::restore(made.pem(), &made.private_key()).unwrap();
        assert_eq!(made.fingerprint(), restored.fingerprint());
        assert!(made.fingerprint().starts_with(&format!("sha256:{}", made.pin())));
        let other = Authority::make(now()).unwrap();
        assert!(Authority::restore(made.pem(), &other.private_key()).is_err());
    }

    #[test]
    fn a_host_gets_the_name_that_the_server_gave_it_and_no_other() {
        let authority = Authority::make(now()).unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut wanted = CertificateParams::new(vec!["rolecall.example.com".to_owned()]).unwrap();
        wanted.subject_alt_names.push(SanType::URI("rolecall:host/other".try_into().unwrap()));
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let made = authority.host("h1", &request(&wanted, &key), now()).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(made.pem.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        assert!(!certificate.is_ca());
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth);
        let shown = Shown::read(&pem.contents.clone().into()).unwrap();
        assert_eq!(shown, Shown { host: "h1".to_owned(), expires: made.expires });
        assert_eq!(certificate.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
        let (_, authority) = X509Certificate::from_der(authority.certificate()).unwrap();
        certificate.verify_signature(Some(authority.public_key())).unwrap();
    }

    #[track_caller]
    fn check(csr_pem: &str) {
        let authority = Authority::make(now()).unwrap();
        let problem = authority.host("h1", csr_pem, now()).unwrap_err();
        assert_eq!(problem.status, 422, "{problem}");
    }

    #[test]
    fn what_is_no_request_of_a_p_256_key_is_refused() {
        check("");
        check(&"a".repeat(CSR_MAX + 1));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        check(&key.serialize_pem());
        let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        check(&request(&CertificateParams::default(), &other));
        let mut der = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        let last = der.len() - 1;
        der[last] ^= 1;
        let body = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, der);
        check(&format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n"
        ));
    }

    #[test]
    fn a_servers_certificate_names_no_host() {
        let authority = Authority::make(now()).unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let server = authority.server(&names, now()).unwrap();
        assert_eq!(server.chain.len(), 2);
        assert_eq!(Shown::read(&server.chain[0]), None);
        assert_eq!(Shown::read(&server.chain[1]), None);
    }
}
