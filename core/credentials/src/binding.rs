use std::{collections::BTreeMap, time::Duration};

use cloud::RoleArn;
use workload::{Application, Environment};

use crate::{
    InvalidTag, Tag,
    policy::{LIFE_DEFAULT, LIFE_MAX, LIFE_MIN},
};

/// What an application may be in one environment, and how its workloads get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The application.
    pub application: Application,
    /// Where it runs.
    pub environment: Environment,
    /// The role in the application's own account.
    pub role: RoleArn,
    /// How the role is assumed.
    pub source: Source,
    /// Session tags beside those that say who the workload is; see [`TagPlan`](crate::TagPlan).
    pub tags: BTreeMap<String, String>,
    /// Whether its workloads may ask without a session token (IMDSv1).
    pub imds_v1: bool,
    /// Whether the binding is in force.
    pub switch: Switch,
    /// How long a life is asked for: 15 minutes to 12 hours, and not more than the role allows. One
    /// hour at most if the source's own credentials come from a role. Clients log warnings and ask
    /// on every call when it is less than half an hour.
    pub duration: Duration,
}

/// How a role is assumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// With a token of our issuer (`AssumeRoleWithWebIdentity`): needs no AWS credentials.
    WebIdentity {
        /// Whom the token is for; the role's trust policy names it. 1 to 255 characters.
        audience: String,
    },
    /// With the host's own credentials (`AssumeRole`).
    AssumeRole {
        /// What the role's owner wants to hear, where they want it: 2 to 1,224 characters.
        external_id: Option<String>,
    },
}

/// Where the credentials of a binding's workloads come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// From the binding.
    On,
    /// From the host, as before Rolecall.
    Off,
}

impl Switch {
    /// What people call the position.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// All bindings of one host, found by their place in the list, which is the place of their rule, or
/// by application and environment.
///
/// ```
/// # use credentials::{Binding, Bindings};
/// let binding = Binding::new(
///     "orders".parse().unwrap(),
///     "prod".parse().unwrap(),
///     "arn:aws:iam::111122223333:role/orders".parse().unwrap(),
/// );
/// let error = Bindings::new(vec![binding.clone(), binding.clone()]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "binding 2 (`orders` in `prod`): binding 1 is for the same; keep one of the two",
/// );
/// let bindings = Bindings::new(vec![binding]).unwrap();
/// assert_eq!(bindings.at(0), bindings.find(&"orders".parse().unwrap(), &"prod".parse().unwrap()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    list: Vec<Binding>,
    places: BTreeMap<(Application, Environment), usize>,
}

/// A binding that cannot be kept, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("binding {} (`{application}` in `{environment}`): {fault}", .index + 1)]
pub struct InvalidBinding {
    /// Its place in the list, from zero.
    pub index: usize,
    /// Its application.
    pub application: Application,
    /// Its environment.
    pub environment: Environment,
    /// What is wrong with it.
    #[source]
    pub fault: BindingFault,
}

/// What is wrong with a binding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindingFault {
    /// Two bindings for one application and environment: which role would it be?
    #[error("binding {} is for the same; keep one of the two", .first + 1)]
    Repeated {
        /// The place of the other, from zero.
        first: usize,
    },
    /// STS grants no such life.
    #[error("duration must be 15 minutes to 12 hours, not {} s", .0.as_secs())]
    Duration(Duration),
    /// IAM takes no such audience.
    #[error("audience must have 1 to 255 printable characters: `{0}`")]
    Audience(String),
    /// STS takes no such external id.
    #[error("external id must be 2 to 1224 of `A-Z a-z 0-9 _ + = , . @ : / -`: `{0}`")]
    ExternalId(String),
    /// STS takes no such session tag.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
}

impl Binding {
    /// The audience that AWS's own tools ask tokens for.
    pub const AUDIENCE_DEFAULT: &str = "sts.amazonaws.com";

    /// A binding that is on, by web identity for [`Self::AUDIENCE_DEFAULT`], for one hour, with
    /// IMDSv2 only and without further tags.
    pub fn new(application: Application, environment: Environment, role: RoleArn) -> Self {
        Self {
            application,
            environment,
            role,
            source: Source::WebIdentity { audience: Self::AUDIENCE_DEFAULT.to_owned() },
            tags: BTreeMap::new(),
            imds_v1: false,
            switch: Switch::On,
            duration: LIFE_DEFAULT,
        }
    }

    fn check(&self) -> Result<(), BindingFault> {
        if !(LIFE_MIN..=LIFE_MAX).contains(&self.duration) {
            return Err(BindingFault::Duration(self.duration));
        }
        match &self.source {
            Source::WebIdentity { audience } if !legal_audience(audience) => {
                return Err(BindingFault::Audience(excerpt(audience)));
            }
            Source::AssumeRole { external_id: Some(id) } if !legal_external_id(id) => {
                return Err(BindingFault::ExternalId(excerpt(id)));
            }
            Source::WebIdentity { .. } | Source::AssumeRole { .. } => {}
        }
        for (key, value) in &self.tags {
            Tag { key: key.clone(), value: value.clone(), transitive: false }.check()?;
        }
        Ok(())
    }

    /// Whether STS is asked the same for both: what was fetched for one is good for the other.
    pub fn asks_like(&self, other: &Self) -> bool {
        let Self { application, environment, role, source, tags, duration, .. } = self;
        (application, environment, role) == (&other.application, &other.environment, &other.role)
            && (source, tags, duration) == (&other.source, &other.tags, &other.duration)
    }
}

impl Bindings {
    /// Takes the bindings in the order of their rules.
    ///
    /// # Errors
    ///
    /// Names the first binding that cannot be kept, and why.
    pub fn new(list: Vec<Binding>) -> Result<Self, InvalidBinding> {
        let mut places = BTreeMap::new();
        for (index, binding) in list.iter().enumerate() {
            let Binding { application, environment, .. } = binding;
            let name = (application.clone(), environment.clone());
            let unique = match places.insert(name, index) {
                Some(first) => Err(BindingFault::Repeated { first }),
                None => Ok(()),
            };
            unique.and_then(|()| binding.check()).map_err(|fault| InvalidBinding {
                index,
                application: application.clone(),
                environment: environment.clone(),
                fault,
            })?;
        }
        Ok(Self { list, places })
    }

    /// The binding whose rule stands at this place.
    pub fn at(&self, rule: usize) -> Option<&Binding> {
        self.list.get(rule)
    }

    /// The binding of an application in an environment.
    pub fn find(&self, application: &Application, environment: &Environment) -> Option<&Binding> {
        let name = (application.clone(), environment.clone());
        self.places.get(&name).and_then(|place| self.list.get(*place))
    }

    /// All of them, in the order of their rules.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Binding> {
        self.list.iter()
    }
}

fn legal_audience(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn legal_external_id(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    (2..=1224).contains(&text.len()) && text.bytes().all(legal)
}

/// As much of a wrong text as an error message should repeat.
fn excerpt(text: &str) -> String {
    text.chars().take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(application: &str) -> Binding {
        let role = "arn:aws:iam::111122223333:role/orders".parse().unwrap();
        Binding::new(application.parse().unwrap(), "prod".parse().unwrap(), role)
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Binding), fault: &str) {
        let mut wrong = binding("orders");
        change(&mut wrong);
        let said = Bindings::new(vec![binding("first"), wrong]).map(|_| "nothing".to_owned());
        let said = said.unwrap_or_else(|error| error.to_string());
        let expected = format!("binding 2 (`orders` in `prod`): {fault}");
        assert_eq!(said, if fault.is_empty() { "nothing" } else { &expected });
    }

    #[test]
    fn a_life_that_sts_does_not_grant_is_refused() {
        let seconds = |n| move |b: &mut Binding| b.duration = Duration::from_secs(n);
        check(seconds(900), "");
        check(seconds(43_200), "");
        check(seconds(899), "duration must be 15 minutes to 12 hours, not 899 s");
        check(seconds(43_201), "duration must be 15 minutes to 12 hours, not 43201 s");
    }

    #[test]
    fn an_external_id_that_sts_does_not_take_is_refused() {
        let id = |text: &str| {
            let external_id = Some(text.to_owned());
            move |b: &mut Binding| b.source = Source::AssumeRole { external_id }
        };
        let why = "external id must be 2 to 1224 of `A-Z a-z 0-9 _ + = , . @ : / -`";
        check(id("tenant:a/b"), "");
        check(id("a"), &format!("{why}: `a`"));
        check(id("a b"), &format!("{why}: `a b`"));
    }

    #[test]
    fn an_audience_must_be_there() {
        let audience = String::new();
        check(
            |b| b.source = Source::WebIdentity { audience },
            "audience must have 1 to 255 printable characters: ``",
        );
    }

    #[test]
    fn a_tag_that_would_fail_every_fetch_is_refused_at_once() {
        check(
            |b| drop(b.tags.insert("instance".into(), "i".into())),
            "tag `instance` is set by rolecall to what the workload is; choose another key",
        );
    }

    #[test]
    fn a_binding_is_found_by_its_rule_and_by_its_names() {
        let bindings = Bindings::new(vec![binding("a"), binding("b")]).unwrap();
        let (prod, test) = ("prod".parse().unwrap(), "test".parse().unwrap());
        assert_eq!(bindings.at(1), Some(&binding("b")));
        assert_eq!(bindings.find(&"b".parse().unwrap(), &prod), bindings.at(1));
        assert_eq!(bindings.find(&"b".parse().unwrap(), &test), None);
        assert_eq!((bindings.at(2), bindings.iter().len()), (None, 2));
    }
}
