use std::{fmt, str::FromStr};

use crate::{AccountId, Arn, InvalidArn, Partition};

/// The ARN of an IAM role: `arn:aws:iam::111122223333:role/path/name`.
///
/// ```
/// # use cloud::RoleArn;
/// let role: RoleArn = "arn:aws:iam::111122223333:role/apps/orders".parse().unwrap();
/// assert_eq!((role.path(), role.name()), ("/apps/", "orders"));
/// assert_eq!(role.account().as_str(), "111122223333");
/// ```
///
/// [AWS: IAM identifiers](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleArn {
    partition: Partition,
    account: AccountId,
    path: String,
    name: String,
}

/// The text is not a role's ARN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoleArn {
    /// Not an ARN at all.
    #[error(transparent)]
    Arn(#[from] InvalidArn),
    /// An ARN of something else, or with an illegal name.
    #[error("role ARN must look like `arn:aws:iam::111122223333:role/name`: `{0}`")]
    NotARole(Arn),
}

impl RoleArn {
    /// The longest name of a role, in characters.
    pub const NAME_MAX: usize = 64;
    /// The longest path of a role, in characters.
    pub const PATH_MAX: usize = 512;

    /// The partition.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The account that owns the role.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// The path, `/` where there is none; starts and ends with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name, which is unique in the account whatever the path.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for RoleArn {
    type Err = InvalidRoleArn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let arn: Arn = text.parse()?;
        let parts = (arn.service() == "iam" && arn.region().is_empty())
            .then(|| arn.account().zip(arn.resource().strip_prefix("role/")))
            .flatten();
        let Some((account, rest)) = parts else {
            return Err(InvalidRoleArn::NotARole(arn));
        };
        let (path, name) = rest.rsplit_once('/').unwrap_or(("", rest));
        let path = if path.is_empty() { "/".to_owned() } else { format!("/{path}/") };
        let legal_name = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
        // `role//a` would be printed as `role/a`: two spellings of one role.
        if name.is_empty()
            || rest.starts_with('/')
            || name.len() > Self::NAME_MAX
            || path.len() > Self::PATH_MAX
            || !name.bytes().all(legal_name)
            || !path.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(InvalidRoleArn::NotARole(arn));
        }
        let (partition, name) = (arn.partition().clone(), name.to_owned());
        Ok(Self { partition, account, path, name })
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, account, path, name } = self;
        write!(f, "arn:{partition}:iam::{account}:role{path}{name}")
    }
}
