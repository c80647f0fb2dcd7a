//! What our programs are made of, as a CycloneDX document.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::trouble::Trouble;

use super::{
    contents::PACKAGES,
    linked::{Facts, Id, Linked},
    programs_built::{Programs, sha256},
};

/// The document: our programs, each crate that is linked into one of them, and who leans on whom.
pub(super) fn document(
    linked: &Linked,
    built: &Programs,
    version: &str,
    time: &str,
) -> Result<String, Trouble> {
    let mut programs = Vec::new();
    let mut crates: BTreeSet<&Id> = BTreeSet::new();
    for package in PACKAGES {
        let sum = sha256(&built.path(package.program))?;
        programs.push((linked.root(package.krate)?, package.program, sum));
        crates.extend(linked.below(package.krate)?.into_iter().map(|(id, _)| id));
    }
    let is_program = |id: &Id| programs.iter().any(|(root, ..)| *root == id);
    let applications = programs.iter().map(|(id, name, sum)| application(id, name, sum, version));
    let libraries = crates.iter().filter(|id| !is_program(id));
    let libraries = libraries.filter_map(|id| Some(library(id, linked.facts.get(*id)?)));
    let components: Vec<Value> = applications.chain(libraries).collect();
    let ours: Vec<String> = programs.iter().map(|(id, ..)| reference(id)).collect();
    let mut leans = vec![json!({ "ref": "rolecall", "dependsOn": ours })];
    for id in &crates {
        let on: Vec<String> = linked.leans.get(*id).into_iter().flatten().map(reference).collect();
        leans.push(json!({ "ref": reference(id), "dependsOn": on }));
    }
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time,
            "lifecycles": [{ "phase": "build" }],
            "component": {
                "type": "application",
                "bom-ref": "rolecall",
                "name": "rolecall",
                "version": version,
                "licenses": [{ "license": { "id": "Apache-2.0" } }],
            },
        },
        "components": components,
        "dependencies": leans,
    });
    Ok(format!("{document:#}\n"))
}

fn application(id: &Id, name: &str, sum: &str, version: &str) -> Value {
    json!({
        "type": "application",
        "bom-ref": reference(id),
        "name": name,
        "version": version,
        "licenses": [{ "license": { "id": "Apache-2.0" } }],
        "hashes": [{ "alg": "SHA-256", "content": sum }],
    })
}

fn library(id: &Id, facts: &Facts) -> Value {
    let mut library = json!({
        "type": "library",
        "bom-ref": reference(id),
        "name": id.0,
        "version": id.1,
        "licenses": licences(&facts.licence),
    });
    let Value::Object(fields) = &mut library else { return library };
    if !facts.description.is_empty() {
        fields.insert("description".to_owned(), json!(facts.description.trim()));
    }
    // Our own crates are in no registry: a package URL would name somebody else's.
    if let Some(sum) = &facts.checksum {
        fields.insert("purl".to_owned(), json!(purl(id)));
        fields.insert("hashes".to_owned(), json!([{ "alg": "SHA-256", "content": sum }]));
        if facts.repository.starts_with("https://") {
            let at = json!([{ "type": "vcs", "url": facts.repository }]);
            fields.insert("externalReferences".to_owned(), at);
        }
    }
    library
}

/// What a manifest says of the licence. One that says nothing is not known.
fn licences(licence: &str) -> Value {
    if licence.is_empty() {
        return json!([]);
    }
    // As manifests wrote it before there were expressions.
    json!([{ "expression": licence.replace('/', " OR ") }])
}

fn reference((name, version): &Id) -> String {
    format!("{name}@{version}")
}

fn purl((name, version): &Id) -> String {
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, version: &str) -> Id {
        (name.to_owned(), version.to_owned())
    }

    #[test]
    fn a_crate_of_a_registry_is_named_as_everybody_names_it() {
        assert_eq!(
            purl(&id("zstd-sys", "2.0.16+zstd.1.5.7")),
            "pkg:cargo/zstd-sys@2.0.16%2Bzstd.1.5.7"
        );
        let facts = Facts { checksum: Some("abc".to_owned()), ..Facts::default() };
        assert_eq!(library(&id("x", "1.0.0"), &facts)["purl"], "pkg:cargo/x@1.0.0");
    }

    #[test]
    fn our_own_crates_claim_no_place_in_a_registry() {
        let ours = library(&id("rolecall-secret", "0.1.0"), &Facts::default());
        assert_eq!((ours.get("purl"), ours.get("hashes")), (None, None));
    }

    #[test]
    fn an_old_licence_becomes_an_expression_and_none_stays_unknown() {
        assert_eq!(licences("MIT/Apache-2.0"), json!([{ "expression": "MIT OR Apache-2.0" }]));
        assert_eq!(licences(""), json!([]));
    }
}
