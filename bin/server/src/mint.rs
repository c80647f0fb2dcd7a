//! Tokens: who asks is judged, the judgement is recorded, and only then a token is signed.
//!
//! What waits at one moment is one act, so that the ledger's lock and the database's commit are paid once for
//! all of it. While a batch is signed, the next one is judged.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::{
    Kind, Problem,
    agents::{Minted, TokenRequest},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use credentials::{
    SourceIdentity, Tag, TagPlan,
    entitlement::{Entitled, Finding, Grounds, Reported, Standing},
};
use issuer::{Claims, IssuerUrl, Key as _, SessionTags, Subject, Unsigned};
use jiff::Timestamp;
use ledger::Draft;
use serde_json::json;
use state::{State, StateError};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
};
use workload::Workload;

use crate::{
    clock::Clock,
    issuer_keys::Signer,
    knowledge::{self, Knowledge},
    known::{Known, Refresher},
    random,
    repeated::{Refusals, Told},
};

/// How many tokens are one act at most.
const BATCH_MAX: usize = 256;

/// How many requests wait at most. With more, whoever asks is told to ask another replica.
const WAITING_MAX: usize = 8192;

/// How many batches are signed at once at most.
const SIGNING_MAX: usize = 8;

/// How many signatures of one batch another service is asked for at once at most.
const ELSEWHERE_MAX: usize = 32;

/// How many requests of one host wait at most, so that none crowds out all others.
const WAITING_OF_HOST_MAX: u32 = 512;

/// What tokens say beside whom they are for.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The issuer's address.
    pub issuer: IssuerUrl,
    /// How long a token lives.
    pub life: Duration,
}

/// Where tokens are asked for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mint {
    asks: mpsc::Sender<Ask>,
    waiting: Waiting,
}

/// Judges, records and signs.
#[derive(Debug)]
pub struct Minter {
    state: State,
    refresher: Arc<Refresher>,
    terms: Terms,
    clock: Clock,
    asks: mpsc::Receiver<Ask>,
    refusals: Refusals,
}

#[derive(Debug)]
struct Ask {
    host: String,
    request: TokenRequest,
    answer: oneshot::Sender<Result<Minted, Problem>>,
}

/// A token that may be signed, because its entry is in the ledger.
struct Granted {
    ask: Ask,
    unsigned: Unsigned,
    signer: Signer,
    expires: Timestamp,
    binding_version: u64,
}

/// How many requests of each host wait.
type Waiting = Arc<Mutex<BTreeMap<String, u32>>>;

/// A place among the requests of a host, given back when it is dropped.
#[derive(Debug)]
struct Place {
    waiting: Waiting,
    host: String,
}

impl Mint {
    /// Where to ask, and who answers: run the latter.
    pub fn new(
        state: State,
        refresher: Arc<Refresher>,
        terms: Terms,
        clock: Clock,
    ) -> (Self, Minter) {
        let (sender, asks) = mpsc::channel(WAITING_MAX);
        let refusals = Refusals::default();
        let mint = Self { asks: sender, waiting: Waiting::default() };
        (mint, Minter { state, refresher, terms, clock, asks, refusals })
    }

    /// A token for a host, if it may have it.
    ///
    /// # Errors
    /// With the first ground that does not hold; [`Kind::LedgerUnavailable`] when it cannot be recorded, and
    /// [`Kind::Busy`] when too many wait.
    pub async fn token(&self, host: String, request: TokenRequest) -> Result<Minted, Problem> {
        let (answer, told) = oneshot::channel();
        let busy = |_| Problem::new(Kind::Busy, "too many tokens are asked for at once");
        let _place = Place::take(&self.waiting, &host)?;
        self.asks.try_send(Ask { host, request, answer }).map_err(busy)?;
        let gone = |_| Problem::new(Kind::Busy, "the server stopped before the token was signed");
        told.await.map_err(gone)?
    }
}

impl Place {
    fn take(waiting: &Waiting, host: &str) -> Result<Self, Problem> {
        let mut counts = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(host.to_owned()).or_default();
        if *count >= WAITING_OF_HOST_MAX {
            let detail = format!("host `{host}` asks for too many tokens at once");
            return Err(Problem::new(Kind::Busy, detail));
        }
        *count += 1;
        Ok(Self { waiting: Arc::clone(waiting), host: host.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.host);
            }
        }
    }
}

impl Minter {
    /// Answers until nobody can ask any more.
    pub async fn run(mut self) {
        let signing = Arc::new(Semaphore::new(SIGNING_MAX));
        // Asked once: the system reads files to answer.
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        while let Some(first) = self.asks.recv().await {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX {
                let Ok(ask) = self.asks.try_recv() else { break };
                batch.push(ask);
            }
            // Whoever hung up gets no token, and no entry says that they did.
            batch.retain(|ask| !ask.answer.is_closed());
            let Ok(turn) = Arc::clone(&signing).acquire_owned().await else { return };
            let granted = self.judge(batch).await;
            tokio::spawn(async move {
                sign(granted, threads).await;
                drop(turn);
            });
        }
    }

    /// Judges and records a batch; whoever is refused is answered here.
    async fn judge(&mut self, batch: Vec<Ask>) -> Vec<Granted> {
        let mut judged = Vec::with_capacity(batch.len());
        match self.record(&batch, &mut judged).await {
            Ok(()) => {
                let mut granted = Vec::with_capacity(batch.len());
                for (ask, verdict) in batch.into_iter().zip(judged) {
                    match verdict {
                        Ok(Passed { unsigned, signer, expires, binding_version }) => {
                            granted.push(Granted {
                                ask,
                                unsigned,
                                signer,
                                expires,
                                binding_version,
                            });
                        }
                        Err(problem) => answer(ask, Err(problem)),
                    }
                }
                granted
            }
            Err(error) => {
                let problem = unrecorded(&error);
                batch.into_iter().for_each(|ask| answer(ask, Err(problem.clone())));
                Vec::new()
            }
        }
    }

    /// One act: everything that was asked for at once, judged by what is there at that moment.
    async fn record(
        &mut self,
        batch: &[Ask],
        judged: &mut Vec<Result<Passed, Problem>>,
    ) -> Result<(), StateError> {
        let mut act = self.state.act().await?;
        let known = self.refresher.within(&mut act).await?;
        let now = self.clock.now();
        let names: Vec<String> = batch.iter().map(|ask| ask.request.workload.to_string()).collect();
        let asked: Vec<(&str, &str)> = batch
            .iter()
            .zip(&names)
            .map(|(ask, name)| (ask.host.as_str(), name.as_str()))
            .collect();
        let running = act.run_of(&asked).await?;
        let mut drafts = Vec::with_capacity(batch.len());
        for (Ask { host, request, .. }, name) in batch.iter().zip(names) {
            let received = running.get(&(host.clone(), name)).copied();
            let reported = knowledge::reported(received, now);
            judged.push(match grant(&known, &self.terms, host, request, reported, now) {
                Ok((draft, passed)) => {
                    drafts.push(draft);
                    Ok(passed)
                }
                Err(problem) => {
                    drafts.extend(refusal(&mut self.refusals, host, request, &problem, now)?);
                    Err(problem)
                }
            });
        }
        if drafts.is_empty() {
            return Ok(());
        }
        act.record_all(drafts, now).await?;
        act.commit(now).await.map(|_| ())
    }
}

/// What is left to do for a token once it is recorded.
struct Passed {
    unsigned: Unsigned,
    signer: Signer,
    expires: Timestamp,
    binding_version: u64,
}

/// Judges one request: the entry and what is to be signed, or why not.
fn grant(
    known: &Known,
    terms: &Terms,
    host: &str,
    request: &TokenRequest,
    reported: Reported,
    now: Timestamp,
) -> Result<(Draft, Passed), Problem> {
    let knowledge = &known.knowledge;
    let workload = &request.workload;
    let entitled = entitle(knowledge, host, request, reported, now)?;
    let no_key = || Problem::new(Kind::Busy, "the issuer has no key yet");
    let signer = known.ring().ok_or_else(no_key)?.active().clone();
    let internal = |error: &dyn ToString| Problem::new(Kind::Internal, error.to_string());
    let jti = random::bytes::<16>()?;
    let claims = claims(knowledge, terms, workload, now, jti).map_err(|error| internal(&error))?;
    let detail = json!({
        "role": entitled.role().to_string(),
        "binding": entitled.version(),
        "group": entitled.group(),
        "position": entitled.position(),
        "jti": BASE64_URL_SAFE_NO_PAD.encode(jti),
        "kid": signer.kid().to_string(),
    });
    let draft = Draft::new(actor(host), "token.minted", workload.to_string(), detail)
        .map_err(|error| internal(&error))?;
    let unsigned = claims.unsigned(signer.public());
    let expires = now.checked_add(terms.life).unwrap_or(Timestamp::MAX);
    Ok((draft, Passed { unsigned, signer, expires, binding_version: entitled.version() }))
}

/// The proof that a host may have what it asks for, or the problem that says why not.
fn entitle(
    knowledge: &Knowledge,
    host: &str,
    request: &TokenRequest,
    reported: Reported,
    now: Timestamp,
) -> Result<Entitled, Problem> {
    let grounds = Grounds {
        role: Some(&request.role),
        ..knowledge.grounds(host, &request.workload, reported)
    };
    grounds.entitle(now).map_err(|finding| refused(host, request, &finding))
}

/// What a host is told that asked in vain.
fn refused(host: &str, request: &TokenRequest, finding: &Finding) -> Problem {
    let TokenRequest { workload, role } = request;
    let Workload { application, environment, .. } = workload;
    let (kind, detail) = match finding {
        Finding::Host(Standing::Unknown) => {
            (Kind::NotAHost, format!("no host `{host}` has joined: let it join again"))
        }
        Finding::Host(_) => (Kind::Revoked, format!("host `{host}` was revoked")),
        Finding::Placement(_) => (
            Kind::PlacementRefused,
            format!(
                "no group lets host `{host}` run `{application}/{environment}`: add it to one, see `rolecall hosts groups`"
            ),
        ),
        Finding::Running(Reported::Stale) => (
            Kind::NotRunning,
            format!(
                "host `{host}` has not reported for too long, so nobody knows whether `{workload}` runs"
            ),
        ),
        Finding::Running(_) => {
            (Kind::NotRunning, format!("host `{host}` has not reported that it runs `{workload}`"))
        }
        Finding::OtherRole { version, role: bound } => (
            Kind::NotBound,
            format!(
                "version {version} of `{application}/{environment}` binds to `{bound}`, not to `{role}`"
            ),
        ),
        Finding::Bound { .. } | Finding::NotBound => (
            Kind::NotBound,
            format!("no binding of `{application}/{environment}` is in force: propose one"),
        ),
        Finding::Switch(_, Some(position)) => {
            (Kind::SwitchedOff, format!("position {position} switches `{workload}` off"))
        }
        Finding::Switch(_, None) => {
            (Kind::SwitchedOff, format!("nobody has switched `{workload}` on"))
        }
    };
    Problem::new(kind, detail)
}

/// What a token says.
fn claims(
    knowledge: &Knowledge,
    terms: &Terms,
    workload: &Workload,
    now: Timestamp,
    jti: [u8; 16],
) -> Result<Claims, Unmintable> {
    let Workload { application, environment, instance } = workload;
    let bound = knowledge.binding(application, environment).ok_or(Unmintable::Gone)?;
    let subject = Subject::new(application.as_str(), environment.as_str(), instance.as_str())?;
    let wishes = bound.terms.tags.iter().map(|(key, value)| Tag {
        key: key.clone(),
        value: value.clone(),
        transitive: false,
    });
    let plan = TagPlan::new(workload, wishes);
    let tags = SessionTags::new(plan.tags, plan.transitive.into_iter().collect())?;
    let claims = Claims::new(&terms.issuer, &subject, bound.terms.audience.as_str(), now, jti)?
        .with_life(terms.life)?
        .with_source_identity(SourceIdentity::of(workload).as_str())?
        .with_tags(tags)?;
    Ok(claims)
}

/// A binding in force says what no token can say. It was checked when it was proposed.
#[derive(Debug, thiserror::Error)]
enum Unmintable {
    #[error("the binding is not there any more")]
    Gone,
    #[error(transparent)]
    Subject(#[from] issuer::InvalidSubject),
    #[error(transparent)]
    Tags(#[from] issuer::InvalidTags),
    #[error(transparent)]
    Claims(#[from] issuer::InvalidClaims),
}

/// Signs what was recorded and answers. Keys of our own work on `threads` threads that may be busy for long.
async fn sign(granted: Vec<Granted>, threads: usize) {
    let (held, elsewhere): (Vec<_>, Vec<_>) =
        granted.into_iter().partition(|granted| granted.signer.key().is_some());
    let gate = Arc::new(Semaphore::new(ELSEWHERE_MAX));
    let mut calls = JoinSet::new();
    for granted in elsewhere {
        let gate = Arc::clone(&gate);
        calls.spawn(async move {
            let _turn = gate.acquire_owned().await;
            sign_one(granted).await;
        });
    }
    let share = held.len().div_ceil(threads).max(1);
    let mut held = held.into_iter();
    let mut threads = Vec::new();
    loop {
        let part: Vec<_> = held.by_ref().take(share).collect();
        if part.is_empty() {
            break;
        }
        let runtime = tokio::runtime::Handle::current();
        threads.push(tokio::task::spawn_blocking(move || {
            for granted in part {
                runtime.block_on(sign_one(granted));
            }
        }));
    }
    for thread in threads {
        // A panic there drops the answers, which tells those who wait.
        let _ = thread.await;
    }
    while calls.join_next().await.is_some() {}
}

async fn sign_one(granted: Granted) {
    let Granted { ask, unsigned, signer, expires, binding_version } = granted;
    let minted = match signer.sign(unsigned.bytes()).await {
        Ok(signature) => {
            let token = unsigned.signed(&signature);
            Ok(Minted { token, expires, binding_version })
        }
        Err(error) => Err(Problem::new(Kind::UpstreamUnavailable, error.to_string())),
    };
    answer(ask, minted);
}

fn answer(ask: Ask, answer: Result<Minted, Problem>) {
    // Whoever hung up does not hear it.
    let _ = ask.answer.send(answer);
}

/// What is said where nothing could be recorded, so that nothing was signed.
fn unrecorded(error: &StateError) -> Problem {
    // Nothing was done in either case, so another replica may be asked: it may know what this one cannot read.
    let kind = match error {
        StateError::Damaged { .. } | StateError::Settings { .. } => Kind::StateUnavailable,
        StateError::NotRecorded => Kind::Internal,
        _ => Kind::LedgerUnavailable,
    };
    Problem::new(kind, format!("no token was signed, because it cannot be recorded: {error}"))
}

/// How the ledger names a host that acts.
pub fn actor(host: &str) -> String {
    format!("host:{host}")
}

/// The entry of a refusal, unless the same one was recorded a moment ago.
fn refusal(
    refusals: &mut Refusals,
    host: &str,
    request: &TokenRequest,
    problem: &Problem,
    now: Timestamp,
) -> Result<Option<Draft>, StateError> {
    let (workload, why) = (request.workload.to_string(), problem.kind.slug());
    let Some(Told { others, unsaid }) = refusals.take(host, &workload, why, now) else {
        return Ok(None);
    };
    let role = request.role.to_string();
    let detail = match others {
        false => json!({ "role": role, "why": why, "unsaid": unsaid }),
        true => json!({ "role": role, "why": why, "unsaid": unsaid, "others": true }),
    };
    Ok(Some(Draft::new(actor(host), "token.refused", workload, detail)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_asks_for_too_much_at_once_crowds_out_nobody_else() {
        let waiting = Waiting::default();
        let take = |host: &str| Place::take(&waiting, host);
        let mut places: Vec<_> = (0..WAITING_OF_HOST_MAX).map(|_| take("h-1").unwrap()).collect();
        assert_eq!(take("h-1").unwrap_err().kind, Kind::Busy);
        let other = take("h-2").unwrap();
        places.pop();
        places.push(take("h-1").unwrap());
        assert_eq!(take("h-1").unwrap_err().kind, Kind::Busy);
        drop((places, other));
        assert!(waiting.lock().unwrap().is_empty());
    }
}
