use std::{collections::BTreeMap, fmt};

use crate::{
    CgroupPath, Check, ContainerId, Evidence, Glob, Kind, Rule, Workload,
    rule::{Condition, Conditions},
};

/// Rules in the form that [`attest`] searches.
///
/// ```
/// # use workload::{Conditions, Evidence, Rule, Rules, Verdict, attest};
/// let unit = Conditions::default().with_unit("orders.service").unwrap();
/// let rule = Rule::new("orders".parse().unwrap(), "prod".parse().unwrap(), unit).unwrap();
/// let rules = Rules::new(vec![rule]);
///
/// let cgroup = "/system.slice/orders.service".parse().ok();
/// let Verdict::Attested(attested) = attest(&rules, &Evidence { cgroup, ..Evidence::default() }) else {
///     panic!("refused");
/// };
/// assert_eq!(attested.workload().to_string(), "orders/prod/orders.service");
/// assert!(matches!(attest(&rules, &Evidence::default()), Verdict::Refused(_)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Rules by the text that one of their conditions wants.
    exact: BTreeMap<Key, BTreeMap<String, Vec<usize>>>,
    /// Rules by what that text must start with, and by how long that is.
    starting: BTreeMap<Key, BTreeMap<usize, BTreeMap<String, Vec<usize>>>>,
    /// Rules that nothing is certain about. These alone are tried one by one.
    rest: Vec<usize>,
}

/// What [`attest`] says.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The caller is this workload.
    Attested(Attested),
    /// The caller gets nothing.
    Refused(Refusal),
}

/// Proof that a caller is a workload. Only [`attest`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    workload: Workload,
    rule: usize,
    proofs: Vec<Proof>,
}

/// One thing that was seen and that the rule asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// What it is about.
    pub kind: Kind,
    /// What was seen.
    pub seen: String,
}

/// Why a caller is nobody. Everything here is for the operator; the caller is told nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is known of the caller. The host must be set up to show something.
    NoEvidence,
    /// Not one condition of any rule holds. A rule is missing, or the caller is a stranger.
    Unknown,
    /// The namespace was attached for one cgroup and the caller comes from another, or from nowhere.
    Moved {
        /// The namespace's name.
        namespace: String,
        /// The cgroup it was attached for.
        pinned: CgroupPath,
        /// The caller's cgroup.
        seen: Option<CgroupPath>,
    },
    /// The kernel names one container and the engine described another.
    OtherContainer {
        /// The one in the cgroup's path.
        cgroup: ContainerId,
        /// The one that was described.
        engine: ContainerId,
    },
    /// No rule matches, and these come near: some of their conditions hold and others do not.
    Disagree {
        /// The first [`Refusal::NEAR_MAX`] of them, in the order of the rules.
        near: Vec<NearMiss>,
    },
    /// Rules that say different workloads match. The operator must make them exclude one another.
    Ambiguous {
        /// The first rule that matches, by its index, and what it says.
        left: (usize, Workload),
        /// The first one that says otherwise.
        right: (usize, Workload),
    },
}

/// A rule that matches in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The rule's index.
    pub rule: usize,
    /// All its conditions.
    pub checks: Vec<Check>,
}

/// Who is calling.
///
/// - A rule matches when every condition it names holds. What is not known does not hold.
/// - The rules that match must all say the same workload; the first of them is named as the reason.
/// - A namespace that is pinned to a cgroup vouches only for callers in that cgroup or below.
/// - A container's labels count for nothing if the cgroup names another container.
/// - Anything else is a refusal. So more evidence can turn a verdict into a refusal, never into
///   another workload; and the order of the rules changes no verdict.
pub fn attest(rules: &Rules, evidence: &Evidence) -> Verdict {
    if let Some(contradiction) = moved(evidence).or_else(|| other_container(evidence)) {
        return Verdict::Refused(contradiction);
    }
    let mut first: Option<Attested> = None;
    for index in rules.candidates(evidence) {
        let Some(rule) = rules.rules.get(index).filter(|rule| rule.matches(evidence)) else {
            continue;
        };
        let Some(workload) = rule.workload(evidence) else {
            continue;
        };
        match &first {
            None => {
                let proofs = Proof::all(rule.conditions(), evidence);
                first = Some(Attested { workload, rule: index, proofs });
            }
            Some(first) if first.workload == workload => {}
            Some(first) => {
                let left = (first.rule, first.workload.clone());
                return Verdict::Refused(Refusal::Ambiguous { left, right: (index, workload) });
            }
        }
    }
    first.map_or_else(|| Verdict::Refused(rules.refusal(evidence)), Verdict::Attested)
}

impl Rules {
    /// Prepares rules for search. An empty list is legal and attests nobody.
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut prepared = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            prepared.place(rule.conditions()).push(index);
        }
        Self { rules, ..prepared }
    }

    /// Where a rule belongs: under its strongest literal pattern, else under the longest prefix.
    fn place(&mut self, conditions: &Conditions) -> &mut Vec<usize> {
        let keyed = || conditions.all().filter_map(Key::of);
        if let Some((key, text)) = keyed().find_map(|(key, glob)| Some((key, glob.literal()?))) {
            return self.exact.entry(key).or_default().entry(text.to_owned()).or_default();
        }
        match keyed().map(|(key, glob)| (key, glob.prefix())).max_by_key(|(_, text)| text.len()) {
            Some((key, text)) if !text.is_empty() => {
                let lengths = self.starting.entry(key).or_default();
                lengths.entry(text.len()).or_default().entry(text.to_owned()).or_default()
            }
            _ => &mut self.rest,
        }
    }

    /// The rules in the order they were given, which is what an index counts.
    pub fn as_slice(&self) -> &[Rule] {
        &self.rules
    }

    /// Every rule that could match, in order.
    fn candidates(&self, evidence: &Evidence) -> Vec<usize> {
        let mut found = self.rest.clone();
        for (key, texts) in &self.exact {
            if let Some(indices) = key.text(evidence).and_then(|text| texts.get(text)) {
                found.extend(indices);
            }
        }
        for (key, lengths) in &self.starting {
            for (length, texts) in lengths {
                let start = key.text(evidence).and_then(|text| text.get(..*length));
                if let Some(indices) = start.and_then(|start| texts.get(start)) {
                    found.extend(indices);
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Why no rule matches.
    fn refusal(&self, evidence: &Evidence) -> Refusal {
        let Evidence { namespace, container, address, .. } = evidence;
        if namespace.is_none()
            && evidence.placed().is_none()
            && container.is_none()
            && address.is_none()
        {
            return Refusal::NoEvidence;
        }
        let near: Vec<_> = self
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.conditions().all().any(|condition| condition.holds(evidence)))
            .map(|(rule, it)| NearMiss { rule, checks: it.checks(evidence) })
            .take(Refusal::NEAR_MAX)
            .collect();
        if near.is_empty() { Refusal::Unknown } else { Refusal::Disagree { near } }
    }
}

/// Where a rule stands in the index: the kind of evidence, and the label's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Label(String),
    Unit,
    Netns,
    Cgroup,
}

impl Key {
    fn of(condition: Condition<'_>) -> Option<(Self, &Glob)> {
        match condition {
            Condition::Label(name, glob) => Some((Self::Label(name.to_owned()), glob)),
            Condition::Unit(glob) => Some((Self::Unit, glob)),
            Condition::Netns(glob) => Some((Self::Netns, glob)),
            Condition::Cgroup(glob) => Some((Self::Cgroup, glob)),
            Condition::Address(_) => None,
        }
    }

    fn text<'e>(&self, evidence: &'e Evidence) -> Option<&'e str> {
        match self {
            Self::Label(name) => evidence.label(name),
            Self::Unit => evidence.unit(),
            Self::Netns => evidence.netns(),
            Self::Cgroup => evidence.placed().map(CgroupPath::as_str),
        }
    }
}

impl Verdict {
    /// The proof, where there is one.
    pub fn attested(self) -> Option<Attested> {
        match self {
            Self::Attested(attested) => Some(attested),
            Self::Refused(_) => None,
        }
    }
}

impl Attested {
    /// Who the caller is.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// The index of the rule that says so.
    pub fn rule(&self) -> usize {
        self.rule
    }

    /// What the rule asked for and what was seen, strongest first.
    pub fn proofs(&self) -> &[Proof] {
        &self.proofs
    }
}

impl Proof {
    fn all(conditions: &Conditions, evidence: &Evidence) -> Vec<Self> {
        let proof = |condition: Condition<'_>| {
            condition.seen(evidence).map(|seen| Self { kind: condition.kind(), seen })
        };
        conditions.all().filter_map(proof).collect()
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.seen)
    }
}

impl Refusal {
    /// How many near misses a refusal carries. `explain` shows all rules.
    pub const NEAR_MAX: usize = 4;

    /// One word for logs and counters: `no-evidence`, `unknown`, `moved`, `other-container`,
    /// `disagree`, `ambiguous`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoEvidence => "no-evidence",
            Self::Unknown => "unknown",
            Self::Moved { .. } => "moved",
            Self::OtherContainer { .. } => "other-container",
            Self::Disagree { .. } => "disagree",
            Self::Ambiguous { .. } => "ambiguous",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEvidence => f.write_str(
                "nothing is known of the caller: it has no namespace of its own and no cgroup v2",
            ),
            Self::Unknown => f.write_str("no condition of any rule holds"),
            Self::Moved { namespace, pinned, seen: Some(seen) } => write!(
                f,
                "namespace `{namespace}` was attached for cgroup `{pinned}`, the caller is in `{seen}`"
            ),
            Self::Moved { namespace, pinned, seen: None } => write!(
                f,
                "namespace `{namespace}` was attached for cgroup `{pinned}`, the caller's is not known"
            ),
            Self::OtherContainer { cgroup, engine } => {
                write!(f, "the cgroup is container `{cgroup}`, the engine described `{engine}`")
            }
            Self::Disagree { near } => {
                f.write_str("proofs disagree")?;
                for miss in near {
                    write!(f, "; {miss}")?;
                }
                Ok(())
            }
            Self::Ambiguous { left, right } => {
                write!(f, "rule {} says `{}`, rule {} says `{}`", left.0, left.1, right.0, right.1)
            }
        }
    }
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: ", self.rule)?;
        for (n, check) in self.checks.iter().enumerate() {
            let and = match (n, check.held) {
                (0, _) => "",
                (_, true) => ", ",
                (_, false) => ", but ",
            };
            write!(f, "{and}{check}")?;
        }
        Ok(())
    }
}

/// Whether the caller lies outside of the cgroup that its namespace is pinned to.
fn moved(evidence: &Evidence) -> Option<Refusal> {
    let namespace = evidence.namespace.as_ref()?;
    // A pin to the root holds for everything: such a host cannot tell cgroups apart.
    let pinned = namespace.pinned.as_ref().filter(|pinned| !pinned.is_root())?;
    if evidence.cgroup.as_ref().is_some_and(|seen| pinned.contains(seen)) {
        return None;
    }
    Some(Refusal::Moved {
        namespace: namespace.name.clone(),
        pinned: pinned.clone(),
        seen: evidence.cgroup.clone(),
    })
}

/// Whether the engine described a container that is not the caller's.
fn other_container(evidence: &Evidence) -> Option<Refusal> {
    let cgroup = evidence.cgroup.as_ref()?.container()?;
    let engine = &evidence.container.as_ref()?.id;
    (cgroup != engine)
        .then(|| Refusal::OtherContainer { cgroup: cgroup.clone(), engine: engine.clone() })
}

#[cfg(test)]
mod tests;
