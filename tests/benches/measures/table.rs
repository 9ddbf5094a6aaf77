//! The one table that is printed.

use std::fmt;
use std::time::Duration;

/// Lines of what was measured, how it came out, and what it should be.
#[derive(Debug, Default)]
pub struct Table(Vec<[String; 3]>);

impl Table {
    /// Adds a line. `target` is empty where none is set.
    pub fn add(&mut self, what: impl Into<String>, found: impl Into<String>, target: &str) {
        let line = [what.into(), found.into(), target.to_owned()];
        eprintln!("{}: {}", line[0], line[1]);
        self.0.push(line);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["measure", "median (least … most)", "target"].map(str::to_owned);
        let lines = || std::iter::once(&heads).chain(&self.0);
        let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let (first, second) = (width(0), width(1));
        for [what, found, target] in lines() {
            writeln!(f, "{what:first$}  {found:second$}  {target}")?;
        }
        Ok(())
    }
}

/// Median, least and most of several runs.
fn spread<T: Copy + PartialOrd>(runs: &[T]) -> [T; 3] {
    let mut sorted = runs.to_vec();
    sorted.sort_by(|one, other| one.partial_cmp(other).unwrap());
    [sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1]]
}

/// Several runs in milliseconds.
pub fn milliseconds(runs: &[Duration]) -> String {
    let [median, least, most] = spread(runs).map(|time| time.as_millis());
    format!("{median} ms ({least} … {most})")
}

/// Several rates, per second.
pub fn per_second(runs: &[f64]) -> String {
    let [median, least, most] = spread(runs);
    format!("{median:.0}/s ({least:.0} … {most:.0})")
}
