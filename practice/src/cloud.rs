//! The practice cloud: a real moto server behind a gate that is as strict as AWS.
//!
//! One compute account, where the host has an identity of its own, and an account for each
//! application with an OIDC provider, a role for web identity tokens, a role that the host may
//! assume with an external id, and a bucket. What moto gets wrong and the gate puts right is listed
//! at the top of `python/gate.py`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::program::{Invocation, ProgramError, Running, tail_of};
use crate::tools::{Missing, Tools};

/// What the cloud shall look like.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The address on which moto and the gate listen, on ports of their own choice.
    pub listen: IpAddr,
    /// Where their logs go.
    pub folder: PathBuf,
    /// The region that the clients are told.
    pub region: String,
    /// The account of the host.
    pub compute: String,
    /// The issuer that the applications' accounts trust, if any.
    pub issuer: Option<Issuer>,
    /// The audience that those accounts registered for it.
    pub audience: String,
    /// The applications, each with an account of its own.
    pub applications: Vec<Application>,
}

/// An OIDC issuer, and where the gate finds what it publishes.
#[derive(Clone, Debug, Serialize)]
pub struct Issuer {
    /// Its URL, as in the `iss` claim: `https://…`.
    pub url: String,
    /// A folder that stands for that URL, or another URL that serves the same. Read at every call.
    pub documents: String,
}

/// One application of the practice cloud.
#[derive(Clone, Debug, Serialize)]
pub struct Application {
    /// Its name; its roles are called `NAME` and `NAME-lent`.
    pub name: String,
    /// Its account, twelve digits.
    pub account: String,
    /// The `sub` claims that its role trusts; `*` and `?` are wild.
    pub subject: String,
    /// The longest session that its roles allow, in seconds: 3600 to 43200.
    pub max_session: u32,
}

impl Layout {
    /// Two applications, `orders` and `billing`, that trust no issuer yet.
    pub fn new(listen: IpAddr, folder: impl Into<PathBuf>) -> Self {
        Self {
            listen,
            folder: folder.into(),
            region: "eu-west-1".to_owned(),
            compute: "111111111111".to_owned(),
            issuer: None,
            audience: "sts.amazonaws.com".to_owned(),
            applications: vec![
                Application::new("orders", "222222222222"),
                Application::new("billing", "333333333333"),
            ],
        }
    }

    /// Lets every application's account trust an issuer.
    #[must_use]
    pub fn issuer(mut self, url: impl Into<String>, documents: &Path) -> Self {
        self.issuer = Some(Issuer { url: url.into(), documents: documents.display().to_string() });
        self
    }
}

impl Application {
    /// An application whose role trusts its instances in every environment, as the agent's issuer
    /// names them: `application:NAME:environment:…:instance:…`.
    pub fn new(name: &str, account: &str) -> Self {
        Self {
            name: name.to_owned(),
            account: account.to_owned(),
            subject: format!("application:{name}:environment:*:instance:*"),
            max_session: 3600,
        }
    }
}

/// The running cloud. Dropped, it ends.
#[derive(Debug)]
pub struct Cloud {
    made: Made,
    moto: SocketAddr,
    calls: PathBuf,
    gate: Mutex<Running>,
    _moto: Running,
}

impl Cloud {
    /// Starts moto and the gate, makes the accounts, and returns when all of it answers.
    ///
    /// # Errors
    /// [`CloudError`]: a tool is missing, or one of the two did not come up within a minute.
    pub fn start(tools: &Tools, layout: &Layout) -> Result<Self, CloudError> {
        fs::create_dir_all(&layout.folder).map_err(CloudError::Files)?;
        let moto = free_port(layout.listen)?;
        let log = layout.folder.join("moto.log");
        let server = python(tools, &tools.moto()?)
            .args(["-H", &moto.ip().to_string(), "-p", &moto.port().to_string()])
            .log(&log)
            .start()?;
        let calls = layout.folder.join("sts-calls.jsonl");
        let plan = Plan {
            listen: layout.listen,
            moto: format!("http://{moto}"),
            log: &calls,
            region: &layout.region,
            compute: &layout.compute,
            issuer: layout.issuer.as_ref(),
            audience: &layout.audience,
            applications: &layout.applications,
        };
        let source = tools.sources().join("python/gate.py");
        let mut gate = python(tools, &tools.python()?).arg(source).start()?;
        gate.say(&serde_json::to_string(&plan).map_err(CloudError::Words)?)?;
        let made = gate
            .line(START, |_| true)
            .map_err(|error| CloudError::NotUp { error, moto: tail_of(&log) })?;
        let made = serde_json::from_str(&made).map_err(CloudError::Words)?;
        Ok(Self { made, moto, calls, gate: Mutex::new(gate), _moto: server })
    }

    /// Where clients go: the gate, as a URL without a path.
    pub fn endpoint(&self) -> &str {
        &self.made.endpoint
    }

    /// The gate's address, for a proxy in front of it.
    ///
    /// # Errors
    /// [`CloudError::Address`] where the gate said something else than an address.
    pub fn address(&self) -> Result<SocketAddr, CloudError> {
        let said = self.made.endpoint.trim_start_matches("http://");
        said.parse().map_err(|_| CloudError::Address { said: said.to_owned() })
    }

    /// moto itself, which believes everything.
    pub fn moto(&self) -> SocketAddr {
        self.moto
    }

    /// The host's identity in the compute account.
    pub fn host(&self) -> &HostKey {
        &self.made.host
    }

    /// What was made for each application, in the order of the layout.
    pub fn applications(&self) -> &[ApplicationAccount] {
        &self.made.applications
    }

    /// What was made for one application.
    pub fn application(&self, name: &str) -> Option<&ApplicationAccount> {
        self.made.applications.iter().find(|application| application.name == name)
    }

    /// Every STS call that the gate has decided so far, oldest first.
    ///
    /// # Errors
    /// [`CloudError`] where the log cannot be read.
    pub fn sts_calls(&self) -> Result<Vec<StsCall>, CloudError> {
        let text = fs::read_to_string(&self.calls).map_err(CloudError::Files)?;
        // A line that is being written has no end yet.
        let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
        whole.lines().map(|line| serde_json::from_str(line).map_err(CloudError::Words)).collect()
    }

    /// Replaces the trust policy of a role, from the next call on.
    ///
    /// # Errors
    /// [`CloudError::Refused`] where IAM does not take it.
    pub fn set_trust(&self, role_arn: &str, policy: &serde_json::Value) -> Result<(), CloudError> {
        let order = serde_json::json!({ "set_trust": { "role": role_arn, "policy": policy } });
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.say(&order.to_string())?;
        let done: Done =
            serde_json::from_str(&gate.line(ORDER, |_| true)?).map_err(CloudError::Words)?;
        if done.done {
            Ok(())
        } else {
            Err(CloudError::Refused { why: done.why.unwrap_or_default() })
        }
    }
}

/// The host's own identity. It is good in the practice cloud alone, yet is not shown.
#[derive(Clone, Deserialize)]
pub struct HostKey {
    /// The compute account.
    pub account: String,
    /// Who the host is there.
    pub arn: String,
    /// Its access key id.
    pub access_key_id: String,
    /// Its secret access key.
    pub secret_access_key: String,
}

impl HostKey {
    /// The variables with which an SDK finds this key.
    pub fn environment(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("AWS_ACCESS_KEY_ID", self.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key.clone()),
        ])
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostKey").field("arn", &self.arn).finish_non_exhaustive()
    }
}

/// What the cloud has for one application.
#[derive(Clone, Debug, Deserialize)]
pub struct ApplicationAccount {
    /// The application.
    pub name: String,
    /// Its account.
    pub account: String,
    /// The role for web identity tokens; none without an issuer.
    pub role_arn: Option<String>,
    /// The role that the host may assume.
    pub lent_role_arn: String,
    /// The external id without which that one stays shut.
    pub external_id: String,
    /// Its bucket, open for its own account alone.
    pub bucket: String,
}

/// One STS call, as the gate saw it. Tokens and keys are not in it.
#[derive(Clone, Debug, Deserialize)]
pub struct StsCall {
    /// When it came, in seconds since 1970.
    pub at: f64,
    /// `Allowed`, or the code of AWS's error.
    pub verdict: String,
    /// What the error said.
    pub message: Option<String>,
    /// `AssumeRole`, `AssumeRoleWithWebIdentity`, `GetCallerIdentity`.
    pub action: String,
    /// The role that was asked for; empty for `GetCallerIdentity`.
    pub role: String,
    /// The session's name.
    pub session_name: String,
    /// The session's length in seconds.
    pub duration: u32,
    /// Who signed the request, if it was signed.
    pub caller: Option<String>,
    /// The `sub` claim of a token that held.
    pub subject: Option<String>,
    /// The `aud` claim of a token that held.
    pub audience: Option<String>,
    /// The external id that was sent.
    pub external_id: Option<String>,
    /// Session tags.
    pub tags: BTreeMap<String, String>,
    /// The keys of those that go on through role chains.
    pub transitive: Vec<String>,
    /// The source identity.
    pub source_identity: Option<String>,
}

impl StsCall {
    /// Whether credentials were given.
    pub fn allowed(&self) -> bool {
        self.verdict == "Allowed"
    }
}

/// Why there is no practice cloud, or it did not do something.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// Something must be installed.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// One of its programs failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The gate did not come up, mostly because moto did not.
    #[error("the practice cloud did not come up: {error}; moto said: {moto}")]
    NotUp {
        /// What became of the gate.
        error: ProgramError,
        /// The end of moto's log.
        moto: String,
    },
    /// No port, or a log that cannot be used.
    #[error("could not use a file or port of the practice cloud")]
    Files(#[source] io::Error),
    /// The gate said something that is not what was agreed.
    #[error("the gate and this crate do not understand each other")]
    Words(#[source] serde_json::Error),
    /// The gate listens somewhere that is not an address.
    #[error("the gate's endpoint is not an address: `{said}`")]
    Address {
        /// What it said.
        said: String,
    },
    /// IAM did not take a change.
    #[error("the practice cloud refused: {why}")]
    Refused {
        /// What it said.
        why: String,
    },
}

/// The plan that the gate reads.
#[derive(Serialize)]
struct Plan<'a> {
    listen: IpAddr,
    moto: String,
    log: &'a Path,
    region: &'a str,
    compute: &'a str,
    issuer: Option<&'a Issuer>,
    audience: &'a str,
    applications: &'a [Application],
}

/// What the gate answers.
#[derive(Debug, Deserialize)]
struct Made {
    endpoint: String,
    host: HostKey,
    applications: Vec<ApplicationAccount>,
}

#[derive(Deserialize)]
struct Done {
    done: bool,
    why: Option<String>,
}

/// A Python program of the stage, which writes no caches into the sources.
fn python(tools: &Tools, program: &Path) -> Invocation {
    Invocation::new(program)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1")
        // Its own session with moto must not be steered by files of the user who runs it.
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .folder(tools.sources())
}

/// moto does not tell a port that it chose itself, so one is looked for first. Another program may
/// take it in between: then moto does not come up, and its log says why.
fn free_port(listen: IpAddr) -> Result<SocketAddr, CloudError> {
    let listener = TcpListener::bind((listen, 0)).map_err(CloudError::Files)?;
    listener.local_addr().map_err(CloudError::Files)
}

/// How long moto and the gate may take together, on a busy machine.
const START: Duration = Duration::from_secs(60);
/// How long one order may take.
const ORDER: Duration = Duration::from_secs(30);
