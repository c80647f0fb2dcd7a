//! What the lease table wishes, done: tokens signed, STS asked, results brought back.

use std::{
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use aws::{AssumeRole, AssumeRoleWithWebIdentity, Issued, Sts, StsError};
use credentials::{
    Credentials, Fetch, FetchError, LeaseKey, SessionName, Source, SourceIdentity, TagPlan,
};
use getrandom::SysRng;
use issuer::{Claims, IssuerUrl, KeyRing, SessionTags, Subject};
use secret::SecretText;
use tokio::sync::{Notify, watch};

use crate::{
    calls::Calls,
    clock,
    control::Control,
    engine::{Engine, Now},
    settings::BoundRole,
};

/// The longest that the loop sleeps, so that a suspended host is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(15);

/// Carries fetches out.
#[derive(Debug)]
pub struct Fetcher {
    /// The agent's state.
    pub engine: Arc<Engine>,
    /// STS.
    pub sts: Sts,
    /// Our issuer, where the file names one.
    pub signer: Option<Signer>,
    /// The server, where the file names one: it signs in place of the issuer.
    pub control: Option<Arc<Control>>,
    /// Woken when somebody waits for a lease.
    pub nudge: Arc<Notify>,
    /// Changed whenever a lease does.
    pub leases_changed: watch::Sender<u64>,
    /// Who must know of a lease before it is served, where calls are recorded.
    pub calls: OnceLock<Arc<Calls>>,
}

/// Signs tokens with the issuer's active key.
#[derive(Debug)]
pub struct Signer {
    /// The issuer's address.
    pub issuer: IssuerUrl,
    /// Its keys; replaced whole by a reload.
    pub keys: RwLock<KeyRing>,
}

/// What STS is asked.
#[derive(Debug)]
pub enum Question {
    /// With the host's own credentials.
    AssumeRole(AssumeRole),
    /// With a token of our issuer.
    WebIdentity(AssumeRoleWithWebIdentity),
}

impl Fetcher {
    /// Starts fetches as the table wishes, until the future is dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            let now = clock::now();
            let (fetches, wake) = self.engine.poll(now);
            for fetch in fetches {
                let fetcher = Arc::clone(&self);
                // The fetch belongs to the lease: it goes on when every client hangs up.
                tokio::spawn(async move { fetcher.fetch(fetch).await });
            }
            let pause = wake.map_or(SLEEP_MAX, |wake| wake.saturating_sub(now.boot).min(SLEEP_MAX));
            tokio::select! {
                () = self.nudge.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn fetch(&self, fetch: Fetch) {
        let result = match tokio::time::timeout(fetch.timeout, self.ask(&fetch.key)).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::Unavailable("no answer in time".to_owned())),
        };
        match (&result, self.calls.get()) {
            (Err(error), _) => {
                crate::report(&format!("no credentials for {}: {error}", fetch.key));
            }
            (Ok(credentials), Some(calls)) => calls.leased(&fetch.key, credentials),
            (Ok(_), None) => {}
        }
        let outcome = self.engine.fetched(clock::now(), fetch.id, result);
        if let Some(news) = self.engine.skew.saw(&outcome) {
            crate::report(&news);
        }
        self.leases_changed.send_modify(|changes| *changes = changes.wrapping_add(1));
        self.nudge.notify_one();
    }

    async fn ask(&self, key: &LeaseKey) -> Result<Credentials, FetchError> {
        let gone = || FetchError::Misconfigured("the binding is not in force any more".to_owned());
        let bound = self.engine.binding_of(key).ok_or_else(gone)?;
        let question = match (&self.control, &bound.binding.source) {
            (Some(control), Source::WebIdentity { .. }) => {
                let token = control.mint(key).await?;
                // Meanwhile it may have been switched off: then nobody is to ask STS.
                let bound = self.engine.binding_of(key).ok_or_else(gone)?;
                with_token(&bound, key, token)
            }
            _ => question(&bound, key, self.signer.as_ref(), clock::now())?,
        };
        let issued = match question {
            Question::AssumeRole(ask) => {
                self.sts.assume_role(ask).await.map_err(|error| host_denied(translate(error)))
            }
            Question::WebIdentity(ask) => {
                self.sts.assume_role_with_web_identity(ask).await.map_err(translate)
            }
        };
        let Issued { access_key_id, secret_access_key, session_token, expiration } = issued?;
        Ok(Credentials {
            access_key_id,
            secret_access_key,
            session_token,
            requested: bound.binding.duration,
            expiration,
            fetched: clock::now().wall,
        })
    }
}

/// What STS is to be asked for a lease: session name and source identity name the workload.
///
/// # Errors
/// When the binding cannot be asked for with what the agent has; its operator must act.
pub fn question(
    bound: &BoundRole,
    key: &LeaseKey,
    signer: Option<&Signer>,
    now: Now,
) -> Result<Question, FetchError> {
    let binding = &bound.binding;
    let session_name = SessionName::of(&key.workload).as_str().to_owned();
    let source_identity = SourceIdentity::of(&key.workload);
    let plan = TagPlan::of(binding, &key.workload);
    for dropped in &plan.dropped {
        crate::report(&format!(
            "{key}: session tag `{}` is not sent: {}",
            dropped.key, dropped.why
        ));
    }
    let (role, duration) = (key.role.clone(), binding.duration);
    match &binding.source {
        Source::AssumeRole { external_id } => Ok(Question::AssumeRole(AssumeRole {
            role,
            session_name,
            external_id: external_id.clone(),
            source_identity: Some(source_identity.as_str().to_owned()),
            tags: plan.tags,
            duration,
        })),
        Source::WebIdentity { audience } => {
            let wrong = |error: &dyn ToString| FetchError::Misconfigured(error.to_string());
            let signer = signer.ok_or_else(|| wrong(&"there is no [issuer]"))?;
            let workload = &key.workload;
            let subject = Subject::new(
                workload.application.as_str(),
                workload.environment.as_str(),
                workload.instance.as_str(),
            );
            let tags = SessionTags::new(plan.tags, plan.transitive.into_iter().collect());
            let claims = Claims::new(
                &signer.issuer,
                &subject.map_err(|error| wrong(&error))?,
                audience,
                now.wall,
                random(),
            )
            .and_then(|claims| claims.with_source_identity(source_identity.as_str()))
            .map_err(|error| wrong(&error))?
            .with_tags(tags.map_err(|error| wrong(&error))?)
            .map_err(|error| wrong(&error))?;
            let keys = signer.keys.read().unwrap_or_else(PoisonError::into_inner);
            let token = claims.token(&keys, &mut SysRng).map_err(|error| wrong(&error))?;
            Ok(with_token(bound, key, token))
        }
    }
}

/// What STS is to be asked with a token that names the workload.
fn with_token(bound: &BoundRole, key: &LeaseKey, token: SecretText) -> Question {
    Question::WebIdentity(AssumeRoleWithWebIdentity {
        role: key.role.clone(),
        session_name: SessionName::of(&key.workload).as_str().to_owned(),
        token,
        duration: bound.binding.duration,
    })
}

/// Sixteen fresh random bytes.
///
/// Without randomness nothing can be handed out safely, so the process ends: fail closed.
pub fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        crate::report(&format!("the system gives no randomness: {error}"));
        std::process::exit(1);
    }
    bytes
}

fn translate(error: StsError) -> FetchError {
    match error {
        StsError::Throttled(_) => FetchError::Throttled,
        StsError::Denied { code, message } => FetchError::Denied { code, message },
        StsError::Unavailable(reason) => FetchError::Unavailable(reason),
        StsError::Clock(reason) => FetchError::Clock(reason),
        StsError::NoHostCredentials(reason) => FetchError::Misconfigured(reason),
    }
}

/// Who asked was the host, so what STS says of them is not for workloads.
fn host_denied(error: FetchError) -> FetchError {
    match error {
        FetchError::Denied { code, message } => FetchError::HostDenied { code, message },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_must_act_is_not_lost_between_sts_and_the_lease() {
        let words = || "m".to_owned();
        let denied = || StsError::Denied { code: "AccessDenied".to_owned(), message: words() };
        assert!(matches!(translate(denied()), FetchError::Denied { .. }));
        assert!(matches!(host_denied(translate(denied())), FetchError::HostDenied { .. }));
        assert_eq!(translate(StsError::Clock(words())), FetchError::Clock(words()));
        assert_eq!(host_denied(FetchError::Clock(words())), FetchError::Clock(words()));
        let none = StsError::NoHostCredentials(words());
        assert_eq!(translate(none), FetchError::Misconfigured(words()));
    }
}
