use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::{Case, Step};

/// A file of cases cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCases {
    /// Not the form that the README describes.
    #[error("`{file}` cannot be read: {why}")]
    Json {
        /// The file's name.
        file: &'static str,
        /// What is wrong and where.
        why: serde_json::Error,
    },
    /// Two cases have one name.
    #[error("two cases are called `{0}`")]
    Twice(String),
    /// A case refers to steps that `given.json` does not have.
    #[error("case `{case}` is given `{given}`, which `given.json` does not have")]
    Given {
        /// The case's name.
        case: String,
        /// What it refers to.
        given: String,
    },
    /// A case has nothing to show.
    #[error("case `{0}` has no steps or expects nothing")]
    Empty(String),
}

/// All cases of the metadata protocols, with the steps that they are given put first.
pub fn metadata_cases() -> Result<Vec<Case>, InvalidCases> {
    let given: BTreeMap<String, Vec<Step>> = parse("given.json", GIVEN)?;
    let mut cases: Vec<Case> = Vec::new();
    for (file, text) in FILES {
        let group: Group = parse(file, text)?;
        cases.extend(group.cases);
    }
    let mut names = BTreeSet::new();
    for case in &mut cases {
        if !names.insert(case.name.clone()) {
            return Err(InvalidCases::Twice(case.name.clone()));
        }
        if case.steps.is_empty() || case.steps.iter().any(|step| step.expect.is_empty()) {
            return Err(InvalidCases::Empty(case.name.clone()));
        }
        let mut steps = Vec::new();
        for name in &case.given {
            let missing = || InvalidCases::Given { case: case.name.clone(), given: name.clone() };
            steps.extend(given.get(name).ok_or_else(missing)?.iter().cloned());
        }
        steps.append(&mut case.steps);
        case.steps = steps;
    }
    Ok(cases)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(rename = "about")]
    _about: String,
    cases: Vec<Case>,
}

fn parse<T: for<'a> Deserialize<'a>>(file: &'static str, text: &str) -> Result<T, InvalidCases> {
    serde_json::from_str(text).map_err(|why| InvalidCases::Json { file, why })
}

const GIVEN: &str = include_str!("../metadata/given.json");

const FILES: [(&str, &str); 8] = [
    ("token.json", include_str!("../metadata/token.json")),
    ("paths.json", include_str!("../metadata/paths.json")),
    ("roles.json", include_str!("../metadata/roles.json")),
    ("identity.json", include_str!("../metadata/identity.json")),
    ("refusals.json", include_str!("../metadata/refusals.json")),
    ("headers.json", include_str!("../metadata/headers.json")),
    ("container.json", include_str!("../metadata/container.json")),
    ("pod_identity.json", include_str!("../metadata/pod_identity.json")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_at_least_eighty_cases_each_with_a_sentence_and_a_source() {
        let cases = metadata_cases().unwrap();
        assert!(cases.len() >= 80, "{}", cases.len());
        for case in &cases {
            assert!(case.name.split(' ').count() >= 4, "`{}` is no sentence", case.name);
            assert!(case.source.len() >= 10, "`{}` has no source", case.name);
        }
    }

    #[test]
    fn every_file_of_the_folder_is_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/metadata");
        let on_disk: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut read: BTreeSet<String> = FILES.iter().map(|(file, _)| (*file).to_owned()).collect();
        read.insert("given.json".to_owned());
        assert_eq!(on_disk, read);
    }

    #[test]
    fn a_misspelt_member_is_an_error_and_names_its_place() {
        let step = r#"{"method":"GET","target":"/","expect":[{"status":200,"headres":{}}]}"#;
        let error = parse::<Step>("x.json", step).unwrap_err().to_string();
        assert!(error.contains("x.json") && error.contains("headres"), "{error}");
    }
}
