//! AWS as the practice cloud plays it: moto behind a gate that checks signatures as AWS does.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails right there"
)]

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::OnceLock,
    time::Duration,
};

use aws::{
    AskError, AssumeRole, CallerIdentity, ForwardError, Forwarder, HostCredentials, Iam,
    IamSettings, Identity, IllegalRequest, Kms, KmsAlgorithm, KmsError, KmsKey, KmsSettings,
    SignedRequest, Sts, StsSettings,
};
use aws_sdk_kms::{
    config::{BehaviorVersion, Credentials},
    types::{KeySpec, KeyUsageType},
};
use cloud::{Arn, Region};
use practice::{
    cloud::{Cloud, CloudError, Layout},
    tools::Tools,
};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};

/// The account of the host, which is the application's as well: so its key can read its IAM.
const ACCOUNT: &str = "222222222222";
const REGION: &str = "eu-west-1";
const ISSUER: &str = "https://issuer.rolecall.example";
const TIMEOUT: Duration = Duration::from_secs(20);

/// One cloud for all tests; `None` where its programs are missing.
fn practice() -> Option<&'static Cloud> {
    static CLOUD: OnceLock<Result<Cloud, CloudError>> = OnceLock::new();
    let started = CLOUD.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let listen = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let documents = folder.path().join("issuer");
        let mut layout = Layout::new(listen, folder.path()).issuer(ISSUER, &documents);
        layout.region = REGION.to_owned();
        layout.compute = ACCOUNT.to_owned();
        // The folder goes now: its logs stay open, and nobody reads them.
        Cloud::start(&Tools::find(), &layout)
    });
    match started {
        Ok(cloud) => Some(cloud),
        Err(error @ CloudError::Missing(_)) => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn key(cloud: &Cloud) -> HostCredentials {
    let host = cloud.host();
    HostCredentials::Fixed {
        access_key_id: host.access_key_id.clone(),
        secret_access_key: host.secret_access_key.clone().into(),
    }
}

fn region() -> Region {
    REGION.parse().unwrap()
}

fn sts(cloud: &Cloud) -> StsSettings {
    let endpoint = Some(cloud.endpoint().to_owned());
    let host_credentials = key(cloud);
    StsSettings { region: region(), endpoint, timeout: TIMEOUT, mark: None, host_credentials }
}

fn kms(cloud: &Cloud, credentials: HostCredentials) -> KmsSettings {
    let endpoint = Some(cloud.endpoint().to_owned());
    KmsSettings { region: region(), endpoint, timeout: TIMEOUT, credentials }
}

/// The ARN of a new key.
async fn made(cloud: &Cloud, spec: KeySpec, usage: KeyUsageType) -> Arn {
    let host = cloud.host();
    let credentials =
        Credentials::new(&host.access_key_id, &host.secret_access_key, None, None, "practice");
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(aws_sdk_kms::config::Region::new(REGION))
        .endpoint_url(cloud.endpoint())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(credentials)
        .build();
    let client = aws_sdk_kms::Client::from_conf(config);
    let key = client.create_key().key_spec(spec).key_usage(usage).send().await.unwrap();
    key.key_metadata.unwrap().arn.unwrap().parse().unwrap()
}

/// `length` is that of the key at the end of a `SubjectPublicKeyInfo`, as ring wants it.
async fn check_signs(
    spec: KeySpec,
    algorithm: KmsAlgorithm,
    length: usize,
    how: &'static dyn VerificationAlgorithm,
) {
    let Some(cloud) = practice() else { return };
    let kms = Kms::new(&kms(cloud, key(cloud))).await;
    let arn = made(cloud, spec, KeyUsageType::SignVerify).await;
    let KmsKey { arn: named, algorithm: found, der } = kms.public_key(&arn).await.unwrap();
    assert_eq!((&named, found), (&arn, algorithm));
    let signature = kms.sign_message(&arn, algorithm, b"message").await.unwrap();
    let public = der.get(der.len() - length..).unwrap();
    let verified = UnparsedPublicKey::new(how, public).verify(b"message", &signature);
    assert!(verified.is_ok(), "{arn}");
}

#[tokio::test]
async fn a_p256_key_in_kms_signs_what_its_public_half_verifies() {
    check_signs(KeySpec::EccNistP256, KmsAlgorithm::Es256, 65, &ECDSA_P256_SHA256_ASN1).await;
}

#[tokio::test]
async fn an_rsa_key_in_kms_signs_what_its_public_half_verifies() {
    check_signs(KeySpec::Rsa2048, KmsAlgorithm::Rs256, 270, &RSA_PKCS1_2048_8192_SHA256).await;
    check_signs(KeySpec::Rsa3072, KmsAlgorithm::Rs256, 398, &RSA_PKCS1_2048_8192_SHA256).await;
}

#[tokio::test]
async fn a_key_for_something_else_or_of_nobody_is_refused() {
    let Some(cloud) = practice() else { return };
    let kms = Kms::new(&kms(cloud, key(cloud))).await;
    for (spec, usage) in [
        (KeySpec::EccNistP384, KeyUsageType::SignVerify),
        (KeySpec::Rsa2048, KeyUsageType::EncryptDecrypt),
    ] {
        let arn = made(cloud, spec, usage).await;
        let refused = kms.public_key(&arn).await;
        assert!(matches!(refused, Err(KmsError::Unsuitable { .. })), "{refused:?}");
    }
    let key = "key/01234567-89ab-cdef-0123-456789abcdef";
    for account in [ACCOUNT, "333333333333"] {
        let arn = format!("arn:aws:kms:{REGION}:{account}:{key}");
        let refused = kms.public_key(&arn.parse().unwrap()).await;
        let Err(KmsError::Ask(AskError::Denied { code, .. })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(code, "NotFoundException");
    }
}

#[tokio::test]
async fn without_good_credentials_kms_is_not_asked_or_refuses() {
    let Some(cloud) = practice() else { return };
    let arn = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/a").parse().unwrap();
    let wrong = HostCredentials::Fixed {
        access_key_id: cloud.host().access_key_id.clone(),
        secret_access_key: "wrong".to_owned().into(),
    };
    for credentials in [wrong, HostCredentials::None] {
        let refused = Kms::new(&kms(cloud, credentials)).await.public_key(&arn).await;
        let Err(KmsError::Ask(AskError::NoCredentials { .. })) = refused else {
            panic!("{refused:?}");
        };
    }
}

/// A host that says who it is, and a server that has STS tell.
async fn forwarded(
    cloud: &Cloud,
    signed_for: &str,
    expected: &str,
    change: impl FnOnce(&mut SignedRequest),
) -> Result<CallerIdentity, ForwardError> {
    let mut request = Identity::new(&sts(cloud)).await.sign(signed_for).await.unwrap();
    change(&mut request);
    let forwarder = Forwarder::new(Some(cloud.endpoint().to_owned()), TIMEOUT);
    forwarder.forward(&request, expected).await
}

#[tokio::test]
async fn sts_says_who_signed() {
    let Some(cloud) = practice() else { return };
    let caller = forwarded(cloud, "nonce-1", "nonce-1", |_| {}).await.unwrap();
    assert_eq!((caller.account.as_str(), &caller.arn.to_string()), (ACCOUNT, &cloud.host().arn));
    assert_eq!(caller.role(), None, "a user is no role");
}

#[tokio::test]
async fn a_request_for_another_nonce_never_leaves() {
    let Some(cloud) = practice() else { return };
    let refused = forwarded(cloud, "nonce-1", "nonce-2", |_| {}).await;
    assert_eq!(refused, Err(ForwardError::Illegal(IllegalRequest::Nonce)));
}

#[tokio::test]
async fn a_request_that_was_changed_after_it_was_signed_is_refused_by_sts() {
    let Some(cloud) = practice() else { return };
    // The nonce of somebody else's request, replaced by the one that the server asks for.
    let put = |request: &mut SignedRequest| {
        request.headers.insert("x-rolecall-nonce".to_owned(), "nonce-2".to_owned().into());
    };
    let refused = forwarded(cloud, "nonce-1", "nonce-2", put).await;
    let denied = matches!(refused, Err(ForwardError::Sts(AskError::Denied { .. })));
    assert!(denied, "{refused:?}");
}

#[tokio::test]
async fn an_endpoint_that_no_operator_named_is_not_asked() {
    let Some(cloud) = practice() else { return };
    let request = Identity::new(&sts(cloud)).await.sign("nonce-1").await.unwrap();
    let refused = Forwarder::new(None, TIMEOUT).forward(&request, "nonce-1").await;
    let illegal = matches!(refused, Err(ForwardError::Illegal(IllegalRequest::Url(_))));
    assert!(illegal, "{refused:?}");
}

#[tokio::test]
async fn iam_says_what_an_account_trusts() {
    let Some(cloud) = practice() else { return };
    let settings = IamSettings {
        partition: "aws".parse().unwrap(),
        region: region(),
        endpoint: Some(cloud.endpoint().to_owned()),
        timeout: TIMEOUT,
        credentials: key(cloud),
    };
    let iam = Iam::new(&settings).await;
    let provider = format!("arn:aws:iam::{ACCOUNT}:oidc-provider/issuer.rolecall.example");
    let found = iam.provider(&provider.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(found.url.trim_start_matches("https://"), "issuer.rolecall.example");
    assert_eq!(found.client_ids, ["sts.amazonaws.com"]);
    let other = format!("arn:aws:iam::{ACCOUNT}:oidc-provider/other.example");
    assert_eq!(iam.provider(&other.parse().unwrap()).await, Ok(None));

    let role = cloud.application("orders").unwrap().role_arn.clone().unwrap();
    let found = iam.role(&role.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((found.arn.to_string(), found.longest_session_s), (role.clone(), 3600));
    assert!(found.policy.contains(&provider), "{}", found.policy);
    assert_eq!(iam.role(&format!("{role}-other").parse().unwrap()).await, Ok(None));
    let other_account = role.replace(ACCOUNT, "333333333333");
    assert_eq!(iam.role(&other_account.parse().unwrap()).await, Ok(None));
}

#[tokio::test]
async fn a_role_is_assumed_with_the_hosts_own_key() {
    let Some(cloud) = practice() else { return };
    let application = cloud.application("orders").unwrap();
    let ask = AssumeRole {
        role: application.lent_role_arn.parse().unwrap(),
        session_name: "one".to_owned(),
        external_id: Some(application.external_id.clone()),
        source_identity: None,
        tags: [].into(),
        duration: Duration::from_secs(900),
    };
    let issued = Sts::new(&sts(cloud)).await.assume_role(ask).await.unwrap();
    assert!(!issued.access_key_id.is_empty());
}
