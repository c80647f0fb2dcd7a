use std::{borrow::Cow, sync::Arc, time::Duration};

use cloud::{Region, RoleArn};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use workload::Workload;

use crate::{AccessKeyId, Event, Kind, Named, Names, Needs, Outcome, Parameters, Trust};

/// Whose access key a call was made with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signer {
    /// We leased it.
    Leased {
        /// The role that it is of.
        role: RoleArn,
        /// Whom it was leased to. Where that is not who made the call, the lease has been passed on.
        to: Workload,
    },
    /// We did not lease it. It may be a stolen one.
    Foreign,
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
    /// The access key, where the line says it. It joins calls to leases, and to what CloudTrail says.
    pub access_key: Option<AccessKeyId<'static>>,
    /// Whose access key it was.
    pub signer: Signer,
    /// What the word is worth. What anybody could have forged is never counted with what a shim says.
    pub trust: Trust,
    /// The service id.
    pub service: Box<str>,
    /// The operation.
    pub operation: Box<str>,
    /// The region that was called.
    pub region: Option<Region>,
    /// Its actions and resources.
    pub named: Named,
    /// What it was about, where no table could name that. A better table can, later. Empty for all that is named: there
    /// the resources say it, and parameters would keep calls apart that are equal.
    pub unnamed: Parameters<'static>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Key {
    /// The key of an event, with what others know of it.
    pub fn of(event: &Event<'_>, workload: Option<Workload>, signer: Signer, named: Named) -> Self {
        let owned = |text: &str| Cow::Owned(text.to_owned());
        let parameters = event.parameters.iter().filter(|_| !named.is_whole());
        let unnamed = parameters.map(|(path, values)| {
            (owned(path), values.iter().map(|value| owned(value)).collect::<Vec<_>>())
        });
        Self {
            workload,
            access_key: event.key.clone().map(AccessKeyId::into_owned),
            signer,
            trust: event.trust,
            service: event.service.as_ref().into(),
            operation: event.operation.as_ref().into(),
            region: event.region.clone(),
            unnamed: unnamed.collect(),
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
        let of = |workload: &Workload| {
            let Workload { application, environment, instance } = workload;
            application.as_str().len() + environment.as_str().len() + instance.as_str().len()
        };
        let workload = self.workload.as_ref().map_or(0, of);
        let signer = match &self.signer {
            Signer::Leased { role, to } => {
                role.path().len() + role.name().len() + NAME_BYTES + of(to)
            }
            Signer::Foreign | Signer::Unknown => 0,
        };
        let access_key = self.access_key.as_ref().map_or(0, |key| key.as_str().len());
        let bytes = |values: &Vec<Cow<'_, str>>| -> usize {
            values.iter().map(|value| value.len() + NAME_BYTES).sum()
        };
        let unnamed: usize =
            self.unnamed.iter().map(|(path, values)| path.len() + NAME_BYTES + bytes(values)).sum();
        let needs = match &self.named.needs {
            Needs::Unknown => 0,
            Needs::These(needs) => {
                needs.iter().map(|(action, on)| action.len() + NAME_BYTES + names(on)).sum()
            }
        };
        let names = self.service.len() + self.operation.len();
        workload + signer + access_key + names + needs + unnamed
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
    /// What the SDK of one of them calls itself.
    pub user_agent: Option<String>,
    /// The host that one of them was sent to.
    pub host: Option<String>,
    /// How long one of them took, at most.
    pub longest: Option<Duration>,
}

impl Sighting {
    /// What an event counts for. Nothing for an attempt: it is evidence about a call that is told of on its own, and
    /// counted with it a call would be two.
    pub fn of(event: &Event<'_>) -> Option<Self> {
        let owned = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        (event.kind != Kind::Attempt).then(|| Self {
            count: event.count,
            first: event.first,
            last: event.last,
            request_id: owned(&event.request_id),
            exception: owned(&event.exception),
            user_agent: owned(&event.user_agent),
            host: owned(&event.host),
            longest: event.duration,
        })
    }

    /// Takes in a later one. The examples stay those of the first that had any.
    pub(crate) fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.request_id = self.request_id.take().or(other.request_id);
        self.exception = self.exception.take().or(other.exception);
        self.user_agent = self.user_agent.take().or(other.user_agent);
        self.host = self.host.take().or(other.host);
        self.longest = self.longest.max(other.longest);
    }
}

/// Why a record is told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
