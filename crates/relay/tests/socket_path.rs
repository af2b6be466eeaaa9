//! Where a relay can listen, and what it says where it cannot.

mod common;

use common::*;
use relay::{Client, ClientOptions, SOCKET_PATH_MAX, Server, ServerError, ServerOptions, Source, Subscription};
use std::os::unix::net::UnixListener;
use std::path::Path;

fn bind(rings: &Path, socket: &Path) -> Result<Server, ServerError> {
    Server::bind(ServerOptions::new(rings.to_owned(), socket.to_owned()))
}

#[test]
fn a_path_too_long_is_named_with_its_length() {
    let rings = folder();
    let name = "s".repeat(SOCKET_PATH_MAX + 1 - rings.path().as_os_str().len() - 1);
    let socket = rings.path().join(name);
    let error = bind(rings.path(), &socket).err().expect("refused").to_string();
    assert!(error.contains("108 bytes") && error.contains("107"), "{error}");
    let error = Client::open(Source::Unix(socket.clone()), Subscription::default(), ClientOptions::default());
    assert!(error.err().expect("refused").to_string().contains("108 bytes"));
    // One byte less is fine.
    let path = socket.to_str().expect("text");
    assert!(bind(rings.path(), Path::new(&path[..SOCKET_PATH_MAX])).is_ok());
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    // A listener that is gone without removing its file: what kill -9 leaves.
    drop(UnixListener::bind(&socket).expect("bind"));
    assert!(socket.exists());
    let running = Running::start(rings.path(), &socket);
    let error = bind(rings.path(), &socket).err().expect("refused");
    assert!(matches!(error, ServerError::Busy { .. }), "{error}");
    assert!(error.to_string().contains("relay.sock"), "{error}");
    // The live one is unharmed, and takes its file with it.
    drop(over_socket(&socket, Subscription::default()));
    drop(running);
    assert!(!socket.exists());
}

#[test]
fn another_file_is_left_alone() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    std::fs::write(&socket, "precious").expect("write");
    let error = bind(rings.path(), &socket).err().expect("refused");
    assert!(matches!(error, ServerError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&socket).expect("read"), "precious");
}

#[test]
fn no_relay_is_said_so() {
    let rings = folder();
    let socket = rings.path().join("relay.sock");
    let error = Client::open(Source::Unix(socket), Subscription::default(), ClientOptions::default());
    let error = error.err().expect("refused").to_string();
    assert!(error.contains("cannot connect to relay") && error.contains("relay.sock"), "{error}");
}
