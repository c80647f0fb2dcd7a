use std::{fmt, str::FromStr};

use crate::{AccountId, Arn, InvalidArn, Partition, RoleArn};

/// The ARN of a role's session, as STS says who is calling:
/// `arn:aws:sts::111122223333:assumed-role/NAME/SESSION`. The role's path is not in it.
///
/// ```
/// # use cloud::RoleSession;
/// let text = "arn:aws:sts::111122223333:assumed-role/orders/i-0123456789abcdef0";
/// let session: RoleSession = text.parse().unwrap();
/// assert_eq!((session.role(), session.name()), ("orders", "i-0123456789abcdef0"));
/// assert_eq!(session.account().as_str(), "111122223333");
/// assert_eq!(session.to_string(), text);
/// ```
///
/// [AWS: unique identifiers and ARNs of STS](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleSession {
    partition: Partition,
    account: AccountId,
    role: String,
    name: String,
}

/// The text is not the ARN of a role's session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoleSession {
    /// Not an ARN at all.
    #[error(transparent)]
    Arn(#[from] InvalidArn),
    /// An ARN of something else: a user's, the account's own, or a federated one.
    #[error(
        "a role's session must look like `arn:aws:sts::111122223333:assumed-role/name/session`: `{0}`"
    )]
    NotASession(Arn),
}

impl RoleSession {
    /// The longest name of a session, in characters.
    pub const NAME_MAX: usize = 64;

    /// The partition.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The account that owns the role.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// The role's name, which is unique in the account whatever its path.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The session's name; the instance's id where EC2 made the session.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for RoleSession {
    type Err = InvalidRoleSession;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let arn: Arn = text.parse()?;
        let parts = (arn.service() == "sts" && arn.region().is_empty())
            .then(|| arn.account().zip(arn.resource().strip_prefix("assumed-role/")))
            .flatten()
            .and_then(|(account, rest)| Some((account, rest.split_once('/')?)));
        let legal = |text: &str, max: usize| {
            let character = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
            (1..=max).contains(&text.len()) && text.bytes().all(character)
        };
        match parts {
            Some((account, (role, name)))
                if legal(role, RoleArn::NAME_MAX) && legal(name, Self::NAME_MAX) =>
            {
                let (role, name) = (role.to_owned(), name.to_owned());
                Ok(Self { partition: arn.partition().clone(), account, role, name })
            }
            _ => Err(InvalidRoleSession::NotASession(arn)),
        }
    }
}

impl fmt::Display for RoleSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, account, role, name } = self;
        write!(f, "arn:{partition}:sts::{account}:assumed-role/{role}/{name}")
    }
}
