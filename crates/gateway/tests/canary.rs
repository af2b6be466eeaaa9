//! Secrets are in no log, not even at the finest level, and in no answer that is not meant to tell them.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod market;

use std::io;
use std::sync::{Arc, Mutex};

use gateway::{Role, Scopes, Secret};
use market::{Market, ask, bearer, body, by};
use serde_json::json;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_secret_is_logged_or_told_twice() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).init();
    tracing::info!("the log is heard");

    let market = Market::open(1024);
    let address = market.gateway.addr();
    let password = "canary-password-1";
    market.store.add_user(&by(), "eve", Role::Admin, &Secret::new(password)).unwrap();
    let (_, key) = market.store.create_key(&by(), "eve", "", Scopes::of_role(Role::Admin), None).unwrap();
    let link = market.store.create_link(&by(), "eve").unwrap();
    let (host, origin) = (format!("Host: {address}"), format!("Origin: http://{address}"));
    let mut secrets = vec![password.to_owned(), "canary-wrong-2".to_owned(), "CANARY".to_owned()];
    secrets.extend([key.reveal().to_owned(), link.reveal().to_owned()]);
    let json_type = "Content-Type: application/json";
    let mut told = String::new();
    for password in ["canary-wrong-2", password] {
        let login = json!({"user": "eve", "password": password}).to_string();
        let (_, answer) = ask(address, &["POST /v1/login", &host, &origin, json_type], &login);
        let cookie = answer.lines().find_map(|line| line.split("alphapulse=").nth(1)?.split(';').next());
        secrets.extend(cookie.map(str::to_owned));
    }
    let (_, answer) = ask(address, &[&format!("GET {}", gateway::login_path(&link)), &host], "");
    secrets.push(answer.split("alphapulse=").nth(1).unwrap().split(';').next().unwrap().to_owned());
    assert_eq!(secrets.len(), 7, "two sessions were begun");
    let key_line = format!("Authorization: {}", bearer(key.reveal()));
    let token = ask(address, &["POST /v1/tokens", &host, &key_line, json_type], r#"{"scopes":["read"]}"#).1;
    secrets.push(body(&token)["secret"].as_str().unwrap().to_owned());
    let made = ask(address, &["POST /v1/keys", &host, &key_line, json_type], r#"{"scopes":["read"]}"#).1;
    secrets.push(body(&made)["secret"].as_str().unwrap().to_owned());
    let broken = format!(r#"{{"user":"x","role":"viewer","password":"{password}","more":"{password}"}}"#);
    told += &ask(address, &["POST /v1/users", &host, &key_line, json_type], &broken).1;
    told += &ask(address, &["POST /v1/users", &host, &key_line, json_type], &format!("\"{password}\"")).1;
    for path in
        ["/v1/me", "/v1/users", "/v1/keys", "/v1/tokens", "/v1/sessions", "/v1/audit", "/v1/config", "/metrics", "/"]
    {
        let (status, answer) = ask(address, &[&format!("GET {path}"), &host, &key_line], "");
        assert_eq!(status, 200, "{path}: {answer}");
        told += &answer;
    }
    drop(market);
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("the log is heard"));
    for secret in &secrets {
        assert!(!logged.contains(secret.as_str()), "the log tells a secret");
        assert!(!told.contains(secret.as_str()), "an answer tells a secret");
    }
}
