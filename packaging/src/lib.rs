//! Manual pages and shell completions of our programs, and what is in a package beside them.
//!
//! This crate exists because of a different dependency weight: it leans on all three programs, which
//! `xtask` must not, and nothing that we ship may carry what makes their pages. The folders beside it are what
//! a package installs besides the programs: units, files of configuration, maintainer scripts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Command, CommandFactory};
use clap_complete::{Generator, Shell};
use clap_mangen::Man;

/// A program, and the section of the manual that its pages are in.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its file's name.
    pub name: &'static str,
    /// 1 for what everybody types, 8 for what an administrator runs.
    section: &'static str,
    command: fn() -> Command,
}

/// Every program that we ship.
pub const PROGRAMS: &[Program] = &[
    Program { name: "rolecall-agent", section: "8", command: agent::command::Arguments::command },
    Program { name: "rolecall-server", section: "8", command: server::command::Arguments::command },
    Program { name: "rolecall", section: "1", command: rolecall_cli::Arguments::command },
];

/// A page or a completion could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`: {reason}", path.display())]
pub struct WriteError {
    path: PathBuf,
    reason: io::Error,
}

/// Where completions of a shell are looked for below `/usr/share`, and under which name.
const SHELLS: &[(Shell, &str, &str, &str)] = &[
    (Shell::Bash, "bash-completion/completions", "", ""),
    (Shell::Zsh, "zsh/vendor-completions", "_", ""),
    (Shell::Fish, "fish/vendor_completions.d", "", ".fish"),
];

impl Program {
    /// Writes its manual pages and completions below `folder`, as they lie below `/usr/share`.
    ///
    /// # Errors
    /// [`WriteError`] with the first file that could not be written.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        let mut command = (self.command)().bin_name(self.name);
        // Gives every command its full name, such as `rolecall-agent redirect install`.
        command.build();
        let manual = folder.join(format!("man/man{}", self.section));
        self.pages(&command, self.name, &manual)?;
        for (shell, place, before, after) in SHELLS {
            let mut text = Vec::new();
            shell.generate(&command, &mut text);
            let file = folder.join(place).join(format!("{before}{}{after}", self.name));
            write(&file, &text)?;
        }
        Ok(())
    }

    /// Writes the page of a command, and those of its commands in turn.
    fn pages(&self, command: &Command, name: &str, folder: &Path) -> Result<(), WriteError> {
        let file = folder.join(format!("{name}.{}", self.section));
        let version = env!("CARGO_PKG_VERSION");
        // The date would be that of the build: the same commit shall make the same bytes.
        let page = Man::new(command.clone())
            .title(name.to_uppercase())
            .section(self.section)
            .date("")
            .source(format!("Rolecall {version}"))
            .manual("Rolecall");
        let mut text = Vec::new();
        page.render(&mut text).map_err(|reason| WriteError { path: file.clone(), reason })?;
        write(&file, &text)?;
        let shown = |inner: &&Command| !inner.is_hide_set() && inner.get_name() != "help";
        for inner in command.get_subcommands().filter(shown) {
            self.pages(inner, &format!("{name}-{}", inner.get_name()), folder)?;
        }
        Ok(())
    }
}

fn write(file: &Path, text: &[u8]) -> Result<(), WriteError> {
    let fail = |reason| WriteError { path: file.to_owned(), reason };
    fs::create_dir_all(file.parent().unwrap_or(file)).map_err(fail)?;
    fs::write(file, text).map_err(fail)
}
