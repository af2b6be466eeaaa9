//! Rows of figures as a table for a terminal or for a document.

use crate::{Machine, Pairs, Spread};
use std::fmt;

/// What a row should reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The figure is a speed: at least this.
    AtLeast(f64),
    /// The figure is a cost: at most this.
    AtMost(f64),
}

impl Goal {
    fn met(self, figure: f64) -> bool {
        match self {
            Goal::AtLeast(least) => figure >= least,
            Goal::AtMost(most) => figure <= most,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::AtLeast(least) => write!(f, "≥ {}", figure(*least)),
            Goal::AtMost(most) => write!(f, "≤ {}", figure(*most)),
        }
    }
}

/// One measured thing.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub stage: String,
    /// Our figure.
    pub ours: Spread,
    /// Its unit.
    pub unit: &'static str,
    /// The reference and its figure in the same unit.
    pub reference: Option<(String, Spread)>,
    /// Paired ratio: speed in the reference's or cost in the reference's, as the goal says.
    pub ratio: Option<(Ratio, Spread)>,
    /// What the ratio (or, without one, our figure) should reach.
    pub goal: Option<Goal>,
}

/// What a ratio means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ratio {
    /// Ours runs this many times as fast.
    Speed,
    /// Ours takes this many times as long.
    Cost,
}

impl Row {
    /// A figure alone.
    pub fn figure(stage: impl Into<String>, ours: Spread, unit: &'static str) -> Row {
        Row { stage: stage.into(), ours, unit, reference: None, ratio: None, goal: None }
    }

    /// A speed beside its reference; times are per `unit` of work in ns.
    pub fn speed(stage: impl Into<String>, reference: impl Into<String>, pairs: &Pairs, unit: &'static str) -> Row {
        Row::paired(stage, reference, pairs, unit, (Ratio::Speed, pairs.speed()))
    }

    /// A cost beside its reference.
    pub fn cost(stage: impl Into<String>, reference: impl Into<String>, pairs: &Pairs, unit: &'static str) -> Row {
        Row::paired(stage, reference, pairs, unit, (Ratio::Cost, pairs.cost()))
    }

    fn paired(
        stage: impl Into<String>,
        reference: impl Into<String>,
        pairs: &Pairs,
        unit: &'static str,
        ratio: (Ratio, Spread),
    ) -> Row {
        Row {
            stage: stage.into(),
            ours: pairs.ours(),
            unit,
            reference: Some((reference.into(), pairs.reference())),
            ratio: Some(ratio),
            goal: None,
        }
    }

    /// The same row with a goal.
    pub fn goal(mut self, goal: Goal) -> Row {
        self.goal = Some(goal);
        self
    }

    /// Whether the goal is met; `None` without one.
    pub fn met(&self) -> Option<bool> {
        let judged = self.ratio.map_or(self.ours.median, |(_, spread)| spread.median);
        self.goal.map(|goal| goal.met(judged))
    }

    fn cells(&self) -> [String; 6] {
        let (name, theirs) = match &self.reference {
            Some((name, spread)) => (name.clone(), format!("{} {}", figure(spread.median), self.unit)),
            None => (String::new(), String::new()),
        };
        let ratio = self.ratio.map_or_else(String::new, |(kind, s)| {
            let word = if kind == Ratio::Speed { "speed" } else { "cost" };
            format!("{}× {word} [{}..{}]", figure(s.median), figure(s.min), figure(s.max))
        });
        let goal = match (self.goal, self.met()) {
            (Some(goal), Some(true)) => format!("{goal} met"),
            (Some(goal), _) => format!("{goal} MISSED"),
            _ => String::new(),
        };
        let spread = match self.ours {
            s if s.max > s.min => format!(" [{}..{}]", figure(s.min), figure(s.max)),
            _ => String::new(),
        };
        [self.stage.clone(), format!("{} {}{spread}", figure(self.ours.median), self.unit), name, theirs, ratio, goal]
    }
}

/// Three significant digits, no more than a shared machine can bear.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 99.5 || v.fract() <= 0.0 => format!("{value:.0}"),
        v if v >= 9.95 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

const TITLES: [&str; 6] = ["stage", "ours", "reference", "its figure", "ratio", "goal"];

/// What one part measured.
#[derive(Clone, Debug)]
pub struct Report {
    /// The part.
    pub part: String,
    /// Where and when.
    pub machine: Machine,
    /// The figures.
    pub rows: Vec<Row>,
    /// What the reader must know beside them.
    pub notes: Vec<String>,
}

impl Report {
    /// An empty report of a part, made here and now.
    pub fn new(part: &str) -> Report {
        Report { part: part.to_owned(), machine: Machine::here(), rows: vec![], notes: vec![] }
    }

    /// Adds a row.
    pub fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds a note.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The report as Markdown, to be pasted into a document.
    pub fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n{}\n\n", self.part, self.header("  \n"));
        text += &format!("| {} |\n|---|---|---|---|---|---|\n", TITLES.join(" | "));
        for row in &self.rows {
            text += &format!("| {} |\n", row.cells().join(" | "));
        }
        for note in &self.notes {
            text += &format!("\n{note}\n");
        }
        text
    }

    fn header(&self, newline: &str) -> String {
        let Machine { cpu, cores, kernel, load, commit, command, date } = &self.machine;
        format!("{cpu}, {cores} cores, Linux {kernel}, load {load}{newline}commit {commit}, {date}{newline}`{command}`")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n", self.part, self.header("\n"))?;
        let rows: Vec<[String; 6]> = self.rows.iter().map(Row::cells).collect();
        let titles = TITLES.map(str::to_owned);
        let mut widths = [0; 6];
        for cells in rows.iter().chain([&titles]) {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = cell.chars().count().max(*width);
            }
        }
        for cells in [&titles].into_iter().chain(&rows) {
            let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", padded.join("  ").trim_end())?;
        }
        for note in &self.notes {
            writeln!(f, "\n{note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_judged_by_the_ratio_where_there_is_one() {
        let mut pairs = Pairs::default();
        pairs.push(10.0, 8.0);
        let fast = Row::speed("a", "b", &pairs, "ns").goal(Goal::AtLeast(1.25));
        assert_eq!(fast.met(), Some(true));
        assert_eq!(fast.goal(Goal::AtLeast(1.3)).met(), Some(false));
        assert_eq!(Row::cost("a", "b", &pairs, "ns").goal(Goal::AtMost(0.7)).met(), Some(false));
        let alone = Row::figure("wakes", Spread::of(&[0.0]), "").goal(Goal::AtMost(0.0));
        assert_eq!(alone.met(), Some(true));
        assert_eq!(alone.cells()[1].trim(), "0");
    }
}
