use std::time::Duration;

use cloud::RoleArn;

use crate::{
    AllowList, Answer, Facts, Form, Note, Notes, PathClass, Request, Target, TokenKey,
    answer::{Body, json_error, page, text_error, token_ttl},
    container, host, instance, pod,
};

/// Which service the workload reached, by the address it connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// Instance metadata at 169.254.169.254 and `[fd00:ec2::254]`.
    Instance,
    /// The ECS container endpoint at 169.254.170.2.
    Container,
    /// EKS Pod Identity at 169.254.170.23 and `[fd00:ec2::23]`.
    PodIdentity,
}

/// Who asks, as the kernel attests it, and what it may have.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The workload id. Tokens and container secrets are bound to it.
    pub workload: &'a str,
    /// The role of the binding in force. `None` where there is none or its switch is off: then
    /// paths below `iam` are those of an instance without a role, unless `allow` names them.
    pub role: Option<&'a RoleArn>,
    /// Whether instance metadata may be read without a session token.
    pub v1: bool,
    /// What the instance says of itself.
    pub facts: &'a Facts,
    /// What may be asked of the host.
    pub allow: &'a AllowList,
}

/// What to do about a request, and what to write down about it.
#[derive(Debug)]
pub struct Decision {
    /// What to do.
    pub step: Step,
    /// What was asked for.
    pub class: PathClass,
    /// What is counted.
    pub notes: Notes,
    /// The seconds that the request's session token still lives: for
    /// [`answer_credentials`](crate::answer_credentials) and
    /// [`answer_host`](crate::answer_host). An answer in `step` says it already.
    pub token_ttl_left: Option<u16>,
}

/// What the edge does next.
#[derive(Debug)]
pub enum Step {
    /// Send this.
    Answer(Answer),
    /// Get the workload's lease, then [`render`](crate::render) it or say that it is
    /// [`unavailable`](crate::unavailable).
    Credentials(Form),
    /// Ask the host's own metadata service with GET, then [`answer_host`](crate::answer_host).
    Host(HostPath),
}

/// A path that may be asked of the host. Only [`decide`] makes one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPath(String);

impl HostPath {
    /// The path to send: normalised, version prefix included, no query.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Decides about one request at `boot`, the time since boot. `random` is used up by a token.
///
/// The path is normalised before any rule looks at it. Then, at every door: what is ambiguous is
/// 400, a foreign `Host` and a forwarded request are 403. At the instance door every read needs a
/// valid session token, whatever the path and version prefix, unless the subject may use v1.
///
/// ```
/// # use std::time::Duration;
/// # use metadata::{AllowList, Door, Facts, Request, Step, Subject, TokenKey, decide};
/// # use secret::SecretKey;
/// let (facts, allow) = (Facts::default(), AllowList::default());
/// let subject =
///     Subject { workload: "orders/prod/i-1", role: None, v1: false, facts: &facts, allow: &allow };
/// let key = TokenKey::new(&SecretKey::new([7; 32]), [1; 16]);
/// let request = Request::new("GET", "/latest/meta-data/", []);
/// let decision = decide(Door::Instance, &request, &subject, &key, Duration::ZERO, [0; 16]);
/// assert!(matches!(decision.step, Step::Answer(answer) if answer.status == 401));
/// ```
pub fn decide(
    door: Door,
    request: &Request<'_>,
    subject: &Subject<'_>,
    tokens: &TokenKey,
    boot: Duration,
    random: [u8; 16],
) -> Decision {
    let Ok(target) = Target::parse(request.target) else {
        return refuse(door, Refusal::Malformed, PathClass::Malformed, Notes::default(), None);
    };
    let ask = Ask { request, target: &target, subject, tokens, boot, random };
    let (mut notes, mut left) = (Notes::default(), None);
    let (class, step) = match door {
        Door::Instance => instance::decide(&ask, &mut notes, &mut left),
        Door::Container => container::decide(&ask),
        Door::PodIdentity => pod::decide(&ask),
    };
    match step {
        Ok(step) => Decision { step, class, notes, token_ttl_left: left },
        Err(refusal) => refuse(door, refusal, class, notes, left),
    }
}

/// Everything that a door needs to know.
pub(crate) struct Ask<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) target: &'a Target<'a>,
    pub(crate) subject: &'a Subject<'a>,
    pub(crate) tokens: &'a TokenKey,
    pub(crate) boot: Duration,
    pub(crate) random: [u8; 16],
}

impl Ask<'_> {
    /// What is the same at every door, and comes before anything else.
    pub(crate) fn admit(&self) -> Result<(), Refusal> {
        if self.request.ambiguous() {
            return Err(Refusal::Malformed);
        }
        // HTTP/1.0 has no `Host`; an absolute target has one more.
        let hosts = [self.request.host.once(), self.target.authority().map(str::as_bytes)];
        if !hosts.into_iter().flatten().all(host::known) {
            return Err(Refusal::ForeignHost);
        }
        if self.request.forwarded {
            return Err(Refusal::Forwarded);
        }
        Ok(())
    }

    pub(crate) fn host_path(&self) -> Step {
        Step::Host(HostPath(self.target.path().to_owned()))
    }
}

fn refuse(
    door: Door,
    refusal: Refusal,
    class: PathClass,
    mut notes: Notes,
    left: Option<u16>,
) -> Decision {
    if let Some(note) = refusal.note() {
        notes.add(note);
    }
    let mut answer = refusal.answer(door);
    answer.headers.extend(token_ttl(left));
    Decision { step: Step::Answer(answer), class, notes, token_ttl_left: left }
}

/// Why a request is not answered as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It can be read in more than one way, or in none.
    Malformed,
    /// The caller means somebody else.
    ForeignHost,
    /// Somebody else is behind the caller.
    Forwarded,
    /// The caller could not be told apart.
    Unattested,
    /// The path does not take the method; it takes these.
    Method(&'static str),
    /// The path of session tokens does not take the method.
    TokenMethod,
    /// Tokens are made under `latest` only.
    TokenVersion,
    /// No life, or not from 1 to 21,600 seconds.
    TokenLife,
    /// The caller must ask for a token first.
    TokenMissing,
    /// The caller must ask for a new token.
    TokenInvalid,
    /// The name of a role that is not the workload's.
    WrongRole,
    /// It would give the host away.
    Guarded,
    /// There is no such path.
    Unknown,
    /// No container id, or no authorization, in the request.
    SecretMissing,
    /// A container id that is not the workload's.
    SecretUnknown,
    /// An authorization that is not the workload's.
    Unauthorized,
    /// The workload has no role at this door.
    NoRole,
}

impl Refusal {
    fn status(self, door: Door) -> u16 {
        match self {
            // As ECS says of a task without a role.
            Self::NoRole if door == Door::Container => 400,
            Self::Malformed | Self::TokenLife | Self::SecretMissing | Self::SecretUnknown => 400,
            Self::TokenMissing | Self::TokenInvalid | Self::Unauthorized => 401,
            Self::ForeignHost
            | Self::Forwarded
            | Self::Unattested
            | Self::TokenVersion
            | Self::Guarded => 403,
            Self::WrongRole | Self::Unknown | Self::NoRole => 404,
            Self::Method(_) | Self::TokenMethod => 405,
        }
    }

    fn note(self) -> Option<Note> {
        match self {
            Self::Malformed => Some(Note::Malformed),
            Self::ForeignHost => Some(Note::ForeignHost),
            Self::Forwarded => Some(Note::Forwarded),
            Self::TokenMissing | Self::SecretMissing => Some(Note::TokenMissing),
            Self::TokenInvalid | Self::SecretUnknown | Self::Unauthorized => {
                Some(Note::TokenInvalid)
            }
            Self::WrongRole => Some(Note::WrongRole),
            Self::Guarded => Some(Note::Refused),
            Self::Unattested
            | Self::Method(_)
            | Self::TokenMethod
            | Self::TokenVersion
            | Self::TokenLife
            | Self::Unknown
            | Self::NoRole => None,
        }
    }

    pub(crate) fn answer(self, door: Door) -> Answer {
        let status = self.status(door);
        let mut answer = match door {
            Door::Instance => page(status),
            Door::Container => {
                let (code, message) = self.container_words();
                json_error(status, code, message)
            }
            Door::PodIdentity => text_error(status, self.pod_words()),
        };
        match self {
            Self::Method(allow) => answer.headers.push(("allow", allow.into())),
            Self::TokenMethod => {
                answer.headers = vec![
                    ("content-type", "text/plain".into()),
                    ("server", "EC2ws".into()),
                    ("allow", instance::TOKEN_METHODS.into()),
                    ("connection", "close".into()),
                ];
                answer.body = Body::Empty;
            }
            _ => {}
        }
        answer
    }

    fn container_words(self) -> (&'static str, &'static str) {
        match self {
            Self::SecretMissing => ("NoIdInRequest", "no credentials id in the request"),
            Self::SecretUnknown | Self::NoRole => ("InvalidIdInRequest", "credentials not found"),
            Self::Unauthorized => ("InvalidAuthorization", "authorization is not this workload's"),
            Self::ForeignHost => ("AccessDenied", "called through an invalid address"),
            Self::Forwarded => ("AccessDenied", "called through a proxy"),
            Self::Unattested => ("AccessDenied", "the caller is no workload that is known here"),
            Self::Unknown => ("NotFound", "no such path"),
            Self::Method(_) => ("MethodNotAllowed", "the path does not take this method"),
            _ => ("InvalidRequest", "the request is ambiguous or malformed"),
        }
    }

    fn pod_words(self) -> &'static str {
        match self {
            Self::SecretMissing => "Service account token cannot be empty\n",
            Self::SecretUnknown | Self::Unauthorized => {
                "Service account token is not valid for this workload\n"
            }
            Self::ForeignHost => "Access Denied. Called agent through invalid address\n",
            Self::Forwarded => "Access Denied. Called agent through a proxy\n",
            Self::Unattested => "Access Denied. The caller is no workload that is known here\n",
            Self::NoRole => "ResourceNotFoundException: no role is bound to this workload\n",
            Self::Unknown => "no such path\n",
            Self::Method(_) => "the path does not take this method\n",
            _ => "the request is ambiguous or malformed\n",
        }
    }
}
