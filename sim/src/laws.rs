//! What must hold, whatever happens. Each law is a constant; `tests/laws.rs` has a test for each.

use std::{fmt, time::Duration};

use credentials::policy::{FETCH_MAX, REPAIR_MAX};

/// A promise that is checked after every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Law {
    /// In short.
    pub name: &'static str,
    /// In full.
    pub promise: &'static str,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.promise)
    }
}

/// Every body and header that is handed to anybody is searched for every access key, secret and
/// session token that STS ever issued. Only the workload that they were issued for may see them;
/// who is not attested may see none.
pub const NO_FOREIGN_SECRET: Law =
    Law { name: "no foreign secret", promise: "A's secret never reaches B's socket" };

/// An end is what STS granted, or what it printed if that is all the agent can know, measured by a
/// clock that nobody can set.
pub const NEVER_EXPIRED: Law =
    Law { name: "never expired", promise: "credentials that have ended are never served" };

/// The newest are those whose fetch was reported last as a success.
pub const ALWAYS_THE_NEWEST: Law = Law {
    name: "always the newest",
    promise: "old credentials are never served where newer ones are held",
};

/// Less than [`SERVE_MIN`](credentials::policy::SERVE_MIN) of life is served only where the last
/// attempt to renew failed, or for a moment to a workload that let its lease go idle or whose
/// machine slept.
pub const SERVED_LONG: Law = Law {
    name: "served long",
    promise: "less than ten minutes of life are served only while renewal fails",
};

/// By workload and role. Two leases of one workload are two roles.
pub const ONE_CALL_IN_FLIGHT: Law = Law {
    name: "one call in flight",
    promise: "at most one STS call is in flight for a workload and role",
};

/// A fetch starts only where nothing is held, where what is held is due, or where its binding
/// changed; and every lease's generations count up by one.
pub const ONE_CALL_PER_RENEWAL: Law = Law {
    name: "one call per renewal",
    promise: "at most one STS call succeeds for a lease and renewal",
};

/// Where the scenario says that clients must not notice: an outage of STS of 45 minutes with leases
/// of one hour, a wall clock that is a day off for 20 minutes.
pub const NO_CLIENT_ERROR: Law = Law {
    name: "no client error",
    promise: "an outage of 45 minutes gives zero client errors for leases of one hour",
};

/// Also when the file is read again while somebody waits.
pub const ROLE_IN_FORCE: Law = Law {
    name: "role in force",
    promise: "credentials belong to the role that was in force when the request was decided",
};

/// An SDK takes an empty 200 for a success.
pub const NO_EMPTY_SUCCESS: Law =
    Law { name: "no empty success", promise: "no answer is an empty 200" };

/// When everything has healed, within [`HEALED_WITHIN`].
pub const EVERYBODY_IS_SERVED: Law = Law {
    name: "everybody is served",
    promise: "after everything heals every workload that asks gets credentials in bounded time",
};

/// Leases of namespaces that have gone go at once; others go when nobody asks for them.
pub const MEMORY_IS_BOUNDED: Law = Law {
    name: "memory is bounded",
    promise: "tables stay as small as what was asked for lately, whoever comes and goes",
};

/// Session name, source identity and, where there is a token, its subject, audience, issuer and
/// signature: STS is asked in the name of the workload that the lease is for.
pub const ASKED_IN_ITS_NAME: Law = Law {
    name: "asked in its name",
    promise: "STS is asked in the name of the workload that the credentials are for",
};

/// A client that is told of a refusal gives up, or wakes its owner.
pub const NOBODY_IS_BLAMED: Law = Law {
    name: "nobody is blamed",
    promise: "a client is told that its role is refused only if STS refused it",
};

/// A file that cannot be used changes nothing.
pub const BROKEN_FILES_ARE_REFUSED: Law =
    Law { name: "broken files are refused", promise: "the old file stays where the new is broken" };

/// All laws.
pub const ALL: [Law; 14] = [
    NO_FOREIGN_SECRET,
    NEVER_EXPIRED,
    ALWAYS_THE_NEWEST,
    SERVED_LONG,
    ONE_CALL_IN_FLIGHT,
    ONE_CALL_PER_RENEWAL,
    NO_CLIENT_ERROR,
    ROLE_IN_FORCE,
    NO_EMPTY_SUCCESS,
    EVERYBODY_IS_SERVED,
    MEMORY_IS_BOUNDED,
    ASKED_IN_ITS_NAME,
    NOBODY_IS_BLAMED,
    BROKEN_FILES_ARE_REFUSED,
];

/// How long healing may take: the longest wait after a refusal, one fetch that goes nowhere, and
/// the time that a client takes to come back.
pub const HEALED_WITHIN: Duration =
    Duration::from_secs(REPAIR_MAX.as_secs() + 2 * FETCH_MAX.as_secs() + 60);
