use std::sync::Arc;

use cloud::RoleArn;
use jiff::Timestamp;
use workload::Workload;

use crate::{AccessKeyId, Event, Kind, Named, Names, Needs, Outcome, Trust};

/// Whose access key a call was made with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signer {
    /// A key of a lease of this role.
    Role(RoleArn),
    /// A key that we did not lease. Each is told of apart: it may be a stolen one.
    Foreign(AccessKeyId<'static>),
    /// The line does not say. CSM tells it of attempts only.
    Unknown,
}

/// What makes calls equal: those of one key are told of together, with a count.
///
/// Service and operation stay beside the actions, because names are data: a better table can name them anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Who made the calls. Nobody is known of a datagram whose sender could not be found.
    pub workload: Option<Workload>,
    /// Whose access key it was.
    pub signer: Signer,
    /// What the word is worth. What anybody could have forged is never counted with what a shim says.
    pub trust: Trust,
    /// The service id.
    pub service: Box<str>,
    /// The operation.
    pub operation: Box<str>,
    /// Its actions and resources.
    pub named: Named,
    /// What became of it.
    pub outcome: Outcome,
}

impl Key {
    /// The key of an event, with what others know of it.
    pub fn of(event: &Event<'_>, workload: Option<Workload>, signer: Signer, named: Named) -> Self {
        Self {
            workload,
            signer,
            trust: event.trust,
            service: event.service.as_ref().into(),
            operation: event.operation.as_ref().into(),
            named,
            outcome: event.outcome,
        }
    }

    /// The bytes of its texts.
    pub(crate) fn text_bytes(&self) -> usize {
        let names = |names: &Names| match names {
            Names::Unknown => 0,
            Names::These(names) => names.iter().map(|name| name.len() + NAME_BYTES).sum(),
        };
        let workload = self.workload.as_ref().map_or(0, |workload| {
            let Workload { application, environment, instance } = workload;
            application.as_str().len() + environment.as_str().len() + instance.as_str().len()
        });
        let signer = match &self.signer {
            Signer::Role(role) => role.path().len() + role.name().len() + NAME_BYTES,
            Signer::Foreign(key) => key.as_str().len(),
            Signer::Unknown => 0,
        };
        let needs = match &self.named.needs {
            Needs::Unknown => 0,
            Needs::These(needs) => {
                needs.iter().map(|(action, on)| action.len() + NAME_BYTES + names(on)).sum()
            }
        };
        workload + signer + self.service.len() + self.operation.len() + needs
    }
}

/// What a name costs besides its text, in bytes, with the tree that it is in.
const NAME_BYTES: usize = 64;

/// Equal calls, seen together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// How many.
    pub count: u64,
    /// When the first of them began.
    pub first: Timestamp,
    /// When the last of them began.
    pub last: Timestamp,
    /// The request id of one of them.
    pub request_id: Option<String>,
    /// The error code or exception of one of them.
    pub exception: Option<String>,
}

impl Sighting {
    /// What an event counts for. Nothing for an attempt: it is evidence about a call that is told of on its own, and
    /// counted with it a call would be two.
    pub fn of(event: &Event<'_>) -> Option<Self> {
        (event.kind != Kind::Attempt).then(|| Self {
            count: event.count,
            first: event.first,
            last: event.last,
            request_id: event.request_id.as_deref().map(str::to_owned),
            exception: event.exception.as_deref().map(str::to_owned),
        })
    }

    /// Takes in a later one. The examples stay those of the first that had any.
    pub(crate) fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.request_id = self.request_id.take().or(other.request_id);
        self.exception = self.exception.take().or(other.exception);
    }
}

/// Why a record is told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Such a call was not seen before, as far as the table remembers.
    First,
    /// Its turn has come.
    Repeats,
    /// Its place was needed for another.
    Evicted,
}

/// Calls of one key, to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What they have in common.
    pub key: Arc<Key>,
    /// What was seen of them since the last record of this key.
    pub sighting: Sighting,
    /// Why it is told now.
    pub why: Why,
}

impl Record {
    /// Whether it is the first denial of its kind, which nothing may hold back.
    pub fn is_first_denial(&self) -> bool {
        self.why == Why::First && self.key.outcome == Outcome::Denied
    }
}
