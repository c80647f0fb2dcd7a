//! The shims of `sdk/`, each with the tests of its own language.

use std::path::PathBuf;

use crate::program::Invocation;
use crate::tools::{Missing, Tools};

/// A shim, by its language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shim {
    /// botocore, and all that is built on it.
    Python,
}

impl Shim {
    /// Its sources.
    pub fn sources(self, tools: &Tools) -> PathBuf {
        let folder = match self {
            Self::Python => "python",
        };
        tools.workspace().join("sdk").join(folder)
    }

    /// Its own tests, each a program that answers by its exit code, with what it is about.
    ///
    /// # Errors
    /// [`Missing`] where something must be installed.
    pub fn tests(self, tools: &Tools) -> Result<Vec<(&'static str, Invocation)>, Missing> {
        let sources = self.sources(tools);
        match self {
            Self::Python => {
                let discover = |python: PathBuf, pattern: &str| {
                    Invocation::new(python)
                        .args(["-B", "-m", "unittest", "discover", "-s", "tests", "-p", pattern])
                        .folder(&sources)
                };
                let asynchronous = tools.shimmed_python()?;
                Ok(vec![
                    (
                        "with botocore",
                        discover(tools.python()?, "test_*.py").env("ROLECALL_MOTO", tools.moto()?),
                    ),
                    ("with aiobotocore", discover(asynchronous.clone(), "test_async.py")),
                    ("installed by pip", discover(asynchronous, "test_install.py")),
                ])
            }
        }
    }
}
