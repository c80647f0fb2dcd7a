//! Prints a document that is made from the endpoints: `openapi` or `reference`. `cargo xtask gen` writes both.

use std::process::ExitCode;

fn main() -> ExitCode {
    let document = match std::env::args().nth(1).as_deref() {
        Some("openapi") => api::document::openapi(),
        Some("reference") => api::document::reference(),
        _ => {
            eprintln!("say which document: openapi or reference");
            return ExitCode::from(2);
        }
    };
    print!("{document}");
    ExitCode::SUCCESS
}
