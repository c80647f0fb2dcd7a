use cloud::Arn;
use serde_json::{Value, json};

use crate::{Algorithm, InvalidSubject, IssuerUrl, Key, KeyRing, Subject};

/// The discovery document, to be published at [`IssuerUrl::discovery_url`].
///
/// It lists what AWS checks and OpenID Connect demands. There is no authorization endpoint: this
/// issuer never talks to a browser, and AWS does not ask for one.
///
/// [OpenID Connect Discovery 1.0 section 3](https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata)
pub fn discovery(issuer: &IssuerUrl) -> String {
    let document = json!({
        "issuer": issuer.as_str(),
        "jwks_uri": issuer.jwks_url(),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "scopes_supported": ["openid"],
        "id_token_signing_alg_values_supported": Algorithm::ALL.map(Algorithm::as_str),
        "claims_supported": [
            "iss", "sub", "aud", "iat", "nbf", "exp", "jti",
            "https://aws.amazon.com/tags", "https://aws.amazon.com/source_identity",
        ],
    });
    format!("{document:#}\n")
}

/// The JWKS document, to be published at [`IssuerUrl::jwks_url`]: every key of the ring, also the
/// one that does not sign yet and those that no longer do.
///
/// [RFC 7517 section 5](https://www.rfc-editor.org/rfc/rfc7517#section-5)
pub fn jwks<K: Key>(keys: &KeyRing<K>) -> String {
    let keys: Vec<Value> = keys.iter().map(|(key, _)| key.public().to_json()).collect();
    format!("{:#}\n", json!({ "keys": keys }))
}

/// The trust policy of a role that every instance of one application in one environment may
/// assume. `provider` is [`IssuerUrl::provider_arn`] in the role's account.
///
/// [AWS: create a role for OIDC federation](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-idp_oidc.html)
pub fn trust_policy(
    issuer: &IssuerUrl,
    provider: &Arn,
    audience: &str,
    application: &str,
    environment: &str,
) -> Result<String, InvalidSubject> {
    // Only checks the names; the instance is the pattern's.
    Subject::new(application, environment, "any")?;
    let subject = Subject::pattern(application, environment) + "*";
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Federated": provider.to_string() },
            "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"],
            "Condition": {
                "StringEquals": { issuer.condition_key("aud"): audience },
                "StringLike": { issuer.condition_key("sub"): subject },
            },
        }],
    });
    Ok(format!("{policy:#}\n"))
}
