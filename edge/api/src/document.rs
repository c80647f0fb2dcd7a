//! The documents that are made from the endpoints: `openapi.json`, and the reference for people.

use std::{collections::BTreeMap, fmt::Write};

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{Access, Described, ENDPOINTS, Form, Kind, Problem, Who, login::COOKIE};

/// Where the shapes of what is sent lie within the document.
const SCHEMAS: &str = "/components/schemas";

/// The description of the whole surface for programs, as a JSON text.
///
/// [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.1.html)
pub fn openapi() -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for endpoint in ENDPOINTS {
        let method = endpoint.method.as_str().to_ascii_lowercase();
        let operation = operation(endpoint, &mut generator);
        paths.entry(endpoint.path).or_default().insert(method, operation);
    }
    let problem = generator.subschema_for::<Problem>();
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rolecall",
            "summary": "The control plane: who may have which role, on which host, and what was done.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": {
                "Problem": {
                    "description": "Why it was refused or failed, and who must act. `x-rolecall-problems` has every kind.",
                    "content": { Problem::MEDIA_TYPE: { "schema": problem } },
                },
            },
            "securitySchemes": {
                "session": { "type": "http", "scheme": "bearer", "description": "A session, as signing in gives it." },
                "cookie": { "type": "apiKey", "in": "cookie", "name": COOKIE, "description": "A browser's session. What changes something needs `X-Rolecall-CSRF` as well." },
                "host": { "type": "mutualTLS", "description": "A host's certificate, as joining gives it." },
            },
        },
        "x-rolecall-problems": Kind::ALL.iter().map(|kind| json!({
            "type": kind,
            "title": kind.title(),
            "status": kind.status().as_u16(),
            "who": kind.who(),
            "description": plain(kind.description()),
        })).collect::<Vec<_>>(),
    });
    format!("{:#}\n", sorted(document))
}

fn operation(endpoint: &Described, generator: &mut SchemaGenerator) -> Value {
    let shapes = (endpoint.schemas)(generator);
    let mut parameters = parameters("path", shapes.path.as_value());
    parameters.extend(self::parameters("query", shapes.query.as_value()));
    let mut operation = json!({
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": plain(endpoint.description),
        "tags": [area(endpoint.path)],
        "security": security(endpoint.access),
        "responses": responses(endpoint.form, shapes.answer.as_value()),
    });
    if let Some(operation) = operation.as_object_mut() {
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), parameters.into());
        }
        if !is_null(shapes.body.as_value()) {
            let content = json!({ "application/json": { "schema": shapes.body } });
            let body = json!({ "required": true, "content": content });
            operation.insert("requestBody".to_owned(), body);
            operation.insert("x-rolecall-body-max".to_owned(), endpoint.body_max.into());
        }
        if let Access::Person(action) = endpoint.access {
            operation.insert("x-rolecall-action".to_owned(), action.as_str().into());
        }
    }
    operation
}

/// The parameters that an object's fields are, by name: a map may or may not keep the order of the fields.
fn parameters(place: &str, schema: &Value) -> Vec<Value> {
    let fields = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array);
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let name_is = |field: &Value| field == name.as_str();
        json!({
            "name": name,
            "in": place,
            "required": required.is_some_and(|required| required.iter().any(name_is)),
            "description": description.unwrap_or_default(),
            "schema": schema,
        })
    };
    let fields: BTreeMap<&String, &Value> = fields.into_iter().flatten().collect();
    fields.into_iter().map(parameter).collect()
}

fn security(access: Access) -> Value {
    match access {
        Access::Open => json!([]),
        Access::Agent => json!([{ "host": [] }]),
        Access::Person(_) => json!([{ "session": [] }, { "cookie": [] }]),
    }
}

fn responses(form: Form, answer: &Value) -> Value {
    let mut responses = Map::new();
    match form {
        Form::Json => {
            let optional = answer.get("anyOf").and_then(Value::as_array);
            if !is_null(answer) {
                let schema = optional.and_then(|any| any.iter().find(|one| !is_null(one)));
                let content = json!({ "application/json": { "schema": schema.unwrap_or(answer) } });
                let good = json!({ "description": "The answer.", "content": content });
                responses.insert("200".to_owned(), good);
            }
            if is_null(answer) || optional.is_some_and(|any| any.iter().any(is_null)) {
                let nothing = json!({ "description": "There is nothing to say." });
                responses.insert("204".to_owned(), nothing);
            }
        }
        Form::Browser => {
            let headers =
                json!({ "Location": { "required": true, "schema": { "type": "string" } } });
            let redirect = json!({ "description": "Where the browser goes.", "headers": headers });
            responses.insert("303".to_owned(), redirect);
        }
    }
    let problem = json!({ "$ref": "#/components/responses/Problem" });
    responses.insert("default".to_owned(), problem);
    responses.into()
}

/// Whether nothing but `null` fits.
fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
}

/// What a path is about: its part after the version.
fn area(path: &str) -> &str {
    path.split('/').nth(2).unwrap_or_default()
}

/// A text without what only the Rust documentation understands.
fn plain(text: &str) -> String {
    let lines = text.lines().map(|line| line.trim().replace("[`", "`").replace("`]", "`"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The same with the members of each object in the order of their names, so that the text is the same
/// whatever else is built along with this crate; and with plain texts.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<String, Value> = members.into_iter().collect();
            let sort = |(name, value): (String, Value)| match value {
                Value::String(text) if name == "description" => (name, plain(&text).into()),
                value => (name, sorted(value)),
            };
            Value::Object(members.into_iter().map(sort).collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

/// The reference for people, as Markdown.
pub fn reference() -> String {
    let mut page = "# The server's API\n\nMade from the program by `cargo xtask gen`; a test compares. \
        [openapi.json](../../edge/api/openapi.json) has every field.\n\n\
        Bodies and answers are JSON. A refusal is a [problem](#problems). Lists come in pages: `next` of one page is \
        `after` of the next.\n"
        .to_owned();
    let mut areas: BTreeMap<&str, Vec<&Described>> = BTreeMap::new();
    for endpoint in ENDPOINTS {
        areas.entry(area(endpoint.path)).or_default().push(endpoint);
    }
    for (area, endpoints) in areas {
        page += &format!("\n## {area}\n");
        for endpoint in endpoints {
            // Writing to a text cannot fail.
            let _ = describe(endpoint, &mut page);
        }
    }
    page += "\n## Problems\n\nThe `type` of a problem is `/problems/` and its name here. `who` says who must act.\n\n\
             | name | status | who must act | when |\n|---|---|---|---|\n";
    for kind in Kind::ALL {
        let who = match kind.who() {
            Who::Caller => "who asked",
            Who::Operator => "the operator",
            Who::Nobody => "nobody: it passes",
        };
        let status = kind.status().as_u16();
        let when = plain(kind.description()).replace('\n', " ");
        let _ = writeln!(page, "| `{}` | {status} | {who} | {when} |", kind.slug());
    }
    page
}

fn describe(endpoint: &Described, page: &mut String) -> std::fmt::Result {
    let mut generator = SchemaGenerator::default();
    let shapes = (endpoint.schemas)(&mut generator);
    let who = match endpoint.access {
        Access::Open => "everybody".to_owned(),
        Access::Agent => "a host with its certificate".to_owned(),
        Access::Person(action) => format!("a person who may `{action}`"),
    };
    write!(page, "\n### `{}`\n\n", endpoint.name)?;
    write!(page, "`{} {}`, for {who}.\n\n", endpoint.method, endpoint.path)?;
    writeln!(page, "{}", plain(endpoint.description))?;
    let query = parameters("query", shapes.query.as_value());
    if !query.is_empty() {
        writeln!(page, "\n| in the query | |\n|---|---|")?;
        for parameter in query {
            let text = |name: &str| parameter.get(name).and_then(Value::as_str).unwrap_or_default();
            writeln!(
                page,
                "| `{}` | {} |",
                text("name"),
                plain(text("description")).replace('\n', " ")
            )?;
        }
    }
    for (what, shape) in [("Body", &shapes.body), ("Answer", &shapes.answer)] {
        if let Some(name) = shape_name(shape.as_value()) {
            write!(page, "\n{what}: `{name}`.")?;
        }
    }
    page.push('\n');
    Ok(())
}

/// What a shape is called, if it has a name.
fn shape_name(schema: &Value) -> Option<String> {
    let named = |schema: &Value| {
        let path = schema.get("$ref")?.as_str()?;
        path.rsplit_once('/').map(|(_, name)| name.to_owned())
    };
    let any = schema.get("anyOf").and_then(Value::as_array);
    let optional = any.and_then(|any| any.iter().find_map(named));
    named(schema).or_else(|| optional.map(|name| format!("{name}`, or none`")))
}
