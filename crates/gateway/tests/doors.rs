//! Every route, page and socket of the table, called by everyone who may not: all are refused, and by those who may: all
//! answer.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod market;

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway::{By, Policy, ROLES, Role, RouteInfo, SCOPES, Scopes, Secret, route_table};
use hmac::Mac;
use market::{Market, PASSWORD, ask, body, by};
use primitives::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

/// A path with names filled in.
fn path(route: &RouteInfo) -> String {
    let mut path = route.path.to_owned();
    for (name, value) in
        [("venue", "kraken"), ("symbol", "BTC-USD"), ("name", "nobody"), ("id", "none"), ("code", "none")]
    {
        path = path.replace(&format!("{{{name}}}"), value);
    }
    assert!(!path.contains('{'), "{path} has a name this test does not fill in");
    path
}

/// Calls a route with these headers beside Host.
fn call(address: SocketAddr, route: &RouteInfo, headers: &[String]) -> (u16, String) {
    let first = format!("{} {}", route.method, path(route));
    let host = format!("Host: {address}");
    let json = "Content-Type: application/json".to_owned();
    let upgrade = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];
    let mut lines: Vec<&str> = vec![&first, &host, &json];
    lines.extend(headers.iter().map(String::as_str));
    if route.socket {
        lines.extend(upgrade);
    }
    ask_upgrading(address, &lines, route.socket)
}

/// An upgrade names itself in `Connection`, which `ask` fills in otherwise.
fn ask_upgrading(address: SocketAddr, lines: &[&str], upgrade: bool) -> (u16, String) {
    if !upgrade {
        return ask(address, lines, "{}");
    }
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let headers: String = lines[1..].iter().map(|line| format!("{line}\r\n")).collect();
    write!(stream, "{} HTTP/1.1\r\n{headers}Connection: upgrade\r\n\r\n", lines[0]).unwrap();
    use std::io::Read;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head)
}

fn bearer(secret: &str) -> String {
    format!("Authorization: Bearer {secret}")
}

fn guarded() -> Vec<RouteInfo> {
    let table: Vec<_> =
        route_table().into_iter().filter(|route| matches!(route.policy, Policy::Needs { .. })).collect();
    assert!(table.len() > 30, "the table is not all there");
    table
}

fn at(seconds_ago: u64) -> By {
    By { now_ns: by().now_ns - seconds_ago * 1_000_000_000, ..by() }
}

/// The signing key, as whoever reads the gateway's files could have it.
fn signer(folder: &Path) -> Ed25519KeyPair {
    let root = std::fs::read(folder.join("gateway/keys")).unwrap();
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&root).unwrap();
    mac.update(b"token");
    Ed25519KeyPair::from_seed_unchecked(&mac.finalize().into_bytes()).unwrap()
}

fn signed(pair: &Ed25519KeyPair, header: &str, claims: &str) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes())))
}

/// Credentials that must let nobody in, by name.
fn refused(market: &Market) -> Vec<(String, String)> {
    let store = &market.store;
    let all = Scopes::of_role(Role::Admin);
    let mut found = vec![];
    let mut add = |name: &str, line: String| found.push((name.to_owned(), line));
    add("nothing", "X-Nothing: 1".to_owned());
    for (name, line) in [
        ("an empty bearer", "Authorization: Bearer "),
        ("a password", "Authorization: Basic YW5uOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ=="),
        ("no scheme", "Authorization: abc"),
        ("a key nobody has", "Authorization: Bearer ap_000000000000_0123456789012345678901234567890123456789012"),
        ("an empty cookie", "Cookie: alphapulse="),
        ("a session nobody has", "Cookie: alphapulse=s_0123456789012345678901234567890123456789012"),
    ] {
        add(name, line.to_owned());
    }
    add("a key as a cookie", format!("Cookie: alphapulse={}", market.key));
    add("two keys", format!("{}\r\n{}", bearer(&market.key), bearer(&market.key)));
    add("a cut key", bearer(&market.key[..market.key.len() - 1]));

    let (_, expired) = store.create_key(&at(90_000), "ann", "", all, Some(1)).unwrap();
    add("an expired key", bearer(expired.reveal()));
    let (info, revoked) = store.create_key(&by(), "ann", "", all, None).unwrap();
    store.revoke_key(&by(), &info.id, None).unwrap();
    add("a revoked key", bearer(revoked.reveal()));
    store.add_user(&by(), "gone", Role::Admin, &Secret::new(PASSWORD)).unwrap();
    let (_, orphan) = store.create_key(&by(), "gone", "", all, None).unwrap();
    let (_, orphan_token) = store.create_token(&by(), "gone", all, 10).unwrap();
    store.set_disabled(&by(), "gone", true).unwrap();
    add("the key of one shut out", bearer(orphan.reveal()));
    add("the token of one shut out", bearer(orphan_token.reveal()));

    let (_, old) = store.create_token(&at(700), "ann", all, 10).unwrap();
    add("an expired token", bearer(old.reveal()));
    let (_, early) = store.create_token(&By { now_ns: by().now_ns + 600_000_000_000, ..by() }, "ann", all, 10).unwrap();
    add("a token of the future", bearer(early.reveal()));
    let (_, token) = store.create_token(&by(), "ann", all, 10).unwrap();
    let token = token.reveal();
    add("a token as a cookie", format!("Cookie: alphapulse={token}"));
    for cut in [1, token.len() / 2, token.len() - 1] {
        add("a cut token", bearer(&token[..cut]));
    }
    for place in [5, token.find('.').unwrap() + 5, token.rfind('.').unwrap() + 5] {
        let other = if token.as_bytes()[place] == b'A' { 'B' } else { 'A' };
        add("a tampered token", bearer(&format!("{}{other}{}", &token[..place], &token[place + 1..])));
    }
    forged(market, token, &mut add);
    found
}

/// Tokens under the right key that say the wrong thing, and under the wrong key that say the right thing.
fn forged(market: &Market, token: &str, add: &mut impl FnMut(&str, String)) {
    let pair = signer(market.folder.path());
    let header = r#"{"alg":"EdDSA","typ":"JWT"}"#;
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(signed(&pair, header, &claims), token, "the forger has the key");
    let value: serde_json::Value = serde_json::from_str(&claims).unwrap();
    for claim in ["exp", "nbf", "iat", "iss", "aud", "sub", "jti"] {
        let old = format!("\"{claim}\":{}", value[claim]);
        assert!(claims.contains(&old));
        let number = value[claim].as_u64().unwrap_or(7);
        for new in
            [format!("\"{number}\""), format!("[{number}]"), "1e400".to_owned(), "null".to_owned(), "{}".to_owned()]
        {
            let changed = claims.replace(&old, &format!("\"{claim}\":{new}"));
            // A text in place of a text is another subject, issuer, audience or id, which must be refused too.
            add(&format!("a token with {claim} = {new}"), bearer(&signed(&pair, header, &changed)));
        }
        let absent = claims.replace(&format!("{old},"), "").replace(&format!(",{old}"), "");
        assert_ne!(absent, claims);
        add(&format!("a token without {claim}"), bearer(&signed(&pair, header, &absent)));
    }
    for alg in ["none", "HS256", "ES256"] {
        let header = format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
        let bare = format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&claims));
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(pair.public_key().as_ref()).unwrap();
        mac.update(bare.as_bytes());
        add(&format!("alg {alg}, no signature"), bearer(&format!("{bare}.")));
        let mac = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        add(&format!("alg {alg}, the public key as a secret"), bearer(&format!("{bare}.{mac}")));
        add(&format!("alg {alg}, signed by the right key"), bearer(&signed(&pair, &header, &claims)));
    }
    let other = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    add("another gateway's token", bearer(&signed(&other, header, &claims)));
}

#[test]
fn every_route_refuses_whoever_may_not() {
    let market = Market::open(1024);
    let address = market.gateway.addr();
    let bad = refused(&market);
    assert!(bad.len() > 60, "{}", bad.len());
    for route in guarded() {
        for (name, line) in &bad {
            let (status, answer) = call(address, &route, std::slice::from_ref(line));
            assert_eq!(status, 401, "{} {} with {name}: {answer}", route.method, route.path);
            assert!(!answer.contains("correct horse"), "{answer}");
        }
        let (status, answer) = call(address, &route, &[]);
        assert_eq!(status, 401, "{} {} without anything", route.method, route.path);
        assert!(answer.to_lowercase().contains("www-authenticate: bearer"), "{answer}");
    }
}

#[test]
fn every_route_asks_for_its_role_and_its_scope() {
    let market = Market::open(1024);
    let address = market.gateway.addr();
    for role in ROLES {
        let name = role.name();
        market.store.add_user(&by(), name, role, &Secret::new(PASSWORD)).unwrap();
    }
    let key = |role: Role, scopes: Scopes| market.store.create_key(&by(), role.name(), "", scopes, None).unwrap().1;
    let whole: Vec<_> = ROLES.into_iter().map(|role| (role, key(role, Scopes::of_role(role)))).collect();
    let single: Vec<_> =
        SCOPES.into_iter().map(|scope| (scope, key(Role::Admin, [scope].into_iter().collect()))).collect();
    for route in guarded() {
        let Policy::Needs { role: least, scope: needed } = route.policy else { unreachable!("filtered") };
        for (role, key) in &whole {
            let (status, answer) = call(address, &route, &[bearer(key.reveal())]);
            let lets_in = *role >= least && Scopes::of_role(*role).has(needed);
            let (method, path) = (route.method, route.path);
            assert_eq!(status == 403, !lets_in, "{method} {path} as {role}: {status} {answer}");
            assert!(![401, 500].contains(&status), "{method} {path} as {role}: {answer}");
        }
        for (scope, key) in &single {
            let (status, answer) = call(address, &route, &[bearer(key.reveal())]);
            assert_eq!(status == 403, *scope != needed, "{} {} with {scope}: {answer}", route.method, route.path);
        }
    }
}

#[test]
fn the_table_is_what_it_was_when_somebody_last_thought_about_it() {
    let told: Vec<String> =
        route_table().iter().map(|route| format!("{:<6} {:<32} {}", route.method, route.path, route.policy)).collect();
    let kept = include_str!("routes.txt");
    assert_eq!(told.join("\n").trim(), kept.trim(), "judge the change, then write it to tests/routes.txt");
}

/// Logs in as a browser would: the cookie and the csrf value.
fn log_in(address: SocketAddr, user: &str, password: &str) -> (u16, String, String) {
    let (host, origin) = (format!("Host: {address}"), format!("Origin: http://{address}"));
    let lines = ["POST /v1/login", &host, &origin, "Content-Type: application/json"];
    let (status, answer) = ask(address, &lines, &json!({"user": user, "password": password}).to_string());
    if status != 200 {
        return (status, String::new(), answer);
    }
    let cookie =
        answer.lines().find_map(|line| line.to_lowercase().starts_with("set-cookie: ").then(|| &line[12..])).unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    (status, cookie, body(&answer)["csrf"].as_str().unwrap().to_owned())
}

#[test]
fn a_session_changes_things_only_from_this_page_with_its_csrf_value() {
    let market = Market::open(1024);
    let address = market.gateway.addr();
    let (status, cookie, csrf) = log_in(address, "ann", PASSWORD);
    assert_eq!(status, 200, "{csrf}");
    let (right, host) = (format!("X-CSRF-Token: {csrf}"), format!("Host: {address}"));
    let put = |headers: &[&str]| {
        let mut lines = vec!["PUT /v1/preferences", "Content-Type: application/json", &cookie];
        lines.extend(headers);
        ask(address, &lines, r#"{"theme":"dark"}"#).0
    };
    let origin = format!("Origin: http://{address}");
    assert_eq!(put(&[&host, &origin, &right]), 200);
    assert_eq!(put(&[&host, &origin]), 403, "without the csrf value");
    assert_eq!(put(&[&host, &origin, "X-CSRF-Token: wrong"]), 403);
    assert_eq!(put(&[&host, &origin, "Upgrade: websocket"]), 403, "an upgrade that is none");
    assert_eq!(put(&[&host, &right]), 403, "without an origin");
    for foreign in ["https://example.com", "null", "http://localhost:5173", &format!("https://{address}")] {
        assert_eq!(put(&[&host, &format!("Origin: {foreign}"), &right]), 403, "{foreign}");
    }
    for foreign in ["example.com", "127.0.0.1:1", "127.0.0.1"] {
        assert_eq!(put(&[&format!("Host: {foreign}"), &origin, &right]), 403, "{foreign}");
    }
    assert_eq!(put(&[&host, &origin, &right, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"]), 403);
    // The stream: a page of this server, and no other, with the cookie alone.
    let stream = route_table().into_iter().find(|route| route.socket).unwrap();
    let open = |headers: &[&str]| {
        let mut all = vec![cookie.clone()];
        all.extend(headers.iter().map(|line| (*line).to_owned()));
        call(address, &stream, &all).0
    };
    assert_eq!(open(&[&origin]), 101);
    assert_eq!(open(&[]), 403, "an upgrade by a session without an origin");
    assert_eq!(open(&["Origin: https://example.com"]), 403);
    // Out: the cookie is worth nothing any more.
    let out = ask(address, &["POST /v1/logout", &host, &origin, &cookie, &right], "{}");
    assert_eq!(out.0, 200, "{}", out.1);
    assert_eq!(ask(address, &["GET /v1/me", &host, &cookie], "").0, 401);
}

#[test]
fn every_route_refuses_other_sites_and_other_names_whatever_they_carry() {
    let market = Market::open(1024);
    let address = market.gateway.addr();
    for route in route_table() {
        let key = bearer(&market.key);
        let foreign = [key.clone(), "Origin: https://example.com".to_owned()];
        assert_eq!(call(address, &route, &foreign).0, 403, "{} {} as it is meant", route.method, route.path);
        let first = format!("{} {}", route.method, path(&route));
        let (status, answer) = ask(address, &[&first, &format!("Host: {address}"), &foreign[0], &foreign[1]], "{}");
        assert_eq!((status, body_code(&answer)), (403, Some("origin")), "{first}");
        let lines = [&format!("{} {}", route.method, path(&route)), "Host: rebound.example.com", key.as_str()];
        let (status, answer) = ask(address, &lines, "{}");
        assert_eq!((status, body_code(&answer)), (403, Some("host")), "{} {}", route.method, route.path);
    }
}

fn body_code(answer: &str) -> Option<&str> {
    ["origin", "host", "csrf"].into_iter().find(|code| answer.contains(&format!("\"code\":\"{code}\"")))
}

#[test]
fn guessing_a_password_is_slow_and_says_nothing() {
    let market = Market::open(1024);
    let address = market.gateway.addr();
    let wrong = log_in(address, "ann", "not the password").2;
    let nobody = log_in(address, "nobody", "not the password").2;
    assert_eq!(body(&wrong)["message"], body(&nobody)["message"], "who exists is not told");
    assert_eq!(log_in(address, "ann", PASSWORD).0, 200);
    let statuses: Vec<_> = (0..7).map(|_| log_in(address, "ann", "not the password").0).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    let (status, _, answer) = log_in(address, "ann", PASSWORD);
    assert_eq!(status, 429, "not even with the right one");
    assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
    let entries = market.store.audit_entries(None, 100).unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.action == "login" && entry.outcome == "refused").count(), 7);
    market.store.audit_verify().unwrap();
}

#[test]
fn a_link_logs_in_once() {
    let market = Market::open(1024);
    let address = market.gateway.addr();
    let code = market.store.create_link(&by(), "ann").unwrap();
    let host = format!("Host: {address}");
    let open = || ask(address, &[&format!("GET {}", gateway::login_path(&code)), &host], "");
    assert_eq!(ask(address, &[&format!("HEAD {}", gateway::login_path(&code)), &host], "").0, 405, "a look is no use");
    let (status, answer) = open();
    assert_eq!(status, 303, "{answer}");
    let cookie =
        answer.lines().find_map(|line| line.to_lowercase().starts_with("set-cookie: ").then(|| &line[12..])).unwrap();
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    let (status, me) = ask(address, &["GET /v1/me", &host, &cookie], "");
    assert_eq!((status, body(&me)["user"].clone()), (200, json!("ann")));
    assert_eq!(open().0, 401, "used up");
    let (_, old) = (0, market.store.create_link(&at(601), "ann").unwrap());
    assert_eq!(ask(address, &[&format!("GET {}", gateway::login_path(&old)), &host], "").0, 401, "too old");
}

#[test]
fn a_stream_ends_with_the_key_the_user_or_the_role_that_opened_it() {
    let market = Market::open(1024);
    market.store.add_user(&by(), "bob", Role::Viewer, &Secret::new(PASSWORD)).unwrap();
    let scopes: Scopes = "stream".parse().unwrap();
    let open = || {
        let (info, key) = market.store.create_key(&by(), "bob", "", scopes, None).unwrap();
        (info.id, market::Client::connect(market.gateway.addr(), key.reveal()))
    };
    let closed = |mut client: market::Client, why: &str| match client.message() {
        tungstenite::Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1008, "{why}: {frame:?}"),
        other => panic!("{why}: {other:?}"),
    };
    let (id, client) = open();
    let (_, mut other) = open();
    market.store.revoke_key(&by(), &id, None).unwrap();
    closed(client, "revoked");
    other.say(r#"{"op":"ping","id":1}"#);
    assert_eq!(other.next()["type"], "pong", "another key's stream goes on");
    market.store.set_disabled(&by(), "bob", true).unwrap();
    closed(other, "shut out");
    market.store.set_disabled(&by(), "bob", false).unwrap();
    let (_, client) = open();
    market.store.set_role(&by(), "bob", Role::Trader).unwrap();
    closed(client, "another role");
    // Another process, as the command line is one.
    let (id, client) = open();
    let elsewhere = gateway::Store::open(&market.folder.path().join("gateway")).unwrap();
    elsewhere.revoke_key(&by(), &id, None).unwrap();
    closed(client, "revoked by another process");
    // By time alone: a token that ends in some seconds.
    let (_, token) = market.store.create_token(&at(57), "bob", scopes, 1).unwrap();
    closed(market::Client::connect(market.gateway.addr(), token.reveal()), "expired");
}
