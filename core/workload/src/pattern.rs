use std::{fmt, str::FromStr};

use crate::{Application, Environment};

/// Which applications and environments: `orders/prod`, `orders/*`, `*/test` or `*/*`. A star stands for
/// a whole name and nothing less.
///
/// ```
/// # use workload::Pattern;
/// let pattern: Pattern = "orders/*".parse().unwrap();
/// assert!(pattern.takes_in(&"orders".parse().unwrap(), &"prod".parse().unwrap()));
/// assert!(!pattern.takes_in(&"billing".parse().unwrap(), &"prod".parse().unwrap()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    /// The application; absent where any is meant.
    pub application: Option<Application>,
    /// The environment; absent where any is meant.
    pub environment: Option<Environment>,
}

/// The text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must look like `application/environment`, where either may be `*`: `{0}`")]
pub struct InvalidPattern(String);

impl Pattern {
    /// Whether an application in an environment is meant.
    pub fn takes_in(&self, application: &Application, environment: &Environment) -> bool {
        self.application.as_ref().is_none_or(|wanted| wanted == application)
            && self.environment.as_ref().is_none_or(|wanted| wanted == environment)
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let invalid = || InvalidPattern(text.chars().take(130).collect());
        let (application, environment) = text.split_once('/').ok_or_else(invalid)?;
        Ok(Self {
            application: part(application).ok_or_else(invalid)?,
            environment: part(environment).ok_or_else(invalid)?,
        })
    }
}

/// `*` is any; what is no name is nothing.
fn part<T: FromStr>(text: &str) -> Option<Option<T>> {
    if text == "*" { Some(None) } else { text.parse().ok().map(Some) }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let application = self.application.as_ref().map_or("*", Application::as_str);
        let environment = self.environment.as_ref().map_or("*", Environment::as_str);
        write!(f, "{application}/{environment}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, application: &str, environment: &str, taken: bool) {
        let parsed: Pattern = pattern.parse().unwrap();
        assert_eq!(parsed.to_string(), pattern);
        let name = (application.parse().unwrap(), environment.parse().unwrap());
        assert_eq!(parsed.takes_in(&name.0, &name.1), taken, "{pattern}");
    }

    #[test]
    fn a_star_stands_for_a_whole_name_and_nothing_less() {
        check("orders/prod", "orders", "prod", true);
        check("orders/prod", "orders", "test", false);
        check("orders/*", "orders", "test", true);
        check("*/prod", "other", "prod", true);
        check("*/*", "other", "test", true);
        for text in ["", "*", "orders", "orders/", "/prod", "or*/prod", "orders/prod/1", "../*"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }
}
