//! Signing in without a browser of one's own: the device flow.
//!
//! [RFC 8628](https://www.rfc-editor.org/rfc/rfc8628)

use std::{sync::Arc, time::Duration};

use api::{Kind, Problem, login};
use openidconnect::{
    DeviceCodeErrorResponseType, RequestTokenError, Scope, core::CoreDeviceAuthorizationResponse,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{
    keep, let_in, opened,
    provider::{no_answer, no_nonce},
    refused, until,
};
use crate::{caller::Anybody, fault::OrProblem, random, server::Server};

/// The kind of a row.
const KIND: &str = "device";
/// The longest that a login lives, in seconds, whatever the provider says.
const LIFE_MAX_S: u64 = 30 * 60;

/// A login in progress.
#[derive(Serialize, Deserialize)]
struct Progress {
    details: CoreDeviceAuthorizationResponse,
}

/// Begins a login.
pub(crate) async fn begin(
    server: Arc<Server>,
    _: Anybody,
    (): (),
    (): (),
    (): (),
) -> Result<login::DeviceLogin, Problem> {
    let provider = server.provider()?;
    let client = provider.client().await?;
    if !provider.knows_devices() {
        let detail = "the sign-in provider knows no devices: sign in with a browser";
        return Err(Problem::new(Kind::UpstreamUnavailable, detail));
    }
    let scopes = provider.scopes.iter().cloned().map(Scope::new);
    let details: Result<CoreDeviceAuthorizationResponse, _> =
        client.exchange_device_code().add_scopes(scopes).request_async(&provider.web).await;
    let details = details.map_err(|error| no_answer(&error))?;
    let handle = random::secret("")?;
    let life = details.expires_in().as_secs().min(LIFE_MAX_S);
    let expires = until(server.clock.now(), i64::try_from(life).unwrap_or_default());
    let answer = login::DeviceLogin {
        handle,
        user_code: details.user_code().secret().clone(),
        verification_uri: details.verification_uri().to_string(),
        verification_uri_complete: details
            .verification_uri_complete()
            .map(|uri| uri.secret().clone()),
        interval_s: seconds(details.interval()),
        expires,
    };
    keep(&server, &answer.handle, KIND, &Progress { details }, expires).await?;
    Ok(answer)
}

/// Asks the provider once what became of a login.
pub(crate) async fn poll(
    server: Arc<Server>,
    _: Anybody,
    (): (),
    (): (),
    asked: login::DeviceHandle,
) -> Result<login::DevicePoll, Problem> {
    let over = || refused("this sign-in is over, or was never begun here: begin again");
    let (hash, now) = (random::hash(asked.handle.expose()), server.clock.now());
    let row = server.state.read().await.or_problem()?.login(&hash).await.or_problem()?;
    let row = row.filter(|row| row.kind == KIND && row.expires > now).ok_or_else(over)?;
    let Progress { details } = opened(&server, &row)?;
    let provider = server.provider()?;
    let client = provider.client().await?;
    // The library asks again and again. Here the caller does: where it would rest, it is left.
    let (rests, mut rested) = mpsc::unbounded_channel::<Duration>();
    let rest = move |pause: Duration| {
        let rests = rests.clone();
        async move {
            // Whoever waits for it is there, or the whole request is gone.
            let _ = rests.send(pause);
            std::future::pending::<()>().await;
        }
    };
    let exchange = client.exchange_device_access_token(&details);
    let exchange = exchange.map_err(|error| no_answer(&error))?;
    let tokens = tokio::select! {
        tokens = exchange.request_async(&provider.web, rest, None) => tokens,
        pause = rested.recv() => {
            return Ok(login::DevicePoll::Pending { interval_s: seconds(pause.unwrap_or_default()) });
        }
    };
    let tokens = match tokens {
        Ok(tokens) => tokens,
        Err(RequestTokenError::ServerResponse(said)) => {
            // Whatever it said, this login comes to nothing.
            server.state.take_login(&hash, now).await.or_problem()?;
            return Err(match said.error() {
                DeviceCodeErrorResponseType::AccessDenied => refused("the sign-in was not allowed"),
                DeviceCodeErrorResponseType::ExpiredToken => over(),
                _ => no_answer(&RequestTokenError::<std::io::Error, _>::ServerResponse(said)),
            });
        }
        Err(error) => return Err(no_answer(&error)),
    };
    // Only one of two who ask at once is let in.
    server.state.take_login(&hash, now).await.or_problem()?.ok_or_else(over)?;
    let identified = provider.identify(&client, &tokens, no_nonce, "device")?;
    let session = let_in(&server, identified).await?;
    Ok(login::DevicePoll::SignedIn { session })
}

/// Whole seconds, at least one.
fn seconds(pause: Duration) -> u32 {
    u32::try_from(pause.as_secs()).unwrap_or(u32::MAX).max(1)
}
