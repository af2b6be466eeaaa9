//! The OpenAPI 3.1 document, from the types of the route table's handlers, and the same as a page.
//!
//! OpenAPI 3.1 takes JSON Schema as it is, and the records' schemas come from schemars already; so a document generated
//! from the table itself needs no second description of the routes that could say something else.

use std::fmt::Write;

use axum::http::StatusCode;
use schemars::generate::{Contract, SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use crate::access::Policy;
use crate::error::ErrorBody;

/// Where types are defined in the document.
const DEFINITIONS: &str = "/components/schemas";

/// Schemas and operations, while they are being gathered.
pub(crate) struct Documents {
    /// What clients send and what they get differ: a field with a default may be left out, but is always told.
    sent: SchemaGenerator,
    told: SchemaGenerator,
    paths: Map<String, Value>,
}

/// What one route takes and gives.
pub(crate) struct Operation {
    value: Map<String, Value>,
    parameters: Vec<Value>,
    responses: Map<String, Value>,
}

impl Documents {
    pub(crate) fn new() -> Documents {
        let generator = |contract: Contract| {
            let settings = SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = DEFINITIONS.into();
                settings.meta_schema = None;
                settings.contract = contract;
            });
            settings.into_generator()
        };
        Documents { sent: generator(Contract::Deserialize), told: generator(Contract::Serialize), paths: Map::new() }
    }

    pub(crate) fn add(&mut self, method: &str, path: &str, operation: Operation) {
        let error = self.told.subschema_for::<ErrorBody>();
        let operations = self.paths.entry(path).or_insert_with(|| json!({}));
        let words: String = path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let id = format!("{}{}", method.to_ascii_lowercase(), words.trim_end_matches('_'));
        operations[method.to_ascii_lowercase()] = operation.finish(id, &error);
    }

    /// The document.
    pub(crate) fn whole(&self) -> Value {
        let mut schemas = self.told.definitions().clone();
        for (name, schema) in self.sent.definitions() {
            let other = schemas.insert(name.clone(), schema.clone());
            assert!(other.is_none_or(|other| other == *schema), "{name} is sent and told, and the two differ");
        }
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "AlphaPulse gateway",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Prices and sizes are decimals as text. Times end in _ns or begin with ts_ for \
                                nanoseconds since the Unix epoch, and in _s for seconds. Errors have one form.",
            },
            "paths": self.paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a token."},
                    "session": {"type": "apiKey", "in": "cookie", "name": "alphapulse",
                                "description": "A browser's session; over TLS its name begins with __Host-. Changes \
                                                also need the header x-csrf-token."},
                },
            },
        })
    }
}

impl Operation {
    pub(crate) fn new(about: &str, policy: Policy) -> Operation {
        let mut value = Map::new();
        value.insert("summary".to_owned(), about.into());
        value.insert("x-policy".to_owned(), policy.to_string().into());
        let security = match policy {
            Policy::Open { .. } => json!([]),
            Policy::Needs { .. } => json!([{"bearer": []}, {"session": []}]),
        };
        value.insert("security".to_owned(), security);
        Operation { value, parameters: vec![], responses: Map::new() }
    }

    pub(crate) fn path_of<P: JsonSchema>(&mut self, documents: &mut Documents) {
        let schema = P::json_schema(&mut documents.sent);
        self.fields(&schema, "path");
    }

    pub(crate) fn query_of<Q: JsonSchema>(&mut self, documents: &mut Documents) {
        let schema = Q::json_schema(&mut documents.sent);
        self.fields(&schema, "query");
    }

    /// The names in a path, where no type tells of them.
    pub(crate) fn names_in(&mut self, path: &str) {
        let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        for name in names {
            self.parameters.push(json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
        }
    }

    fn fields(&mut self, schema: &Schema, place: &str) {
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let Some(fields) = schema.get("properties").and_then(Value::as_object) else { return };
        for (name, field) in fields {
            let mut field = field.clone();
            let about = field.as_object_mut().and_then(|field| field.remove("description"));
            // What is not there is left out; there is no word for null in an address.
            if let Some(types) = field.get_mut("type").filter(|types| types.is_array()) {
                let first = types.as_array().and_then(|types| types.iter().find(|kind| *kind != "null")).cloned();
                *types = first.unwrap_or(Value::Null);
            }
            let mut parameter = json!({
                "name": name, "in": place, "schema": field,
                "required": place == "path" || required.contains(&name.as_str()),
            });
            if let Some(about) = about {
                parameter["description"] = about;
            }
            self.parameters.push(parameter);
        }
    }

    pub(crate) fn body_of<B: JsonSchema>(&mut self, documents: &mut Documents) {
        let schema = documents.sent.subschema_for::<B>();
        let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        self.value.insert("requestBody".to_owned(), body);
    }

    pub(crate) fn json_of<R: JsonSchema>(&mut self, documents: &mut Documents) {
        let schema = documents.told.subschema_for::<R>();
        let response = json!({"description": "as asked", "content": {"application/json": {"schema": schema}}});
        self.responses.insert("200".to_owned(), response);
    }

    pub(crate) fn media(&mut self, media: &str) {
        let media = media.split(';').next().unwrap_or(media);
        let response = json!({"description": "as asked", "content": {media: {"schema": {}}}});
        self.responses.insert("200".to_owned(), response);
    }

    pub(crate) fn socket(&mut self) {
        self.responses.insert("101".to_owned(), json!({"description": "a WebSocket is open"}));
    }

    fn finish(mut self, id: String, error: &Schema) -> Value {
        let refused = json!({"description": "refused or failed", "content": {"application/json": {"schema": error}}});
        self.responses.insert("default".to_owned(), refused);
        self.value.insert("operationId".to_owned(), id.into());
        self.value.insert("parameters".to_owned(), self.parameters.into());
        self.value.insert("responses".to_owned(), self.responses.into());
        Value::Object(self.value)
    }
}

/// The document as a page, for people without a network.
pub(crate) fn page(document: &Value) -> String {
    let mut out = String::from(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>AlphaPulse: the interface</title>\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n<h1>The interface</h1>\n\
         <p>All of it for programs: <a href=\"/openapi.json\">/openapi.json</a>, OpenAPI 3.1.</p>\n",
    );
    let paths = document["paths"].as_object();
    for (path, operations) in paths.into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let summary = operation["summary"].as_str().unwrap_or("");
            let policy = operation["x-policy"].as_str().unwrap_or("");
            let _ = writeln!(
                out,
                "<details><summary><code>{} {}</code> {}</summary><p>For: {}</p>",
                method.to_uppercase(),
                escape(path),
                escape(summary),
                escape(policy)
            );
            for (title, part) in [
                ("Parameters", &operation["parameters"]),
                ("Body", &operation["requestBody"]["content"]),
                ("Answer", &operation["responses"][StatusCode::OK.as_str()]["content"]),
            ] {
                if part.is_null() || part.as_array().is_some_and(Vec::is_empty) {
                    continue;
                }
                let text = serde_json::to_string_pretty(part).expect("a document is plain JSON");
                let _ = writeln!(out, "<h3>{title}</h3><pre>{}</pre>", escape(&text));
            }
            out.push_str("</details>\n");
        }
    }
    out.push_str("<h2>Types</h2>\n");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let text = serde_json::to_string_pretty(schema).expect("a schema is plain JSON");
        let _ = writeln!(
            out,
            "<details id=\"{name}\"><summary><code>{name}</code></summary><pre>{}</pre></details>",
            escape(&text),
            name = escape(name)
        );
    }
    out.push_str("</html>\n");
    out
}

/// Text as it may stand in a page.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
