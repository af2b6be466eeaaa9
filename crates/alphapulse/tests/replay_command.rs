//! `alphapulse replay` from outside: recorded frames as lines like `decode`'s, into rings that nobody takes for live ones,
//! and what is asked for wrongly.

mod common;

use common::{Site, program};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn frames() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/kraken/first_light/frames.jsonl")
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Removes the rings of a site's replays: they lie beside its folder of rings.
struct Replays(PathBuf);

impl Drop for Replays {
    fn drop(&mut self) {
        // There is nothing to remove where a test failed early.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn recorded_frames_are_told_as_decode_tells_them_behind_a_session_that_says_replay() {
    let run = |args: &[&str]| program().args(args).arg(frames()).output().expect("the program runs");
    let decoded = run(&["decode", "--venue", "kraken"]);
    let replayed = run(&["replay", "--venue", "kraken"]);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    assert_eq!(replayed.stdout, run(&["replay", "--venue", "kraken"]).stdout, "the same bytes each time");
    let (decoded, replayed) = (lines(&decoded.stdout), lines(&replayed.stdout));
    let (session, told) = replayed.split_first().expect("lines");
    assert_eq!((&session["type"], &session["simulated"]), (&"session_start".into(), &true.into()));
    assert!(session["site"].as_str().is_some_and(|site| site.starts_with("replay:")), "{session}");
    assert!(told.len() > 10);
    assert_eq!(told, decoded);
}

#[test]
fn rings_of_a_replay_are_found_by_who_asks_for_them_and_by_nobody_else() {
    let site = Site::new("");
    let folder = PathBuf::from(format!("{}.replay", site.rings.path().display()));
    let _replays = Replays(folder.clone());
    let path = frames();
    let path = path.to_str().expect("a path of text");
    let out = site.output(&["replay", path, "--venue", "kraken", "--to", "rings", "--name", "light"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(String::from_utf8_lossy(&out.stderr).contains("REPLAY of"));
    assert!(folder.join("light/REPLAY").exists() && folder.join("light/kraken.ring").exists());
    // Live, there is nothing.
    let live = site.output(&["tap", "--from", "oldest", "--for", "0.3"]);
    assert!(live.stdout.is_empty(), "{}", String::from_utf8_lossy(&live.stdout));
    let tapped = site.output(&["tap", "--replay", "light", "--from", "oldest", "-n", "5"]);
    assert!(String::from_utf8_lossy(&tapped.stderr).contains("REPLAY of"), "it says so first");
    let told = lines(&tapped.stdout);
    assert_eq!((told.len(), told[0]["site"].as_str().map(|site| site.starts_with("replay:"))), (5, Some(true)));
    let status = site.output(&["status"]);
    let words = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(words.contains("REPLAY light") && !words.contains("ring kraken"), "{words}");
    let none = site.output(&["tap", "--replay", "dark"]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("there is no replay \"dark\""));
}

#[test]
fn what_cannot_be_replayed_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().to_str().expect("a path of text");
    let absent = folder.path().join("absent");
    for (args, word) in [
        (vec!["replay", empty], "nothing to replay"),
        (vec!["replay", absent.to_str().expect("a path of text")], "nothing to replay"),
        (vec!["replay", empty, "--speed", "fast"], "or step"),
        (vec!["replay", empty, "--speed", "step"], "--control"),
        (vec!["replay", empty, "--from", "noon"], "is no time"),
        (vec!["replay", empty, "--to", "rings", "--name", "../live"], "cannot name a folder"),
    ] {
        let out = program().args(&args).output().expect("the program runs");
        let words = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && words.contains(word), "{args:?}: {words}");
    }
}
