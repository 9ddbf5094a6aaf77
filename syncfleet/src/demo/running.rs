//! `--keep-running`: random edits for ever, and a line of state every few seconds.

use std::time::Duration;

use simulators::Dice;
use simulators::demo_data::{Side, random_edits};
use tokio::time::Instant;

use super::Demo;
use crate::output::{self, note};

/// Pause between two edits.
const EDIT_PAUSE: Duration = Duration::from_millis(500);
/// How often a line is printed.
const LINE_EVERY: Duration = Duration::from_secs(3);

impl Demo<'_> {
    /// Goes on until it is stopped.
    pub(super) async fn keep_running(&self) -> Result<(), String> {
        note(format!(
            "Going on with random edits until Ctrl-C. Metrics: http://{}/metrics\n\
             Look around: syncfleet --config {} status\n",
            self.metrics,
            self.dir.join("syncfleet.toml").display()
        ));
        let fleet = self.fleet().await?;
        let outcome = self.edit_at_random().await;
        self.run_dry(fleet).await?;
        outcome
    }

    async fn edit_at_random(&self) -> Result<(), String> {
        let mut dice = Dice::new(self.args.seed);
        let mut line_at = Instant::now();
        for step in 0.. {
            let (crm, advoware) =
                (self.systems.records(Side::Crm).await?, self.systems.records(Side::Advoware).await?);
            for edit in random_edits(&mut dice, step, &crm, &advoware) {
                // A person may be refused (the record is gone by now): then nothing happened.
                let _ = self.systems.edit(&edit).await;
            }
            if Instant::now() >= line_at {
                line_at = Instant::now() + LINE_EVERY;
                self.tell(step + 1).await?;
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(EDIT_PAUSE)).await.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn tell(&self, edits: usize) -> Result<(), String> {
        let held = self.held().await?;
        let around = self.around(&held).await;
        let (all, agree) = held.agreeing();
        note(format!(
            "  {edits} edits · {agree} of {all} records agree · {} messages, {} waiting for their next attempt · {}",
            around.ready,
            around.delayed,
            output::counted(around.dead_letters, "dead letter")
        ));
        Ok(())
    }
}
