//! The licences of the crates that a program is linked with: most ask to be passed on with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use crate::trouble::Trouble;

use super::{
    linked::{Facts, Id},
    trouble,
};

/// How the names of files begin that hold a licence or what it asks to be said.
const NAMES: &[&str] = &["licen", "copying", "copyright", "notice", "unlicense"];

/// One text for all crates but our own: each text once, below the crates that it belongs to.
pub(super) fn text(crates: &[(&Id, &Facts)]) -> Result<String, Trouble> {
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut all = String::from("This program is linked with these crates:\n\n");
    for ((name, version), facts) in crates.iter().filter(|(_, facts)| facts.checksum.is_some()) {
        let licence = if facts.licence.is_empty() { "see below" } else { &facts.licence };
        // Writing to a String cannot fail.
        let _ = writeln!(all, "  {name} {version}: {licence}");
        for text in of(facts)? {
            texts.entry(text).or_default().insert(format!("{name} {version}"));
        }
    }
    for (text, crates) in texts {
        let crates: Vec<String> = crates.into_iter().collect();
        let _ = write!(all, "\n{:=<100}\n{}\n\n{}\n", "", crates.join(", "), text.trim_end());
    }
    Ok(all)
}

/// The texts that a crate brings.
fn of(facts: &Facts) -> Result<Vec<String>, Trouble> {
    let fail = |reason| trouble(&facts.folder, reason);
    let mut found = Vec::new();
    for entry in fs::read_dir(&facts.folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        // `licenses` may be a folder, and `licence.rs` a module.
        let is_text = path.is_file() && !name.ends_with(".rs");
        if is_text && NAMES.iter().any(|begin| name.starts_with(begin)) {
            found.push(fs::read(&path).map_err(|reason| trouble(&path, reason))?);
        }
    }
    Ok(found.iter().map(|bytes| String::from_utf8_lossy(bytes).replace("\r\n", "\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(folder: &std::path::Path, checksum: Option<&str>) -> Facts {
        let licence = "MIT".to_owned();
        let (folder, checksum) = (folder.to_owned(), checksum.map(str::to_owned));
        Facts { licence, folder, checksum, ..Facts::default() }
    }

    #[test]
    fn a_text_that_two_crates_share_is_there_once_and_ours_is_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("LICENSE-MIT"), "Do as you like.\r\n").unwrap();
        fs::write(folder.path().join("license.rs"), "no text").unwrap();
        let (other, ours) = (facts(folder.path(), Some("abc")), facts(folder.path(), None));
        let id = |name: &str| (name.to_owned(), "1.0.0".to_owned());
        let (a, b, c) = (id("a"), id("b"), id("rolecall"));
        let text = text(&[(&a, &other), (&b, &other), (&c, &ours)]).unwrap();
        assert_eq!(text.matches("Do as you like.").count(), 1, "{text}");
        assert!(
            text.contains("  a 1.0.0: MIT\n") && text.contains("\na 1.0.0, b 1.0.0\n"),
            "{text}"
        );
        assert!(!text.contains("rolecall") && !text.contains("no text"), "{text}");
    }
}
