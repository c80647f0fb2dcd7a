//! What is known of the server: when it was heard last, what it refuses, which certificate it gave.

use api::{Kind, agents::Joined, client::AskError};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What became of talking with the server.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// When it answered last.
    heard: Option<Timestamp>,
    trouble: Option<Trouble>,
    /// When it said that this host was revoked.
    revoked: Option<Timestamp>,
    /// Which orders were not obeyed last, and why.
    disobeyed: Option<(Timestamp, String)>,
    /// Why the orders in force are not on the disk.
    unwritten: Option<String>,
    /// Why the certificate could not be renewed when that was last tried.
    renewal: Option<(Timestamp, String)>,
}

/// It cannot be asked.
#[derive(Clone, Debug)]
struct Trouble {
    since: Timestamp,
    why: String,
}

impl Told {
    /// The server answered. Says what the operator is to be told, if that is news.
    pub fn heard(&mut self, now: Timestamp) -> Option<&'static str> {
        self.heard = Some(now);
        let (trouble, revoked) = (self.trouble.take(), self.revoked.take());
        (trouble.is_some() || revoked.is_some()).then_some("the server answers again")
    }

    /// The server could not be asked, or refused. Says what the operator is to be told, if that is news.
    pub fn missed(&mut self, now: Timestamp, error: &AskError) -> Option<String> {
        let why = words(error);
        if error.problem().is_some_and(|problem| problem.kind == Kind::Revoked) {
            self.heard = Some(now);
            let news = self.revoked.is_none();
            self.revoked.get_or_insert(now);
            return news.then(|| {
                format!(
                    "the server says that this host was revoked ({why}): what is held is served to its \
                     end and nothing is fetched; let the host join again if it may"
                )
            });
        }
        match &mut self.trouble {
            Some(trouble) => {
                let news = trouble.why != why;
                trouble.why.clone_from(&why);
                news.then(|| format!("the server still cannot be asked: {why}"))
            }
            None => {
                self.trouble = Some(Trouble { since: now, why: why.clone() });
                Some(format!("the server cannot be asked: {why}"))
            }
        }
    }

    /// Whether the server said that this host was revoked.
    pub const fn is_revoked(&self) -> bool {
        self.revoked.is_some()
    }

    /// Orders were not obeyed. Says whether that is news.
    pub fn disobeyed(&mut self, now: Timestamp, why: String) -> bool {
        let news = self.disobeyed.as_ref().is_none_or(|(_, before)| *before != why);
        self.disobeyed = Some((now, why));
        news
    }

    /// Orders were obeyed, and are on the disk or not.
    pub fn obeyed(&mut self, unwritten: Option<String>) {
        (self.disobeyed, self.unwritten) = (None, unwritten);
    }

    /// Whether the orders in force must still be written.
    pub const fn is_unwritten(&self) -> bool {
        self.unwritten.is_some()
    }

    /// The certificate was renewed, or why not.
    pub fn renewed(&mut self, now: Timestamp, failure: Option<String>) {
        self.renewal = failure.map(|why| (now, why));
    }

    /// What the operator is told.
    pub fn status(&self, now: Timestamp) -> Value {
        let trouble = self.trouble.as_ref();
        json!({
            "reachable": trouble.is_none() && self.heard.is_some(),
            "heard": self.heard.map(|at| at.to_string()),
            "unreachable_since": trouble.map(|trouble| trouble.since.to_string()),
            "unreachable_for_s": trouble.map(|trouble| seconds(trouble.since, now)),
            "trouble": trouble.map(|trouble| trouble.why.clone()),
            "revoked": self.revoked.map(|at| at.to_string()),
            "orders_not_obeyed": self.disobeyed.as_ref().map(|(at, why)| json!({ "at": at.to_string(), "why": why })),
            "orders_not_on_disk": self.unwritten,
            "renewal_failed": self.renewal.as_ref().map(|(at, why)| json!({ "at": at.to_string(), "why": why })),
        })
    }
}

/// What the operator is told of the host's identity.
pub fn identity(joined: &Joined, now: Timestamp) -> Value {
    json!({
        "host": joined.host,
        "name": joined.name,
        "region": joined.region.as_ref().map(ToString::to_string),
        "labels": joined.labels,
        "certificate_ends": joined.expires.to_string(),
        "certificate_ends_in_s": seconds(now, joined.expires),
        "certificate_renewed_after": joined.renew_after.to_string(),
    })
}

/// From one time to another, in whole seconds.
pub fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs()
}

/// An error with the way out that only this program knows.
pub fn words(error: &AskError) -> String {
    match error {
        AskError::Untrusted { why, .. }
            if ["not valid yet", "expired"].iter().any(|word| why.contains(word)) =>
        {
            format!("{error}; or this host's clock is wrong: look at its time service")
        }
        AskError::IdentityRefused { .. } => format!(
            "{error}; if it has ended, let the host join again: `rolecall-agent join --again`"
        ),
        _ => error.to_string(),
    }
}
