//! The programs that go into the packages.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{house::House, programs, suites::BUILD_LIMIT, trouble::Trouble};

use super::contents::PACKAGES;

/// What writes manual pages and completions.
const PAGES: &str = "rolecall-pages";

/// The folder with every program, and with what writes their pages.
#[derive(Debug)]
pub(super) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Builds them all at once, so that what they share is compiled once.
    pub(super) fn build(house: &House, profile: &str) -> Result<Self, Trouble> {
        let mut cargo = programs::cargo(house);
        cargo.args(["build", "--locked", "--profile", profile, "--package", "rolecall-packaging"]);
        for package in PACKAGES {
            cargo.args(["--package", package.krate]);
        }
        // A program shall not say where it was built.
        let hide = hidden(house);
        let rust: Vec<String> =
            hide.iter().map(|(from, to)| format!("--remap-path-prefix={from}={to}")).collect();
        let c: Vec<String> =
            hide.iter().map(|(from, to)| format!("-ffile-prefix-map={from}={to}")).collect();
        cargo.env("CARGO_ENCODED_RUSTFLAGS", rust.join("\u{1f}")).env("CFLAGS", c.join(" "));
        cargo.env("CARGO_INCREMENTAL", "0");
        eprintln!("$ {}", programs::typed(&cargo));
        programs::run(&mut cargo, BUILD_LIMIT)?.or_trouble(&cargo)?;
        // Cargo's own name for the folder of its `dev` profile.
        Self::present(&house.target.join(if profile == "dev" { "debug" } else { profile }))
    }

    /// Takes those that are there.
    pub(super) fn present(folder: &Path) -> Result<Self, Trouble> {
        for name in PACKAGES.iter().map(|package| package.program).chain([PAGES]) {
            let path = folder.join(name);
            if !path.is_file() {
                return Err(Trouble::Missing(format!("there is no program `{}`", path.display())));
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// A program's file.
    pub(super) fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// Writes a program's manual pages and completions as they lie below `/usr/share`.
    pub(super) fn pages(&self, program: &str, folder: &Path) -> Result<(), Trouble> {
        let mut pages = Command::new(self.path(PAGES));
        programs::output(pages.arg(program).arg(folder)).map(drop)
    }
}

/// Paths of this machine, each with what stands for it; the last that fits is used.
fn hidden(house: &House) -> Vec<(String, &'static str)> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| home.as_ref().map(|home| home.join(".cargo")));
    let text = |path: &Path| path.display().to_string();
    let mut hidden: Vec<_> = cargo.iter().map(|path| (text(path), "cargo")).collect();
    hidden.push((text(&house.root), "rolecall"));
    hidden.push((text(&house.target), "target"));
    hidden
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn sha256(file: &Path) -> Result<String, Trouble> {
    let said = programs::output(Command::new("sha256sum").arg("--binary").arg(file))?;
    let sum = said.split_whitespace().next().unwrap_or_default().trim_start_matches('\\');
    if sum.len() != 64 {
        let what = "the answer of `sha256sum`".to_owned();
        return Err(Trouble::Unreadable { what, reason: format!("`{said}`") });
    }
    Ok(sum.to_owned())
}
