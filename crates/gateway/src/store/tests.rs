//! The store by itself: who is let in and until when, and every way to tamper with the audit log.

use super::*;
use crate::access::{Role, Scopes};
use crate::secret::Secret;
use std::ops::Range;

const NOW_S: u64 = 1_700_000_000;

fn by(now_s: u64) -> By {
    By { actor: "test".to_owned(), address: "here".to_owned(), now_ns: now_s * 1_000_000_000 }
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("gateway")).expect("a store");
    store.add_user(&by(NOW_S), "ann", Role::Admin, &Secret::new("a long password")).expect("added");
    (folder, store)
}

fn read_only() -> Scopes {
    "read".parse().expect("a scope")
}

#[test]
fn sqlite_is_one_that_does_not_lose_the_wal() {
    let version = rusqlite::version_number();
    assert!(version >= 3_051_003, "SQLite {version} may reset its WAL under a writer (mended in 3.51.3)");
}

#[test]
fn a_session_ends_by_itself_when_idle_when_old_and_with_its_user() {
    let (_folder, store) = store();
    let (secret, expires_s) = store.open_session(&by(NOW_S), "ann", "login").expect("opened");
    let alive = |at| store.session(&secret.hash(), at).expect("read").is_some();
    assert_eq!(expires_s, NOW_S + SESSION_MAX_S);
    assert!(alive(NOW_S) && alive(NOW_S + SESSION_IDLE_S - 1));
    assert!(!alive(NOW_S + SESSION_IDLE_S) && !alive(NOW_S - 1));
    for at in (NOW_S..NOW_S + SESSION_MAX_S).step_by(1000) {
        store.touch_session(&secret.hash(), at).expect("touched");
    }
    assert!(alive(NOW_S + SESSION_MAX_S - 1) && !alive(NOW_S + SESSION_MAX_S));
    store.add_user(&by(NOW_S), "bob", Role::Admin, &Secret::new("a long password")).expect("added");
    store.set_disabled(&by(NOW_S), "ann", true).expect("disabled");
    assert!(!alive(NOW_S + 1));
    store.set_disabled(&by(NOW_S), "ann", false).expect("enabled");
    assert!(!alive(NOW_S + 1), "an ended session does not come back");
    let (secret, _) = store.open_session(&by(NOW_S), "ann", "login").expect("opened");
    store.set_password(&by(NOW_S), "ann", &Secret::new("another password")).expect("changed");
    assert!(store.session(&secret.hash(), NOW_S).expect("read").is_none());
}

#[test]
fn keys_and_tokens_end_when_they_expire_are_revoked_or_lose_their_user() {
    let (_folder, store) = store();
    store.add_user(&by(NOW_S), "bob", Role::Admin, &Secret::new("a long password")).expect("added");
    let (info, key) = store.create_key(&by(NOW_S), "ann", "script", read_only(), Some(1)).expect("a key");
    let alive = |at| store.key(&key.hash(), at).expect("read").is_some();
    assert!(alive(NOW_S) && alive(NOW_S + 86_399) && !alive(NOW_S + 86_400));
    assert!(matches!(store.revoke_key(&by(NOW_S), &info.id, Some("bob")), Err(StoreError::Absent { .. })));
    let (_, token) = store.create_token(&by(NOW_S), "ann", read_only(), 10).expect("a token");
    let grant = store.signer().read(token.reveal(), NOW_S).expect("ours");
    assert!(store.token(&grant).expect("read").is_some());
    store.set_disabled(&by(NOW_S), "ann", true).expect("disabled");
    assert!(!alive(NOW_S) && store.token(&grant).expect("read").is_none());
    store.set_disabled(&by(NOW_S), "ann", false).expect("enabled");
    assert!(alive(NOW_S) && store.token(&grant).expect("read").is_some());
    store.revoke_key(&by(NOW_S), &info.id, Some("ann")).expect("revoked");
    store.revoke_token(&by(NOW_S), grant.user, &grant.id).expect("revoked");
    assert!(!alive(NOW_S) && store.token(&grant).expect("read").is_none());
}

#[test]
fn nobody_gives_more_than_a_role_has_and_a_lower_role_takes_it_from_what_was_given() {
    let (_folder, store) = store();
    store.add_user(&by(NOW_S), "vic", Role::Viewer, &Secret::new("a long password")).expect("added");
    let admin: Scopes = "read,admin".parse().expect("scopes");
    assert!(matches!(store.create_key(&by(NOW_S), "vic", "", admin, None), Err(StoreError::Scopes { .. })));
    assert!(matches!(store.create_token(&by(NOW_S), "vic", admin, 5), Err(StoreError::Scopes { .. })));
    assert!(matches!(store.create_token(&by(NOW_S), "vic", read_only(), 61), Err(StoreError::Life { .. })));
    assert!(matches!(store.create_key(&by(NOW_S), "vic", "", Scopes::default(), None), Err(StoreError::Scopes { .. })));
    store.set_role(&by(NOW_S), "vic", Role::Admin).expect("raised");
    let (_, key) = store.create_key(&by(NOW_S), "vic", "", admin, None).expect("a key");
    store.set_role(&by(NOW_S), "vic", Role::Viewer).expect("lowered");
    let principal = store.key(&key.hash(), NOW_S).expect("read").expect("lives");
    assert_eq!((principal.role, principal.scopes), (Role::Viewer, read_only()));
}

#[test]
fn the_last_admin_stays_and_names_are_names() {
    let (_folder, store) = store();
    assert!(matches!(store.set_role(&by(NOW_S), "ann", Role::Trader), Err(StoreError::LastAdmin(_))));
    assert!(matches!(store.set_disabled(&by(NOW_S), "ann", true), Err(StoreError::LastAdmin(_))));
    assert_eq!(store.users().expect("users")[0].role, Role::Admin, "what is refused is undone");
    let long = Secret::new("a long password");
    assert!(matches!(store.add_user(&by(NOW_S), "ann", Role::Viewer, &long), Err(StoreError::Taken(_))));
    for name in ["", "Ann", "a b", "../x", "-a", "é", &"x".repeat(65)] {
        assert!(matches!(store.add_user(&by(NOW_S), name, Role::Viewer, &long), Err(StoreError::Name(_))), "{name}");
    }
    assert!(matches!(store.set_role(&by(NOW_S), "nobody", Role::Viewer), Err(StoreError::Absent { .. })));
    assert_eq!(store.audit_verify().expect("whole").entries, 1, "what was not done left no entry that says it was");
}

#[test]
fn a_link_is_used_once_within_minutes() {
    let (_folder, store) = store();
    let code = store.create_link(&by(NOW_S), "ann").expect("a link");
    assert!(store.open_link(&by(NOW_S + LINK_SECONDS), code.reveal()).expect("read").is_none(), "too old");
    assert!(store.open_link(&by(NOW_S), "another").expect("read").is_none());
    let (session, _) = store.open_link(&by(NOW_S), code.reveal()).expect("read").expect("opened");
    assert!(store.session(&session.hash(), NOW_S).expect("read").is_some());
    assert!(store.open_link(&by(NOW_S), code.reveal()).expect("read").is_none(), "used up");
}

#[test]
fn another_process_is_noticed_and_the_first_start_makes_one_admin() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gateway");
    let (first, second) = (Store::open(&path).expect("a store"), Store::open(&path).expect("the same"));
    let (name, password) = first.first_run(&by(NOW_S)).expect("read").expect("made");
    assert!(second.first_run(&by(NOW_S)).expect("read").is_none());
    let stored = second.account(&name).expect("read").expect("there").password;
    assert!(crate::password::verify(&password, stored.as_deref()));
    let mut changes = first.changes();
    first.look().expect("read");
    changes.mark_unchanged();
    first.look().expect("read");
    assert!(!changes.has_changed().expect("open"), "nothing happened");
    let by = by(NOW_S);
    second.set_password(&by, &name, &Secret::new("a long password")).expect("changed");
    first.look().expect("read");
    assert!(changes.has_changed().expect("open"));
}

#[test]
fn nothing_in_the_database_lets_anybody_in() {
    let (folder, store) = store();
    let (_, key) = store.create_key(&by(NOW_S), "ann", "", read_only(), None).expect("a key");
    let (_, token) = store.create_token(&by(NOW_S), "ann", read_only(), 10).expect("a token");
    let (session, _) = store.open_session(&by(NOW_S), "ann", "login").expect("a session");
    let link = store.create_link(&by(NOW_S), "ann").expect("a link");
    for file in fs::read_dir(folder.path().join("gateway")).expect("a folder") {
        let bytes = fs::read(file.expect("a file").path()).expect("read");
        for secret in [&key, &token, &session, &link, &Secret::new("a long password")] {
            let needle = secret.reveal().as_bytes();
            assert!(!bytes.windows(needle.len()).any(|window| window == needle), "a secret is stored");
        }
    }
}

/// A log of some entries, of different kinds.
fn logged() -> (tempfile::TempDir, Store) {
    let (folder, store) = store();
    for i in 0..10 {
        store.refused(&by(NOW_S + i), "login", &format!("user{i}")).expect("written");
    }
    assert_eq!(store.audit_verify().expect("whole").entries, ENTRIES);
    (folder, store)
}

const ENTRIES: u64 = 11;

fn each() -> Range<u64> {
    1..ENTRIES + 1
}

/// Does this to the tables behind the store's back, judges, and mends them from a copy.
fn tampered(store: &Store, statements: &str) -> String {
    store
        .connection()
        .execute_batch("CREATE TEMP TABLE a AS SELECT * FROM audit; CREATE TEMP TABLE h AS SELECT * FROM audit_head;")
        .expect("copied");
    store.connection().execute_batch(statements).expect("tampered");
    let problem = store.audit_verify().map(|_| "nothing".to_owned()).unwrap_or_else(|problem| problem.to_string());
    store
        .connection()
        .execute_batch(
            "DELETE FROM audit; DELETE FROM audit_head; INSERT INTO audit SELECT * FROM a;
             INSERT INTO audit_head SELECT * FROM h; DROP TABLE a; DROP TABLE h;",
        )
        .expect("mended");
    assert_eq!(store.audit_verify().expect("mended").entries, ENTRIES);
    problem
}

#[test]
fn every_changed_field_of_every_entry_is_named() {
    let (_folder, store) = logged();
    for seq in each() {
        for change in [
            "at_ns = at_ns + 1",
            "actor = actor || 'x'",
            "address = ''",
            "action = 'logout'",
            "target = target || ' '",
            "outcome = CASE outcome WHEN 'done' THEN 'refused' ELSE 'done' END",
            "hash = zeroblob(32)",
            "hash = zeroblob(0)",
            "at_ns = -1",
        ] {
            let problem = tampered(&store, &format!("UPDATE audit SET {change} WHERE seq = {seq};"));
            assert_eq!(problem, format!("entry {seq} of the audit log was changed, moved or put in"), "{change}");
        }
    }
}

#[test]
fn every_removed_moved_or_added_entry_is_named() {
    let (_folder, store) = logged();
    for seq in each() {
        let removed = tampered(&store, &format!("DELETE FROM audit WHERE seq = {seq};"));
        assert_eq!(removed, format!("entry {seq} of the audit log was removed"));
        let closed = tampered(
            &store,
            &format!(
                "DELETE FROM audit WHERE seq = {seq}; UPDATE audit SET seq = -seq WHERE seq > {seq};
                      UPDATE audit SET seq = -seq - 1 WHERE seq < 0;"
            ),
        );
        let expected = if seq == ENTRIES { "removed" } else { "changed, moved or put in" };
        assert_eq!(closed, format!("entry {seq} of the audit log was {expected}"), "the hole closed up");
        for other in seq + 1..ENTRIES + 1 {
            let swapped = tampered(
                &store,
                &format!(
                    "UPDATE audit SET seq = 0 WHERE seq = {seq}; UPDATE audit SET seq = {seq} WHERE seq = {other};
                          UPDATE audit SET seq = {other} WHERE seq = 0;"
                ),
            );
            assert_eq!(swapped, format!("entry {seq} of the audit log was changed, moved or put in"));
        }
        let cut = tampered(&store, &format!("DELETE FROM audit WHERE seq >= {seq};"));
        assert_eq!(cut, format!("entry {seq} of the audit log was removed"), "the rest cut off");
        let doubled = tampered(
            &store,
            &format!(
                "INSERT INTO audit SELECT {ENTRIES} + 1, at_ns, actor, address, action, target, outcome, hash
                      FROM audit WHERE seq = {seq};"
            ),
        );
        assert_eq!(doubled, format!("entry {} of the audit log was changed, moved or put in", ENTRIES + 1));
    }
}

#[test]
fn a_head_that_was_changed_is_named() {
    let (_folder, store) = logged();
    for (statements, expected) in [
        ("DELETE FROM audit_head;", "the head of the audit log"),
        ("UPDATE audit_head SET seq = seq - 1;", "the head of the audit log"),
        ("UPDATE audit_head SET mac = zeroblob(32);", "the head of the audit log"),
        (
            "DELETE FROM audit WHERE seq = 11; UPDATE audit_head SET seq = 10, hash = (SELECT hash FROM audit WHERE seq = 10);",
            "the head",
        ),
        ("DELETE FROM audit; DELETE FROM audit_head WHERE 0;", "entry 1 of the audit log was removed"),
    ] {
        let problem = tampered(&store, statements);
        assert!(problem.contains(expected), "{statements} {problem}");
    }
}
