//! What a program says of itself, as a page of the reference.

use std::path::Path;
use std::time::Duration;

use crate::program::{Invocation, ProgramError};

/// How long a program may take to say it.
const LIMIT: Duration = Duration::from_secs(20);

/// The page: a heading and the help of `program`, and of each of its commands in turn.
///
/// # Errors
/// Where it cannot be run, or has no help for a command that it names.
pub fn page(program: &Path) -> Result<String, ProgramError> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let mut page = format!(
        "# `{name}`\n\nWhat the program says of itself; a test compares this page with it.\n"
    );
    section(program, &mut vec![name.into_owned()], &mut page)?;
    Ok(page)
}

fn section(program: &Path, words: &mut Vec<String>, page: &mut String) -> Result<(), ProgramError> {
    let commands = words.iter().skip(1).map(String::as_str);
    // Wrapping must not hang on the terminal.
    let invocation = Invocation::new(program).args(commands).arg("--help").env("COLUMNS", "100");
    let help = invocation.run(LIMIT)?.success()?.stdout;
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let text = lines.join("\n");
    *page += &format!("\n## `{}`\n\n```text\n{}\n```\n", words.join(" "), text.trim_end());
    for command in subcommands(&help) {
        words.push(command.to_owned());
        section(program, words, page)?;
        words.pop();
    }
    Ok(())
}

/// The names that the help lists under `Commands:`.
fn subcommands(help: &str) -> impl Iterator<Item = &str> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // A description's second line is indented further than a name.
    let names =
        listed.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(help: &str, commands: &[&str]) {
        assert_eq!(subcommands(help).collect::<Vec<_>>(), commands);
    }

    #[test]
    fn commands_are_found_where_help_lists_them() {
        check("Does things\n\nOptions:\n  -h\n", &[]);
        check(
            "Commands:\n  run   Run it\n        at once\n  help  Help\n\nOptions:\n  -h\n",
            &["run"],
        );
    }
}
