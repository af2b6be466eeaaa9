//! The OpenAPI document says what is there, and what is there does what the document says: Schemathesis asks it all.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod market;

use std::process::{Command, Stdio};

use gateway::{openapi, route_table};
use market::{Market, body};
use serde_json::Value;

/// Names the program; `scripts/test` installs it and sets this.
const PROGRAM: &str = "ALPHAPULSE_TEST_SCHEMATHESIS";
/// How many requests of each kind it makes up, for a longer run.
const EXAMPLES: &str = "ALPHAPULSE_TEST_EXAMPLES";
/// What a broken promise is: a failure of ours, or an answer that the document does not describe.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
     response_schema_conformance,ignored_auth,unsupported_method";

#[test]
fn the_document_tells_every_route_and_nothing_it_does_not_define() {
    let document = openapi();
    assert_eq!(document["openapi"], "3.1.0");
    let table = route_table();
    for route in &table {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        assert_eq!(operation["summary"], route.about, "{} {}", route.method, route.path);
        assert_eq!(operation["x-policy"], route.policy.to_string());
        let named: Vec<_> = operation["parameters"].as_array().unwrap().iter().filter(|p| p["in"] == "path").collect();
        assert_eq!(named.len(), route.path.matches('{').count(), "{}", route.path);
    }
    let told: usize =
        document["paths"].as_object().unwrap().values().map(|methods| methods.as_object().unwrap().len()).sum();
    assert_eq!(told, table.len());
    check_references(&document, &document);
}

fn check_references(document: &Value, value: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let place = reference.strip_prefix('#').expect("a reference within the document");
                assert!(document.pointer(place).is_some(), "{reference} is not defined");
            }
            fields.values().for_each(|value| check_references(document, value));
        }
        Value::Array(values) => values.iter().for_each(|value| check_references(document, value)),
        _ => {}
    }
}

#[test]
fn the_document_is_served_and_can_be_read_as_a_page() {
    let market = Market::open(1024);
    let (status, told) = market.get("/openapi.json");
    assert_eq!(status, 200);
    assert_eq!(body(&told), openapi());
    let (status, page) = market.get("/docs");
    assert_eq!(status, 200);
    for route in route_table() {
        assert!(page.contains(&format!("<code>{} {}</code>", route.method, route.path)), "{} is not on it", route.path);
    }
    assert!(!page.contains("http://") && !page.contains("https://"), "it needs no other host");
}

#[test]
fn schemathesis_finds_no_failure_and_no_answer_that_the_document_does_not_describe() {
    let Ok(program) = std::env::var(PROGRAM) else {
        println!("SKIPPED: Schemathesis over the OpenAPI document: {PROGRAM} does not name the program");
        return;
    };
    let mut market = Market::open(1024);
    market.kraken.trades("BTC/USD", 1, 10);
    market.get_until("/v1/instruments", |answer| answer.contains("BTCUSDT"));
    // It learns ids from answers and would end its own key half-way, after which all is refused.
    let ends: Vec<_> = ENDS.iter().flat_map(|id| ["--exclude-operation-id", id]).collect();
    let examples = std::env::var(EXAMPLES).unwrap_or_else(|_| "3".to_owned());
    fuzz(&program, &market, &examples, &ends);
    assert_eq!(market.get("/v1/me").0, 200, "it was let in to the end");
    let ends: Vec<_> = ENDS.iter().flat_map(|id| ["--include-operation-id", id]).collect();
    fuzz(&program, &market, &examples, &ends);
    market.store.audit_verify().expect("the audit log is whole");
}

/// What ends the credential that asks.
const ENDS: [&str; 3] = ["delete_v1_keys__id", "delete_v1_admin_keys__id", "put_v1_users__name__disabled"];

fn fuzz(program: &str, market: &Market, examples: &str, chosen: &[&str]) {
    let out = Command::new(program)
        .args(["run", &format!("http://{}/openapi.json", market.gateway.addr())])
        .args(["--header", &format!("Authorization: Bearer {}", market.key)])
        .args(["--phases", "examples,coverage,fuzzing", "--checks", CHECKS, "--max-examples", examples])
        .args(["--seed", "1", "--no-shrink", "--no-color"])
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        .args(chosen)
        .current_dir(market.folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let told = String::from_utf8_lossy(&out.stdout);
    let told = format!("{told}{}", String::from_utf8_lossy(&out.stderr)).replace(&market.key, "…");
    assert!(out.status.success(), "{told}");
    assert!(told.contains("No issues found"), "{told}");
    println!("{told}");
}
