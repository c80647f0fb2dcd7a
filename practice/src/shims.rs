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
    /// The SDK for Go, version 2.
    Go,
}

impl Shim {
    /// Its sources.
    pub fn sources(self, tools: &Tools) -> PathBuf {
        let folder = match self {
            Self::Python => "python",
            Self::Java => "java",
            Self::Js => "js",
            Self::Go => "go",
        };
        tools.workspace().join("sdk").join(folder)
    }

    /// What a program is run with to have it: an interpreter, a jar, a module. Of Go, the practice client itself, as it is
    /// when it is built with the overlay.
    ///
    /// # Errors
    /// [`Missing`] where something must be installed.
    pub fn hook(self, tools: &Tools) -> Result<PathBuf, Missing> {
        match self {
            Self::Python => tools.shimmed_python(),
            Self::Java => tools.java_shim(),
            Self::Js => Ok(self.sources(tools).join("hook.js")),
            Self::Go => tools.shimmed_go_client(),
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
            Self::Go => {
                let test = |folder: PathBuf| {
                    let test = go(tools).map(|go| go.args(["test", "-count=1", "./..."]));
                    test.map(|test| test.folder(folder))
                };
                let moto = tools.moto()?;
                Ok(vec![
                    ("on its own", test(sources.clone())?),
                    ("with the SDK", test(sources.join("tests"))?.env("ROLECALL_MOTO", moto)),
                ])
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

/// Go with what it has: its caches, and no download of another toolchain.
pub(crate) fn go(tools: &Tools) -> Result<Invocation, Missing> {
    let program = tools.go()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folder = program.parent().map(std::path::Path::to_owned).unwrap_or_default();
    // Its tests run `go` themselves.
    let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders).unwrap_or(path.clone());
    let go = Invocation::new(program).envs(std::env::vars_os());
    Ok(go.env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0").env("PATH", path))
}
