//! Signing in with a browser: authorization code with PKCE.
//!
//! The browser that comes back must be the one that was sent: it holds a cookie that only it was given, and the
//! login that its `state` names is taken once.

use std::sync::Arc;

use api::{Problem, login};
use openidconnect::{
    AuthenticationFlow, AuthorizationCode, CsrfToken, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    Scope, core::CoreResponseType,
};
use secret::SecretText;
use serde::{Deserialize, Serialize};

use super::{keep, let_in, opened, provider::no_answer, refused, until};
use crate::{caller::Anybody, fault::OrProblem, http::Browser, random, server::Server, sessions};

/// The cookie of a login in progress.
const COOKIE: &str = "__Host-rolecall-login";
/// How long a person may take at the provider, in seconds.
const LIFE_S: i64 = 600;
/// The longest path to go back to, in bytes.
const BACK_MAX: usize = 2048;

/// The kind of a row.
const KIND: &str = "browser";

/// A login in progress.
#[derive(Serialize, Deserialize)]
struct Progress {
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    /// The hash of what the browser's cookie holds.
    browser: String,
    back: String,
}

/// Sends a browser to the provider.
pub(crate) async fn begin(
    server: Arc<Server>,
    _: Anybody,
    (): (),
    asked: login::BrowserAsked,
    (): (),
) -> Result<Browser, Problem> {
    let back = own_path(asked.back.as_deref().unwrap_or("/"))?;
    let provider = server.provider()?;
    let client = provider.client().await?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (state, browser) = (random::secret("")?, random::secret("")?);
    let sent = state.expose().clone();
    let request = client.authorize_url(
        AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
        || CsrfToken::new(sent),
        Nonce::new_random,
    );
    let scopes = provider.scopes.iter().cloned().map(Scope::new);
    let (url, _, nonce) = request.add_scopes(scopes).set_pkce_challenge(challenge).url();
    let browser_hash = random::hash(browser.expose());
    let progress = Progress { nonce, verifier, browser: browser_hash, back };
    let expires = until(server.clock.now(), LIFE_S);
    keep(&server, &state, KIND, &progress, expires).await?;
    let cookie = format!(
        "{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={LIFE_S}",
        browser.expose()
    );
    Ok(Browser { location: url.to_string(), cookies: vec![cookie] })
}

/// Takes a browser back, and signs it in.
pub(crate) async fn finish(
    server: Arc<Server>,
    who: Anybody,
    (): (),
    asked: login::CallbackAsked,
    (): (),
) -> Result<Browser, Problem> {
    let begun = |what: &str| refused(format!("{what}: begin again at `/v1/login/browser`"));
    let state = asked.state.ok_or_else(|| begun("the provider sent no `state`"))?;
    // Once, whatever comes of it.
    let hash = random::hash(state.expose());
    let row = server.state.take_login(&hash, server.clock.now()).await.or_problem()?;
    let row = row.filter(|row| row.kind == KIND);
    let row = row.ok_or_else(|| begun("this sign-in is over, or was never begun here"))?;
    let progress: Progress = opened(&server, &row)?;
    let shown = SecretText::new(random::hash(who.cookie(COOKIE).unwrap_or_default()));
    if !shown.matches(progress.browser.as_bytes()) {
        return Err(begun("this sign-in was begun in another browser"));
    }
    if let Some(error) = asked.error {
        let words = asked.error_description.unwrap_or_default();
        return Err(refused(format!("the sign-in provider said no: `{error}` {words}")));
    }
    let code = asked.code.ok_or_else(|| begun("the provider sent no `code`"))?;
    let provider = server.provider()?;
    let client = provider.client().await?;
    let exchange = client.exchange_code(AuthorizationCode::new(code.expose().clone()));
    let exchange =
        exchange.map_err(|error| no_answer(&error))?.set_pkce_verifier(progress.verifier);
    let tokens = exchange.request_async(&provider.web).await.map_err(|error| match &error {
        openidconnect::RequestTokenError::ServerResponse(said) => {
            refused(format!("the sign-in provider took the code back: `{}`", said.error()))
        }
        _ => no_answer(&error),
    })?;
    let identified = provider.identify(&client, &tokens, &progress.nonce, "browser")?;
    let session = let_in(&server, identified).await?;
    let over = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");
    let cookies = vec![sessions::cookie(&session.token), over];
    Ok(Browser { location: progress.back, cookies })
}

/// A path of this server, and nothing that a browser would take for another one.
fn own_path(back: &str) -> Result<String, Problem> {
    let plain = back.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let own = back.starts_with('/') && !back.starts_with("//");
    if plain && own && back.len() <= BACK_MAX {
        return Ok(back.to_owned());
    }
    let reason = "must be a path of this server, such as `/`";
    Err(Problem::invalid("the browser cannot be sent there").with_field("back", reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(back: &str, own: bool) {
        assert_eq!(own_path(back).is_ok(), own, "{back}");
    }

    #[test]
    fn a_browser_is_sent_to_paths_of_this_server_alone() {
        check("/", true);
        check("/bindings?application=orders#latest", true);
        for foreign in [
            "",
            "https://evil.example.com/",
            "//evil.example.com",
            "/\\evil.example.com",
            "\\\\evil",
            "/\tevil",
            "/a b",
            "/\r\nset-cookie: a=b",
            "javascript:alert(1)",
            "evil.example.com",
        ] {
            check(foreign, false);
        }
        check(&format!("/{}", "a".repeat(BACK_MAX)), false);
    }
}
