use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_kms::{
    config::retry::RetryConfig,
    primitives::Blob,
    types::{KeySpec, KeyUsageType, MessageType, SigningAlgorithmSpec},
};
use cloud::{Arn, Region};
use sha2::{Digest as _, Sha256};

use crate::{
    AskError, HostCredentials,
    https::{https, timeouts},
};

/// How KMS is reached.
#[derive(Clone, Debug)]
pub struct KmsSettings {
    /// The region that this program is in. A key is asked for in its own.
    pub region: Region,
    /// Another endpoint than AWS's own, such as a VPC endpoint or a practice cloud.
    pub endpoint: Option<String>,
    /// How long one call may take, with the one repetition of what failed for no reason of ours.
    pub timeout: Duration,
    /// Where the credentials come from.
    pub credentials: HostCredentials,
}

/// Keys that sign in KMS and never leave it.
#[derive(Clone, Debug)]
pub struct Kms {
    client: aws_sdk_kms::Client,
}

/// What a key in KMS signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KmsAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

/// The public half of a key in KMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsKey {
    /// The key itself, also where it was asked for by an alias, which may name another key tomorrow.
    pub arn: Arn,
    /// What it signs with.
    pub algorithm: KmsAlgorithm,
    /// The public key: DER of a `SubjectPublicKeyInfo`.
    pub der: Vec<u8>,
}

/// KMS does not do it, by who must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KmsError {
    /// Not the ARN of a key: whoever names it must act.
    #[error("a key in KMS must look like `arn:aws:kms:eu-west-1:111122223333:key/…`: `{0}`")]
    NotAKey(String),
    /// A key for something else: whoever names it must make another.
    #[error(
        "`{key}` is `{spec}`: a key that signs tokens must be `ECC_NIST_P256`, `RSA_2048` or `RSA_3072` \
         with usage `SIGN_VERIFY`"
    )]
    Unsuitable {
        /// The key.
        key: String,
        /// What it is.
        spec: String,
    },
    /// KMS refuses or cannot be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
}

const SERVICE: &str = "KMS";

/// How often a call is made at most: signing twice does no harm, and a lost signature costs a workload its
/// credentials.
const ATTEMPTS: u32 = 2;

/// The longest message that KMS takes, in bytes.
///
/// [AWS: Sign](https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html#KMS-Sign-request-Message)
const MESSAGE_MAX: usize = 4096;

impl Kms {
    /// Prepares a client; asks nobody.
    pub async fn new(settings: &KmsSettings) -> Self {
        let provider = settings.credentials.provider(&settings.region, None).await;
        let mut builder = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region(settings.region.as_str()))
            .http_client(https())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts(settings.timeout));
        builder.set_endpoint_url(settings.endpoint.clone());
        builder.set_credentials_provider(provider);
        Self { client: aws_sdk_kms::Client::from_conf(builder.build()) }
    }

    /// The public half of a key, named by its ARN or by an alias's.
    ///
    /// # Errors
    /// By who must act: see [`KmsError`].
    pub async fn public_key(&self, key: &Arn) -> Result<KmsKey, KmsError> {
        let there = aws_sdk_kms::Config::builder().region(region(place(key)?));
        let call = self.client.get_public_key().key_id(key.to_string());
        let answer = call.customize().config_override(there).send().await;
        let answer = answer.map_err(|error| AskError::translate(SERVICE, &error))?;
        let spec = answer.key_spec().map_or("unknown", KeySpec::as_str).to_owned();
        let algorithm = match answer.key_spec() {
            Some(KeySpec::EccNistP256) => Some(KmsAlgorithm::Es256),
            Some(KeySpec::Rsa2048 | KeySpec::Rsa3072) => Some(KmsAlgorithm::Rs256),
            _ => None,
        };
        let signs = answer.key_usage() == Some(&KeyUsageType::SignVerify);
        let algorithm = algorithm.filter(|_| signs);
        let unsuitable = || KmsError::Unsuitable { key: key.to_string(), spec };
        let algorithm = algorithm.ok_or_else(unsuitable)?;
        let arn = answer.key_id().and_then(|id| id.parse().ok()).ok_or_else(|| illegible("key"))?;
        let der = answer.public_key.map(Blob::into_inner).ok_or_else(|| illegible("public key"))?;
        Ok(KmsKey { arn, algorithm, der })
    }

    /// A signature over a message, not over a digest of it: PKCS#1 v1.5 bytes for RSA, DER for ECDSA.
    ///
    /// # Errors
    /// By who must act: see [`KmsError`].
    pub async fn sign_message(
        &self,
        key: &Arn,
        algorithm: KmsAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, KmsError> {
        let there = aws_sdk_kms::Config::builder().region(region(place(key)?));
        let spec = match algorithm {
            KmsAlgorithm::Es256 => SigningAlgorithmSpec::EcdsaSha256,
            KmsAlgorithm::Rs256 => SigningAlgorithmSpec::RsassaPkcs1V15Sha256,
        };
        // KMS takes short messages as they are; of a longer one it signs the digest that we make.
        let (what, message) = match message.len() <= MESSAGE_MAX {
            true => (MessageType::Raw, Blob::new(message)),
            false => (MessageType::Digest, Blob::new(Sha256::digest(message).to_vec())),
        };
        let call = self
            .client
            .sign()
            .key_id(key.to_string())
            .signing_algorithm(spec)
            .message_type(what)
            .message(message);
        let answer = call.customize().config_override(there).send().await;
        let answer = answer.map_err(|error| AskError::translate(SERVICE, &error))?;
        let signature = answer.signature.map(Blob::into_inner);
        Ok(signature.ok_or_else(|| illegible("signature"))?)
    }
}

/// The region of a key.
fn place(key: &Arn) -> Result<&str, KmsError> {
    let named = key.resource().starts_with("key/") || key.resource().starts_with("alias/");
    let legal = key.service() == "kms" && key.region().parse::<Region>().is_ok() && named;
    if legal { Ok(key.region()) } else { Err(KmsError::NotAKey(key.to_string())) }
}

fn region(code: &str) -> aws_sdk_kms::config::Region {
    aws_sdk_kms::config::Region::new(code.to_owned())
}

fn illegible(what: &str) -> AskError {
    AskError::Illegible { service: SERVICE, reason: format!("there is no {what} in it") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arn: &str, legal: bool) {
        assert_eq!(place(&arn.parse().unwrap()).is_ok(), legal, "{arn}");
    }

    #[test]
    fn a_key_is_named_by_its_arn_or_an_aliass() {
        check("arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef", true);
        check("arn:aws:kms:eu-west-1:111122223333:alias/rolecall", true);
        check("arn:aws:kms:eu-west-1:111122223333:grant/x", false);
        check("arn:aws:kms::111122223333:key/x", false);
        check("arn:aws:iam::111122223333:role/x", false);
    }
}
