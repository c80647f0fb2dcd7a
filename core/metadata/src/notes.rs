use std::fmt;

/// What kind of path was asked for: for logs and metrics, free of secrets and of few values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathClass {
    /// `api/token`.
    Token,
    /// A directory that we list.
    Listing,
    /// `iam/security-credentials`: the name of the role.
    RoleName,
    /// `iam/security-credentials/<role>`.
    RoleCredentials,
    /// `iam/info`.
    RoleInfo,
    /// Any other path below `iam`.
    Role,
    /// `dynamic/instance-identity/document`.
    IdentityDocument,
    /// A leaf that we answer from the facts.
    Fact,
    /// A path that gives the host away.
    Guarded,
    /// The ECS container credentials.
    ContainerCredentials,
    /// The EKS Pod Identity credentials.
    PodIdentityCredentials,
    /// A path that means nothing to us.
    Other,
    /// No path at all.
    Malformed,
}

impl PathClass {
    /// The name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Listing => "listing",
            Self::RoleName => "role-name",
            Self::RoleCredentials => "role-credentials",
            Self::RoleInfo => "role-info",
            Self::Role => "role",
            Self::IdentityDocument => "identity-document",
            Self::Fact => "fact",
            Self::Guarded => "guarded",
            Self::ContainerCredentials => "container-credentials",
            Self::PodIdentityCredentials => "pod-identity-credentials",
            Self::Other => "other",
            Self::Malformed => "malformed",
        }
    }
}

impl fmt::Display for PathClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something about a request that is counted by workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Note {
    /// A read of instance metadata without a session token, whether it was allowed or not.
    V1,
    /// No token came where one is needed.
    TokenMissing,
    /// A token or container secret that is not valid for this workload.
    TokenInvalid,
    /// Another role than the workload's own was asked for.
    WrongRole,
    /// The request crossed a proxy, as it would for an attacker who uses an open one.
    Forwarded,
    /// The `Host` is no metadata address, as after DNS rebinding.
    ForeignHost,
    /// A path that gives the host away, and that is not allowed by name.
    Refused,
    /// A target or headers that cannot be understood in one way only.
    Malformed,
}

impl Note {
    /// Every note.
    pub const ALL: [Self; 8] = [
        Self::V1,
        Self::TokenMissing,
        Self::TokenInvalid,
        Self::WrongRole,
        Self::Forwarded,
        Self::ForeignHost,
        Self::Refused,
        Self::Malformed,
    ];

    /// The name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::TokenMissing => "token missing",
            Self::TokenInvalid => "token invalid",
            Self::WrongRole => "wrong role",
            Self::Forwarded => "forwarded",
            Self::ForeignHost => "foreign host",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
        }
    }
}

/// A set of notes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes(u8);

impl Notes {
    pub(crate) fn add(&mut self, note: Note) {
        self.0 |= 1 << note as u8;
    }

    /// Whether the note was made.
    pub const fn contains(self, note: Note) -> bool {
        self.0 & (1 << note as u8) != 0
    }

    /// The notes that were made, in the order of [`Note::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Note> {
        Note::ALL.into_iter().filter(move |note| self.contains(*note))
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
