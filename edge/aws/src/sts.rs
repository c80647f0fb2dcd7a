use std::{collections::BTreeMap, time::Duration};

use aws_config::{
    BehaviorVersion, default_provider::credentials::DefaultCredentialsChain, imds,
    provider_config::ProviderConfig,
};
use aws_sdk_sts::{
    config::{Credentials, SharedCredentialsProvider, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    types::Tag,
};
use aws_smithy_http_client::tls;
use cloud::{Region, RoleArn};
use jiff::Timestamp;
use secret::SecretText;

use crate::plain::Plain;

/// How STS is reached.
#[derive(Clone, Debug)]
pub struct StsSettings {
    /// The region whose STS is asked: its session tokens work in every region.
    pub region: Region,
    /// Another endpoint than AWS's own, such as a VPC endpoint or a practice cloud.
    pub endpoint: Option<String>,
    /// How long one call may take.
    pub timeout: Duration,
    /// The mark of sockets to the host's own metadata service, where a redirect is installed.
    pub mark: Option<u32>,
    /// Where `AssumeRole` takes the host's credentials from.
    pub host_credentials: HostCredentials,
}

/// Where the host's own credentials come from, for `AssumeRole`.
#[derive(Clone, Debug)]
pub enum HostCredentials {
    /// The SDK's default chain: environment, shared files, the host's metadata service.
    DefaultChain {
        /// The host's metadata service, if not at AWS's address.
        metadata_endpoint: Option<String>,
    },
    /// A fixed key, for practice clouds.
    Fixed {
        /// The access key's id.
        access_key_id: String,
        /// Its secret.
        secret_access_key: SecretText,
    },
    /// None: only `AssumeRoleWithWebIdentity` can be asked.
    None,
}

/// A question to STS: the role that trusts the host's credentials.
#[derive(Clone, Debug)]
pub struct AssumeRole {
    /// The role.
    pub role: RoleArn,
    /// The name of the session, 2 to 64 characters.
    pub session_name: String,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<String>,
    /// Who is behind the session; needs `sts:SetSourceIdentity`.
    pub source_identity: Option<String>,
    /// Session tags; need `sts:TagSession`.
    pub tags: BTreeMap<String, String>,
    /// The life asked for.
    pub duration: Duration,
}

/// A question to STS: the role that trusts an issuer's token. The token carries tags and source
/// identity.
#[derive(Clone, Debug)]
pub struct AssumeRoleWithWebIdentity {
    /// The role.
    pub role: RoleArn,
    /// The name of the session, 2 to 64 characters.
    pub session_name: String,
    /// The signed token.
    pub token: SecretText,
    /// The life asked for.
    pub duration: Duration,
}

/// What STS issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The access key's id: an identifier, not a secret.
    pub access_key_id: String,
    /// The key's secret.
    pub secret_access_key: SecretText,
    /// The session token.
    pub session_token: SecretText,
    /// When STS says that it ends.
    pub expiration: Timestamp,
}

/// STS did not issue, by who must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StsError {
    /// Too many calls: wait, then ask less often.
    #[error("STS throttles: {0}")]
    Throttled(String),
    /// The role, its trust policy or the question is wrong: the account's owner must act.
    #[error("STS refuses: {code}: {message}")]
    Denied {
        /// AWS's error code, such as `AccessDenied`.
        code: String,
        /// AWS's message.
        message: String,
    },
    /// No answer, or a failure of STS: ask again later.
    #[error("STS cannot be asked: {0}")]
    Unavailable(String),
    /// The host's clock is so far off that what it signs is not valid: the host's operator must act.
    #[error("STS refuses by its clock: {0}")]
    Clock(String),
    /// The host has no usable credentials of its own: the host's operator must act.
    #[error("the host has no credentials to call STS with: {0}")]
    NoHostCredentials(String),
}

/// A client of STS. Every call is made once: retrying is the lease's decision.
#[derive(Clone, Debug)]
pub struct Sts {
    with_host: Option<aws_sdk_sts::Client>,
    anonymous: aws_sdk_sts::Client,
}

impl Sts {
    /// Prepares the clients; asks nobody.
    pub async fn new(settings: &StsSettings) -> Self {
        let base = base(settings);
        let host = host_credentials(settings).await;
        let with_host = host.map(|provider| {
            aws_sdk_sts::Client::from_conf(base.clone().credentials_provider(provider).build())
        });
        Self { with_host, anonymous: aws_sdk_sts::Client::from_conf(base.build()) }
    }

    /// Asks for a role with the host's own credentials.
    ///
    /// # Errors
    /// By who must act: see [`StsError`].
    pub async fn assume_role(&self, ask: AssumeRole) -> Result<Issued, StsError> {
        let none = || StsError::NoHostCredentials("none are configured".to_owned());
        let client = self.with_host.as_ref().ok_or_else(none)?;
        let mut call = client
            .assume_role()
            .role_arn(ask.role.to_string())
            .role_session_name(ask.session_name)
            .set_external_id(ask.external_id)
            .set_source_identity(ask.source_identity)
            .duration_seconds(seconds(ask.duration));
        for (key, value) in ask.tags {
            let tag = Tag::builder().key(key).value(value).build();
            call = call.tags(tag.map_err(|error| StsError::Unavailable(error.to_string()))?);
        }
        let output = call.send().await.map_err(|error| translate(&error))?;
        issued(output.credentials)
    }

    /// Asks for a role with a token that our issuer signed; no credentials are needed.
    ///
    /// # Errors
    /// By who must act: see [`StsError`].
    pub async fn assume_role_with_web_identity(
        &self,
        ask: AssumeRoleWithWebIdentity,
    ) -> Result<Issued, StsError> {
        let call = self
            .anonymous
            .assume_role_with_web_identity()
            .role_arn(ask.role.to_string())
            .role_session_name(ask.session_name)
            .web_identity_token(ask.token.expose())
            .duration_seconds(seconds(ask.duration));
        let output = call.send().await.map_err(|error| translate(&error))?;
        issued(output.credentials)
    }
}

fn base(settings: &StsSettings) -> aws_sdk_sts::config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(settings.timeout.min(Duration::from_secs(3)))
        .operation_timeout(settings.timeout)
        .build();
    let mut builder = aws_sdk_sts::Config::builder();
    builder.set_endpoint_url(settings.endpoint.clone());
    builder
        .behavior_version(BehaviorVersion::latest())
        .region(aws_sdk_sts::config::Region::new(settings.region.as_str().to_owned()))
        .http_client(https())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
}

fn https() -> aws_smithy_runtime_api::client::http::SharedHttpClient {
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(ring).build_https()
}

async fn host_credentials(settings: &StsSettings) -> Option<SharedCredentialsProvider> {
    match &settings.host_credentials {
        HostCredentials::None => None,
        HostCredentials::Fixed { access_key_id, secret_access_key } => {
            let secret = secret_access_key.expose().as_str();
            let key = Credentials::new(access_key_id, secret, None, None, "configured");
            Some(SharedCredentialsProvider::new(key))
        }
        HostCredentials::DefaultChain { metadata_endpoint } => {
            // The host's metadata service is asked from marked sockets, past our own redirect.
            let plain =
                ProviderConfig::without_region().with_http_client(Plain { mark: settings.mark });
            let mut metadata = imds::Client::builder().configure(&plain);
            if let Some(endpoint) = metadata_endpoint {
                metadata = metadata.endpoint(endpoint).ok()?;
            }
            let chain = DefaultCredentialsChain::builder()
                .configure(ProviderConfig::without_region().with_http_client(https()))
                .imds_client(metadata.build())
                .region(aws_config::Region::new(settings.region.as_str().to_owned()))
                .build()
                .await;
            Some(SharedCredentialsProvider::new(chain))
        }
    }
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

fn issued(credentials: Option<aws_sdk_sts::types::Credentials>) -> Result<Issued, StsError> {
    let empty = || StsError::Unavailable("the answer carries no credentials".to_owned());
    let credentials = credentials.ok_or_else(empty)?;
    let expiration = Timestamp::from_second(credentials.expiration.secs());
    let issued = Issued {
        expiration: expiration.map_err(|error| StsError::Unavailable(error.to_string()))?,
        access_key_id: credentials.access_key_id,
        secret_access_key: credentials.secret_access_key.into(),
        session_token: credentials.session_token.into(),
    };
    let complete = !issued.access_key_id.is_empty()
        && !issued.secret_access_key.expose().is_empty()
        && !issued.session_token.expose().is_empty();
    if complete { Ok(issued) } else { Err(empty()) }
}

fn translate<E, R>(error: &SdkError<E, R>) -> StsError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match error {
        SdkError::ServiceError(service) => classify(
            service.err().code().unwrap_or("Unknown"),
            service.err().message().unwrap_or("no message"),
        ),
        SdkError::TimeoutError(_) => StsError::Unavailable("no answer in time".to_owned()),
        _ => {
            let reason = innermost(error);
            if reason.contains("credentials") || reason.contains("credential provider") {
                StsError::NoHostCredentials(reason)
            } else {
                StsError::Unavailable(reason)
            }
        }
    }
}

/// Sorts STS's error codes by who must act.
/// [AWS: errors of AssumeRoleWithWebIdentity](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html#API_AssumeRoleWithWebIdentity_Errors)
fn classify(code: &str, message: &str) -> StsError {
    match code {
        "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "SlowDown" => StsError::Throttled(message.to_owned()),
        // AWS documents this one as temporary: it could not fetch our signing keys.
        "IDPCommunicationError"
        | "InternalFailure"
        | "InternalError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "RequestTimeout"
        | "Unknown" => StsError::Unavailable(format!("{code}: {message}")),
        // The same code says that the secret is wrong, which no clock mends.
        "SignatureDoesNotMatch" if message.contains("Secret Access Key") => {
            StsError::NoHostCredentials(format!("{code}: {message}"))
        }
        "ExpiredTokenException"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "SignatureDoesNotMatch" => StsError::Clock(format!("{code}: {message}")),
        _ => StsError::Denied { code: code.to_owned(), message: message.to_owned() },
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    let mut text = error.to_string();
    while let Some(source) = error.source() {
        error = source;
        text = error.to_string();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: &str, expected: &str) {
        check_words(code, "m", expected);
    }

    #[track_caller]
    fn check_words(code: &str, message: &str, expected: &str) {
        let got = match classify(code, message) {
            StsError::Throttled(_) => "throttled",
            StsError::Denied { .. } => "denied",
            StsError::Unavailable(_) => "unavailable",
            StsError::Clock(_) => "clock",
            StsError::NoHostCredentials(_) => "host",
        };
        assert_eq!(got, expected, "{code}");
    }

    #[test]
    fn an_error_code_of_sts_says_who_must_act() {
        check("Throttling", "throttled");
        check("AccessDenied", "denied");
        check("InvalidIdentityToken", "denied");
        check("ExpiredTokenException", "clock");
        check("RequestExpired", "clock");
        check("RequestTimeTooSkewed", "clock");
        let late = "Signature expired: 20260301T000000Z is now earlier than 20260301T001500Z";
        check_words("SignatureDoesNotMatch", late, "clock");
        let wrong = "The request signature we calculated does not match the signature you provided. \
                     Check your AWS Secret Access Key and signing method.";
        check_words("SignatureDoesNotMatch", wrong, "host");
        check("PackedPolicyTooLarge", "denied");
        check("IDPCommunicationError", "unavailable");
        check("InternalFailure", "unavailable");
    }
}
