use std::{fmt, net::IpAddr, str::FromStr};

use cloud::{AccountId, Arn, InvalidArn, Partition};

/// Where the issuer's documents are published, as its `iss` claim: `https://oidc.example.com/fleet`.
///
/// What AWS takes: `https`, a host name in the public DNS, no port, no query, at most 255
/// characters. AWS compares it byte by byte, so it has one spelling: lower-case host, no slash at
/// the end. [`IssuerUrl::practice`] also takes `http`, ports and addresses, for a practice cloud
/// on a desk; AWS itself would refuse those.
///
/// ```
/// # use issuer::IssuerUrl;
/// let url: IssuerUrl = "https://oidc.example.com/fleet".parse().unwrap();
/// assert_eq!(url.condition_key("sub"), "oidc.example.com/fleet:sub");
/// assert!("http://127.0.0.1:8080".parse::<IssuerUrl>().is_err());
/// assert!(IssuerUrl::practice("http://127.0.0.1:8080").is_ok());
/// ```
///
/// [AWS: create an OIDC identity provider](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerUrl(String);

/// The text is not an issuer URL; the operator corrects it in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIssuerUrl {
    /// Too long for AWS.
    #[error("issuer URL has {0} characters, more than the {max} AWS takes", max = IssuerUrl::LENGTH_MAX)]
    TooLong(usize),
    /// Plain text on the network.
    #[error("issuer URL must start with `https://` outside practice: `{0}`")]
    Scheme(String),
    /// No host, or one that AWS cannot reach or would spell differently.
    #[error("issuer URL must name a lower-case host in the public DNS: `{0}`")]
    Host(String),
    /// AWS takes no port.
    #[error("issuer URL must not have a port outside practice: `{0}`")]
    Port(String),
    /// A query, a fragment, a slash at the end, or a path with two spellings.
    #[error(
        "issuer URL's path must be plain segments (letters, digits, `._~-`) without a query or a \
         slash at the end: `{0}`"
    )]
    Path(String),
}

impl IssuerUrl {
    /// The longest URL that IAM takes, in characters.
    pub const LENGTH_MAX: usize = 255;

    /// Reads the URL of an issuer for a practice cloud: `http`, ports and addresses are legal.
    pub fn practice(text: &str) -> Result<Self, InvalidIssuerUrl> {
        Self::read(text, true)
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL without its scheme: the provider's name in IAM.
    pub fn provider(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, rest)| rest)
    }

    /// The name of a claim in the conditions of a trust policy: `<issuer without scheme>:<claim>`.
    pub fn condition_key(&self, claim: &str) -> String {
        format!("{}:{claim}", self.provider())
    }

    /// The ARN of the identity provider in an account that trusts this issuer.
    pub fn provider_arn(
        &self,
        partition: &Partition,
        account: AccountId,
    ) -> Result<Arn, InvalidArn> {
        format!("arn:{partition}:iam::{account}:oidc-provider/{}", self.provider()).parse()
    }

    /// Where the discovery document is published.
    pub fn discovery_url(&self) -> String {
        format!("{self}/.well-known/openid-configuration")
    }

    /// Where the public keys are published.
    pub fn jwks_url(&self) -> String {
        format!("{self}/.well-known/jwks.json")
    }

    fn read(text: &str, practice: bool) -> Result<Self, InvalidIssuerUrl> {
        if text.len() > Self::LENGTH_MAX {
            return Err(InvalidIssuerUrl::TooLong(text.chars().count()));
        }
        let plain = || text.strip_prefix("http://").filter(|_| practice);
        let Some(rest) = text.strip_prefix("https://").or_else(plain) else {
            return Err(InvalidIssuerUrl::Scheme(text.to_owned()));
        };
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (rest, None),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        if !(is_public_name(host) || practice && is_practice_host(host)) {
            return Err(InvalidIssuerUrl::Host(text.to_owned()));
        }
        // One spelling: no `+80`, no leading zeros.
        let legal = |port: &str| port.parse::<u16>().is_ok_and(|number| number.to_string() == port);
        if port.is_some_and(|port| !practice || !legal(port)) {
            return Err(InvalidIssuerUrl::Port(text.to_owned()));
        }
        if path.is_some_and(|path| !path.split('/').all(is_segment)) {
            return Err(InvalidIssuerUrl::Path(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for IssuerUrl {
    type Err = InvalidIssuerUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::read(text, false)
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// At least two labels, and the last is not a number: not an address, not `localhost`.
fn is_public_name(host: &str) -> bool {
    let top = host.rsplit_once('.').map_or("", |(_, top)| top);
    host.split('.').all(is_label) && top.bytes().any(|b| b.is_ascii_lowercase())
}

fn is_practice_host(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host.split('.').all(is_label)
        || bracketed.is_some_and(|host| matches!(host.parse(), Ok(IpAddr::V6(_))))
}

fn is_label(label: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(legal)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_segment(segment: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
    !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(legal)
}
