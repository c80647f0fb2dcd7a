//! The sign-in provider: what it says of itself, and who it says somebody is.

use std::{
    collections::BTreeSet,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use api::{Kind, Problem, people::GROUPS_MAX};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};
use openidconnect::{
    AdditionalClaims, AdditionalProviderMetadata, AsyncHttpClient, Client, ClientId, ClientSecret,
    DeviceAuthorizationUrl, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    HttpRequest, HttpResponse, IdTokenFields, IssuerUrl, Nonce, NonceVerifier, ProviderMetadata,
    RedirectUrl, StandardErrorResponse, StandardTokenResponse,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreClaimName, CoreClaimType, CoreClientAuthMethod,
        CoreErrorResponseType, CoreGenderClaim, CoreGrantType, CoreJsonWebKey,
        CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm,
        CoreResponseMode, CoreResponseType, CoreRevocableToken, CoreRevocationErrorResponse,
        CoreSubjectIdentifierType, CoreTokenIntrospectionResponse, CoreTokenType,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Identified, refused};
use crate::{
    config::OidcSection,
    found::{FoundError, secret_line},
    people::LOCAL,
    report,
};

/// How long the provider may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const ANSWER_MAX: usize = 1024 * 1024;
/// How long is believed what the provider says of itself, its keys among it.
const BELIEVED: Duration = Duration::from_mins(10);
/// The longest secret of a client, in bytes.
const SECRET_MAX: u64 = 4096;

/// The provider that people sign in with.
pub struct Provider {
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: Option<ClientSecret>,
    redirect: RedirectUrl,
    pub(super) scopes: Vec<String>,
    groups_claim: String,
    pub(super) web: Web,
    known: Mutex<Option<Believed>>,
}

/// What the provider said of itself, and when.
struct Believed {
    at: Instant,
    client: Arc<Oidc>,
    knows_devices: bool,
}

/// What a provider says of itself beside what every one does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct More {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_authorization_endpoint: Option<DeviceAuthorizationUrl>,
}

impl AdditionalProviderMetadata for More {}

/// What an id token says beside what every one does: the groups are among it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Extra(Map<String, Value>);

impl AdditionalClaims for Extra {}

type Metadata = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// What the provider gives for a code.
pub(super) type Tokens = StandardTokenResponse<
    IdTokenFields<
        Extra,
        EmptyExtraTokenFields,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    >,
    CoreTokenType,
>;

/// A client of the provider that knows its addresses and keys.
pub(super) type Oidc = Client<
    Extra,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Provider {
    /// The provider that a file names. It is not asked yet: it may be down while this server starts.
    ///
    /// # Errors
    /// When an address is none, or the secret cannot be read.
    pub fn new(section: &OidcSection) -> Result<Self, FoundError> {
        let wrong = |error: &dyn fmt::Display| FoundError::Provider(error.to_string());
        let secret = section.client_secret_file.as_deref();
        let secret = secret.map(|path| secret_line(path, SECRET_MAX)).transpose()?;
        Ok(Self {
            issuer: IssuerUrl::new(section.issuer.clone()).map_err(|error| wrong(&error))?,
            client_id: ClientId::new(section.client_id.clone()),
            client_secret: secret.map(|secret| ClientSecret::new(secret.expose().clone())),
            redirect: RedirectUrl::new(section.redirect_url.clone())
                .map_err(|error| wrong(&error))?,
            scopes: section.scopes.clone(),
            groups_claim: section.groups_claim.clone(),
            web: Web::new(section.allow_http).map_err(|error| wrong(&error))?,
            known: Mutex::new(None),
        })
    }

    /// The client, with what the provider says of itself; asked again after a while.
    ///
    /// # Errors
    /// When the provider gives no answer that can be used.
    pub(super) async fn client(&self) -> Result<Arc<Oidc>, Problem> {
        if let Some(known) = &*self.known.lock().unwrap_or_else(PoisonError::into_inner)
            && known.at.elapsed() < BELIEVED
        {
            return Ok(Arc::clone(&known.client));
        }
        let metadata = Metadata::discover_async(self.issuer.clone(), &self.web).await;
        let metadata = metadata.map_err(|error| no_answer(&error))?;
        let device = metadata.additional_metadata().device_authorization_endpoint.clone();
        // Where there is none, nobody asks there: see `Provider::knows_devices`.
        let knows_devices = device.is_some();
        let none = || DeviceAuthorizationUrl::new(self.issuer.to_string());
        let device = device.map_or_else(none, Ok).map_err(|error| no_answer(&error))?;
        let (id, secret) = (self.client_id.clone(), self.client_secret.clone());
        let client = Client::from_provider_metadata(metadata, id, secret)
            .set_redirect_uri(self.redirect.clone())
            .set_device_authorization_url(device);
        let client = Arc::new(client);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Believed { at: Instant::now(), client: Arc::clone(&client), knows_devices });
        Ok(client)
    }

    /// Whether the provider lets devices sign in, by what it said last.
    pub(super) fn knows_devices(&self) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_some_and(|known| known.knows_devices)
    }

    /// Who the provider says somebody is, once its signature, its audience, its time and the nonce are right.
    ///
    /// # Errors
    /// When one of them is not, or what it says cannot be used.
    pub(super) fn identify(
        &self,
        client: &Oidc,
        tokens: &Tokens,
        nonce: impl NonceVerifier,
        way: &'static str,
    ) -> Result<Identified, Problem> {
        let token = tokens.extra_fields().id_token();
        let token = token.ok_or_else(|| refused("the sign-in provider sent no id token"))?;
        let claims = token.claims(&client.id_token_verifier(), nonce);
        let claims = claims.map_err(|error| {
            // The provider may have changed its keys: the next one asks for them again.
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
            refused(format!("the id token is not good: {error}"))
        })?;
        let id = claims.subject().as_str();
        if id.parse::<api::people::PersonId>().is_err() || id.starts_with(LOCAL) {
            return Err(refused("the sign-in provider gave an id that nobody can have here"));
        }
        let name = claims.name().and_then(|name| name.get(None)).map(|name| name.as_str());
        let name = name.or_else(|| claims.preferred_username().map(|name| name.as_str()));
        let line =
            |text: &str| text.chars().filter(|c| !c.is_control()).take(128).collect::<String>();
        Ok(Identified {
            id: id.to_owned(),
            name: line(name.unwrap_or(id)),
            email: claims.email().map(|email| line(email.as_str())),
            claimed: groups(&claims.additional_claims().0, &self.groups_claim)?,
            given: None,
            way,
        })
    }
}

/// The groups in a claim: a list of names, or one name.
fn groups(claims: &Map<String, Value>, claim: &str) -> Result<BTreeSet<String>, Problem> {
    let names: Vec<&Value> = match claims.get(claim) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(names)) => names.iter().collect(),
        Some(name) => vec![name],
    };
    let names: Option<BTreeSet<String>> = names
        .into_iter()
        .map(|name| {
            name.as_str().filter(|name| name.parse::<api::Label>().is_ok()).map(str::to_owned)
        })
        .collect();
    match names {
        Some(names) if names.len() <= GROUPS_MAX => Ok(names),
        Some(names) => Err(refused(format!(
            "the sign-in provider says {} groups, more than {GROUPS_MAX}: let it say those that matter here",
            names.len()
        ))),
        None => {
            Err(refused(format!("the claim `{claim}` of the sign-in provider is no list of names")))
        }
    }
}

/// Nobody is signed in any more than before; the log has the reason.
pub(super) fn no_answer(error: &dyn std::error::Error) -> Problem {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    report(&format!("the sign-in provider gave no answer that can be used: {text}"));
    let detail = "the sign-in provider gave no answer that can be used; the server's log says more";
    Problem::new(Kind::UpstreamUnavailable, detail)
}

/// No nonce: a device is not sent through a browser of ours.
pub(super) fn no_nonce(_: Option<&Nonce>) -> Result<(), String> {
    Ok(())
}

/// Asks the provider over HTTPS; follows nothing, and reads no more than it must.
#[derive(Clone, Debug)]
pub(super) struct Web(Http<HttpsConnector<HttpConnector>, Full<bytes::Bytes>>);

/// The provider could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    /// No connection, or it broke.
    #[error("cannot ask `{at}`: {why}")]
    Broken {
        /// Where.
        at: String,
        /// Why.
        why: String,
    },
    /// Too slow.
    #[error("`{0}` did not answer within 10 s")]
    Slow(String),
}

impl AsyncHttpClient<'_> for Web {
    type Error = WebError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, WebError>> + Send>>;

    fn call(&self, request: HttpRequest) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

impl Web {
    fn new(allow_http: bool) -> std::io::Result<Self> {
        let provider = rustls::crypto::ring::default_provider();
        let connector = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
        let connector = if allow_http { connector.https_or_http() } else { connector.https_only() };
        let connector = connector.enable_http1().enable_http2().build();
        Ok(Self(Http::builder(TokioExecutor::new()).build(connector)))
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, WebError> {
        let at = request.uri().to_string();
        let at = at.split('?').next().unwrap_or_default().to_owned();
        let broken =
            |why: &dyn fmt::Display| WebError::Broken { at: at.clone(), why: why.to_string() };
        let asking = async {
            let response = self.0.request(request.map(|body| Full::new(body.into()))).await;
            let (head, body) = response.map_err(|error| broken(&error))?.into_parts();
            let body =
                Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| broken(&error))?;
            Ok(http::Response::from_parts(head, body.to_bytes().to_vec()))
        };
        let answered = tokio::time::timeout(ANSWER, asking).await;
        answered.unwrap_or_else(|_| Err(WebError::Slow(at.clone())))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(claim: Value, expected: Option<&[&str]>) {
        let claims = Map::from_iter([("groups".to_owned(), claim)]);
        let found = groups(&claims, "groups").ok();
        let found =
            found.as_ref().map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn groups_are_a_list_of_names_or_one_name() {
        check(Value::Null, Some(&[]));
        check(json!([]), Some(&[]));
        check(json!("admin"), Some(&["admin"]));
        check(json!(["b", "a", "a"]), Some(&["a", "b"]));
        check(json!(["a", 1]), None);
        check(json!(["a\nb"]), None);
        check(json!({ "a": true }), None);
        let many: Vec<String> = (0..=GROUPS_MAX).map(|number| format!("g{number}")).collect();
        check(json!(many), None);
    }
}
