//! What the server asks AWS, by the practice cloud: moto behind a gate that checks signatures as AWS does.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use api::{
    Kind as Problems, Problem,
    agents::{JoinAwsRequest, Joined, SignedRequest},
    joining::{JoinRuleFacts, JoinRulePath},
};
use aws::{AssumeRole, HostCredentials, Kms, KmsSettings, Sts, StsSettings};
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use issuer::{Key as _, KeyRing, Schedule};
use practice::{
    cloud::{Cloud, CloudError, Layout},
    tools::Tools,
};
use secret::SecretKey;
use serde_json::json;
use state::IssuerKeyRow;

use super::stage::{Kind, Stage, anybody, csr};
use crate::{
    acts::{agents, joining},
    issuer_keys::{IssuerKeys, KeyBody, Opener},
    rows,
    seal::Seal,
};

const REGION: &str = "eu-west-1";
const TIMEOUT: Duration = Duration::from_secs(30);

/// One cloud for all tests; `None` where its programs are missing.
fn practice() -> Option<&'static Cloud> {
    static CLOUD: OnceLock<Result<Cloud, CloudError>> = OnceLock::new();
    let started = CLOUD.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut layout = Layout::new(IpAddr::V4(Ipv4Addr::LOCALHOST), folder.path());
        layout.region = REGION.to_owned();
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

fn host_key(cloud: &Cloud) -> HostCredentials {
    let host = cloud.host();
    HostCredentials::Fixed {
        access_key_id: host.access_key_id.clone(),
        secret_access_key: host.secret_access_key.clone().into(),
    }
}

/// What a host in the role `orders-lent` has.
async fn session(cloud: &Cloud) -> Credentials {
    let settings = StsSettings {
        region: REGION.parse().unwrap(),
        endpoint: Some(cloud.endpoint().to_owned()),
        timeout: TIMEOUT,
        mark: None,
        host_credentials: host_key(cloud),
    };
    let orders = cloud.application("orders").unwrap();
    let sts = Sts::new(&settings).await;
    let issued = sts.assume_role(AssumeRole {
        role: orders.lent_role_arn.parse().unwrap(),
        session_name: "i-0123456789abcdef0".to_owned(),
        external_id: Some(orders.external_id.clone()),
        source_identity: None,
        tags: BTreeMap::new(),
        duration: Duration::from_secs(900),
    });
    let issued = issued.await.unwrap();
    let (secret, token) = (issued.secret_access_key, issued.session_token);
    let token = Some(token.expose().clone());
    Credentials::new(issued.access_key_id, secret.expose(), token, None, "practice")
}

/// A request for `sts:GetCallerIdentity` as a host signs it.
fn signed(cloud: &Cloud, credentials: Credentials, nonce: &str) -> SignedRequest {
    let url = format!("{}/", cloud.endpoint());
    let host = url.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
    let body = "Action=GetCallerIdentity&Version=2011-06-15";
    let form = "application/x-www-form-urlencoded";
    let plain = [("content-type", form), ("host", &host), ("x-rolecall-nonce", nonce)];
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("sts")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let signable = SignableBody::Bytes(body.as_bytes());
    let request = SignableRequest::new("POST", &url, plain.into_iter(), signable).unwrap();
    let (instructions, _) = sign(request, &parameters).unwrap().into_parts();
    let headers = plain.into_iter().chain(instructions.headers());
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned().into()));
    SignedRequest { headers: headers.collect(), body: body.to_owned(), url }
}

async fn stage(cloud: &Cloud) -> Stage {
    let more = format!("[aws]\nendpoint = {:?}\n", cloud.endpoint());
    Stage::with(Kind::Sqlite, &more).await
}

async fn rule(stage: &Stage, account: &str, role_name: &str) {
    let path = JoinRulePath { rule: "web".parse().unwrap() };
    let facts = json!({
        "account": account, "role_name": role_name, "region": REGION, "labels": { "pool": "web" },
    });
    let facts: JoinRuleFacts = serde_json::from_value(facts).unwrap();
    let (server, admin) = (Arc::clone(&stage.server), stage.admin().await);
    joining::put_rule(server, admin, path, (), facts).await.unwrap();
}

async fn nonce(stage: &Stage) -> String {
    let server = Arc::clone(&stage.server);
    agents::make_nonce(server, anybody(), (), (), ()).await.unwrap().nonce
}

async fn join(stage: &Stage, nonce: &str, request: SignedRequest) -> Result<Joined, Problem> {
    let (nonce, version) = (nonce.to_owned(), "0.1.0".parse().unwrap());
    let request = JoinAwsRequest { nonce, request, csr_pem: csr(), version };
    agents::join_aws(Arc::clone(&stage.server), anybody(), (), (), request).await
}

#[tokio::test]
async fn a_host_joins_as_the_role_that_it_has_and_its_proof_is_good_once() {
    let Some(cloud) = practice() else { return };
    let (stage, session) = (stage(cloud).await, session(cloud).await);
    rule(&stage, "222222222222", "orders-*").await;
    let nonce = nonce(&stage).await;
    let request = signed(cloud, session, &nonce);
    let joined = join(&stage, &nonce, request.clone()).await.unwrap();
    assert_eq!((joined.labels["pool"].as_str(), joined.region.unwrap().as_str()), ("web", REGION));
    let replayed = join(&stage, &nonce, request.clone()).await.unwrap_err();
    assert_eq!(replayed.kind, Problems::TokenUsed);
    // With another nonce it is not what was signed.
    let other = self::nonce(&stage).await;
    let replayed = join(&stage, &other, request).await.unwrap_err();
    assert_eq!(replayed.kind, Problems::Invalid);
    let entries = stage.entries().await;
    let joined = entries.iter().filter(|entry| entry.event == "host.joined").collect::<Vec<_>>();
    assert_eq!(joined.len(), 1);
    let arn = "arn:aws:sts::222222222222:assumed-role/orders-lent/i-0123456789abcdef0";
    assert_eq!(joined[0].actor, format!("aws:{arn}"));
}

#[tokio::test]
async fn a_role_that_no_rule_knows_and_whoever_is_no_role_may_not_join() {
    let Some(cloud) = practice() else { return };
    let (stage, session) = (stage(cloud).await, session(cloud).await);
    // The right name in another account, and then another name.
    for (account, name) in [("333333333333", "*"), ("222222222222", "orders")] {
        rule(&stage, account, name).await;
        let nonce = nonce(&stage).await;
        let request = signed(cloud, session.clone(), &nonce);
        let refused = join(&stage, &nonce, request).await.unwrap_err();
        assert_eq!(refused.kind, Problems::JoinRefused, "{refused}");
    }
    let host = cloud.host();
    let user =
        Credentials::new(&host.access_key_id, &host.secret_access_key, None, None, "practice");
    let nonce = nonce(&stage).await;
    let refused = join(&stage, &nonce, signed(cloud, user, &nonce)).await.unwrap_err();
    assert_eq!(refused.kind, Problems::JoinRefused, "{refused}");
    assert_eq!(stage.count("host.joined").await, 0);
}

/// The ARN of a new key on P-256.
async fn key_in_kms(cloud: &Cloud) -> String {
    use aws_sdk_kms::{
        config::BehaviorVersion,
        types::{KeySpec, KeyUsageType},
    };
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
    let create = aws_sdk_kms::Client::from_conf(config).create_key();
    let create = create.key_spec(KeySpec::EccNistP256).key_usage(KeyUsageType::SignVerify);
    create.send().await.unwrap().key_metadata.unwrap().arn.unwrap()
}

#[tokio::test]
async fn a_key_in_kms_signs_after_a_restart_and_its_private_half_is_nowhere_here() {
    let Some(cloud) = practice() else { return };
    let settings = KmsSettings {
        region: REGION.parse().unwrap(),
        endpoint: Some(cloud.endpoint().to_owned()),
        timeout: TIMEOUT,
        credentials: host_key(cloud),
    };
    let seal = Seal::of(&SecretKey::new([1; 32]), std::path::Path::new("server.key")).unwrap();
    let (seal, kms) = (Arc::new(seal), Some(Kms::new(&settings).await));
    let opener = Opener { seal, kms, schedule: Schedule::default() };
    let (signer, key) = opener.in_kms(&key_in_kms(cloud).await).await.unwrap();
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let body = KeyBody { since: Some(now), ..KeyBody::kms(&key, now, now) };
    let row = IssuerKeyRow {
        kid: signer.kid().to_string(),
        state: "signing".to_owned(),
        body: rows::write("issuer_keys", &body).unwrap(),
        sealed: None,
    };
    let keys = IssuerKeys::of(std::slice::from_ref(&row), &opener, None).unwrap();
    let active = keys.ring().map(KeyRing::active).unwrap();
    assert_eq!((active.kid(), active.key().is_none()), (signer.kid(), true));
    let signature = active.sign(b"message").await.unwrap();
    // The point is at the end of a `SubjectPublicKeyInfo`.
    let point = &key.der[key.der.len() - 65..];
    let how = &ring::signature::ECDSA_P256_SHA256_FIXED;
    ring::signature::UnparsedPublicKey::new(how, point).verify(b"message", &signature).unwrap();
    // A server without KMS still publishes it, and says that it does not sign.
    let without = Opener { kms: None, ..opener };
    let keys = IssuerKeys::of(&[row], &without, None).unwrap();
    let active = keys.ring().map(KeyRing::active).unwrap();
    assert_eq!(active.kid(), signer.kid());
    assert!(active.sign(b"message").await.unwrap_err().why.contains("signs no more"));
}
