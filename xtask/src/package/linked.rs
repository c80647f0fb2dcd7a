//! Which crates are linked into which program, and what their manifests and the lock say of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    house::{House, text},
    programs,
    trouble::Trouble,
};

use super::contents::PACKAGES;

/// A crate's name and version, which tell it from every other that is linked.
pub(super) type Id = (String, String);

/// What the programs are linked with.
#[derive(Debug)]
pub(super) struct Linked {
    /// Which crates a crate leans on.
    pub(super) leans: BTreeMap<Id, BTreeSet<Id>>,
    /// What is known of every crate.
    pub(super) facts: BTreeMap<Id, Facts>,
}

/// What is known of a crate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The licence as its manifest says it; empty where it says none.
    pub(super) licence: String,
    pub(super) description: String,
    pub(super) repository: String,
    /// Where its sources are.
    pub(super) folder: PathBuf,
    /// The SHA-256 of its archive in the registry; none for our own crates.
    pub(super) checksum: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

impl Linked {
    /// Asks cargo: with the features that [`super::programs_built`] builds with, for this machine, and without
    /// what only runs while compiling.
    pub(super) fn ask(house: &House) -> Result<Self, Trouble> {
        let mut tree = programs::cargo(house);
        tree.args(["tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "depth"]);
        tree.args(["--format", "{p}", "--package", "rolecall-packaging"]);
        for package in PACKAGES {
            tree.args(["--package", package.krate]);
        }
        let leans = read_tree(&programs::output(&mut tree)?)?;
        let mut metadata = programs::cargo(house);
        metadata.args(["metadata", "--locked", "--format-version", "1"]);
        let lock = house.root.join("Cargo.lock");
        let lock = fs::read_to_string(&lock).map_err(|reason| super::trouble(&lock, reason))?;
        let facts = read_facts(&programs::output(&mut metadata)?, &lock)?;
        match leans.keys().find(|id| !facts.contains_key(*id)) {
            None => Ok(Self { leans, facts }),
            Some((name, version)) => Err(unreadable(
                "the answer of `cargo metadata`",
                format!("it has no `{name} {version}`"),
            )),
        }
    }

    /// Every crate that is linked into a program of ours, itself included.
    pub(super) fn below(&self, krate: &str) -> Result<Vec<(&Id, &Facts)>, Trouble> {
        let root = self.root(krate)?;
        let mut seen = BTreeSet::from([root]);
        let mut open = vec![root];
        while let Some(id) = open.pop() {
            let on = self.leans.get(id).into_iter().flatten();
            open.extend(on.filter(|id| seen.insert(id)));
        }
        Ok(seen.into_iter().filter_map(|id| self.facts.get_key_value(id)).collect())
    }

    /// The crate of a program of ours.
    pub(super) fn root(&self, krate: &str) -> Result<&Id, Trouble> {
        let is_it = |id: &&Id| id.0 == krate && id.1 == env!("CARGO_PKG_VERSION");
        self.leans
            .keys()
            .find(is_it)
            .ok_or_else(|| unreadable("the answer of `cargo tree`", format!("it has no `{krate}`")))
    }
}

/// Reads lines such as `2tokio v1.48.0 (*)`: the depth, the crate, and whether it was shown before, with
/// what it leans on.
fn read_tree(tree: &str) -> Result<BTreeMap<Id, BTreeSet<Id>>, Trouble> {
    let mut leans: BTreeMap<Id, BTreeSet<Id>> = BTreeMap::new();
    let mut above: Vec<Id> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let bad = || unreadable("the answer of `cargo tree`", format!("`{line}`"));
        let at = line.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (depth, rest) = line.split_at(at);
        let depth: usize = depth.parse().map_err(|_| bad())?;
        let (name, rest) = rest.split_once(" v").ok_or_else(bad)?;
        let version = rest.split(' ').next().unwrap_or_default();
        let id = (name.to_owned(), version.to_owned());
        above.truncate(depth);
        if let Some(parent) = above.last() {
            leans.entry(parent.clone()).or_default().insert(id.clone());
        }
        leans.entry(id.clone()).or_default();
        above.push(id);
    }
    Ok(leans)
}

fn read_facts(metadata: &str, lock: &str) -> Result<BTreeMap<Id, Facts>, Trouble> {
    let metadata: Value = serde_json::from_str(metadata)
        .map_err(|error| unreadable("the answer of `cargo metadata`", error.to_string()))?;
    let lock: Lock =
        toml::from_str(lock).map_err(|error| unreadable("`Cargo.lock`", error.to_string()))?;
    let mut sums: BTreeMap<Id, Option<String>> =
        lock.package.into_iter().map(|p| ((p.name, p.version), p.checksum)).collect();
    let packages = metadata.get("packages").and_then(Value::as_array);
    let facts = packages.into_iter().flatten().map(|package| {
        let id = (text(package, "name"), text(package, "version"));
        let manifest = PathBuf::from(text(package, "manifest_path"));
        let facts = Facts {
            licence: text(package, "license"),
            description: text(package, "description"),
            repository: text(package, "repository"),
            folder: manifest.parent().map(PathBuf::from).unwrap_or_default(),
            checksum: sums.remove(&id).flatten(),
        };
        (id, facts)
    });
    Ok(facts.collect())
}

fn unreadable(what: &str, reason: String) -> Trouble {
    Trouble::Unreadable { what: what.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(tree: &str) -> Linked {
        let tree = tree.replace('@', concat!(" v", env!("CARGO_PKG_VERSION")));
        let leans = read_tree(&tree).unwrap();
        let facts = leans.keys().map(|id| (id.clone(), Facts::default())).collect();
        Linked { leans, facts }
    }

    #[track_caller]
    fn check(tree: &str, krate: &str, names: &[&str]) {
        let linked = linked(tree);
        let found: Vec<&str> =
            linked.below(krate).unwrap().iter().map(|(id, _)| id.0.as_str()).collect();
        assert_eq!(found, names);
    }

    #[test]
    fn a_crate_that_was_shown_before_still_brings_what_it_leans_on() {
        let tree = "0a@ (/r/a)\n1x@\n2y@\n3z@\n1w@\n\n0b@ (/r/b)\n1y@ (*)\n";
        check(tree, "a", &["a", "w", "x", "y", "z"]);
        check(tree, "b", &["b", "y", "z"]);
    }

    #[test]
    fn what_only_another_program_is_linked_with_is_left_out() {
        check("0a@\n1x@\n\n0b@\n1w@\n", "b", &["b", "w"]);
    }

    #[test]
    fn a_line_of_another_shape_is_refused() {
        let trouble = read_tree("0a v1.0.0\n1noversion\n").unwrap_err().to_string();
        assert!(trouble.contains("`1noversion`"), "{trouble}");
    }

    #[test]
    fn manifest_and_lock_are_read_together() {
        let metadata = r#"{"packages": [{"name": "x", "version": "1.0.0", "license": "MIT",
            "manifest_path": "/c/x-1.0.0/Cargo.toml", "repository": null}]}"#;
        let lock = "[[package]]\nname = \"x\"\nversion = \"1.0.0\"\nchecksum = \"abc\"\n";
        let facts = read_facts(metadata, lock).unwrap();
        let facts = facts.get(&("x".to_owned(), "1.0.0".to_owned())).unwrap();
        assert_eq!((facts.licence.as_str(), facts.checksum.as_deref()), ("MIT", Some("abc")));
        assert_eq!(facts.folder, PathBuf::from("/c/x-1.0.0"));
    }
}
