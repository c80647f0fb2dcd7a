//! What a process would get, and why.

use linux::{Cgroups, Namespace as OpenNamespace, Process, ProcessError};
use serde_json::{Value, json};
use workload::{CgroupPath, Evidence, Namespace, Verdict, Workload};

use crate::settings::{Settings, Standing};

/// What the kernel shows of a process.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The process.
    pub pid: u32,
    /// What a connection of it would show.
    pub evidence: Evidence,
    /// Whether it is in the agent's own network namespace.
    pub in_host_namespace: bool,
}

/// The process cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// It has gone, or the agent may not look.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The agent's own namespace cannot be read.
    #[error(transparent)]
    Namespace(#[from] linux::NamespaceError),
    /// It ended while it was looked at, so what was seen may be of somebody else.
    #[error("process {0} ended while it was looked at")]
    Ended(u32),
}

/// Looks at a process. `name_of` knows the namespaces that are served, by the kernel's number.
///
/// # Errors
/// When the process has gone, before or meanwhile, or the agent may not look at it.
pub fn look_at(pid: u32, name_of: impl Fn(u64) -> Option<Namespace>) -> Result<Seen, LookError> {
    Seen::of(&Process::open(pid)?, name_of)
}

impl Seen {
    /// Looks at a process that is held. `name_of` knows the namespaces that are served, by the kernel's number.
    ///
    /// # Errors
    /// When the process ended meanwhile, or the agent may not look at it.
    pub fn of(
        process: &Process,
        name_of: impl Fn(u64) -> Option<Namespace>,
    ) -> Result<Self, LookError> {
        let inode = process.namespace_inode()?;
        let cgroup = match process.cgroup() {
            Ok(path) => path.parse::<CgroupPath>().ok(),
            Err(ProcessError::NoCgroup(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let in_host_namespace = OpenNamespace::own()?.inode() == inode;
        let evidence = Evidence { namespace: name_of(inode), cgroup, ..Evidence::default() };
        let pid = process.pid();
        // Asked last: only now is it sure that all of the above was of this process.
        if process.is_alive() {
            Ok(Self { pid, evidence, in_host_namespace })
        } else {
            Err(LookError::Ended(pid))
        }
    }
}

/// Says what the process would get, and why, rule by rule.
pub fn explain(settings: &Settings, seen: &Seen) -> Value {
    let explanation = workload::explain(&settings.rules, &seen.evidence);
    let (verdict, workload, bound) = match &explanation.verdict {
        Verdict::Attested(attested) => {
            let bound = settings.by_rule.get(attested.rule());
            ("attested".to_owned(), Some(attested.workload()), bound)
        }
        Verdict::Refused(refusal) => (refusal.to_string(), None, None),
    };
    let switch = bound.zip(workload).map(|(bound, workload)| settings.switch_of(bound, workload));
    let position = workload.and_then(|workload| position(settings, workload));
    let bound = bound.map(|bound| &bound.binding);
    let mut answer = json!({
        "pid": seen.pid,
        "served": served(settings, seen),
        "verdict": verdict,
        "workload": workload.map(ToString::to_string),
        "role": bound.map(|binding| binding.role.to_string()),
        "switch": switch.map(credentials::Switch::as_str),
        "imdsv1": bound.map(|binding| binding.imds_v1),
        "why": explanation.to_string(),
    });
    if let (Value::Object(answer), Some(position)) = (&mut answer, position) {
        answer.insert("switched_by".to_owned(), position);
    }
    answer
}

/// The position of the switch that decides for a workload, where a server sets them.
fn position(settings: &Settings, workload: &Workload) -> Option<Value> {
    let Standing { orders, at } = settings.standing.as_ref()?;
    let Some(position) = orders.decider(workload, *at) else {
        return Some(json!("no position: the switch is off where none was set"));
    };
    Some(json!({
        "position": position.id,
        "percent": position.percent,
        "expires": position.expires.map(|expires| expires.to_string()),
        "reason": orders.reasons.get(&position.id),
        "orders": orders.revision,
    }))
}

/// Through which door the process would come, if through any.
fn served(settings: &Settings, seen: &Seen) -> &'static str {
    match (&seen.evidence.namespace, seen.in_host_namespace) {
        (Some(_), _) => "by listeners in its own network namespace",
        (None, true) if settings.config.metadata.redirect.is_some() => {
            "by the redirect of the host's own network namespace"
        }
        (None, true) => {
            "not at all: it is in the host's network namespace, and there is no [metadata.redirect]"
        }
        (None, false) => "not at all: its network namespace is not served; attach it",
    }
}

/// The path of a process's cgroup, to pin a namespace to.
///
/// # Errors
/// When the process has gone or the agent may not look.
pub fn pin(process: &Process) -> Result<Option<String>, ProcessError> {
    match process.cgroup() {
        // The root tells nobody apart.
        Ok(path) if path == "/" => Ok(None),
        Ok(path) => Ok(Some(path)),
        Err(ProcessError::NoCgroup(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether cgroup evidence can be had on this host at all.
pub fn has_cgroups() -> bool {
    Cgroups::open().is_ok()
}
