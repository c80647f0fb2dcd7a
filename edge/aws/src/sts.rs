use std::{collections::BTreeMap, time::Duration};

use aws_config::BehaviorVersion;
use aws_sdk_sts::{
    config::retry::RetryConfig,
    error::{ProvideErrorMetadata, SdkError},
    types::Tag,
};
use cloud::{Region, RoleArn};
use jiff::Timestamp;
use secret::SecretText;

use crate::{
    HostCredentials,
    https::{https, innermost, timeouts},
    trouble::{Blame, blame, speaks_of_credentials},
};

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
        let host = settings.host_credentials.provider(&settings.region, settings.mark).await;
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
    let mut builder = aws_sdk_sts::Config::builder();
    builder.set_endpoint_url(settings.endpoint.clone());
    builder
        .behavior_version(BehaviorVersion::latest())
        .region(aws_sdk_sts::config::Region::new(settings.region.as_str().to_owned()))
        .http_client(https())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts(settings.timeout))
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
            if speaks_of_credentials(&reason) {
                StsError::NoHostCredentials(reason)
            } else {
                StsError::Unavailable(reason)
            }
        }
    }
}

fn classify(code: &str, message: &str) -> StsError {
    let both = || format!("{code}: {message}");
    match blame(code, message) {
        Blame::Throttled => StsError::Throttled(message.to_owned()),
        Blame::Unavailable => StsError::Unavailable(both()),
        Blame::HostCredentials => StsError::NoHostCredentials(both()),
        Blame::Clock => StsError::Clock(both()),
        Blame::Denied => StsError::Denied { code: code.to_owned(), message: message.to_owned() },
    }
}
