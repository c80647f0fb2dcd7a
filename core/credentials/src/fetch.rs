use std::{fmt, time::Duration};

use cloud::RoleArn;
use workload::Workload;

/// What a lease is for. Two workloads never share one, even with the same role: their session names
/// differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseKey {
    /// Who may have it.
    pub workload: Workload,
    /// What it lets them be.
    pub role: RoleArn,
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.workload, self.role)
    }
}

/// Which lease of this table, for the log. Never used twice in the life of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub(crate) u64);

impl LeaseId {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which fetch of this table. Never used twice in the life of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub(crate) u64);

impl FetchId {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FetchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An effect for the edge: ask the source for credentials and bring the result to
/// [`Leases::fetched`](crate::Leases::fetched), whether or not anybody still waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// What the result must be labelled with.
    pub id: FetchId,
    /// The lease that it is for.
    pub lease: LeaseId,
    /// Whom and what it is for.
    pub key: LeaseKey,
    /// One for the first attempt, and one more for every failure since the last success.
    pub attempt: u32,
    /// The edge must drop the request after this long: the table gives it up at the same moment and
    /// may start another.
    pub timeout: Duration,
}

/// Why a fetch brought nothing. The variant says who must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Nobody: the source asks us to slow down, and we do.
    #[error("the credential source asks us to slow down")]
    Throttled,
    /// Nobody at first: no connection, no answer, or an answer of 5xx.
    #[error("the credential source is unavailable: {0}")]
    Unavailable(String),
    /// The role's owner: its trust policy does not let us in.
    #[error("the role refuses us: `{code}`: {message}; look at its trust policy")]
    Denied {
        /// AWS's code, such as `AccessDenied`.
        code: String,
        /// AWS's words.
        message: String,
    },
    /// The role's owner or the host's operator: the role does not let the host's own role in, or the
    /// host's role may not ask. AWS's words name the host's role, account and instance, so they are
    /// for the operator alone.
    #[error(
        "the host's own role is refused: `{code}`: {message}; look at the role's trust policy and at what the host's role may do"
    )]
    HostDenied {
        /// AWS's code, such as `AccessDenied`.
        code: String,
        /// AWS's words.
        message: String,
    },
    /// The host's operator: the binding or the source is set up wrongly.
    #[error("the binding or its source is set up wrongly: {0}")]
    Misconfigured(String),
    /// Whoever runs the server, by its own word: it gives this host no token for the workload. The
    /// server's words name the host and its groups, so they are for the operator alone.
    #[error("the server refuses a token (`{kind}`): {message}")]
    Refused {
        /// The kind of problem, such as `placement-refused`.
        kind: String,
        /// The server's words.
        message: String,
    },
    /// The host's operator: the host's clock is so wrong that the source refuses what we sign.
    #[error("the host's clock is wrong: {0}")]
    Clock(String),
}

/// Who can make a failing fetch succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// It passes by itself.
    Nobody,
    /// The owner of the role, in the application's account.
    RoleOwner,
    /// The operator of this host.
    Operator,
}

impl FetchError {
    /// Who must act.
    pub const fn actor(&self) -> Actor {
        match self {
            Self::Throttled | Self::Unavailable(_) => Actor::Nobody,
            Self::Denied { .. } | Self::HostDenied { .. } => Actor::RoleOwner,
            Self::Misconfigured(_) | Self::Refused { .. } | Self::Clock(_) => Actor::Operator,
        }
    }
}
