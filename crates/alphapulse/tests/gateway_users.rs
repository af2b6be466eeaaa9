//! The first start, and whoever manages users on the command line while the gateway runs.

mod common;

use common::{Site, role::Role, wait_for};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Output, Stdio},
};

fn text(out: &Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A running gateway: its address.
fn start(site: &Site) -> (Role, String) {
    let gateway = Role::start(site, &["gateway"], &[]);
    let address = wait_for("the gateway", || {
        let file = fs::read(site.state.path().join("run/gateway.json")).ok()?;
        let file: Value = serde_json::from_slice(&file).ok()?;
        Some(file["listen"].as_str()?.strip_prefix("ws://")?.split('/').next()?.to_owned())
    });
    (gateway, address)
}

fn get(address: &str, path: &str, headers: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).expect("the gateway");
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    (answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), answer)
}

fn me(address: &str, secret: &str) -> u16 {
    get(address, "/v1/me", &format!("Authorization: Bearer {secret}\r\n")).0
}

#[test]
fn keys_tokens_links_and_users_are_made_and_ended_while_it_runs() {
    let site = Site::new("");
    let (_gateway, address) = start(&site);
    let key = text(&site.output(&["key", "create", "--label", "script"]));
    let token = text(&site.output(&["token", "--scopes", "read"]));
    assert_eq!((me(&address, &key), me(&address, &token)), (200, 200));
    assert_eq!(get(&address, "/v1/me", "").0, 401);
    let listed: Value = serde_json::from_str(&text(&site.output(&["key", "ls", "--json"]))).expect("JSON");
    assert_eq!((listed[0]["label"].as_str(), listed[0]["user"].as_str()), (Some("script"), Some("admin")));
    assert!(!listed.to_string().contains(&key), "a secret is listed");
    text(&site.output(&["key", "revoke", listed[0]["id"].as_str().expect("an id")]));
    wait_for("the key to end", || (me(&address, &key) == 401).then_some(()));

    let link = text(&site.output(&["user", "link", "admin"]));
    let path = link.strip_prefix(&format!("http://{address}")).expect("a link to the gateway");
    let (status, answer) = get(&address, path, "");
    assert_eq!(status, 303, "{answer}");
    assert_eq!(get(&address, path, "").0, 401, "used up");

    text(&site.output(&["user", "add", "vic", "--role", "viewer"]));
    let key = text(&site.output(&["key", "create", "--user", "vic"]));
    assert_eq!(me(&address, &key), 200);
    text(&site.output(&["user", "disable", "vic"]));
    wait_for("the user to be shut out", || (me(&address, &key) == 401).then_some(()));
    let refused = site.output(&["user", "disable", "admin"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("last admin"), "{refused:?}");
    let whole = text(&site.output(&["audit", "verify"]));
    assert!(whole.contains("entries, whole"), "{whole}");
}

#[test]
fn a_password_comes_from_standard_input_and_the_log_tells_who_changed_it() {
    let site = Site::new("");
    let with_password = |args: &[&str], password: &str| -> Output {
        let mut command: Command = site.command();
        command.args(args).arg("--password-stdin").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        child.stdin.take().expect("piped").write_all(password.as_bytes()).expect("written");
        child.wait_with_output().expect("it ends")
    };
    let added = text(&with_password(&["user", "add", "ann", "--role", "admin"], "a canary of a password\n"));
    assert!(added.is_empty(), "a password that was given is not shown: {added}");
    let short = with_password(&["user", "passwd", "ann"], "short\n");
    assert!(!short.status.success() && String::from_utf8_lossy(&short.stderr).contains("12 characters"));
    let log = text(&site.output(&["audit", "ls"]));
    let entry: Value = serde_json::from_str(log.lines().next().expect("an entry")).expect("JSON");
    assert_eq!((entry["action"].as_str(), entry["actor"].as_str()), (Some("user.add"), Some("command line")));
    for file in fs::read_dir(site.state.path().join("gateway")).expect("a folder") {
        let bytes = fs::read(file.expect("a file").path()).expect("read");
        assert!(!bytes.windows(6).any(|window| window == b"canary"), "the password is stored");
    }
}
