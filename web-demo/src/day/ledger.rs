//! The day's timeline, its figures, and which promises were kept.

use std::fmt::Display;
use std::io::{Result, Write};
use std::time::{Duration, Instant};

/// Writes down what happens, as it happens.
pub(super) struct Ledger<'a> {
    out: &'a mut dyn Write,
    begun: Instant,
    kept: usize,
    broken: Vec<String>,
    figures: Vec<(String, String)>,
}

impl<'a> Ledger<'a> {
    pub(super) fn to(out: &'a mut dyn Write) -> Self {
        Self { out, begun: Instant::now(), kept: 0, broken: Vec::new(), figures: Vec::new() }
    }

    /// A heading.
    pub(super) fn chapter(&mut self, title: &str) -> Result<()> {
        writeln!(self.out, "\n{title}")
    }

    /// A line of the timeline, with the time since the day began.
    pub(super) fn say(&mut self, what: impl Display) -> Result<()> {
        writeln!(self.out, "  {:>8.3} s  {what}", self.begun.elapsed().as_secs_f64())
    }

    /// A promise that was put to the test.
    pub(super) fn promise(&mut self, promise: &str, kept: bool) -> Result<()> {
        let word = if kept { "kept  " } else { "BROKEN" };
        if kept {
            self.kept += 1;
        } else {
            self.broken.push(promise.to_owned());
        }
        writeln!(self.out, "  {word:>10}  {promise}")
    }

    /// A figure for the table at the end.
    pub(super) fn figure(&mut self, name: impl Into<String>, value: impl Display) {
        self.figures.push((name.into(), value.to_string()));
    }

    /// Writes the table and the sum; `true` if every promise was kept.
    pub(super) fn close(self) -> Result<bool> {
        let widest = self.figures.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        writeln!(self.out, "\nFigures")?;
        for (name, value) in &self.figures {
            writeln!(self.out, "  {name:<widest$}  {value}")?;
        }
        writeln!(self.out, "\nPROMISES: {} kept, {} broken", self.kept, self.broken.len())?;
        for promise in &self.broken {
            writeln!(self.out, "  broken: {promise}")?;
        }
        self.out.flush()?;
        Ok(self.broken.is_empty())
    }
}

/// A duration as people read it: `3.1 ms`, `1.24 s`.
pub(super) fn time(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1_000.0;
    if ms < 1_000.0 { format!("{ms:.1} ms") } else { format!("{:.2} s", ms / 1_000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_is_named_and_ends_badly() -> Result<()> {
        let mut text = Vec::new();
        let mut ledger = Ledger::to(&mut text);
        ledger.promise("nothing is lost", true)?;
        ledger.promise("nothing is told", false)?;
        assert!(!ledger.close()?);
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("PROMISES: 1 kept, 1 broken\n  broken: nothing is told"), "{text}");
        Ok(())
    }
}
