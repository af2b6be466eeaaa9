//! TLS: what is told over it, and that nothing is told without.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod market;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use gateway::{GatewayError, GatewayOptions, Server, TlsFiles};
use market::PASSWORD;
use relay::Source;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use telemetry::Registry;

#[test]
fn over_tls_cookies_are_for_this_host_alone_and_in_the_clear_nothing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let (store, key) = market::users(folder.path());
    let options = || market::options(Source::Rings(folder.path().join("rings")), &Registry::new(), &store);
    let gateway = Server::start(GatewayOptions { tls: Some(files.clone()), ..options() }).unwrap();
    let address = gateway.addr();
    let host = format!("localhost:{}", address.port());

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(made.cert)).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let ask = |lines: &str, body: &str| {
        let connection = ClientConnection::new(config.clone(), ServerName::try_from("localhost").unwrap()).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
        write!(stream, "{lines}\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .unwrap();
        let mut answer = String::new();
        // The end may come without TLS's own goodbye.
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let login = json!({"user": "ann", "password": PASSWORD}).to_string();
    let head = |scheme: &str| {
        format!("POST /v1/login HTTP/1.1\r\nContent-Type: application/json\r\nOrigin: {scheme}://{host}")
    };
    let answer = ask(&head("https"), &login);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let cookie = answer.lines().find(|line| line.contains("__Host-alphapulse=s_")).expect("a cookie of this host");
    assert!(cookie.ends_with("; Secure") && cookie.contains("; HttpOnly"), "{cookie}");
    assert!(answer.contains("strict-transport-security: "), "{answer}");
    assert!(ask(&head("http"), &login).starts_with("HTTP/1.1 403"), "a page in the clear is another site's");

    let mut clear = TcpStream::connect(address).unwrap();
    write!(clear, "GET /v1/me HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n").unwrap();
    let mut told = Vec::new();
    let _ = clear.read_to_end(&mut told);
    assert!(!String::from_utf8_lossy(&told).contains("HTTP/1.1"), "{told:?}");

    let swapped = TlsFiles { certificate: files.key.clone(), key: files.certificate.clone() };
    let error = Server::start(GatewayOptions { tls: Some(swapped), ..options() }).err().expect("a refusal");
    assert!(matches!(error, GatewayError::Tls(_)) && error.to_string().contains("key.pem"), "{error}");
    // Where others can come, with TLS and a user, it starts when it has a name.
    let outside = GatewayOptions { listen: "0.0.0.0:0".to_owned(), tls: Some(files.clone()), ..options() };
    assert!(matches!(Server::start(outside), Err(GatewayError::NoNames { .. })));
    let outside = GatewayOptions {
        listen: "0.0.0.0:0".to_owned(),
        tls: Some(files),
        names: vec!["plant.example.org".to_owned()],
        ..options()
    };
    assert!(Server::start(outside).is_ok());
}
