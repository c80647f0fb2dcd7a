//! `cargo xtask gen`: writes the documents that are made from the program, and the table of names.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use clap::{Args, ValueEnum};
use practice::{setup, tools::Tools};

use crate::{
    house::House,
    programs::{self, typed},
    trouble::Trouble,
    verdict,
};

/// Which document of `edge/api` goes where. The tests of `edge/api` compare.
const DOCUMENTS: [(&str, &str); 2] =
    [("openapi", "edge/api/openapi.json"), ("reference", "docs/reference/api.md")];

/// What is generated.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum What {
    /// What is made from the program alone.
    #[default]
    Documents,
    /// What calls are named by, from published packages.
    Names,
}

/// What to write.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What to write
    #[arg(value_enum, default_value_t)]
    what: What,
    /// Write nothing, and fail if a file would change
    #[arg(long)]
    check: bool,
}

/// Writes it, and says which files were new.
pub(crate) fn generate(house: &House, options: &Options) -> Result<ExitCode, Trouble> {
    let Options { what, check } = *options;
    let same = match what {
        What::Documents => documents(house, check)?,
        What::Names => names(house, check)?,
    };
    verdict(same || !check)
}

fn documents(house: &House, check: bool) -> Result<bool, Trouble> {
    let mut same = true;
    for (document, path) in DOCUMENTS {
        let mut command = programs::cargo(house);
        command.args(["run", "--quiet", "--package", "rolecall-api", "--example", "document"]);
        command.args(["--", document]);
        same &= put(house, path, &run(&mut command)?, check)?;
    }
    Ok(same)
}

/// The script that makes the table, and the table.
const NAMES: (&str, &str) = ("xtask/src/generate/names.py", "core/calls/src/names/table.txt");

fn names(house: &House, check: bool) -> Result<bool, Trouble> {
    let (script, table) = NAMES;
    setup::names(&mut |step| println!("setup: {step}")).map_err(not_there)?;
    let tools = Tools::find();
    let mut command = Command::new(tools.python().map_err(not_there)?);
    command.arg("-B").arg(house.root.join(script)).args(tools.name_sources().map_err(not_there)?);
    let fresh = tempfile::NamedTempFile::new().map_err(|reason| file(table, reason))?;
    command.arg(fresh.path());
    print!("{}", String::from_utf8_lossy(&run(&mut command)?));
    let text = fs::read(fresh.path()).map_err(|reason| file(table, reason))?;
    put(house, table, &text, check)
}

fn not_there(error: impl std::error::Error) -> Trouble {
    Trouble::Failed { command: "cargo xtask gen names".to_owned(), how: error.to_string() }
}

fn file(path: impl AsRef<Path>, reason: std::io::Error) -> Trouble {
    Trouble::File { path: path.as_ref().display().to_string(), reason }
}

/// What a program says.
fn run(command: &mut Command) -> Result<Vec<u8>, Trouble> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|reason| Trouble::Start { program, reason })?;
    if !output.status.success() {
        let how = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Trouble::Failed { command: typed(command), how });
    }
    Ok(output.stdout)
}

/// Writes a file, unless it shall only be compared, and says whether it was the same.
fn put(house: &House, path: &str, text: &[u8], check: bool) -> Result<bool, Trouble> {
    let place = house.root.join(path);
    let same = fs::read(&place).unwrap_or_default() == text;
    if !check {
        fs::write(&place, text).map_err(|reason| file(path, reason))?;
    }
    println!("{:<4} {path}", if same { "same" } else { "new" });
    Ok(same)
}
