use std::fmt;

use sha2::{Digest, Sha256};
use workload::Workload;

/// The name of a role session: it stands in every CloudTrail line, behind the role's name.
///
/// It follows from the workload alone, so it is the same after every renewal: a service that ties a
/// connection to its caller (Amazon MSK does) does not see another caller when a lease is renewed.
///
/// Two to 64 characters, written `application,environment,instance` with `:` as `=`. What is too
/// long is cut and ends in `+` and 64 bits of a digest of the whole, so no two workloads share a
/// name.
///
/// ```
/// # use credentials::SessionName;
/// # use workload::Workload;
/// let workload: Workload = "orders/prod/orders@eu.service".parse().unwrap();
/// assert_eq!(SessionName::of(&workload).as_str(), "orders,prod,orders@eu.service");
/// ```
///
/// [AWS: AssumeRole, RoleSessionName](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionName(String);

/// Who is at the start of a chain of roles. Unlike the session name, it cannot be changed by
/// whoever holds the credentials, and it stays when they assume another role: one condition on
/// `aws:SourceIdentity` denies everything that came of a workload.
///
/// The same text as [`SessionName`], so one search finds both. The role's trust policy must allow
/// `sts:SetSourceIdentity`.
///
/// [AWS: source identity](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceIdentity(String);

impl SessionName {
    /// The longest name, in characters.
    pub const LENGTH_MAX: usize = LENGTH_MAX;

    /// The name of a workload's sessions.
    pub fn of(workload: &Workload) -> Self {
        Self(name(workload))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SourceIdentity {
    /// The longest source identity, in characters.
    pub const LENGTH_MAX: usize = LENGTH_MAX;

    /// The source identity of a workload.
    pub fn of(workload: &Workload) -> Self {
        Self(name(workload))
    }

    /// The source identity.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SourceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const LENGTH_MAX: usize = 64;
const DIGEST_LENGTH: usize = 16;

// `,`, `=` and `+` may stand in a session name but in no part of a workload, so the text can be
// read back into its parts, and neither form can be mistaken for the other.
fn name(workload: &Workload) -> String {
    let Workload { application, environment, instance } = workload;
    let whole = format!("{application},{environment},{instance}").replace(':', "=");
    if whole.len() <= LENGTH_MAX && whole.bytes().all(legal) {
        return whole;
    }
    let digest = Sha256::digest(workload.to_string());
    let digest = digest.iter().take(DIGEST_LENGTH / 2).map(|byte| format!("{byte:02x}"));
    let kept = whole.chars().take(LENGTH_MAX - DIGEST_LENGTH - 1);
    let kept = kept.map(|c| if u8::try_from(c).is_ok_and(legal) { c } else { '_' });
    kept.chain(['+']).chain(digest.collect::<String>().chars()).collect()
}

fn legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(workload: &str, expected: &str) {
        let workload = workload.parse().unwrap();
        assert_eq!(SessionName::of(&workload).as_str(), expected);
        assert_eq!(SourceIdentity::of(&workload).as_str(), expected);
    }

    #[test]
    fn session_name_and_source_identity_identify_the_workload_instance() {
        check("orders/prod/0123456789ab", "orders,prod,0123456789ab");
        check("a/b/c", "a,b,c");
        check("orders/prod/fd00::1", "orders,prod,fd00==1");
        check("orders/prod/orders@eu.service", "orders,prod,orders@eu.service");
    }

    #[test]
    fn what_is_too_long_ends_in_a_digest_that_never_changes() {
        let instance = "x".repeat(100);
        check(
            &format!("orders/prod/{instance}"),
            "orders,prod,xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx+812529562213a0df",
        );
    }

    fn workload() -> impl Strategy<Value = Workload> {
        ("[a-zA-Z0-9._-]{3,64}", "[a-z]{1,64}", "[a-z0-9.:@_-]{3,128}").prop_map(
            |(application, environment, instance)| {
                format!("{application}/{environment}/{instance}").parse().unwrap()
            },
        )
    }

    proptest! {
        #[test]
        fn every_name_is_one_that_sts_takes(workload in workload()) {
            let name = SessionName::of(&workload);
            prop_assert!((2..=64).contains(&name.as_str().len()), "{name}");
            prop_assert!(name.as_str().bytes().all(legal), "{name}");
        }

        #[test]
        fn two_instances_never_share_a_name(left in workload(), last in "[a-z0-9]") {
            let mut right = left.clone();
            let instance = format!("{}{last}", left.instance);
            let (_, shorter) = left.instance.as_str().split_at(1);
            right.instance = instance.parse().or(shorter.parse()).unwrap();
            prop_assert_ne!(SessionName::of(&left), SessionName::of(&right));
        }
    }
}
