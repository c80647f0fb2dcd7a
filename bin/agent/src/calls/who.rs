//! Which process is at the other end of a stream, and with that which workload.

use std::sync::Arc;

use tokio::net::UnixStream;
use workload::{Evidence, Workload};

use crate::{
    engine::{Caller, Engine, Standing},
    explain::Seen,
    identify::Kernel,
    places::Places,
};

/// Who says whose processes are whose.
#[derive(Clone, Debug)]
pub struct Judge {
    /// The rules.
    pub engine: Arc<Engine>,
    /// Cgroups and containers.
    pub kernel: Arc<Kernel>,
    /// The namespaces that are served.
    pub places: Arc<Places>,
}

impl Judge {
    /// Judges the process that connected the stream. One that has ended is nobody: its number may be another's.
    pub(super) async fn caller(&self, stream: &UnixStream) -> Caller {
        let process = linux::unix::peer_process(stream);
        let seen = process.map_err(|error| error.to_string()).and_then(|process| {
            let name_of = |inode| self.places.evidence_of(inode);
            Seen::of(&process, name_of).map_err(|error| error.to_string())
        });
        let mut evidence = seen.map(|seen| seen.evidence).unwrap_or_default();
        if self.engine.settings().needs_labels {
            evidence.container = self.kernel.container(evidence.cgroup.as_ref()).await;
        }
        self.engine.judge(evidence)
    }

    /// Judges whoever sends from a namespace.
    pub(super) fn inside(&self, namespace: workload::Namespace) -> Caller {
        let cgroup = namespace.pinned.clone();
        self.engine.judge(Evidence { namespace: Some(namespace), cgroup, ..Evidence::default() })
    }

    /// Judges again where the rules have changed, and says who it is.
    pub(super) fn workload(&self, caller: &mut Caller) -> Option<Workload> {
        self.engine.refresh(caller);
        match &caller.standing {
            Standing::Known(known) => Some(known.key.workload.clone()),
            Standing::Refused(_) => None,
        }
    }
}
