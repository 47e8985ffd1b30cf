//! What a program found: tables, and goals that were met or not. Markdown, which reads well on a terminal too.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// One program's findings.
#[derive(Default)]
pub(crate) struct Report {
    title: String,
    /// What was measured, and how; before the tables.
    about: String,
    tables: Vec<Table>,
    pub(crate) goals: Vec<Goal>,
    /// What the figures mean, and what they don't; after the tables.
    notes: Vec<String>,
}

/// Figures beside each other.
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// A promise, and what was seen of it.
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) wanted: String,
    pub(crate) seen: String,
    pub(crate) met: bool,
}

impl Report {
    pub(crate) fn new(title: impl Into<String>, about: impl Into<String>) -> Self {
        Self { title: title.into(), about: about.into(), ..Self::default() }
    }

    pub(crate) fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Something that should be at least so much.
    pub(crate) fn at_least(&mut self, what: &str, seen: f64, wanted: f64, unit: &str) {
        self.goal(what, "at least", seen, wanted, unit, seen >= wanted);
    }

    /// Something that should be at most so much.
    pub(crate) fn at_most(&mut self, what: &str, seen: f64, wanted: f64, unit: &str) {
        self.goal(what, "at most", seen, wanted, unit, seen <= wanted);
    }

    fn goal(&mut self, what: &str, bound: &str, seen: f64, wanted: f64, unit: &str, met: bool) {
        let (wanted, seen) = (format!("{bound} {wanted} {unit}"), format!("{} {unit}", short(seen)));
        self.goals.push(Goal { what: what.to_owned(), wanted, seen, met });
    }
}

impl Table {
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { head: head.map(str::to_owned).to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }
}

impl Goal {
    fn verdict(&self) -> &'static str {
        if self.met { "met" } else { "**not met**" }
    }

    /// A table of goals.
    pub(crate) fn table<'a>(goals: impl Iterator<Item = &'a Self>) -> Table {
        let mut table = Table::new(["what", "goal", "seen", ""]);
        for goal in goals {
            table.row([goal.what.clone(), goal.wanted.clone(), goal.seen.clone(), goal.verdict().to_owned()]);
        }
        table
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "## {}\n\n{}\n", self.title, self.about)?;
        for table in &self.tables {
            writeln!(out, "{table}")?;
        }
        if !self.goals.is_empty() {
            writeln!(out, "{}", Goal::table(self.goals.iter()))?;
        }
        for note in &self.notes {
            writeln!(out, "{note}\n")?;
        }
        Ok(())
    }
}

impl Display for Table {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let all = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| {
            all().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |out: &mut Formatter<'_>, row: &[String]| {
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                // What it is stands on the left, figures on the right.
                if at == 0 {
                    write!(out, "| {cell:<width$} ")?;
                } else {
                    write!(out, "| {cell:>width$} ")?;
                }
            }
            writeln!(out, "|")
        };
        line(out, &self.head)?;
        for (at, width) in widths.iter().enumerate() {
            if at == 0 {
                write!(out, "| {} ", "-".repeat(*width))?;
            } else {
                write!(out, "| {}: ", "-".repeat(width - 1))?;
            }
        }
        writeln!(out, "|")?;
        self.rows.iter().try_for_each(|row| line(out, row))
    }
}

/// A figure with three digits that count.
pub(crate) fn short(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => thousands(figure.round() as u64),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// A whole number with a comma between thousands.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in milliseconds.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1_000.0)
}

/// The middle one.
pub(crate) fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// What so many in a hundred are not above. Sorts them.
pub(crate) fn percentile(times: &mut [Duration], part: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) * part / 100).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_markdown_with_its_figures_under_each_other() {
        let mut report = Report::new("Walk", "Two steps.");
        let mut table = Table::new(["step", "ms"]);
        table.row(["first".to_owned(), "1.00".to_owned()]);
        table.row(["next".to_owned(), "12,345".to_owned()]);
        report.table(table);
        report.at_most("a step", 20.0, 10.0, "ms");
        report.at_least("steps", 1_234_567.0, 3.0, "of them");
        assert_eq!(
            report.to_string(),
            "## Walk\n\nTwo steps.\n\n\
            | step  |     ms |\n| ----- | -----: |\n| first |   1.00 |\n| next  | 12,345 |\n\n\
            | what   |               goal |              seen |             |\n\
            | ------ | -----------------: | ----------------: | ----------: |\n\
            | a step |      at most 10 ms |           20.0 ms | **not met** |\n\
            | steps  | at least 3 of them | 1,234,567 of them |         met |\n\n"
        );
    }

    #[test]
    fn the_middle_and_the_rare_are_found() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        let mut times: Vec<_> = (1..=101).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut times, 50), Duration::from_millis(51));
        assert_eq!(percentile(&mut times, 99), Duration::from_millis(100));
        assert_eq!(percentile(&mut [], 50), Duration::ZERO);
    }
}
