//! Signing in by the one-time token that the server printed.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};

use api::{Problem, login};
use serde_json::json;
use state::LoginRow;

use super::{Identified, let_in, refused};
use crate::{
    caller::Anybody, fault::OrProblem, found::ADMIN_TOKEN, people::LOCAL, permit::OwnPermit,
    policies::ADMIN, random, server::Server,
};

/// Signs in with an admin's one-time token. A token is used up by the first who shows it.
pub(crate) async fn by_token(
    server: Arc<Server>,
    who: Anybody,
    (): (),
    (): (),
    asked: login::TokenLogin,
) -> Result<login::Session, Problem> {
    let hash = random::hash(asked.token.expose());
    let login = server.state.take_login(&hash, server.clock.now()).await.or_problem()?;
    let person = login.filter(|login| login.kind == ADMIN_TOKEN).and_then(|login| person(&login));
    let Some(id) = person else {
        record_refusal(&server, &who).await?;
        let way = "make another one on the server: `rolecall-server admin-token`";
        return Err(refused(format!("the token is unknown, was used, or has ended; {way}")));
    };
    let name = id.strip_prefix(LOCAL).unwrap_or(&id).to_owned();
    let admin = Identified {
        id,
        name,
        email: None,
        claimed: BTreeSet::new(),
        given: Some(ADMIN),
        way: "token",
    };
    let_in(&server, admin).await
}

/// Nobody is known, so nobody is named; the address is what there is. Anybody may try, so not each try is an entry:
/// the request log has them all.
async fn record_refusal(server: &Server, who: &Anybody) -> Result<(), Problem> {
    let now = server.clock.now();
    let unsaid = server.refused_logins.lock().unwrap_or_else(PoisonError::into_inner).take(now);
    let Some(unsaid) = unsaid else { return Ok(()) };
    let mut act = server.act(&OwnPermit::server()).await?;
    let detail = json!({ "way": "token", "address": who.address.to_string(), "unsaid": unsaid });
    act.record("login.refused", "token", detail).await?;
    act.commit().await.map(drop)
}

/// Whom a token was made for.
fn person(login: &LoginRow) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(login.body.expose()).ok()?;
    Some(body.get("person")?.as_str()?.to_owned())
}
