//! The one table that is printed.

use std::fmt;
use std::time::Duration;

/// What a figure or ratio should be.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Only shown.
    Shown,
}

impl Goal {
    fn verdict(self, found: f64) -> &'static str {
        let holds = match self {
            Self::AtLeast(bound) => found >= bound,
            Self::AtMost(bound) => found <= bound,
            Self::Shown => return "",
        };
        if holds { "holds" } else { "MISSED" }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::Shown => Ok(()),
        }
    }
}

const HEADS: [&str; 6] = ["measure", "ours: median (least … most)", "ceiling", "ratio", "goal", "verdict"];

/// Lines of what was measured, how it came out, and what it should be.
#[derive(Debug, Default)]
pub struct Table(Vec<[String; 6]>);

impl Table {
    /// Adds figures that are judged by themselves; the median counts.
    pub fn add(&mut self, measure: impl Into<String>, unit: Unit, ours: &[f64], goal: Goal) {
        let goal_text =
            if matches!(goal, Goal::Shown) { String::new() } else { format!("{goal} {}", unit.0) };
        let verdict = goal.verdict(spread(ours)[0]);
        self.push([
            measure.into(),
            unit.spread(ours),
            String::new(),
            String::new(),
            goal_text,
            verdict.into(),
        ]);
    }

    /// Adds a fact in words, and whether it is as it should be.
    pub fn state(&mut self, measure: impl Into<String>, found: impl Into<String>, goal: &str, holds: bool) {
        let verdict = if holds { "holds" } else { "MISSED" };
        let [none, ratio] = [String::new(), String::new()];
        self.push([measure.into(), found.into(), none, ratio, goal.to_owned(), verdict.to_owned()]);
    }

    /// Adds a fact in words that is only shown.
    pub fn show(&mut self, measure: impl Into<String>, found: impl Into<String>) {
        let nothing = String::new;
        self.push([measure.into(), found.into(), nothing(), nothing(), nothing(), nothing()]);
    }

    /// Adds figures of runs that took turns with those of a ceiling. The goal is for the median of the ratios of
    /// neighbours, which a machine that is busy for a while hardly moves.
    pub fn compare(
        &mut self,
        measure: impl Into<String>,
        unit: Unit,
        ours: &[f64],
        ceiling: &[f64],
        goal: Goal,
    ) {
        let ratios: Vec<f64> = ours.iter().zip(ceiling).map(|(ours, ceiling)| ours / ceiling).collect();
        let ratio = spread(&ratios)[0];
        let verdict = goal.verdict(ratio).to_owned();
        let (found, best) = (unit.spread(ours), unit.spread(ceiling));
        self.push([measure.into(), found, best, format!("{ratio:.2}"), goal.to_string(), verdict]);
    }

    fn push(&mut self, line: [String; 6]) {
        eprintln!("{}", line.join(" | "));
        self.0.push(line);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = HEADS.map(str::to_owned);
        let lines = || std::iter::once(&heads).chain(&self.0);
        let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
        for line in lines() {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// The unit of figures, and how many decimals are shown.
#[derive(Debug, Clone, Copy)]
pub struct Unit(&'static str, usize);

/// So many a second.
pub const PER_SECOND: Unit = Unit("/s", 0);
/// Milliseconds.
pub const MILLISECONDS: Unit = Unit("ms", 1);
/// Microseconds of CPU time for one message.
pub const CPU_MICROSECONDS: Unit = Unit("µs", 0);
/// Megabytes.
pub const MEGABYTES: Unit = Unit("MB", 1);
/// Per cent of one CPU.
pub const PER_CENT: Unit = Unit("%", 2);

impl Unit {
    fn spread(self, runs: &[f64]) -> String {
        let Self(unit, decimals) = self;
        let [median, least, most] = spread(runs);
        if runs.len() == 1 {
            return format!("{median:.decimals$} {unit}");
        }
        format!("{median:.decimals$} {unit} ({least:.decimals$} … {most:.decimals$})")
    }
}

/// Median, least and most of several runs.
fn spread(runs: &[f64]) -> [f64; 3] {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    [quantile(&sorted, 0.5), sorted[0], sorted[sorted.len() - 1]]
}

/// The value below which a share of sorted ones lie.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a length"
)]
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted[at.min(sorted.len() - 1)]
}

/// Times in milliseconds.
pub fn milliseconds(runs: &[Duration]) -> Vec<f64> {
    runs.iter().map(|time| time.as_secs_f64() * 1_000.0).collect()
}

/// So many in a time.
pub fn rate(count: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / time.as_secs_f64()
}
