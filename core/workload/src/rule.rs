use std::{collections::BTreeMap, fmt, net::IpAddr};

use crate::{
    Application, CgroupPath, Environment, Evidence, Glob, Instance, InvalidGlob, InvalidNetwork,
    Network, Workload,
};

/// Which callers are an application in an environment.
///
/// ```
/// # use workload::{Conditions, Rule};
/// let unit = Conditions::default().with_unit("orders@*.service").unwrap();
/// let rule = Rule::new("orders".parse().unwrap(), "prod".parse().unwrap(), unit).unwrap();
/// assert_eq!(rule.to_string(), "orders/prod when unit `orders@*.service`");
///
/// let nothing = Conditions::default();
/// assert!(Rule::new("orders".parse().unwrap(), "prod".parse().unwrap(), nothing).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    application: Application,
    environment: Environment,
    conditions: Conditions,
}

/// What must hold of a caller: all conditions that are there, and there must be one.
///
/// **Labels are a request, not a proof.** Whoever starts a container writes its labels, so a rule by
/// label alone gives the role to everybody who may start containers on the host. Where that is not
/// the operator alone, name beside the labels something that the operator controls: the `netns`, or
/// a `cgroup` below a parent (`/orders.slice/**`) that only the operator's containers are put in.
///
/// An `address` is worth what the network's anti-spoofing and address reuse are worth. It counts
/// only because the rule names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The name of the network namespace.
    pub netns: Option<Glob>,
    /// The path of the cgroup.
    pub cgroup: Option<Glob>,
    /// The systemd unit, as [`Unit`](crate::Unit) prints it.
    pub unit: Option<Glob>,
    /// Labels of the container: each must be there with a value that matches.
    pub labels: BTreeMap<String, Glob>,
    /// Where the connection comes from.
    pub address: Option<Network>,
}

/// A rule cannot be used as it is written. The operator must change it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// It names no condition, so it would match every caller.
    #[error(
        "rule for `{0}/{1}` needs a condition: `netns`, `cgroup`, `unit`, `labels` or `address`"
    )]
    Unconditional(Application, Environment),
    /// A pattern is not legal.
    #[error("`{kind}`: {reason}")]
    Pattern {
        /// The condition.
        kind: Kind,
        /// What is wrong with its pattern.
        reason: InvalidGlob,
    },
    /// A range of addresses is not legal.
    #[error("`address`: {0}")]
    Address(InvalidNetwork),
    /// A label's name is empty or longer than [`Conditions::LABEL_MAX`].
    #[error("`labels`: a label's name must be 1 to 256 bytes, not {0}")]
    Label(usize),
    /// More labels than [`Conditions::LABELS_MAX`].
    #[error("`labels`: at most 32 labels, not {0}")]
    Labels(usize),
}

/// What a condition is about. Prints as the name of the field that sets it.
///
/// The order is the order of strength: the first kind that a rule names says which instance it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A label of the container.
    Label(String),
    /// The systemd unit.
    Unit,
    /// The network namespace.
    Netns,
    /// The path of the cgroup.
    Cgroup,
    /// The address.
    Address,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(name) => write!(f, "labels.{name}"),
            Self::Unit => f.write_str("unit"),
            Self::Netns => f.write_str("netns"),
            Self::Cgroup => f.write_str("cgroup"),
            Self::Address => f.write_str("address"),
        }
    }
}

/// One condition of one rule, held against the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What the condition is about.
    pub kind: Kind,
    /// What the rule wants.
    pub wanted: String,
    /// What the evidence says; nothing where it is silent.
    pub seen: Option<String>,
    /// Whether the condition holds.
    pub held: bool,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, wanted, seen, held } = self;
        match (held, seen) {
            (true, Some(seen)) if seen == wanted => write!(f, "{kind} is `{seen}`"),
            (true, Some(seen)) => write!(f, "{kind} `{seen}` matches `{wanted}`"),
            (false, Some(seen)) => write!(f, "{kind} is `{seen}`, not `{wanted}`"),
            (_, None) => write!(f, "{kind} is not known, wanted `{wanted}`"),
        }
    }
}

impl Rule {
    /// A rule with at least one condition.
    pub fn new(
        application: Application,
        environment: Environment,
        conditions: Conditions,
    ) -> Result<Self, InvalidRule> {
        if conditions.is_empty() {
            return Err(InvalidRule::Unconditional(application, environment));
        }
        match conditions
            .labels
            .keys()
            .find(|name| !(1..=Conditions::LABEL_MAX).contains(&name.len()))
        {
            Some(name) => return Err(InvalidRule::Label(name.len())),
            None if conditions.labels.len() > Conditions::LABELS_MAX => {
                return Err(InvalidRule::Labels(conditions.labels.len()));
            }
            None => {}
        }
        Ok(Self { application, environment, conditions })
    }

    /// What the callers are instances of.
    pub fn application(&self) -> &Application {
        &self.application
    }

    /// Where they run.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What must hold of them.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Whether every condition holds.
    pub fn matches(&self, evidence: &Evidence) -> bool {
        self.conditions.all().all(|condition| condition.holds(evidence))
    }

    /// Every condition and whether it holds, strongest first.
    pub fn checks(&self, evidence: &Evidence) -> Vec<Check> {
        self.conditions.all().map(|condition| condition.check(evidence)).collect()
    }

    /// The workload that a caller is if the rule matches: its instance is what the strongest condition
    /// saw. Nothing where that condition saw nothing, and then the rule does not match either.
    pub(crate) fn workload(&self, evidence: &Evidence) -> Option<Workload> {
        let instance = self.conditions.all().next()?.instance(evidence)?;
        let (application, environment) = (self.application.clone(), self.environment.clone());
        Some(Workload { application, environment, instance })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} when", self.application, self.environment)?;
        for (n, condition) in self.conditions.all().enumerate() {
            let and = if n == 0 { "" } else { " and" };
            write!(f, "{and} {} `{}`", condition.kind(), condition.wanted())?;
        }
        Ok(())
    }
}

impl Conditions {
    /// The longest name of a label, in bytes.
    pub const LABEL_MAX: usize = 256;
    /// How many labels a rule may name.
    pub const LABELS_MAX: usize = 32;

    /// Also wants the network namespace's name to match.
    pub fn with_netns(mut self, pattern: &str) -> Result<Self, InvalidRule> {
        self.netns = Some(glob(Kind::Netns, pattern)?);
        Ok(self)
    }

    /// Also wants the cgroup's path to match.
    pub fn with_cgroup(mut self, pattern: &str) -> Result<Self, InvalidRule> {
        self.cgroup = Some(glob(Kind::Cgroup, pattern)?);
        Ok(self)
    }

    /// Also wants the unit to match.
    pub fn with_unit(mut self, pattern: &str) -> Result<Self, InvalidRule> {
        self.unit = Some(glob(Kind::Unit, pattern)?);
        Ok(self)
    }

    /// Also wants a label with a value that matches.
    pub fn with_label(mut self, name: &str, pattern: &str) -> Result<Self, InvalidRule> {
        let pattern = glob(Kind::Label(name.to_owned()), pattern)?;
        self.labels.insert(name.to_owned(), pattern);
        Ok(self)
    }

    /// Also wants the address to lie in a network.
    pub fn with_address(mut self, network: &str) -> Result<Self, InvalidRule> {
        self.address = Some(network.parse().map_err(InvalidRule::Address)?);
        Ok(self)
    }

    /// Whether there is no condition.
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// Every condition, strongest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = Condition<'_>> {
        let labels = self.labels.iter().map(|(name, glob)| Condition::Label(name, glob));
        labels
            .chain(self.unit.as_ref().map(Condition::Unit))
            .chain(self.netns.as_ref().map(Condition::Netns))
            .chain(self.cgroup.as_ref().map(Condition::Cgroup))
            .chain(self.address.as_ref().map(Condition::Address))
    }
}

fn glob(kind: Kind, pattern: &str) -> Result<Glob, InvalidRule> {
    pattern.parse().map_err(|reason| InvalidRule::Pattern { kind, reason })
}

/// One condition. A new kind of evidence adds a variant here, and the compiler names every place.
#[derive(Clone, Copy)]
pub(crate) enum Condition<'a> {
    Label(&'a str, &'a Glob),
    Unit(&'a Glob),
    Netns(&'a Glob),
    Cgroup(&'a Glob),
    Address(&'a Network),
}

impl Condition<'_> {
    /// Whether the evidence shows it. Silent evidence shows nothing.
    pub(crate) fn holds(self, evidence: &Evidence) -> bool {
        match self {
            Self::Address(network) => evidence.address.is_some_and(|seen| network.contains(seen)),
            Self::Label(_, glob) | Self::Unit(glob) | Self::Netns(glob) | Self::Cgroup(glob) => {
                self.text(evidence).is_some_and(|seen| glob.is_match(seen))
            }
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Label(name, _) => Kind::Label(name.to_owned()),
            Self::Unit(_) => Kind::Unit,
            Self::Netns(_) => Kind::Netns,
            Self::Cgroup(_) => Kind::Cgroup,
            Self::Address(_) => Kind::Address,
        }
    }

    pub(crate) fn seen(self, evidence: &Evidence) -> Option<String> {
        match self {
            Self::Address(_) => evidence.address.as_ref().map(IpAddr::to_string),
            _ => self.text(evidence).map(str::to_owned),
        }
    }

    fn check(self, evidence: &Evidence) -> Check {
        Check {
            kind: self.kind(),
            wanted: self.wanted(),
            seen: self.seen(evidence),
            held: self.holds(evidence),
        }
    }

    fn wanted(self) -> String {
        match self {
            Self::Address(network) => network.to_string(),
            Self::Label(_, glob) | Self::Unit(glob) | Self::Netns(glob) | Self::Cgroup(glob) => {
                glob.to_string()
            }
        }
    }

    fn instance(self, evidence: &Evidence) -> Option<Instance> {
        match self {
            Self::Label(..) => evidence.container.as_ref().map(|c| Instance::named(c.id.short())),
            // Below a unit or container whoever runs there makes directories of any name: the last
            // segment could be that of a sibling.
            Self::Cgroup(_) => evidence.placed().map(|cgroup| match cgroup.container() {
                Some(container) => Instance::named(container.short()),
                None => Instance::named(evidence.unit().unwrap_or(cgroup.as_str())),
            }),
            Self::Unit(_) | Self::Netns(_) | Self::Address(_) => {
                self.seen(evidence).as_deref().map(Instance::named)
            }
        }
    }

    fn text<'e>(&self, evidence: &'e Evidence) -> Option<&'e str> {
        match self {
            Self::Label(name, _) => evidence.label(name),
            Self::Unit(_) => evidence.unit(),
            Self::Netns(_) => evidence.netns(),
            Self::Cgroup(_) => evidence.placed().map(CgroupPath::as_str),
            Self::Address(_) => None,
        }
    }
}
