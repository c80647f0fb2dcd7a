//! Signing in, and what a session is good for.

mod browser;
mod device;
mod provider;
mod token;

use std::sync::Arc;

use api::{Action, Problem, login};
use jiff::Timestamp;
use secret::SecretText;
use serde_json::json;
use state::{PersonRow, SessionRow};

use crate::{
    caller::Person,
    fault::OrProblem,
    people::{self, Body},
    permit::{OwnPermit, Permit},
    policies::Resource,
    random,
    server::Server,
    sessions,
};

pub use provider::Provider;
pub(crate) use {
    browser::{begin as begin_browser, finish as finish_browser},
    device::{begin as begin_device, poll as poll_device},
    token::by_token,
};

/// Where a sign-in provider sends browsers back to.
pub const CALLBACK: &str = "/v1/login/callback";

/// Somebody of whom the provider, or a one-time token, says who they are.
struct Identified {
    /// Their id.
    id: String,
    /// Their name.
    name: String,
    /// Their address.
    email: Option<String>,
    /// The groups that the provider says.
    claimed: std::collections::BTreeSet<String>,
    /// The groups that the way of signing in gives.
    given: Option<&'static str>,
    /// Which way it was.
    way: &'static str,
}

/// Lets somebody in: one act, with the person, the session and the entry.
async fn let_in(server: &Server, who: Identified) -> Result<login::Session, Problem> {
    let Identified { id, name, email, claimed, given, way } = who;
    let token = random::secret(login::SESSION_PREFIX)?;
    let mut act = server.act(&OwnPermit::signing_in(&id)).await?;
    let now = act.now();
    let before = act.person(&id).await.or_problem()?;
    // Whoever can read the key file is not kept out by what was said before.
    let disabled = before.as_ref().and_then(|row| row.disabled).filter(|_| given.is_none());
    if disabled.is_some() {
        act.record("login.refused", &id, json!({ "way": way, "why": "shut out" })).await?;
        act.commit().await?;
        return Err(refused("you were shut out; ask whoever is in the group `admin`"));
    }
    let mut body = match &before {
        Some(row) => serde_json::from_str(&row.body).or_problem()?,
        None => Body::default(),
    };
    body.given.extend(given.map(str::to_owned));
    body = Body { name, email, claimed, ..body };
    let row = PersonRow {
        person: id.clone(),
        body: serde_json::to_string(&body).or_problem()?,
        disabled: None,
        last_login: Some(now),
    };
    let person = people::known(&row)?;
    let expires = now + sessions::LIFE;
    let session = SessionRow {
        hash: random::hash(token.expose()),
        person: id.clone(),
        created: now,
        used: now,
        expires,
        body: json!({ "way": way }).to_string(),
    };
    let detail = json!({ "way": way, "groups": person.groups, "expires": expires.to_string() });
    act.record("login.done", &id, detail).await?;
    act.put_person(&row).await.or_problem()?;
    act.put_session(&session).await.or_problem()?;
    act.commit().await?;
    Ok(login::Session { token, expires, person })
}

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(api::Kind::LoginRefused, detail)
}

/// Tells who asks.
pub(crate) async fn me(
    _: Arc<Server>,
    person: Person,
    (): (),
    (): (),
    (): (),
) -> Result<login::Me, Problem> {
    // To something at least: to everything together, or to an application that a group of theirs owns.
    let owned = person.groups().into_iter().map(|owner| Resource::Application {
        application: "any".to_owned(),
        environment: None,
        owner: Some(owner),
        tier: None,
    });
    let resources: Vec<Resource> = std::iter::once(Resource::Deployment).chain(owned).collect();
    let may = |action: &&Action| resources.iter().any(|resource| person.could(**action, resource));
    Ok(login::Me {
        actions: Action::ALL.iter().filter(may).copied().collect(),
        expires: person.session.expires,
        csrf: person.session.csrf.clone(),
        person: person.known,
    })
}

/// Ends the session. Whoever has one may end it.
pub(crate) async fn logout(
    server: Arc<Server>,
    person: Person,
    (): (),
    (): (),
    (): (),
) -> Result<(), Problem> {
    let mut act = server.act(&Permit::of_session(&person)).await?;
    act.record("logout.done", person.id(), json!({})).await?;
    act.delete_session(&person.session.hash).await.or_problem()?;
    act.commit().await.map(|_| ())
}

/// When a login that is begun now ends.
fn until(now: Timestamp, seconds: i64) -> Timestamp {
    now + jiff::SignedDuration::from_secs(seconds)
}

/// What a row of a login in progress says, once it is opened.
fn opened<T: serde::de::DeserializeOwned>(
    server: &Server,
    row: &state::LoginRow,
) -> Result<T, Problem> {
    let name = format!("login/{}", row.hash);
    let body = server.seal.unseal(&name, row.body.expose()).or_problem()?;
    serde_json::from_slice(body.expose()).or_problem()
}

/// Keeps a login in progress, sealed: any replica can finish it, and who reads the database cannot.
async fn keep(
    server: &Server,
    handle: &SecretText,
    kind: &str,
    body: &impl serde::Serialize,
    expires: Timestamp,
) -> Result<(), Problem> {
    let hash = random::hash(handle.expose());
    let body = secret::SecretBytes::new(serde_json::to_vec(body).or_problem()?);
    let sealed = server.seal.seal(&format!("login/{hash}"), body.expose()).or_problem()?;
    let body = SecretText::new(sealed);
    let row = state::LoginRow { hash, kind: kind.to_owned(), body, expires };
    server.state.put_login(&row).await.or_problem()
}
