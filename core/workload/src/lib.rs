//! Who is calling: kernel evidence in, an attested workload out.
//!
//! This crate exists because of a stricter rule: it is pure, so that everything that decides who a
//! caller is can be tested, fuzzed and simulated without a kernel. The edge collects
//! [`Evidence`], the operator writes [`Rule`]s, and [`attest`] is the only maker of an [`Attested`].
//!
//! # How a new attestor joins
//!
//! There is no trait to implement: an attestor is somebody who fills a field of [`Evidence`]. For
//! Kubernetes, say, where [`CgroupPath::pod`] is the name that the kernel gives and the API server or
//! kubelet says which service account that pod has:
//!
//! 1. a crate below `edge/` asks the outside world about that name and returns plain data;
//! 2. [`Evidence`] grows a field for it (`pod: Option<Pod>`), filled by the agent;
//! 3. [`Conditions`] grows a field for what a rule may want of it (`service_account: Option<Glob>`),
//!    and [`Kind`] a name, placed by its strength. The compiler then names the places that are missing.
//!
//! What stays true, because the laws are tested over all kinds: what is not known does not hold, and
//! more evidence never makes a caller somebody else. So an attestor that is slow, or down, can
//! only make a verdict a refusal. What a tenant may choose (labels, annotations, environment) is a
//! request; the kind's documentation must say so and name what to pair it with.

mod attest;
mod cgroup;
mod evidence;
mod explain;
mod glob;
mod network;
mod pattern;
mod rule;
mod workload;

pub use attest::{Attested, NearMiss, Proof, Refusal, Rules, Verdict, attest};
pub use cgroup::{CgroupPath, InvalidCgroupPath, Unit};
pub use evidence::{
    Container, ContainerId, Evidence, InvalidContainerId, InvalidPodUid, Namespace, PodUid,
};
pub use explain::{ExplainedRule, Explanation, Note, explain};
pub use glob::{Glob, InvalidGlob};
pub use network::{InvalidNetwork, Network};
pub use pattern::{InvalidPattern, Pattern};
pub use rule::{Check, Conditions, InvalidRule, Kind, Rule};
pub use workload::{Application, Environment, Instance, InvalidName, Workload};
