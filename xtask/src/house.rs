//! The clone that we work in: its root, its target folder, its crates and its files.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{programs, trouble::Trouble};

/// The clone.
#[derive(Debug, Default)]
pub(crate) struct House {
    /// Where the workspace's `Cargo.toml` is.
    pub(crate) root: PathBuf,
    /// Cargo's target folder: `CARGO_TARGET_DIR`, else `target` at the root.
    pub(crate) target: PathBuf,
    /// The crates of the workspace, by folder.
    pub(crate) crates: Vec<Crate>,
}

/// A crate of the workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crate {
    /// The folder, from the root: `core/secret`.
    pub(crate) folder: String,
    /// What `Cargo.toml` says it is for.
    pub(crate) description: String,
    /// Its dependencies.
    pub(crate) leans: Vec<Lean>,
    /// The names of its benchmarks.
    pub(crate) benches: Vec<String>,
}

/// A dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lean {
    /// The package's name.
    pub(crate) on: String,
    /// The folder, where it is one of ours.
    pub(crate) folder: Option<String>,
    /// Whether only tests need it.
    pub(crate) tests_only: bool,
}

impl House {
    /// Finds the clone that this program was built from, by the folder that cargo runs us for.
    pub(crate) fn open() -> Result<Self, Trouble> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().unwrap_or(Path::new(".")).to_owned();
        let here = Self { target: root.join("target"), root, ..Self::default() };
        // Not `programs::cargo`: the target folder is what we ask for.
        let mut cargo =
            std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&here.root).args(["metadata", "--no-deps", "--format-version", "1"]);
        Self::from_metadata(&here.root, &programs::output(&mut cargo)?)
    }

    /// Reads the answer of `cargo metadata`.
    pub(crate) fn from_metadata(root: &Path, metadata: &str) -> Result<Self, Trouble> {
        let unreadable = |reason: String| Trouble::Unreadable {
            what: "the answer of `cargo metadata`".to_owned(),
            reason,
        };
        let metadata: Value =
            serde_json::from_str(metadata).map_err(|error| unreadable(error.to_string()))?;
        let target = text(&metadata, "target_directory");
        let packages = metadata.get("packages").and_then(Value::as_array);
        let packages = packages.ok_or_else(|| unreadable("it has no `packages`".to_owned()))?;
        let mut crates: Vec<Crate> =
            packages.iter().map(|package| read_crate(root, package)).collect();
        crates.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(Self { root: root.to_owned(), target: target.into(), crates })
    }

    /// The files that belong to the clone, by path from the root: tracked, or new and not ignored.
    /// Files that are not text are left out.
    pub(crate) fn files(&self) -> Result<BTreeMap<String, String>, Trouble> {
        let mut git = programs::command(self, "git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let paths = programs::output(&mut git)?;
        let mut files = BTreeMap::new();
        for path in paths.split('\0').filter(|path| !path.is_empty()) {
            let full = self.root.join(path);
            // A tracked file that was removed and not committed yet, or a link to a folder.
            if !full.is_file() {
                continue;
            }
            let bytes = fs::read(&full)
                .map_err(|reason| Trouble::File { path: path.to_owned(), reason })?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.insert(path.to_owned(), text);
            }
        }
        Ok(files)
    }
}

fn read_crate(root: &Path, package: &Value) -> Crate {
    let manifest = PathBuf::from(text(package, "manifest_path"));
    let list = |key| package.get(key).and_then(Value::as_array).into_iter().flatten();
    let is_bench = |target: &&Value| {
        let kinds = target.get("kind").and_then(Value::as_array);
        kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "bench"))
    };
    Crate {
        folder: folder(root, manifest.parent().unwrap_or(root)),
        description: text(package, "description"),
        leans: list("dependencies")
            .map(|lean| Lean {
                on: text(lean, "name"),
                folder: lean
                    .get("path")
                    .and_then(Value::as_str)
                    .map(|path| folder(root, Path::new(path))),
                tests_only: lean.get("kind").and_then(Value::as_str) == Some("dev"),
            })
            .collect(),
        benches: list("targets").filter(is_bench).map(|target| text(target, "name")).collect(),
    }
}

fn folder(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

/// The text at `key`, empty where there is none.
pub(crate) fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_read_with_its_dependencies_and_benchmarks() {
        let metadata = r#"{"target_directory": "/t", "packages": [{
            "name": "rolecall-aws", "description": "AWS.", "manifest_path": "/r/edge/aws/Cargo.toml",
            "targets": [{"name": "aws", "kind": ["lib"]}, {"name": "speed", "kind": ["bench"]}],
            "dependencies": [
                {"name": "tokio", "kind": null},
                {"name": "rolecall-cloud", "kind": "dev", "path": "/r/core/cloud"}]}]}"#;
        let house = House::from_metadata(Path::new("/r"), metadata).unwrap();
        let lean = |on: &str, folder: Option<&str>, tests_only| Lean {
            on: on.to_owned(),
            folder: folder.map(str::to_owned),
            tests_only,
        };
        let aws = Crate {
            folder: "edge/aws".to_owned(),
            description: "AWS.".to_owned(),
            leans: vec![
                lean("tokio", None, false),
                lean("rolecall-cloud", Some("core/cloud"), true),
            ],
            benches: vec!["speed".to_owned()],
        };
        assert_eq!(house.target, Path::new("/t"));
        assert_eq!(house.crates, [aws]);
    }

    #[test]
    fn an_answer_that_is_not_metadata_is_refused() {
        assert!(House::from_metadata(Path::new("/r"), "{}").is_err());
        assert!(House::from_metadata(Path::new("/r"), "no").is_err());
    }
}
