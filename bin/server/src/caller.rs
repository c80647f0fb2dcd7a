//! Who asks.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use api::{Action, Kind, Problem, login};
use http::{
    HeaderMap, Method,
    header::{AUTHORIZATION, COOKIE},
};
use jiff::Timestamp;
use secret::SecretText;

use crate::{
    fault::OrProblem,
    http::{Connection, not_too_often},
    people,
    permit::{HostPermit, Permit},
    policies::{Policies, Question, Resource},
    random,
    server::Server,
    sessions,
};

/// Somebody of whom nothing is known but where they are.
#[derive(Clone, Debug)]
pub struct Anybody {
    /// Their address.
    pub address: IpAddr,
    /// The `Cookie` headers that they sent.
    pub(crate) cookies: Vec<String>,
}

/// A host that showed a certificate of our authority, which has not ended and was not revoked. Only
/// a certificate that was checked makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    id: String,
}

/// Somebody who is signed in and not shut out. Only a session makes one.
#[derive(Clone, Debug)]
pub struct Person {
    pub(crate) known: api::people::Person,
    pub(crate) session: Session,
    pub(crate) policies: Arc<Policies>,
}

/// The session that a request belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The hash of its text.
    pub hash: String,
    /// When it ends at the latest.
    pub expires: Timestamp,
    /// What a browser must send along, where the session is in a cookie.
    pub csrf: Option<SecretText>,
}

impl Anybody {
    /// What a cookie holds.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find_map(|header| cookie(header, name))
    }
}

impl Host {
    /// The host that a connection belongs to.
    ///
    /// # Errors
    /// When it showed no certificate of a host, or one that has ended or was revoked.
    pub(crate) async fn of(server: &Server, connection: &Connection) -> Result<Self, Problem> {
        let not_a_host = |detail: &str| Problem::new(Kind::NotAHost, detail);
        let shown = connection.shown.as_ref().ok_or_else(|| {
            not_a_host("show the certificate that the host got when it joined, and got anew since")
        })?;
        // A connection may outlive the certificate that it was made with.
        if shown.expires <= server.clock.now() {
            return Err(not_a_host("the host's certificate has ended: let the host join again"));
        }
        // A copy that is a moment old lets a host in that was revoked just now. What it then asks for is
        // judged by what is there: a token and a certificate within their act, orders by each new copy.
        let known = server.refresher.known();
        let revoked = match known.knowledge.host(&shown.host) {
            Some(host) => host.revoked.then(|| host.name.clone()),
            // It may have joined just now, at another replica.
            None => {
                let mut reading = server.state.read().await.or_problem()?;
                let row = reading.host(&shown.host).await.or_problem()?;
                let unknown = || not_a_host("no such host has joined: let it join again");
                let row = row.ok_or_else(unknown)?;
                row.revoked.map(|_| row.name)
            }
        };
        if let Some(name) = revoked {
            let detail =
                format!("the host `{name}` was revoked; if it shall work again, let it join again");
            return Err(Problem::new(Kind::Revoked, detail));
        }
        Ok(Self { id: shown.host.clone() })
    }

    /// The host's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the ledger calls it.
    pub fn actor(&self) -> String {
        format!("host:{}", self.id)
    }

    /// Leave to act as this host, for itself alone.
    pub fn permit(&self) -> HostPermit {
        HostPermit::new(self)
    }
}

impl Person {
    /// The person that a request belongs to.
    ///
    /// # Errors
    /// When nobody is signed in, the session has ended, the person was shut out, a browser's request may
    /// come from another site, or an address shows too many sessions that are not known.
    pub(crate) async fn of(
        server: &Server,
        connection: &Connection,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let (text, in_cookie) = session_text(headers)?;
        let now = server.clock.now();
        let hash = random::hash(text.expose());
        // Anybody can make up a session, and to look for it is work for the database. A session that was good
        // before is looked up however many others come from the same address.
        if !server.rate.knows(&hash) {
            not_too_often(server, connection.peer.ip())?;
        }
        let nobody = |detail: &str| {
            server.rate.forget(&hash);
            Problem::new(Kind::NotSignedIn, detail)
        };
        let mut reading = server.state.read().await.or_problem()?;
        let row = reading.session(&hash).await.or_problem()?;
        let row = row.filter(|row| sessions::lives(row, now));
        let row = row.ok_or_else(|| nobody("the session has ended: sign in again"))?;
        let csrf = in_cookie.then(|| sessions::csrf(&text));
        if let Some(csrf) = &csrf {
            same_site(method, headers, csrf)?;
        }
        let person = reading.person(&row.person).await.or_problem()?;
        let person = person
            .filter(|person| person.disabled.is_none())
            .ok_or_else(|| nobody("the person was shut out, or is not known any more"))?;
        server.rate.remember(&hash);
        let policies = server.policies_of(reading.policies().await.or_problem()?)?;
        drop(reading);
        if sessions::should_touch(&row, now) {
            server.state.touch_session(&hash, now).await.or_problem()?;
        }
        let session = Session { hash, expires: row.expires, csrf };
        Ok(Self { known: people::known(&person)?, session, policies })
    }

    /// The person's id.
    pub fn id(&self) -> &str {
        &self.known.id
    }

    /// The person's name.
    pub fn name(&self) -> &str {
        &self.known.name
    }

    /// The groups that the person is in.
    pub fn groups(&self) -> BTreeSet<String> {
        self.known.groups.iter().cloned().collect()
    }

    /// What the ledger calls the person.
    pub fn actor(&self) -> String {
        people::actor(&self.known.id)
    }

    /// Whether the policies let the person do this. There is no other way to a [`Permit`].
    ///
    /// # Errors
    /// When they do not. That is recorded, and if it cannot be, it is what is told.
    pub async fn may(
        &self,
        server: &Server,
        action: Action,
        resource: &Resource,
    ) -> Result<Permit, Problem> {
        let question = self.question(action, resource);
        let answer = self.policies.decide(&question);
        if answer.allowed {
            return Ok(Permit::new(question, answer.because, self.policies.version()));
        }
        server.record_denied(&question, &answer).await?;
        let subject = resource.subject();
        let detail = match answer.because.as_slice() {
            [] => format!(
                "no policy permits you `{action}` on `{subject}`; ask whoever is in the group `admin`"
            ),
            forbids => {
                format!("`{}` does not let you `{action}` on `{subject}`", forbids.join("`, `"))
            }
        };
        Err(Problem::not_allowed(detail))
    }

    /// Whether the policies would let the person do this; recorded nowhere.
    pub fn could(&self, action: Action, resource: &Resource) -> bool {
        self.policies.decide(&self.question(action, resource)).allowed
    }

    fn question(&self, action: Action, resource: &Resource) -> Question {
        Question {
            person: self.known.id.clone(),
            name: self.known.name.clone(),
            groups: self.groups(),
            action,
            resource: resource.clone(),
        }
    }
}

/// The session's text, and whether it is from a cookie. A header comes before a cookie: no browser sends one
/// by itself.
fn session_text(headers: &HeaderMap) -> Result<(SecretText, bool), Problem> {
    let nobody = || Problem::new(Kind::NotSignedIn, "sign in: `rolecall login`");
    if let Some(header) = headers.get(AUTHORIZATION) {
        let text = header.to_str().map_err(|_| nobody())?;
        let (scheme, token) = text.split_once(' ').ok_or_else(nobody)?;
        let known =
            scheme.eq_ignore_ascii_case("bearer") && token.starts_with(login::SESSION_PREFIX);
        return if known { Ok((SecretText::new(token.to_owned()), false)) } else { Err(nobody()) };
    }
    let headers = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let text = headers.filter_map(|header| cookie(header, login::COOKIE)).next();
    text.map(|text| (SecretText::new(text.to_owned()), true)).ok_or_else(nobody)
}

/// What a `Cookie` header says of one name.
fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

/// Refuses what another site may have made a browser send.
fn same_site(method: &Method, headers: &HeaderMap, csrf: &SecretText) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let sent = headers.get(login::CSRF_HEADER).map(http::HeaderValue::as_bytes).unwrap_or_default();
    if csrf.matches(sent) {
        return Ok(());
    }
    let detail =
        format!("send what `/v1/me` says as `csrf` in the header `{}`", login::CSRF_HEADER);
    Err(Problem::new(Kind::CrossSite, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&str, &str)], expected: Option<(&str, bool)>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        let found = session_text(&map).ok();
        let found = found.as_ref().map(|(text, cookie)| (text.expose().as_str(), *cookie));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_session_is_found_in_a_header_or_else_in_a_cookie() {
        check(&[], None);
        check(&[("authorization", "Bearer rcs_a")], Some(("rcs_a", false)));
        check(&[("authorization", "bearer rcs_a")], Some(("rcs_a", false)));
        check(&[("authorization", "Bearer other")], None);
        check(&[("authorization", "Basic rcs_a"), ("cookie", "__Host-rolecall=rcs_b")], None);
        check(&[("cookie", "a=b; __Host-rolecall=rcs_b; c=d")], Some(("rcs_b", true)));
        check(&[("cookie", "a=b"), ("cookie", "__Host-rolecall=rcs_b")], Some(("rcs_b", true)));
        check(&[("cookie", "rolecall=rcs_b; x__Host-rolecall=rcs_c")], None);
    }
}
