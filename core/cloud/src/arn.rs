use std::{fmt, str::FromStr};

use crate::{AccountId, InvalidAccountId};

/// A group of regions with one set of accounts: `aws`, `aws-cn`, `aws-us-gov` and so on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(String);

impl Partition {
    /// The partition's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Partition {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest =
            text.strip_prefix("aws").ok_or_else(|| InvalidArn::Partition(text.to_owned()))?;
        let legal = rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if (rest.is_empty() || rest.starts_with('-')) && legal && text.len() <= 32 {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidArn::Partition(text.to_owned()))
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An Amazon Resource Name: `arn:partition:service:region:account:resource`.
///
/// Region and account may be empty (S3 buckets have neither). At most 2,048 bytes.
///
/// ```
/// # use cloud::Arn;
/// let arn: Arn = "arn:aws:s3:::reports/2026".parse().unwrap();
/// assert_eq!((arn.service(), arn.resource(), arn.account()), ("s3", "reports/2026", None));
/// assert_eq!(arn.to_string(), "arn:aws:s3:::reports/2026");
/// ```
///
/// [AWS: identify resources with ARNs](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arn {
    partition: Partition,
    service: String,
    region: String,
    account: Option<AccountId>,
    resource: String,
}

/// The text is not an ARN, and which part of it is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArn {
    /// Fewer than six parts, or it does not start with `arn`.
    #[error("ARN must look like `arn:aws:service:region:account:resource`: `{0}`")]
    Shape(String),
    /// Not a partition.
    #[error("partition must be `aws` or start with `aws-`: `{0}`")]
    Partition(String),
    /// Not an account.
    #[error(transparent)]
    Account(#[from] InvalidAccountId),
}

impl Arn {
    /// The longest ARN that IAM takes, in bytes.
    pub const LENGTH_MAX: usize = 2048;

    /// The partition.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The service's namespace, such as `iam`.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The region; empty for global resources.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The owning account, where the ARN carries one.
    pub fn account(&self) -> Option<AccountId> {
        self.account
    }

    /// Everything behind the fifth colon, colons included.
    pub fn resource(&self) -> &str {
        &self.resource
    }
}

impl FromStr for Arn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = || InvalidArn::Shape(text.chars().take(128).collect());
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or_else(shape);
        if text.len() > Self::LENGTH_MAX || next()? != "arn" {
            return Err(shape());
        }
        let (partition, service, region) = (next()?.parse()?, next()?, next()?);
        let (account, resource) = (next()?, next()?);
        if service.is_empty() || resource.is_empty() || text.chars().any(char::is_control) {
            return Err(shape());
        }
        Ok(Self {
            partition,
            service: service.to_owned(),
            region: region.to_owned(),
            account: if account.is_empty() { None } else { Some(account.parse()?) },
            resource: resource.to_owned(),
        })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, service, region, account, resource } = self;
        let account = account.as_ref().map_or("", AccountId::as_str);
        write!(f, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}
