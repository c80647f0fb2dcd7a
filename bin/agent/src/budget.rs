//! How many connections may be held, by one caller over all doors and by all callers together.
//!
//! A listener cannot say: behind the redirect all processes of the host share one, and a namespace has
//! several. So connections are counted once it is known who is at the other end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use workload::CgroupPath;

use crate::engine::{Caller, Standing};

/// The most connections that one caller holds over all doors; further ones are closed at once.
pub const CALLER_MAX: usize = 512;
/// The most connections that all callers hold whom no rule names. It is less than a listener takes, so
/// that there is always room for those whom one names.
pub const UNATTESTED_MAX: usize = 768;
/// The most connections that the agent holds; further ones wait.
pub const TOTAL_MAX: usize = 4096;

/// Who holds connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A workload, by its id.
    Workload(String),
    /// Somebody whom no rule names, by what the kernel showed.
    Unattested {
        /// The name of the network namespace.
        namespace: Option<String>,
        /// The cgroup.
        cgroup: Option<CgroupPath>,
        /// The user.
        uid: Option<u32>,
    },
}

impl Holder {
    /// Whoever is at the other end of a connection.
    pub fn of(caller: &Caller, uid: Option<u32>) -> Self {
        match &caller.standing {
            Standing::Known(known) => Self::Workload(known.id.clone()),
            Standing::Refused(_) => Self::Unattested {
                namespace: caller.evidence.namespace.as_ref().map(|there| there.name.clone()),
                cgroup: caller.evidence.cgroup.clone(),
                uid,
            },
        }
    }
}

/// The connections that are held.
#[derive(Debug)]
pub struct Budget {
    places: Arc<Semaphore>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    by_holder: BTreeMap<Holder, usize>,
    unattested: usize,
}

/// What is said of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// How many are open now.
    pub open: usize,
    /// How many may be.
    pub max: usize,
}

/// A connection's place among all of them, given back when this goes.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "it is held, not used")] OwnedSemaphorePermit);

/// A connection's share of what its caller may hold, given back when this goes.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    holder: Holder,
}

impl Default for Budget {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(TOTAL_MAX)), held: Mutex::default() }
    }
}

impl Budget {
    /// Waits for a place. Those who wait are served in turn, so that a crowd at one door keeps nobody
    /// at another from the next place that comes free.
    pub async fn place(&self) -> Option<Place> {
        Arc::clone(&self.places).acquire_owned().await.ok().map(Place)
    }

    /// One more connection of `holder`, or `None` when it holds as many as it may.
    pub fn share(self: &Arc<Self>, holder: Holder) -> Option<Share> {
        let mut held = self.held();
        let attested = matches!(holder, Holder::Workload(_));
        let mine = held.by_holder.get(&holder).copied().unwrap_or(0);
        if mine >= CALLER_MAX || (!attested && held.unattested >= UNATTESTED_MAX) {
            return None;
        }
        held.unattested += usize::from(!attested);
        held.by_holder.insert(holder.clone(), mine + 1);
        Some(Share { budget: Arc::clone(self), holder })
    }

    /// How many connections are open.
    pub fn connections(&self) -> Connections {
        Connections { open: TOTAL_MAX - self.places.available_permits(), max: TOTAL_MAX }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.budget.held();
        if matches!(self.holder, Holder::Unattested { .. }) {
            held.unattested -= 1;
        }
        match held.by_holder.get_mut(&self.holder) {
            Some(mine @ 2..) => *mine -= 1,
            // Whoever holds nothing takes no memory either.
            _ => drop(held.by_holder.remove(&self.holder)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(number: usize) -> Holder {
        Holder::Workload(format!("orders/prod/{number}"))
    }

    fn stranger(uid: u32) -> Holder {
        Holder::Unattested { namespace: None, cgroup: None, uid: Some(uid) }
    }

    /// How many of `asked` connections the holder gets.
    fn take(budget: &Arc<Budget>, holder: &Holder, asked: usize) -> Vec<Share> {
        (0..asked).map_while(|_| budget.share(holder.clone())).collect()
    }

    #[test]
    fn what_one_caller_holds_costs_no_other_caller_anything() {
        let budget = Arc::<Budget>::default();
        let crowd = take(&budget, &workload(1), CALLER_MAX + 1);
        let other = take(&budget, &workload(2), CALLER_MAX + 1);
        assert_eq!((crowd.len(), other.len()), (CALLER_MAX, CALLER_MAX));
    }

    #[test]
    fn a_connection_that_ends_makes_room_for_one_more() {
        let budget = Arc::<Budget>::default();
        for holder in [workload(1), stranger(1)] {
            let mut crowd = take(&budget, &holder, CALLER_MAX);
            assert!(budget.share(holder.clone()).is_none());
            crowd.pop();
            crowd.push(budget.share(holder.clone()).unwrap());
            assert!(budget.share(holder).is_none());
        }
        let held = budget.held();
        assert_eq!((held.by_holder.len(), held.unattested), (0, 0));
    }

    #[test]
    fn those_whom_no_rule_names_share_what_is_less_than_a_listener_takes() {
        let budget = Arc::<Budget>::default();
        let crowds: Vec<_> = (0..8).map(|uid| take(&budget, &stranger(uid), CALLER_MAX)).collect();
        let lengths: Vec<_> = crowds.iter().map(Vec::len).collect();
        assert_eq!(lengths, [CALLER_MAX, UNATTESTED_MAX - CALLER_MAX, 0, 0, 0, 0, 0, 0]);
        assert_eq!(take(&budget, &workload(1), 1).len(), 1);
    }
}
