//! The documents say what the program does, and `openapi.json` is a whole document of its kind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

use std::{collections::BTreeSet, fs, path::Path};

use api::{Access, ENDPOINTS, Form, Kind, document};
use serde_json::Value;

#[track_caller]
fn check_same(path: &str, fresh: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let told = fs::read_to_string(&path).unwrap_or_default();
    assert!(told == fresh, "{} is old: run `cargo xtask gen`", path.display());
}

#[test]
fn the_documents_are_those_of_this_program() {
    check_same("openapi.json", &document::openapi());
    check_same("../../docs/reference/api.md", &document::reference());
}

fn openapi() -> Value {
    serde_json::from_str(&document::openapi()).unwrap()
}

/// Hands over every object within a value.
fn each<'a>(value: &'a Value, take: &mut impl FnMut(&'a serde_json::Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            take(members);
            members.values().for_each(|value| each(value, take));
        }
        Value::Array(items) => items.iter().for_each(|value| each(value, take)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_shape_is_used() {
    let document = openapi();
    let mut used = BTreeSet::new();
    each(&document, &mut |object| {
        if let Some(Value::String(to)) = object.get("$ref") {
            let found = document.pointer(to.strip_prefix('#').unwrap());
            assert!(found.is_some_and(Value::is_object), "{to} leads nowhere");
            used.insert(to.clone());
        }
    });
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(used.contains(&format!("#/components/schemas/{name}")), "nobody uses {name}");
    }
}

#[test]
fn every_endpoint_is_there_once_with_its_parameters_and_who_may() {
    let document = openapi();
    let mut names = BTreeSet::new();
    for endpoint in ENDPOINTS {
        let method = endpoint.method.as_str().to_ascii_lowercase();
        let operation = &document["paths"][endpoint.path][&method];
        assert_eq!(operation["operationId"], endpoint.name);
        assert!(names.insert(endpoint.name), "{} stands twice", endpoint.name);

        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let in_path: BTreeSet<String> = in_path
            .map(|parameter| {
                assert_eq!(parameter["required"], true, "{}", endpoint.name);
                parameter["name"].as_str().unwrap().to_owned()
            })
            .collect();
        let variable = |part: &str| Some(part.strip_prefix('{')?.strip_suffix('}')?.to_owned());
        let wanted: BTreeSet<String> = endpoint.path.split('/').filter_map(variable).collect();
        assert_eq!(in_path, wanted, "{}", endpoint.name);

        let security = operation["security"].as_array().unwrap();
        assert_eq!(security.is_empty(), endpoint.access == Access::Open, "{}", endpoint.name);
        let action = match endpoint.access {
            Access::Person(action) => Value::from(action.as_str()),
            Access::Open | Access::Agent => Value::Null,
        };
        assert_eq!(operation["x-rolecall-action"], action, "{}", endpoint.name);

        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.contains_key("default"), "{}", endpoint.name);
        let browser = responses.contains_key("303");
        assert_eq!(browser, endpoint.form == Form::Browser, "{}", endpoint.name);
        assert!(responses.len() > 1, "{} has no good answer", endpoint.name);
    }
    let paths = document["paths"].as_object().unwrap();
    let operations: usize = paths.values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(operations, ENDPOINTS.len());
}

#[test]
fn every_kind_of_problem_is_listed() {
    let document = openapi();
    let listed = document["x-rolecall-problems"].as_array().unwrap();
    let listed: Vec<_> = listed.iter().map(|problem| problem["type"].as_str().unwrap()).collect();
    let kinds: Vec<_> = Kind::ALL.iter().map(|kind| format!("/problems/{kind}")).collect();
    assert_eq!(listed, kinds);
}

#[test]
fn no_description_speaks_the_language_of_the_source() {
    for text in [document::openapi(), document::reference()] {
        for word in ["[`", "`]", "crate::", "Self::"] {
            let line = text.lines().find(|line| line.contains(word));
            assert_eq!(line, None, "{word}");
        }
    }
}
