//! The list of parts: CycloneDX, and true.

use std::{collections::BTreeSet, fs, time::Duration};

use practice::{
    program::{Finished, Invocation},
    tools::Tools,
};
use serde_json::Value;

use crate::made::{Made, OLD};

/// Asks the schema of the format's own authors, in its strict form.
const JUDGE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(str(wrong) if wrong else 0)
";

fn parts(made: &Made) -> Value {
    serde_json::from_slice(&fs::read(made.file("rolecall.cdx.json")).unwrap()).unwrap()
}

/// What a program leans on, and what that leans on, by reference.
fn below(parts: &Value, root: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(reference) = open.pop() {
        let leans = parts["dependencies"].as_array().unwrap();
        let row = leans.iter().find(|row| row["ref"] == *reference);
        let row = row.unwrap_or_else(|| panic!("nothing is said of `{reference}`"));
        for on in row["dependsOn"].as_array().unwrap() {
            let on = on.as_str().unwrap().to_owned();
            if seen.insert(on.clone()) {
                open.push(on);
            }
        }
    }
    seen
}

fn has(parts: &BTreeSet<String>, name: &str) -> bool {
    parts.iter().any(|part| part.split('@').next() == Some(name))
}

#[test]
fn the_list_of_parts_is_what_its_schema_says() {
    let Ok(python) = Tools::find().python() else {
        println!("skipped: the Python environment is missing; `cargo xtask setup` makes it");
        return;
    };
    let made = &*OLD;
    let judged = Invocation::new(python)
        .args(["-c", JUDGE])
        .arg(made.file("rolecall.cdx.json"))
        .run(Duration::from_secs(120))
        .and_then(Finished::success);
    assert!(judged.is_ok(), "{judged:?}");
}

#[test]
fn each_program_lists_what_it_is_linked_with_and_nothing_else() {
    let parts = parts(&OLD);
    let of = |krate: &str| below(&parts, &format!("{krate}@{}", env!("CARGO_PKG_VERSION")));
    let (agent, cli) = (of("rolecall-agent"), of("rolecall"));
    assert!(has(&agent, "tokio") && has(&agent, "aws-sdk-sts") && has(&agent, "rolecall-secret"));
    // What only tests, other programs or the compiler use is not in the agent.
    for name in [
        "comfy-table",
        "proptest",
        "rolecall-practice",
        "serde_derive",
        "clap_mangen",
        "cedar-policy",
    ] {
        assert!(!has(&agent, name), "{name}");
    }
    assert!(has(&cli, "comfy-table") && !has(&cli, "rolecall-linux"));
}

#[test]
fn every_part_of_a_registry_has_a_name_a_sum_and_a_licence() {
    let parts = parts(&OLD);
    let components = parts["components"].as_array().unwrap();
    let foreign: Vec<&Value> =
        components.iter().filter(|part| part.get("purl").is_some()).collect();
    assert!(foreign.len() > 100, "{}", foreign.len());
    for part in foreign {
        let name = part["name"].as_str().unwrap();
        assert!(
            part["purl"].as_str().unwrap().starts_with(&format!("pkg:cargo/{name}@")),
            "{part}"
        );
        assert_eq!(part["hashes"][0]["content"].as_str().map(str::len), Some(64), "{part}");
        assert!(!part["licenses"].as_array().unwrap().is_empty(), "{part}");
    }
}
