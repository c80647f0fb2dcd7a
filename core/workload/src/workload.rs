use std::{fmt, str::FromStr};

/// What a workload is an instance of: 1 to 64 letters, digits, `.`, `_` and `-`.
///
/// The alphabet fits a session tag's value, a role's session name and a URL path segment, so the
/// name is the same text wherever it is seen.
///
/// ```
/// # use workload::Application;
/// assert_eq!("orders".parse::<Application>().unwrap().as_str(), "orders");
/// assert!("orders/eu".parse::<Application>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Application(String);

/// Where an application runs, such as `prod` or `test`: 1 to 64 letters, digits, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Environment(String);

/// Which one of an application's workloads: 1 to 128 letters, digits, `.`, `_`, `-`, `:` and `@`.
///
/// ```
/// # use workload::Instance;
/// assert_eq!(Instance::named("orders@eu.service").as_str(), "orders@eu.service");
/// assert!(Instance::named("a b").as_str().starts_with("a-b-"));
/// assert_ne!(Instance::named("a b"), Instance::named("a/b"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(String);

/// One running instance that has one identity. Prints as its id: `application/environment/instance`.
///
/// ```
/// # use workload::Workload;
/// let workload: Workload = "orders/prod/orders@eu.service".parse().unwrap();
/// assert_eq!(workload.application.as_str(), "orders");
/// assert_eq!(workload.to_string(), "orders/prod/orders@eu.service");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// What it is an instance of.
    pub application: Application,
    /// Where it runs.
    pub environment: Environment,
    /// Which one it is.
    pub instance: Instance,
}

/// The text does not name what it should name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Not an application.
    #[error("application must be 1 to 64 of `A-Z a-z 0-9 . _ -`: `{0}`")]
    Application(String),
    /// Not an environment.
    #[error("environment must be 1 to 64 of `A-Z a-z 0-9 . _ -`: `{0}`")]
    Environment(String),
    /// Not an instance.
    #[error("instance must be 1 to 128 of `A-Z a-z 0-9 . _ - : @`: `{0}`")]
    Instance(String),
    /// Not three names with slashes between them.
    #[error("workload must look like `application/environment/instance`: `{0}`")]
    Workload(String),
}

impl Application {
    /// The longest name, in bytes.
    pub const LENGTH_MAX: usize = NAME_MAX;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Application {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        name(text).map(Self).ok_or_else(|| InvalidName::Application(excerpt(text)))
    }
}

impl fmt::Display for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Environment {
    /// The longest name, in bytes.
    pub const LENGTH_MAX: usize = NAME_MAX;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Environment {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        name(text).map(Self).ok_or_else(|| InvalidName::Environment(excerpt(text)))
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Instance {
    /// The longest name, in bytes.
    pub const LENGTH_MAX: usize = 128;

    /// The instance that `text` names, whatever `text` holds.
    ///
    /// Legal text is kept. In any other, each illegal character becomes `-`, the whole is cut to
    /// fit, and a digest of the original ends it, so that different texts stay different. The digest
    /// is no defence against somebody who may choose names: they gain nothing, because all
    /// instances that one rule attests hold the same role.
    pub fn named(text: &str) -> Self {
        if let Ok(instance) = text.parse() {
            return instance;
        }
        let digest = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let legal = |c: char| if c.is_ascii() && instance_byte(c as u8) { c } else { '-' };
        let kept: String = text.chars().take(Self::LENGTH_MAX - 17).map(legal).collect();
        Self(format!("{kept}-{digest:016x}"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Instance {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = text.bytes().all(instance_byte) && !matches!(text, "" | "." | "..");
        if legal && text.len() <= Self::LENGTH_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::Instance(excerpt(text)))
        }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Workload {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().ok_or_else(|| InvalidName::Workload(excerpt(text)));
        let (application, environment, instance) = (next()?, next()?, next()?);
        Ok(Self {
            application: application.parse()?,
            environment: environment.parse()?,
            instance: instance.parse()?,
        })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { application, environment, instance } = self;
        write!(f, "{application}/{environment}/{instance}")
    }
}

const NAME_MAX: usize = 64;

fn name(text: &str) -> Option<String> {
    // `.` and `..` would be swallowed by whoever normalises the URL path that carries the name.
    let legal = text.bytes().all(name_byte) && !matches!(text, "" | "." | "..");
    (legal && text.len() <= NAME_MAX).then(|| text.to_owned())
}

fn name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

fn instance_byte(byte: u8) -> bool {
    name_byte(byte) || b":@".contains(&byte)
}

/// As much of a wrong text as an error message should repeat.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(128).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, legal: bool) {
        assert_eq!(text.parse::<Application>().is_ok(), legal, "{text}");
        assert_eq!(text.parse::<Environment>().is_ok(), legal, "{text}");
    }

    #[test]
    fn a_name_fits_session_tags_and_url_paths() {
        check("orders", true);
        check("Orders_2.eu-central", true);
        check(&"a".repeat(64), true);
        for text in ["", ".", "..", "a/b", "a b", "a:b", "ä", "a\n", "%2e", &"a".repeat(65)] {
            check(text, false);
        }
    }

    #[test]
    fn an_instance_that_needs_no_change_is_kept() {
        for text in ["orders@eu.service", "0123456789ab", "fd00::1", "cni-1f", &"a".repeat(128)] {
            assert_eq!(Instance::named(text).as_str(), text);
        }
    }

    #[test]
    fn instances_that_look_alike_after_cleaning_stay_different() {
        let (long, longer) = ("a".repeat(300), "a".repeat(301));
        let texts = ["", ".", "..", "a/b", "a b", r"a\x2db", "a-b", &long, &longer];
        for (i, left) in texts.iter().enumerate() {
            for right in &texts[..i] {
                assert_ne!(Instance::named(left), Instance::named(right), "{left} {right}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_names_a_legal_instance(text in ".{0,200}") {
            let instance = Instance::named(&text);
            prop_assert_eq!(instance.as_str().parse::<Instance>(), Ok(instance));
        }

        #[test]
        fn a_printed_workload_parses_back(a in "[a-z0-9_-]{1,64}", e in "[A-Z._]{3,64}", i in ".{0,200}") {
            let workload = Workload {
                application: a.parse().unwrap(),
                environment: e.parse().unwrap_or_else(|_| "prod".parse().unwrap()),
                instance: Instance::named(&i),
            };
            prop_assert_eq!(workload.to_string().parse(), Ok(workload));
        }
    }
}
