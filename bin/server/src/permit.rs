//! Leave to act. Without one of these no act begins, and each says in whose name it is.

use state::Act;

use crate::{
    caller::{Host, Person},
    policies::Question,
};

/// A person's leave to do one thing: the policies allow it. Only [`crate::caller::Person::may`] makes one.
#[derive(Debug)]
#[must_use = "a permit is what an act begins with"]
pub struct Permit {
    pub(crate) question: Question,
    pub(crate) because: Vec<String>,
    /// The policies that allowed it.
    pub(crate) policies: u64,
    actor: String,
}

/// A host's leave to act for itself. Only [`Host::permit`] makes one.
#[derive(Debug)]
#[must_use = "a permit is what an act begins with"]
pub struct HostPermit(String);

/// The server's own leave: for what it does by itself, on schedule or at a start, and for letting in who
/// showed what lets them in.
#[derive(Debug)]
#[must_use = "a permit is what an act begins with"]
pub struct OwnPermit(String);

/// In whose name an act is, and whether a decision of the policies belongs to it.
pub trait Leave: sealed::Sealed + Send + Sync {
    /// What the ledger calls who acts: `person:ann`, `host:h-1`, `join-token:t1`, `server`.
    fn actor(&self) -> &str;

    /// The permit, where policies decided.
    fn decided(&self) -> Option<&Permit> {
        None
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Permit {}
    impl Sealed for super::HostPermit {}
    impl Sealed for super::OwnPermit {}
}

impl Permit {
    pub(crate) fn new(question: Question, because: Vec<String>, policies: u64) -> Self {
        let actor = crate::people::actor(&question.person);
        Self { question, because, policies, actor }
    }

    /// Leave to end one's own session, which no policy can take.
    pub(crate) fn of_session(person: &Person) -> OwnPermit {
        OwnPermit(person.actor())
    }

    /// What was allowed was a look: nothing is done with it.
    pub fn seen(self) {}
}

impl Leave for Permit {
    fn actor(&self) -> &str {
        &self.actor
    }

    fn decided(&self) -> Option<&Permit> {
        Some(self)
    }
}

impl HostPermit {
    pub(crate) fn new(host: &Host) -> Self {
        Self(host.actor())
    }
}

impl Leave for HostPermit {
    fn actor(&self) -> &str {
        &self.0
    }
}

impl OwnPermit {
    /// What the server does by itself.
    pub(crate) fn server() -> Self {
        Self("server".to_owned())
    }

    /// Letting a host in, by what it showed: `join-token:t1`, `aws:arn:…`.
    pub(crate) fn joining(by: &str) -> Self {
        Self(by.to_owned())
    }

    /// What a person does who is just signing in, as far as the provider or the token says who they are.
    pub(crate) fn signing_in(person: &str) -> Self {
        Self(crate::people::actor(person))
    }
}

impl Leave for OwnPermit {
    fn actor(&self) -> &str {
        &self.0
    }
}

/// An act that somebody has leave for: looks, records, changes, commits.
pub struct Acting {
    pub(crate) act: Act,
    pub(crate) actor: String,
    pub(crate) now: jiff::Timestamp,
}
