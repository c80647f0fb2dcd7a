//! `cargo xtask gen`: writes the documents that are made from the program.

use std::{fs, process::ExitCode};

use crate::{
    house::House,
    programs::{self, typed},
    trouble::Trouble,
    verdict,
};

/// Which document of `edge/api` goes where. The tests of `edge/api` compare.
const DOCUMENTS: [(&str, &str); 2] =
    [("openapi", "edge/api/openapi.json"), ("reference", "docs/reference/api.md")];

/// Writes them, and says which were new.
pub(crate) fn generate(house: &House) -> Result<ExitCode, Trouble> {
    for (document, path) in DOCUMENTS {
        let mut command = programs::cargo(house);
        command.args(["run", "--quiet", "--package", "rolecall-api", "--example", "document"]);
        command.args(["--", document]);
        let output = command.output();
        let output =
            output.map_err(|reason| Trouble::Start { program: "cargo".to_owned(), reason })?;
        if !output.status.success() {
            let how = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Trouble::Failed { command: typed(&command), how });
        }
        let file = house.root.join(path);
        let old = fs::read(&file).unwrap_or_default();
        let word = if old == output.stdout { "same" } else { "new" };
        fs::write(&file, &output.stdout)
            .map_err(|reason| Trouble::File { path: path.to_owned(), reason })?;
        println!("{word:<4} {path}");
    }
    verdict(true)
}
