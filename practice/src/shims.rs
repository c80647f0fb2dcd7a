//! The shims of `sdk/`, each with the tests of its own language.

use std::path::PathBuf;

use crate::program::Invocation;
use crate::tools::{Missing, Tools};

/// A shim, by its language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shim {
    /// botocore, and all that is built on it.
    Python,
    /// The SDKs for Java, 1 and 2.
    Java,
    /// The SDKs for JavaScript, 2 and 3.
    Js,
}

impl Shim {
    /// Its sources.
    pub fn sources(self, tools: &Tools) -> PathBuf {
        let folder = match self {
            Self::Python => "python",
            Self::Java => "java",
            Self::Js => "js",
        };
        tools.workspace().join("sdk").join(folder)
    }

    /// What a program is run with to have it: an interpreter, a jar, a module.
    ///
    /// # Errors
    /// [`Missing`] where something must be installed.
    pub fn hook(self, tools: &Tools) -> Result<PathBuf, Missing> {
        match self {
            Self::Python => tools.shimmed_python(),
            Self::Java => tools.java_shim(),
            Self::Js => Ok(self.sources(tools).join("hook.js")),
        }
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
                // Laws, moto and vectors in the one; what it lacks in the other, so that none is skipped.
                Ok(vec![
                    (
                        "with botocore",
                        discover(tools.python()?, "test_[lmv]*.py")
                            .env("ROLECALL_MOTO", tools.moto()?),
                    ),
                    ("with aiobotocore", discover(asynchronous.clone(), "test_async.py")),
                    ("installed by pip", discover(asynchronous, "test_install.py")),
                ])
            }
            Self::Java => {
                let test = maven(tools)?.args(["test", "-DfailIfNoTests=true"]).folder(&sources);
                Ok(vec![("with both SDKs", test.env("ROLECALL_MOTO", tools.moto()?))])
            }
            Self::Js => {
                let test = Invocation::new(tools.node()?).args(["--test", "tests/"]);
                let test = test.folder(&sources).env("ROLECALL_MOTO", tools.moto()?);
                Ok(vec![("with both SDKs", test)])
            }
        }
    }
}

/// Maven with a repository of its own. What it builds is in `target` beside the sources, where its tests look for it.
pub(crate) fn maven(tools: &Tools) -> Result<Invocation, Missing> {
    let repository = format!("-Dmaven.repo.local={}", tools.folder().join("m2").display());
    let options = ["--quiet", "--batch-mode", "--no-transfer-progress"];
    let maven = Invocation::new(tools.maven()?).args(options).arg(repository);
    Ok(maven.envs(std::env::vars_os()))
}
