//! What is made: by the command itself, from the programs that were built for the tests.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use practice::program::{Finished, Invocation};
use serde_json::Value;

/// How long packing may take on a small and busy machine.
const PACK: Duration = Duration::from_secs(10 * 60);

/// Packages in a folder of their own, which the next run of the tests empties.
pub(crate) struct Made {
    folder: PathBuf,
    /// What the command said of them.
    pub(crate) list: Vec<Value>,
}

/// What most tests look at, and what is upgraded: packing takes its time, so it is done once.
pub(crate) static OLD: LazyLock<Made> =
    LazyLock::new(|| Made::new("old", "0.1.0~old", "022", "UTC0"));
/// What it is upgraded to.
pub(crate) static NEW: LazyLock<Made> =
    LazyLock::new(|| Made::new("new", "0.1.1~new", "022", "UTC0"));

impl Made {
    /// Packs the programs beside our own as `version`, under a umask and in a time zone.
    fn new(name: &str, version: &str, umask: &str, zone: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("packages-{name}"));
        let programs = Path::new(env!("CARGO_BIN_EXE_rolecall-pages")).parent().unwrap();
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let said = Invocation::new("sh")
            .args(["-c", "umask $1 && shift && exec \"$@\"", "sh", umask])
            .arg(cargo)
            .args(["xtask", "package", "--output", "json", "--version", version, "--programs"])
            .arg(programs)
            .arg("--out")
            .arg(&folder)
            .folder(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
            .envs(env::vars_os())
            .env("TZ", zone)
            .run(PACK)
            .and_then(Finished::success)
            .unwrap()
            .stdout;
        Self { folder, list: serde_json::from_str(&said).unwrap() }
    }

    /// The file whose name begins so.
    pub(crate) fn file(&self, begin: &str) -> PathBuf {
        let mut files = fs::read_dir(&self.folder).unwrap().map(|file| file.unwrap().path());
        let found = files.find(|p| p.file_name().unwrap().to_string_lossy().starts_with(begin));
        found.unwrap_or_else(|| panic!("nothing was made that begins with `{begin}`"))
    }

    /// Every file with its bytes, in order.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let read = |path: PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        };
        let entries = fs::read_dir(&self.folder).unwrap();
        let mut files: Vec<_> = entries.map(|entry| read(entry.unwrap().path())).collect();
        files.sort();
        files
    }
}

/// Runs a program of Debian's and returns what it said.
pub(crate) fn said(program: &str, words: &[&str], file: &Path) -> String {
    let run = Invocation::new(program).args(words.iter().copied()).arg(file);
    run.run(Duration::from_secs(60)).and_then(Finished::success).unwrap().stdout
}

#[test]
fn the_same_programs_make_the_same_packages() {
    let other = Made::new("same", "0.1.0~old", "077", "Asia/Tokyo");
    let (one, other) = (OLD.files(), other.files());
    assert_eq!(
        one.iter().map(|f| &f.0).collect::<Vec<_>>(),
        other.iter().map(|f| &f.0).collect::<Vec<_>>()
    );
    for ((name, left), (_, right)) in one.iter().zip(&other) {
        assert!(left == right, "`{name}` differs");
    }
}

#[test]
fn what_was_made_is_listed_with_its_sums() {
    let made = &*OLD;
    let listed: Vec<&str> = made
        .list
        .iter()
        .map(|file| file["file"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    for begin in [
        "rolecall-agent_0.1.0~old_",
        "rolecall-server_0.1.0~old_",
        "rolecall_0.1.0~old_",
        "rolecall.cdx.json",
    ] {
        assert!(listed.iter().any(|name| name.starts_with(begin)), "{begin}: {listed:?}");
    }
    let check = Invocation::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .folder(&made.folder)
        .run(Duration::from_secs(60))
        .and_then(Finished::success)
        .unwrap();
    assert_eq!(check.stdout.lines().filter(|line| line.ends_with(": OK")).count(), listed.len());
}

#[test]
fn every_file_is_roots_and_nobody_else_may_write_it() {
    let made = &*OLD;
    for name in ["rolecall-agent_", "rolecall-server_", "rolecall_"] {
        let listing = said("dpkg-deb", &["--contents"], &made.file(name));
        assert!(listing.contains("./usr/bin/") && listing.contains("/copyright"), "{listing}");
        for line in listing.lines() {
            let (mode, owner) = (line.split_whitespace().next(), line.split_whitespace().nth(1));
            let fits = ["drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--"].contains(&mode.unwrap());
            assert!(fits && owner == Some("root/root"), "{line}");
        }
    }
}

#[test]
fn every_command_has_a_page_and_every_shell_its_completions() {
    let made = &*OLD;
    let listing = said("dpkg-deb", &["--contents"], &made.file("rolecall-agent_"));
    for file in [
        "./usr/share/man/man8/rolecall-agent.8.gz",
        "./usr/share/man/man8/rolecall-agent-redirect-install.8.gz",
        "./usr/share/bash-completion/completions/rolecall-agent",
        "./usr/share/zsh/vendor-completions/_rolecall-agent",
        "./usr/share/fish/vendor_completions.d/rolecall-agent.fish",
    ] {
        assert!(listing.lines().any(|line| line.ends_with(file)), "{file}: {listing}");
    }
}
