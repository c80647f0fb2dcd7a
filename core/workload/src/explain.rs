use std::fmt;

use crate::{Application, Check, Environment, Evidence, Kind, Rules, Verdict, attest};

/// What a caller would get and why, condition by condition. Prints as text for people.
///
/// ```
/// # use workload::{Conditions, Evidence, Rule, Rules, explain};
/// let unit = Conditions::default().with_unit("orders.service").unwrap();
/// let rule = Rule::new("orders".parse().unwrap(), "prod".parse().unwrap(), unit).unwrap();
/// let cgroup = "/system.slice/billing.service".parse().ok();
///
/// let evidence = Evidence { cgroup, ..Evidence::default() };
/// let text = explain(&Rules::new(vec![rule]), &evidence).to_string();
/// assert!(text.contains("no   unit is `billing.service`, not `orders.service`"), "{text}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Every kind of evidence by name, and what it says; nothing where it is silent.
    pub evidence: Vec<(&'static str, Option<String>)>,
    /// What [`attest`] says of it.
    pub verdict: Verdict,
    /// Every rule, in order.
    pub rules: Vec<ExplainedRule>,
    /// What is easily misunderstood about this evidence.
    pub notes: Vec<Note>,
}

/// One rule, held against the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedRule {
    /// Its index.
    pub rule: usize,
    /// What it would make of the caller.
    pub application: Application,
    /// Where.
    pub environment: Environment,
    /// Whether all its conditions hold.
    pub matched: bool,
    /// Its conditions, strongest first.
    pub checks: Vec<Check>,
}

/// What is easily misunderstood about evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// The cgroup is the root.
    Root,
    /// The unit belongs to a user's manager.
    UserUnit,
    /// The rule that matches wants nothing but labels.
    LabelsAlone,
    /// The rule that matches wants nothing but an address.
    AddressAlone,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => {
                "cgroup `/` tells nobody apart and counts for nothing; this host may have cgroup v1 alone"
            }
            Self::UserUnit => {
                "the unit belongs to a user's manager: that user chose its name, and may choose any"
            }
            Self::LabelsAlone => {
                "the rule wants labels alone: whoever may start a container may have this identity"
            }
            Self::AddressAlone => {
                "the rule wants an address alone: whoever can take the address has this identity"
            }
        })
    }
}

/// Says what [`attest`] says, and why.
pub fn explain(rules: &Rules, evidence: &Evidence) -> Explanation {
    let explained = rules.as_slice().iter().enumerate().map(|(index, rule)| {
        let checks = rule.checks(evidence);
        ExplainedRule {
            rule: index,
            application: rule.application().clone(),
            environment: rule.environment().clone(),
            matched: checks.iter().all(|check| check.held),
            checks,
        }
    });
    let rules_explained: Vec<_> = explained.collect();
    Explanation {
        evidence: lines(evidence),
        verdict: attest(rules, evidence),
        notes: notes(evidence, &rules_explained),
        rules: rules_explained,
    }
}

fn lines(evidence: &Evidence) -> Vec<(&'static str, Option<String>)> {
    let Evidence { namespace, cgroup, container, address } = evidence;
    let unit = cgroup.as_ref().and_then(|cgroup| cgroup.unit());
    let pod = cgroup.as_ref().and_then(|cgroup| cgroup.pod());
    let named = cgroup.as_ref().and_then(|cgroup| cgroup.container());
    let namespace = namespace.as_ref().map(|namespace| match &namespace.pinned {
        Some(pinned) => format!("{} (inode {}, for {pinned})", namespace.name, namespace.inode),
        None => format!("{} (inode {})", namespace.name, namespace.inode),
    });
    let described = container.as_ref().map(|container| {
        let labels: Vec<_> =
            container.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {} [{}]", container.id.short(), container.name, labels.join(" "))
    });
    vec![
        ("netns", namespace),
        ("cgroup", cgroup.as_ref().map(ToString::to_string)),
        ("unit", unit.map(ToString::to_string)),
        ("container", described.or_else(|| named.map(ToString::to_string))),
        ("pod", pod.map(ToString::to_string)),
        ("address", address.as_ref().map(ToString::to_string)),
    ]
}

fn notes(evidence: &Evidence, rules: &[ExplainedRule]) -> Vec<Note> {
    let cgroup = evidence.cgroup.as_ref();
    let only = |want: fn(&Kind) -> bool| {
        let matched = rules.iter().filter(|rule| rule.matched);
        matched.into_iter().any(|rule| rule.checks.iter().all(|check| want(&check.kind)))
    };
    [
        (Note::Root, cgroup.is_some_and(|cgroup| cgroup.is_root())),
        (Note::UserUnit, cgroup.and_then(|it| it.unit()).is_some_and(|unit| unit.user().is_some())),
        (Note::LabelsAlone, only(|kind| matches!(kind, Kind::Label(_)))),
        (Note::AddressAlone, only(|kind| *kind == Kind::Address)),
    ]
    .into_iter()
    .filter_map(|(note, applies)| applies.then_some(note))
    .collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "evidence")?;
        for (name, seen) in &self.evidence {
            writeln!(f, "  {name:<10} {}", seen.as_deref().unwrap_or("not known"))?;
        }
        writeln!(f, "verdict")?;
        match &self.verdict {
            Verdict::Attested(attested) => {
                writeln!(f, "  {} by rule {}", attested.workload(), attested.rule())?;
            }
            Verdict::Refused(refusal) => writeln!(f, "  refused ({}): {refusal}", refusal.word())?,
        }
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        writeln!(f, "rules")?;
        for rule in &self.rules {
            write!(f, "{rule}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ExplainedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, application, environment, matched, checks } = self;
        let matches = if *matched { "matches" } else { "does not match" };
        writeln!(f, "  {rule}: {application}/{environment} {matches}")?;
        for check in checks {
            writeln!(f, "     {:<4} {check}", if check.held { "yes" } else { "no" })?;
        }
        Ok(())
    }
}
