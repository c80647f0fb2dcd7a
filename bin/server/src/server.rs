//! One replica: what all requests share.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use api::{Kind, Problem};
use jiff::Timestamp;
use ledger::{Draft, Entry};
use serde_json::Value;
use state::{Act, DecisionRow, PolicyRow, State};
use tokio::sync::watch;

use crate::{
    authority::Authority,
    clock::Clock,
    config::Config,
    fault::{OrProblem, internal},
    health::Looked,
    http::{Rate, RequestLog},
    login::Provider,
    permit::{Acting, Leave},
    policies::{Answer, Policies, Question, SHIPPED},
    random,
    repeated::Repeated,
    seal::Seal,
    works::Works,
};

/// One replica.
#[derive(Debug)]
pub struct Server {
    /// What its file says.
    pub config: Config,
    /// What time it is.
    pub clock: Clock,
    /// Everything that outlives it.
    pub state: State,
    /// What opens private keys in the database.
    pub seal: Arc<Seal>,
    /// The deployment's own authority.
    pub authority: Authority,
    /// What does the work: knowledge, orders, tokens and the issuer.
    pub works: Works,
    /// When it started.
    pub started: Timestamp,
    /// The policies that it knows; those in force are looked up at every request of a person.
    policies: RwLock<Arc<Policies>>,
    pub(crate) rate: Rate,
    pub(crate) log: RequestLog,
    provider: Option<Provider>,
    /// One-time tokens for signing in that were none.
    pub(crate) refused_logins: Mutex<Repeated>,
    pub(crate) health: Looked,
    stop: watch::Sender<bool>,
}

/// What a replica is made of.
pub(crate) struct Parts {
    pub config: Config,
    pub clock: Clock,
    pub state: State,
    pub seal: Arc<Seal>,
    pub authority: Authority,
    pub works: Works,
    pub log: RequestLog,
    pub provider: Option<Provider>,
}

impl Server {
    /// Puts a replica together.
    ///
    /// # Errors
    /// When the shipped policies cannot be read, which is a mistake of the program.
    pub(crate) fn new(parts: Parts) -> Result<Self, Problem> {
        let Parts { config, clock, state, seal, authority, works, log, provider } = parts;
        let shipped = Policies::parse(0, SHIPPED).map_err(|error| internal(&error))?;
        let (started, limits) = (clock.now(), config.limits);
        Ok(Self {
            config,
            clock,
            state,
            seal,
            authority,
            works,
            started,
            policies: RwLock::new(Arc::new(shipped)),
            rate: Rate::new(limits.open_per_s.get(), limits.open_burst.get()),
            log,
            provider,
            refused_logins: Mutex::default(),
            health: Looked::default(),
            stop: watch::Sender::new(false),
        })
    }

    /// Begins an act in the name of whoever has leave for it. What the policies allowed is looked at again, as
    /// they are now and as nobody else can change them until the act has ended; the decision is recorded with it.
    ///
    /// # Errors
    /// When the database cannot be reached, or the policies or the person are not what they were.
    pub async fn act(&self, leave: &impl Leave) -> Result<Acting, Problem> {
        let mut act = self.state.act().await.or_problem()?;
        let now = self.clock.now();
        if let Some(permit) = leave.decided() {
            let question = &permit.question;
            let person = act.person(&question.person).await.or_problem()?;
            if person.is_none_or(|person| person.disabled.is_some()) {
                return Err(Problem::new(Kind::NotSignedIn, "the person was shut out just now"));
            }
            let policies = self.policies_of(act.policies().await.or_problem()?)?;
            let mut because = permit.because.clone();
            if policies.version() != permit.policies {
                let answer = policies.decide(question);
                if !answer.allowed {
                    return Err(Problem::not_allowed("the policies were changed just now"));
                }
                because = answer.because;
            }
            let answer = Answer { allowed: true, because };
            act.put_decision(&decision(question, &answer, policies.version(), now)?)
                .await
                .or_problem()?;
        }
        Ok(Acting { act, actor: leave.actor().to_owned(), now })
    }

    /// The policies of a row, read once: none is what a deployment begins with.
    pub(crate) fn policies_of(&self, row: Option<PolicyRow>) -> Result<Arc<Policies>, Problem> {
        let version = row.as_ref().map_or(0, |row| row.version);
        let known = Arc::clone(&self.policies.read().unwrap_or_else(PoisonError::into_inner));
        if known.version() == version {
            return Ok(known);
        }
        let text = row.map_or_else(|| SHIPPED.to_owned(), |row| row.text);
        let policies = Policies::parse(version, &text).map_err(|error| internal(&error))?;
        let policies = Arc::new(policies);
        *self.policies.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&policies);
        Ok(policies)
    }

    /// The provider that people sign in with.
    ///
    /// # Errors
    /// When the file names none.
    pub(crate) fn provider(&self) -> Result<&Provider, Problem> {
        self.provider.as_ref().ok_or_else(|| {
            let detail = "this server knows no sign-in provider: sign in by a one-time token, or set `[oidc]`";
            Problem::new(Kind::LoginRefused, detail)
        })
    }

    /// Records that somebody may not do something.
    pub(crate) async fn record_denied(
        &self,
        question: &Question,
        answer: &Answer,
    ) -> Result<(), Problem> {
        let policies = self.policies.read().unwrap_or_else(PoisonError::into_inner).version();
        let row = decision(question, answer, policies, self.clock.now())?;
        self.state.put_decision(&row).await.or_problem()
    }

    /// Waits until the replica is told to stop. What waits for something else waits for this as well.
    pub async fn stopping(&self) {
        // The sender is this very server's.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Whether the replica was told to stop.
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Tells everything to stop.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// A decision as it is kept.
fn decision(
    question: &Question,
    answer: &Answer,
    policies: u64,
    now: Timestamp,
) -> Result<DecisionRow, Problem> {
    let body = serde_json::json!({
        "question": question, "because": answer.because, "policies": policies,
    });
    Ok(DecisionRow {
        id: random::id("d-")?,
        time: now,
        person: question.person.clone(),
        action: question.action.to_string(),
        subject: question.resource.subject(),
        allowed: answer.allowed,
        body: body.to_string(),
    })
}

impl Acting {
    /// When the act began: the time of all that it writes.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Who acts, as the ledger says it.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// Writes the next entry of the ledger, in the name of whoever has leave for the act.
    ///
    /// # Errors
    /// When the entry breaks the ledger's bounds, or the database fails.
    pub async fn record(
        &mut self,
        event: &str,
        subject: &str,
        detail: Value,
    ) -> Result<Entry, Problem> {
        let draft = Draft::new(self.actor.as_str(), event, subject, detail).or_problem()?;
        self.act.record(draft, self.now).await.or_problem()
    }

    /// Ends the act. Answers the revision of what the servers know then.
    ///
    /// # Errors
    /// When it was not done, or nobody knows whether it was.
    pub async fn commit(self) -> Result<u64, Problem> {
        self.act.commit(self.now).await.or_problem()
    }
}

impl Deref for Server {
    type Target = Works;

    fn deref(&self) -> &Works {
        &self.works
    }
}

impl Deref for Acting {
    type Target = Act;

    fn deref(&self) -> &Act {
        &self.act
    }
}

impl DerefMut for Acting {
    fn deref_mut(&mut self) -> &mut Act {
        &mut self.act
    }
}
