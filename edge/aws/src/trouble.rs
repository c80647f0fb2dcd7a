//! Why AWS did not do what was asked, by who must act.

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::https::innermost;

/// A service of AWS did not do what was asked, by who must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Too many calls: wait, then ask less often.
    #[error("{service} throttles: {reason}")]
    Throttled {
        /// Who was asked.
        service: &'static str,
        /// What it said.
        reason: String,
    },
    /// The question is wrong or not allowed: who owns what was asked for must act.
    #[error("{service} refuses: {code}: {message}")]
    Denied {
        /// Who was asked.
        service: &'static str,
        /// AWS's error code, such as `AccessDenied`.
        code: String,
        /// AWS's message.
        message: String,
    },
    /// No answer, or a failure of the service: ask again later.
    #[error("{service} cannot be asked: {reason}")]
    Unavailable {
        /// Who was asked.
        service: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// The clock here is so far off that what it signs is not valid: the host's operator must act.
    #[error("{service} refuses by its clock: {reason}")]
    Clock {
        /// Who was asked.
        service: &'static str,
        /// What it said.
        reason: String,
    },
    /// There are no usable credentials here: the host's operator must act.
    #[error("there are no credentials to ask {service} with: {reason}")]
    NoCredentials {
        /// Who was to be asked.
        service: &'static str,
        /// What is wrong with them.
        reason: String,
    },
    /// The answer is not one to this question. Somebody is in between, or AWS has changed.
    #[error("{service} answers what cannot be read: {reason}")]
    Illegible {
        /// Who was asked.
        service: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Who must act on an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    Throttled,
    Denied,
    Unavailable,
    Clock,
    HostCredentials,
}

/// Sorts AWS's error codes by who must act.
///
/// [AWS: common errors](https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html),
/// [errors of AssumeRoleWithWebIdentity](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html#API_AssumeRoleWithWebIdentity_Errors),
/// [errors of KMS's Sign](https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html#API_Sign_Errors)
pub(crate) fn blame(code: &str, message: &str) -> Blame {
    match code {
        "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "SlowDown" => Blame::Throttled,
        // AWS documents this one as temporary: it could not fetch our signing keys.
        "IDPCommunicationError"
        | "InternalFailure"
        | "InternalError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "ServiceFailure"
        | "DependencyTimeoutException"
        | "KMSInternalException"
        | "KeyUnavailableException"
        | "RequestTimeout"
        | "Unknown" => Blame::Unavailable,
        // The same code says that the secret is wrong, which no clock mends.
        "SignatureDoesNotMatch" | "InvalidSignatureException"
            if message.contains("Secret Access Key") =>
        {
            Blame::HostCredentials
        }
        "UnrecognizedClientException" | "MissingAuthenticationTokenException" => {
            Blame::HostCredentials
        }
        "ExpiredTokenException"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch" => Blame::Clock,
        _ => Blame::Denied,
    }
}

impl AskError {
    /// By the code that the service gave.
    pub(crate) fn of(service: &'static str, code: &str, message: &str) -> Self {
        let reason = format!("{code}: {message}");
        match blame(code, message) {
            Blame::Throttled => Self::Throttled { service, reason },
            Blame::Unavailable => Self::Unavailable { service, reason },
            Blame::Clock => Self::Clock { service, reason },
            Blame::HostCredentials => Self::NoCredentials { service, reason },
            Blame::Denied => {
                Self::Denied { service, code: code.to_owned(), message: message.to_owned() }
            }
        }
    }

    /// By what the SDK says.
    pub(crate) fn translate<E, R>(service: &'static str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        match error {
            SdkError::ServiceError(said) => {
                let (code, message) = (said.err().code(), said.err().message());
                Self::of(service, code.unwrap_or("Unknown"), message.unwrap_or("no message"))
            }
            SdkError::TimeoutError(_) => {
                Self::Unavailable { service, reason: "no answer in time".to_owned() }
            }
            _ => {
                let reason = innermost(error);
                match speaks_of_credentials(&reason) {
                    true => Self::NoCredentials { service, reason },
                    false => Self::Unavailable { service, reason },
                }
            }
        }
    }
}

/// Whether the SDK failed because it found no credentials; it has no type for that.
pub(crate) fn speaks_of_credentials(reason: &str) -> bool {
    reason.contains("credentials") || reason.contains("credential provider")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: &str, expected: Blame) {
        check_words(code, "m", expected);
    }

    #[track_caller]
    fn check_words(code: &str, message: &str, expected: Blame) {
        assert_eq!(blame(code, message), expected, "{code}");
    }

    #[test]
    fn an_error_code_says_who_must_act() {
        check("Throttling", Blame::Throttled);
        check("AccessDenied", Blame::Denied);
        check("InvalidIdentityToken", Blame::Denied);
        check("ExpiredTokenException", Blame::Clock);
        check("RequestExpired", Blame::Clock);
        check("RequestTimeTooSkewed", Blame::Clock);
        let late = "Signature expired: 20260301T000000Z is now earlier than 20260301T001500Z";
        check_words("SignatureDoesNotMatch", late, Blame::Clock);
        let wrong = "The request signature we calculated does not match the signature you provided. \
                     Check your AWS Secret Access Key and signing method.";
        check_words("SignatureDoesNotMatch", wrong, Blame::HostCredentials);
        check_words("InvalidSignatureException", wrong, Blame::HostCredentials);
        check_words("InvalidSignatureException", late, Blame::Clock);
        check("UnrecognizedClientException", Blame::HostCredentials);
        check("PackedPolicyTooLarge", Blame::Denied);
        check("IDPCommunicationError", Blame::Unavailable);
        check("InternalFailure", Blame::Unavailable);
        check("DisabledException", Blame::Denied);
        check("KMSInternalException", Blame::Unavailable);
    }
}
