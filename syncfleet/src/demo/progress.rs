//! What is seen while the demo runs: bars on a terminal, a line now and then elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar};
use simulators::demo_data::Category;
use tokio::time::Instant;

use super::report::{Row, words};
use crate::output;

/// How often a line is printed where no bars are shown.
const LINE_EVERY: Duration = Duration::from_secs(3);

/// What goes on beside the parties.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Around {
    /// Messages that wait or are being handled.
    pub ready: u64,
    /// Messages that wait for their next attempt.
    pub delayed: u64,
    /// Dead letters that are open.
    pub dead_letters: usize,
}

/// The progress of one round.
#[derive(Debug)]
pub struct Progress {
    round: u8,
    bars: MultiProgress,
    by_category: BTreeMap<Category, ProgressBar>,
    ticker: ProgressBar,
    line_at: Instant,
}

impl Progress {
    /// Begins a round.
    pub fn begin(round: u8) -> Self {
        let bars = output::bars();
        let ticker = output::ticker(&bars);
        Self { round, bars, by_category: BTreeMap::new(), ticker, line_at: Instant::now() + LINE_EVERY }
    }

    /// Shows how it stands.
    pub fn show(&mut self, rows: &[Row], around: Around) {
        for row in rows.iter().filter(|row| row.round == self.round) {
            let bar = self.by_category.entry(row.category).or_insert_with(|| {
                let bar = output::bar(&self.bars, words(row.category).0, to_u64(row.parties));
                self.bars.remove(&self.ticker);
                self.bars.add(self.ticker.clone());
                bar
            });
            bar.set_position(to_u64(row.as_expected));
        }
        let text = line(rows, around, self.round);
        self.ticker.set_message(text.clone());
        self.ticker.tick();
        if !output::is_watched() && Instant::now() >= self.line_at {
            self.line_at = Instant::now() + LINE_EVERY;
            output::note(format!("  {text}"));
        }
    }

    /// Ends the round: the bars stay as they are, the last line goes.
    pub fn end(self) {
        self.ticker.finish_and_clear();
        self.by_category.values().for_each(ProgressBar::abandon);
    }
}

fn line(rows: &[Row], around: Around, round: u8) -> String {
    let rows = rows.iter().filter(|row| row.round == round);
    let (done, all) = rows.fold((0, 0), |(done, all), row| (done + row.as_expected, all + row.parties));
    format!(
        "{done} of {all} as they must be · {} messages, {} waiting for their next attempt · {}",
        around.ready,
        around.delayed,
        output::counted(around.dead_letters, "dead letter"),
    )
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_sums_up_its_round() {
        let row =
            |round, parties, as_expected| Row { round, category: Category::OnlyInCrm, parties, as_expected };
        let around = Around { ready: 12, delayed: 3, dead_letters: 1 };
        assert_eq!(
            line(&[row(1, 5, 5), row(2, 40, 30), row(2, 10, 10)], around, 2),
            "40 of 50 as they must be · 12 messages, 3 waiting for their next attempt · 1 dead letter"
        );
    }
}
