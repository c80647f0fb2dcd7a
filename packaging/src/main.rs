//! Writes the manual pages and the completions of one of our programs: `rolecall-pages PROGRAM FOLDER`.

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, folder] = words.as_slice() else {
        eprintln!("usage: rolecall-pages PROGRAM FOLDER");
        return ExitCode::from(2);
    };
    let Some(program) = packaging::PROGRAMS.iter().find(|program| program.name == *name) else {
        eprintln!("error: there is no program `{name}`");
        return ExitCode::from(2);
    };
    match program.write(Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
