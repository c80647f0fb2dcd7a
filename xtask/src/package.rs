//! `cargo xtask package`: Debian packages of our programs, what is in them, and their sums.
//!
//! The same commit makes the same bytes: every time is the commit's, every file is root's, and no path of
//! the machine is in a program.

mod contents;
mod licences;
mod linked;
mod programs_built;
mod sbom;
mod stage;

use std::{fs, path::PathBuf, process::ExitCode};

use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::{house::House, programs, trouble::Trouble, verdict};

use self::{contents::PACKAGES, linked::Linked, programs_built::Programs, stage::Stage};

/// What `cargo xtask package` is asked.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The cargo profile that the programs are built with
    #[arg(long, default_value = "release", value_name = "NAME")]
    profile: String,
    /// Pack the programs that are in this folder already, and build nothing
    #[arg(long, value_name = "FOLDER", conflicts_with = "profile")]
    programs: Option<PathBuf>,
    /// The packages' version, in place of the workspace's and the commit's
    #[arg(long)]
    version: Option<String>,
    /// Where to put what is made, in place of `package` below the target folder
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// How the list of what was made is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How the list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// For programs: one JSON document
    Json,
}

/// A file that was made.
#[derive(Debug, Serialize)]
struct Made {
    file: PathBuf,
    bytes: u64,
    sha256: String,
}

/// The commit that is packed.
#[derive(Debug)]
struct Commit {
    /// Seconds since 1970: the time of everything in a package.
    epoch: String,
    /// The same for people, as RFC 3339.
    time: String,
    /// The same as mail writes it, for Debian's changelog.
    date: String,
    /// What tells it from others: `20261124T225430.4ee3fb5`, and `.dirty` where files were changed since.
    name: String,
    /// Whether it is the release of that version.
    tagged: bool,
}

/// Makes the packages.
pub(crate) fn package(house: &House, options: &Options) -> Result<ExitCode, Trouble> {
    let commit = Commit::look(house)?;
    let version = options.version.clone().unwrap_or_else(|| commit.version());
    let out = options.out.clone().unwrap_or_else(|| house.target.join("package"));
    let built = match &options.programs {
        Some(folder) => Programs::present(folder)?,
        None => Programs::build(house, &options.profile)?,
    };
    empty(&out)?;
    // Beside what is made and gone at the end, so that a failure leaves no half of a package there.
    let scratch = tempfile::tempdir_in(&house.target).map_err(|r| trouble(&house.target, r))?;
    let linked = Linked::ask(house)?;
    let mut made = Vec::new();
    for package in PACKAGES {
        let stage = Stage { house, commit: &commit, version: &version, package };
        made.push(stage.make(&built, &linked, scratch.path(), &out)?);
    }
    let sbom = out.join("rolecall.cdx.json");
    let text = sbom::document(&linked, &built, &version, &commit.time)?;
    fs::write(&sbom, text).map_err(|reason| trouble(&sbom, reason))?;
    made.push(sbom);
    let made: Vec<Made> = made.into_iter().map(Made::look).collect::<Result<_, _>>()?;
    let sums: String = made.iter().map(Made::sum).collect();
    let file = out.join("SHA256SUMS");
    fs::write(&file, sums).map_err(|reason| trouble(&file, reason))?;
    list(&made, options.output)?;
    verdict(true)
}

impl Commit {
    fn look(house: &House) -> Result<Self, Trouble> {
        let git = |words: &[&str]| {
            let mut git = programs::command(house, "git");
            git.env("TZ", "UTC0").args(words);
            programs::output(&mut git).map(|text| text.trim().to_owned())
        };
        let show = |format: &str| {
            git(&["show", "--no-patch", "--date=format-local:%Y%m%dT%H%M%S", format, "HEAD"])
        };
        let dirty = !git(&["status", "--porcelain"])?.is_empty();
        let mut name = show("--format=%cd.%h")?;
        if dirty {
            name += ".dirty";
        }
        let tag = format!("v{}", env!("CARGO_PKG_VERSION"));
        let tagged =
            !dirty && git(&["tag", "--points-at", "HEAD"])?.lines().any(|line| line == tag);
        let time = git(&[
            "show",
            "--no-patch",
            "--date=format-local:%Y-%m-%dT%H:%M:%SZ",
            "--format=%cd",
            "HEAD",
        ])?;
        Ok(Self { epoch: show("--format=%ct")?, date: show("--format=%cD")?, time, name, tagged })
    }

    /// The version of a release is the workspace's; what comes before it sorts before it.
    fn version(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        if self.tagged { version.to_owned() } else { format!("{version}~git{}", self.name) }
    }
}

impl Made {
    fn look(file: PathBuf) -> Result<Self, Trouble> {
        let bytes = fs::metadata(&file).map_err(|reason| trouble(&file, reason))?.len();
        let sha256 = programs_built::sha256(&file)?;
        Ok(Self { file, bytes, sha256 })
    }

    /// As `sha256sum --check` reads it.
    fn sum(&self) -> String {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        format!("{}  {name}\n", self.sha256)
    }
}

/// What an earlier run made must not be taken for this one's.
fn empty(out: &PathBuf) -> Result<(), Trouble> {
    if out.exists() {
        for entry in fs::read_dir(out).map_err(|reason| trouble(out, reason))? {
            let path = entry.map_err(|reason| trouble(out, reason))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".deb") || name.ends_with(".cdx.json") || name == "SHA256SUMS" {
                fs::remove_file(&path).map_err(|reason| trouble(&path, reason))?;
            }
        }
    }
    fs::create_dir_all(out).map_err(|reason| trouble(out, reason))
}

#[expect(clippy::print_stdout, reason = "this is what standard output is for")]
fn list(made: &[Made], output: Output) -> Result<(), Trouble> {
    if output == Output::Json {
        let text = serde_json::to_string_pretty(made).map_err(|error| Trouble::Unreadable {
            what: "the list of what was made".to_owned(),
            reason: error.to_string(),
        })?;
        println!("{text}");
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["file", "KiB", "SHA-256"]);
    for Made { file, bytes, sha256 } in made {
        table.add_row([
            file.display().to_string(),
            bytes.div_ceil(1024).to_string(),
            sha256.clone(),
        ]);
    }
    println!("{table}");
    Ok(())
}

fn trouble(path: &std::path::Path, reason: std::io::Error) -> Trouble {
    Trouble::File { path: path.display().to_string(), reason }
}
