//! The feeds over TLS: a certificate of one's own is trusted when it is configured, and named when it is not.

mod common;

use common::{Site, Tap, Up, wait_for};
use std::{fs, path::Path};

/// A certificate for the loopback address and its key, as PEM files.
fn certificate(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])
        .expect("a certificate");
    fs::write(folder.join("cert.pem"), made.cert.pem()).expect("written");
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
}

fn site(folder: &Path, trusted: bool) -> Site {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let roots = if trusted { format!("[tls]\nextra_roots = [{cert:?}]\n") } else { String::new() };
    // The emulators' sections stand in the site's own text, each with a journal.
    let site = Site::new(&roots);
    let text = fs::read_to_string(&site.config).expect("the configuration");
    let tls = format!("\ntls_certificate = {cert:?}\ntls_key = {key:?}\njournal = ");
    fs::write(&site.config, text.replace("\njournal = ", &tls)).expect("written");
    site
}

#[test]
fn a_configured_root_is_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    certificate(folder.path());
    let site = site(folder.path(), true);
    let up = Up::start(&site, &[]);
    wait_for("rings", || site.rings.path().join("binance.ring").exists().then_some(()));
    let tap = Tap::start(&site, &["--from", "oldest"]);
    let mut secure: Vec<String> = vec![];
    let mut missing = vec![("kraken", "trade"), ("kraken", "book"), ("binance", "trade"), ("binance", "book")];
    while !missing.is_empty() {
        let line = tap.find(&format!("{missing:?}"), |_| true);
        missing.retain(|(venue, kind)| !(line["venue"] == *venue && line["type"] == *kind));
        if line["state"] == "connecting" && line["text"].as_str().is_some_and(|t| t.starts_with("wss://")) {
            secure.push(line["venue"].to_string());
        }
    }
    secure.sort();
    secure.dedup();
    assert_eq!(secure, [r#""binance""#, r#""kraken""#]);
    assert_eq!(up.stop(), Some(0));
}

#[test]
fn an_unknown_issuer_is_named_and_nothing_is_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    certificate(folder.path());
    let site = site(folder.path(), false);
    let _up = Up::start(&site, &[]);
    wait_for("rings", || site.rings.path().join("kraken.ring").exists().then_some(()));
    let tap = Tap::start(&site, &["--from", "oldest", "--venue", "kraken"]);
    // The first attempt may find no server yet: that refusal is another one.
    tap.find("the refusal of the certificate", |l| {
        let text = l["text"].as_str().unwrap_or_default().to_lowercase();
        assert_ne!(l["type"], "trade", "data came over a connection nobody vouched for");
        l["state"] == "down" && (text.contains("certificate") || text.contains("issuer"))
    });
    assert!(tap.drain().iter().all(|l| l["type"] != "trade"), "data came over a connection nobody vouched for");
}

#[test]
fn the_emulators_own_certificate_needs_no_configuration() {
    let site = Site::new("");
    let text = fs::read_to_string(&site.config).expect("the configuration");
    fs::write(&site.config, text.replace("\njournal = ", "\ntls = true\njournal = ")).expect("written");
    let up = Up::start(&site, &[]);
    wait_for("rings", || site.rings.path().join("binance.ring").exists().then_some(()));
    let tap = Tap::start(&site, &["--from", "oldest"]);
    let mut missing = vec![("kraken", "trade"), ("binance", "trade")];
    while !missing.is_empty() {
        let line = tap.find(&format!("{missing:?}"), |_| true);
        missing.retain(|(venue, kind)| !(line["venue"] == *venue && line["type"] == *kind));
        if line["state"] == "connecting" {
            assert!(line["text"].as_str().is_some_and(|t| t.starts_with("wss://")), "{line}");
        }
    }
    assert_eq!(up.stop(), Some(0));
}
