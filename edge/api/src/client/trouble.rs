use std::{error::Error, fmt, io};

use rustls::{AlertDescription as Alert, CertificateError as Wrong, Error as Tls};

use super::{Address, tls::Stranger};
use crate::{Problem, Unfit, Who};

/// Why a question has no answer that can be used, and who must act.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No server could be reached; nothing was done. It may pass, or the operator must act.
    #[error("no server can be reached: {}", Listed(.0))]
    Unreachable(Vec<Tried>),
    /// Whoever answers at the address is not the server that is trusted; nothing was sent. The operator
    /// must act: the address is wrong, the server's authority is another one, or somebody is in between.
    #[error("{address} is not the server that is trusted: {why}")]
    Untrusted {
        /// Who answered.
        address: Address,
        /// What is wrong with it.
        why: String,
    },
    /// The server did not take the certificate of whoever asks; nothing was done. It must be renewed, or the
    /// host must join again.
    #[error("{address} does not take this host's certificate: {why}")]
    IdentityRefused {
        /// Who refused it.
        address: Address,
        /// The server's alert.
        why: String,
    },
    /// The server refused, or says that it failed. The problem says who must act.
    #[error("{0}")]
    Refused(Problem),
    /// The request was sent and no answer came: nobody knows whether it was done. Whoever asks must look.
    #[error("{address} gave no answer, and nobody knows whether it was done: {why}")]
    Lost {
        /// Who was asked.
        address: Address,
        /// What came instead of an answer.
        why: String,
    },
    /// The answer is not one of this server's. The operator must act: something else answers at the address,
    /// or the server is older than this program.
    #[error("the answer of {address} cannot be read: {why}")]
    Illegible {
        /// Who answered.
        address: Address,
        /// What is wrong with it.
        why: String,
    },
    /// The question cannot be written. Whoever asks must act.
    #[error("the question cannot be written: {0}")]
    Unfit(#[from] Unfit),
}

/// An address that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The address.
    pub address: Address,
    /// What happened there.
    pub why: String,
}

struct Listed<'a>(&'a [Tried]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Tried { address, why }) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{address} ({why})")?;
        }
        Ok(())
    }
}

impl AskError {
    /// Who must act.
    pub fn who(&self) -> Who {
        match self {
            Self::Refused(problem) => problem.who,
            Self::Unreachable(_) => Who::Nobody,
            Self::Untrusted { .. } | Self::IdentityRefused { .. } | Self::Illegible { .. } => {
                Who::Operator
            }
            Self::Lost { .. } | Self::Unfit(_) => Who::Caller,
        }
    }

    /// What the server said, if it was a server that said no.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }
}

/// What went wrong below HTTP.
pub(super) enum Cause {
    /// The certificate is not one that is trusted.
    Untrusted(String),
    /// The server's alert about the certificate that was shown to it.
    IdentityRefused(String),
    /// Anything else.
    Other(String),
}

/// Finds what went wrong at the bottom of an error.
pub(super) fn cause(error: &(dyn Error + 'static)) -> Cause {
    let mut deepest = error.to_string();
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(stranger) = error.downcast_ref::<Stranger>() {
            return Cause::Untrusted(stranger.to_string());
        }
        if let Some(tls) = error.downcast_ref::<Tls>() {
            return of_tls(tls);
        }
        deepest = error.to_string();
        // An I/O error hides what it was made from: its source is the source of that.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    // HTTP/2 keeps the words of an alert alone, since it comes when the connection is in use already.
    let is_it = |alert: &Alert| Tls::AlertReceived(*alert).to_string() == deepest;
    match ABOUT_CERTIFICATES.iter().any(is_it) {
        true => Cause::IdentityRefused(deepest),
        false => Cause::Other(deepest),
    }
}

/// What a server says when it does not take a client's certificate.
const ABOUT_CERTIFICATES: &[Alert] = &[
    Alert::BadCertificate,
    Alert::UnsupportedCertificate,
    Alert::CertificateRevoked,
    Alert::CertificateExpired,
    Alert::CertificateUnknown,
    Alert::CertificateRequired,
    Alert::UnknownCA,
    Alert::AccessDenied,
    Alert::DecryptError,
];

fn of_tls(error: &Tls) -> Cause {
    match error {
        Tls::InvalidCertificate(wrong) => Cause::Untrusted(match wrong {
            Wrong::Other(other) => other.0.to_string(),
            // Which of the two comes depends on whether the authorities have the same name.
            Wrong::UnknownIssuer | Wrong::BadSignature => {
                "its certificate is not of the authority that is trusted".to_owned()
            }
            other => other.to_string(),
        }),
        Tls::NoCertificatesPresented => Cause::Untrusted("it shows no certificate".to_owned()),
        Tls::AlertReceived(alert) if ABOUT_CERTIFICATES.contains(alert) => {
            Cause::IdentityRefused(error.to_string())
        }
        other => Cause::Other(other.to_string()),
    }
}
