//! The table in `docs/reliability.md`: one row for each fault and venue, made by the test that lets it happen.
//! A row that is not there as made fails its test; `UPDATE_GOLDEN=1` writes the rows of the tests that run.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Mutex};

const BEGIN: &str =
    "| fault | what goes wrong | venue | injected | reported | missed | spurious |\n|---|---|---|---|---|---|---|\n";
const END: &str = "\n<!-- end of the table -->";

static WRITING: Mutex<()> = Mutex::new(());

/// What one fault at one venue came to.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its number in the list of faults.
    pub fault: &'static str,
    pub what: &'static str,
    pub venue: &'static str,
    pub injected: String,
    pub reported: String,
    /// Injected and not told.
    pub missed: u64,
    /// Told and not injected.
    pub spurious: u64,
}

impl Row {
    fn key(&self) -> String {
        format!("| {} | {} | {} |", self.fault, self.what, self.venue)
    }

    fn line(&self) -> String {
        format!("{} {} | {} | {} | {} |", self.key(), self.injected, self.reported, self.missed, self.spurious)
    }

    /// Holds the row against the table.
    pub fn check(&self) {
        println!("{}", self.line());
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability.md");
        let _writing = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = fs::read_to_string(&path).expect("docs/reliability.md");
        let (head, rest) = text.split_once(BEGIN).expect("the head of the table");
        let (rows, tail) = rest.split_once(END).expect("the end of the table");
        let cells = |line: &str| line.splitn(5, " | ").take(3).collect::<Vec<_>>().join(" | ");
        let mut lines: BTreeMap<String, String> =
            rows.lines().filter(|l| !l.is_empty()).map(|l| (cells(l), l.to_owned())).collect();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            lines.insert(cells(&self.line()), self.line());
            let rows: Vec<String> = lines.into_values().collect();
            fs::write(&path, format!("{head}{BEGIN}{}{END}{tail}", rows.join("\n"))).expect("written");
            return;
        }
        let known = lines.get(&cells(&self.line()));
        assert_eq!(known, Some(&self.line()), "docs/reliability.md is out of date; UPDATE_GOLDEN=1 rewrites its rows");
    }
}
