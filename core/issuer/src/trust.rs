use std::fmt;

use cloud::Arn;
use serde_json::Value;

use crate::{InvalidSubject, IssuerUrl, Subject};

/// What an account must have so that our tokens for one application make its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    issuer: IssuerUrl,
    provider: Arn,
    audience: String,
    application: String,
    environment: String,
}

/// An OIDC provider, as IAM says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// The issuer's address without its scheme.
    pub url: String,
    /// The audiences that it takes.
    pub client_ids: Vec<String>,
}

/// Something in an account that keeps our tokens out, lets others in, or cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There is no provider for the issuer.
    NoProvider,
    /// The provider is for another address.
    OtherProvider(String),
    /// The provider does not take the audience.
    ClientId(Vec<String>),
    /// The trust policy is not one.
    NotAPolicy,
    /// No statement lets the provider in. It names these others.
    NotTrusted(Vec<String>),
    /// Tokens are let in, but not what they carry.
    Action(&'static str),
    /// A statement does not ask for the audience.
    AnyAudience,
    /// A statement asks for other audiences.
    OtherAudience(Vec<String>),
    /// A statement does not ask for a subject: every workload of the issuer is let in.
    AnySubject,
    /// A statement lets in more than the application in its environment.
    SubjectTooWide(String),
    /// No statement lets in every instance of the application. These subjects are let in.
    OtherSubject(Vec<String>),
    /// A condition that is not understood here. The role may let in fewer, or more, than we say.
    Unknown(String),
    /// A statement that denies, and concerns tokens of the provider.
    Deny,
}

/// The three things that one exchange of a token does.
const ASSUME: &str = "sts:AssumeRoleWithWebIdentity";
const CARRIED: [&str; 2] = ["sts:TagSession", "sts:SetSourceIdentity"];

/// The longest trust policy that is looked at, in bytes. IAM takes 8,192 characters at most.
const POLICY_MAX: usize = 64 * 1024;

impl Trust {
    /// What is needed for tokens of `issuer` for an application in an environment. `provider` is
    /// [`IssuerUrl::provider_arn`] in the role's account.
    ///
    /// # Errors
    /// When application or environment cannot be in a token's subject.
    pub fn new(
        issuer: &IssuerUrl,
        provider: &Arn,
        audience: &str,
        application: &str,
        environment: &str,
    ) -> Result<Self, InvalidSubject> {
        // Only checks the names; the instance is the pattern's.
        Subject::new(application, environment, "any")?;
        Ok(Self {
            issuer: issuer.clone(),
            provider: provider.clone(),
            audience: audience.to_owned(),
            application: application.to_owned(),
            environment: environment.to_owned(),
        })
    }

    /// Everything that is wrong with the account's provider and the role's trust policy; nothing where
    /// tokens make the role, and no others do.
    ///
    /// [AWS: conditions for web identity](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#condition-keys-wif)
    pub fn check(&self, provider: Option<&Provider>, policy: &str) -> Vec<Finding> {
        let mut findings = self.check_provider(provider);
        let policy = (policy.len() <= POLICY_MAX).then(|| serde_json::from_str::<Value>(policy));
        match policy {
            Some(Ok(Value::Object(policy))) => {
                let statements = policy.get("Statement").map(listed).unwrap_or_default();
                findings.extend(self.check_policy(&statements));
            }
            _ => findings.push(Finding::NotAPolicy),
        }
        findings
    }

    /// What is to be done about a finding, as exactly as it can be said.
    pub fn fix(&self, finding: &Finding) -> String {
        let Self { issuer, provider, audience, application, environment } = self;
        let trust = format!(
            "set the trust policy that `rolecall issuer trust` prints for `{application}` in `{environment}` \
             (`aws iam update-assume-role-policy`)"
        );
        let aud = issuer.condition_key("aud");
        let sub = issuer.condition_key("sub");
        let subject = Subject::pattern(application, environment) + "*";
        match finding {
            Finding::NoProvider => format!(
                "run `aws iam create-open-id-connect-provider --url {issuer} --client-id-list {audience}` in \
                 the account"
            ),
            Finding::OtherProvider(_) => format!("make a provider for `{issuer}`"),
            Finding::ClientId(_) => format!(
                "run `aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn \
                 {provider} --client-id {audience}`"
            ),
            Finding::NotAPolicy | Finding::NotTrusted(_) => trust,
            Finding::Action(action) => {
                format!("add `{action}` to the actions of the statement that names `{provider}`")
            }
            Finding::AnyAudience | Finding::OtherAudience(_) => {
                format!("let the statement ask for `StringEquals` `{aud}` = `{audience}`")
            }
            Finding::AnySubject | Finding::SubjectTooWide(_) | Finding::OtherSubject(_) => {
                format!("let the statement ask for `StringLike` `{sub}` = `{subject}`")
            }
            Finding::Unknown(_) => format!("remove the condition, or else {trust}"),
            Finding::Deny => "see that the statement does not concern our tokens".to_owned(),
        }
    }

    fn check_provider(&self, provider: Option<&Provider>) -> Vec<Finding> {
        let Some(provider) = provider else { return vec![Finding::NoProvider] };
        let mut findings = Vec::new();
        let url = provider.url.split_once("://").map_or(provider.url.as_str(), |(_, rest)| rest);
        if url != self.issuer.provider() {
            findings.push(Finding::OtherProvider(cut(&provider.url)));
        }
        if !provider.client_ids.contains(&self.audience) {
            let has = provider.client_ids.iter().map(|id| cut(id)).collect();
            findings.push(Finding::ClientId(has));
        }
        findings
    }

    fn check_policy(&self, statements: &[&Value]) -> Vec<Finding> {
        let ours = |effect: &str, action: &str| -> Vec<&Value> {
            let of = statements.iter().filter(|statement| {
                text(statement, "Effect") == Some(effect)
                    && does(statement, action)
                    && self.names_us(statement)
            });
            of.copied().collect()
        };
        let mut findings = Vec::new();
        let allows = ours("Allow", ASSUME);
        if allows.is_empty() {
            findings.push(Finding::NotTrusted(federated(statements)));
            return findings;
        }
        let missing = CARRIED.into_iter().filter(|action| ours("Allow", action).is_empty());
        findings.extend(missing.map(Finding::Action));
        if [ASSUME].into_iter().chain(CARRIED).any(|action| !ours("Deny", action).is_empty()) {
            findings.push(Finding::Deny);
        }
        // Whether somebody is let in whose subjects are not listed.
        let (mut subjects, mut open) = (Vec::new(), false);
        for statement in allows {
            let conditions = self.conditions(statement);
            findings.extend(conditions.unknown.into_iter().map(Finding::Unknown));
            findings.extend(self.check_audience(&conditions.audience));
            match conditions.subject {
                Asked::Nothing => findings.push(Finding::AnySubject),
                Asked::OneOf(patterns) => subjects.extend(patterns),
                Asked::Unknown => open = true,
            }
        }
        open |= findings.contains(&Finding::AnySubject);
        findings.extend(self.check_subjects(&subjects, open));
        findings
    }

    fn check_audience(&self, asked: &Asked) -> Option<Finding> {
        match asked {
            Asked::Nothing => Some(Finding::AnyAudience),
            Asked::Unknown => None,
            Asked::OneOf(asked) => {
                let takes = asked.iter().any(|pattern| pattern.takes(&self.audience));
                (!takes).then(|| Finding::OtherAudience(texts(asked)))
            }
        }
    }

    fn check_subjects(&self, asked: &[Pattern], open: bool) -> Vec<Finding> {
        let names = Subject::pattern(&self.application, &self.environment);
        let within = |pattern: &&Pattern| pattern.0.starts_with(&names);
        let wide = asked.iter().filter(|pattern| !within(pattern));
        let mut findings: Vec<Finding> =
            wide.map(|pattern| Finding::SubjectTooWide(cut(&pattern.0))).collect();
        // An instance that no list of instances has.
        let every = format!("{names}\u{0}");
        if !open && !asked.iter().any(|pattern| pattern.takes(&every)) {
            findings.push(Finding::OtherSubject(texts(asked)));
        }
        findings
    }

    fn names_us(&self, statement: &Value) -> bool {
        let provider = self.provider.to_string();
        let Some(principal) = statement.get("Principal") else { return false };
        principal == "*"
            || principal
                .get("Federated")
                .map(listed)
                .unwrap_or_default()
                .into_iter()
                .any(|one| one == "*" || *one == provider.as_str())
    }

    fn conditions(&self, statement: &Value) -> Conditions {
        let mut found = Conditions::default();
        let Some(Value::Object(operators)) = statement.get("Condition") else { return found };
        for (operator, keys) in operators {
            let Value::Object(keys) = keys else {
                found.unknown.push(cut(operator));
                continue;
            };
            for (key, values) in keys {
                let asked = match operator.to_ascii_lowercase().as_str() {
                    "stringequals" => Asked::one_of(values, false),
                    "stringlike" => Asked::one_of(values, true),
                    _ => Asked::Unknown,
                };
                let is = |claim: &str| key.eq_ignore_ascii_case(&self.issuer.condition_key(claim));
                let judged = if is("aud") {
                    found.audience.add(asked)
                } else if is("sub") {
                    found.subject.add(asked)
                } else {
                    false
                };
                if !judged {
                    found.unknown.push(cut(&format!("{operator} {key}")));
                }
            }
        }
        found
    }
}

/// What a statement asks for, as far as it is understood.
#[derive(Default)]
struct Conditions {
    audience: Asked,
    subject: Asked,
    unknown: Vec<String>,
}

/// What a statement asks of one claim.
#[derive(Default)]
enum Asked {
    #[default]
    Nothing,
    OneOf(Vec<Pattern>),
    Unknown,
}

impl Asked {
    fn one_of(values: &Value, wild: bool) -> Self {
        let values = listed(values).into_iter().filter_map(Value::as_str);
        Self::OneOf(values.map(|value| Pattern(value.to_owned(), wild)).collect())
    }

    /// Whether it is understood with this as well: of two conditions on one claim both must hold, which is not
    /// judged.
    fn add(&mut self, asked: Self) -> bool {
        *self = match self {
            Self::Nothing => asked,
            Self::OneOf(_) | Self::Unknown => Self::Unknown,
        };
        !matches!(self, Self::Unknown)
    }
}

/// A value of a condition, and whether `*` and `?` in it are wild.
struct Pattern(String, bool);

impl Pattern {
    fn takes(&self, text: &str) -> bool {
        if self.1 { like(&self.0, text) } else { self.0 == text }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProvider => write!(f, "the account has no OIDC provider for the issuer"),
            Self::OtherProvider(url) => write!(f, "the provider is for `{url}`"),
            Self::ClientId(has) => {
                write!(f, "the provider does not take the audience, but {}", list(has))
            }
            Self::NotAPolicy => write!(f, "the role's trust policy cannot be read"),
            Self::NotTrusted(others) if others.is_empty() => {
                write!(f, "the role's trust policy lets no OIDC provider in")
            }
            Self::NotTrusted(others) => {
                write!(
                    f,
                    "the role's trust policy does not name the provider, but {}",
                    list(others)
                )
            }
            Self::Action(action) => write!(f, "the role's trust policy does not allow `{action}`"),
            Self::AnyAudience => write!(f, "the role's trust policy asks for no audience"),
            Self::OtherAudience(asked) => {
                write!(f, "the role's trust policy asks for another audience: {}", list(asked))
            }
            Self::AnySubject => {
                write!(f, "the role's trust policy asks for no subject: every workload may have it")
            }
            Self::SubjectTooWide(pattern) => {
                write!(f, "the role's trust policy lets in more than the application: `{pattern}`")
            }
            Self::OtherSubject(asked) => write!(
                f,
                "the role's trust policy does not let in every instance of the application, but {}",
                list(asked)
            ),
            Self::Unknown(condition) => {
                write!(
                    f,
                    "the role's trust policy has a condition that is not judged: `{condition}`"
                )
            }
            Self::Deny => {
                write!(f, "the role's trust policy denies in a statement for the provider")
            }
        }
    }
}

/// Every provider that a trust policy names.
fn federated(statements: &[&Value]) -> Vec<String> {
    let named = statements.iter().filter_map(|one| one.get("Principal")?.get("Federated"));
    named.flat_map(listed).filter_map(Value::as_str).map(cut).collect()
}

fn does(statement: &Value, action: &str) -> bool {
    let action = action.to_ascii_lowercase();
    let actions = statement.get("Action").map(listed).unwrap_or_default();
    actions
        .into_iter()
        .filter_map(Value::as_str)
        .any(|one| like(&one.to_ascii_lowercase(), &action))
}

fn text<'a>(statement: &'a Value, name: &str) -> Option<&'a str> {
    statement.get(name)?.as_str()
}

/// IAM takes one where it takes a list.
fn listed(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        one => vec![one],
    }
}

fn texts(patterns: &[Pattern]) -> Vec<String> {
    patterns.iter().map(|pattern| cut(&pattern.0)).collect()
}

fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
    if quoted.is_empty() { "none".to_owned() } else { quoted.join(", ") }
}

fn cut(text: &str) -> String {
    text.chars().take(256).collect()
}

/// `*` is any run of characters, `?` any one; the rest is itself. Takes time by the product of the lengths.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // Which beginnings of the text the pattern so far takes.
    let mut taken: Vec<bool> = (0..=text.len()).map(|length| length == 0).collect();
    for one in pattern {
        let before = taken;
        taken = Vec::with_capacity(before.len());
        for (length, &same) in before.iter().enumerate() {
            let shorter = length.checked_sub(1);
            let last = shorter.and_then(|at| text.get(at));
            let previous = shorter.and_then(|at| before.get(at)).is_some_and(|&took| took);
            taken.push(match one {
                '*' => same || taken.last().is_some_and(|&took| took),
                '?' => previous,
                one => previous && last == Some(&one),
            });
        }
    }
    taken.last().is_some_and(|&took| took)
}
