//! The two rounds of the demo, and its judgement.

use std::collections::BTreeMap;
use std::time::Duration;

use simulators::demo_data::{self, Category, Edit, Side};
use tokio::time::Instant;

use operations::dead_letters::Filter;

use super::course::{Course, Stage};
use super::judge::Held;
use super::oracle::{Expected, expected};
use super::progress::{Around, Progress};
use super::report::{self, Ledger, Report};
use super::{Demo, keep};
use crate::fleet::Fleet;
use crate::output::note;

/// Pause between two looks at both sides.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// How long nothing may change before the demo gives up.
const STANDSTILL_MAX: Duration = Duration::from_secs(40);
/// How long the last messages may take.
const DRY_TIME_MAX: Duration = Duration::from_secs(60);
/// Pause between two edits of people.
const EDIT_PAUSE: Duration = Duration::from_millis(20);

impl Demo<'_> {
    /// Everything into step for the first time; answers with the edits of the second round. None when stopped.
    pub(super) async fn first_round(&self, course: Course) -> Result<Option<Course>, String> {
        if course.stage != Stage::FirstRound {
            return Ok(Some(course));
        }
        note("Round one: everything into step for the first time, while requests fail now and then.\n");
        let fleet = self.fleet().await?;
        let goal = expected(&self.pairs, &[], &BTreeMap::new());
        let goes_on = self.reach(1, &goal).await;
        self.run_dry(fleet).await?;
        if !goes_on? {
            return Ok(None);
        }
        let (crm, advoware) =
            (self.systems.records(Side::Crm).await?, self.systems.records(Side::Advoware).await?);
        let edits = demo_data::second_round(course.seed, &crm, &advoware);
        let bet_nrs = Held::new(crm, advoware, Default::default()).bet_nrs();
        let course = Course { stage: Stage::SecondRound { edits, bet_nrs }, ..course };
        keep(self.dir, &course)?;
        Ok(Some(course))
    }

    /// People change things in both systems; answers with what must come of it. None when stopped.
    pub(super) async fn second_round(&self, course: &Course) -> Result<Option<Vec<Expected>>, String> {
        let Stage::SecondRound { edits, bet_nrs } = &course.stage else {
            return Err("the demo lost its way: remove its directory".to_owned());
        };
        let goal = expected(&self.pairs, edits, bet_nrs);
        let outstanding = self.systems.outstanding(edits).await?;
        let (two_sided, one_sided): (Vec<&Edit>, Vec<&Edit>) =
            outstanding.iter().partition(|edit| touches_both_sides(edit.category));
        note(format!(
            "\nRound two: the fleet is stopped while people make {} edits that touch both sides of a party; \
             {} more follow while it works.\n",
            two_sided.len(),
            one_sided.len()
        ));
        for edit in two_sided {
            self.systems.edit(edit).await?;
        }
        let fleet = self.fleet().await?;
        let goes_on = async {
            for edit in one_sided {
                if self.stop.is_cancelled() {
                    return Ok(false);
                }
                self.systems.edit(edit).await?;
                tokio::time::sleep(EDIT_PAUSE).await;
            }
            self.reach(2, &goal).await
        }
        .await;
        self.run_dry(fleet).await?;
        Ok(goes_on?.then_some(goal))
    }

    /// Waits until both sides are as they must be, or nothing moves any more. `false` when stopped.
    async fn reach(&self, round: u8, goal: &[Expected]) -> Result<bool, String> {
        let mut progress = Progress::begin(round);
        // Single records fall back now and then, when a look at them fails: only a new best counts as progress.
        let mut best = (0, Instant::now());
        loop {
            let held = self.held().await?;
            let rows = report::rows(goal, &held);
            progress.show(&rows, self.around(&held).await);
            let reached = rows.iter().all(|row| row.parties == row.as_expected);
            let count: usize = rows.iter().map(|row| row.as_expected).sum();
            if count > best.0 {
                best = (count, Instant::now());
            }
            if reached || best.1.elapsed() > STANDSTILL_MAX {
                progress.end();
                return Ok(true);
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(LOOK_PAUSE)).await.is_none() {
                progress.end();
                return Ok(false);
            }
        }
    }

    /// Lets the worker finish what is in the queue, then stops it: nothing is left half done.
    pub(super) async fn run_dry(&self, fleet: Fleet) -> Result<(), String> {
        fleet.stop_producing();
        let deadline = Instant::now() + DRY_TIME_MAX;
        while !self.stop.is_cancelled() && Instant::now() < deadline {
            let around = self.around(&Held::default()).await;
            if around.ready + around.delayed == 0 {
                break;
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        match fleet.stop().await {
            true => Ok(()),
            false => Err("producer or worker ended by a defect; see syncfleet.log".to_owned()),
        }
    }

    /// What both sides hold now.
    pub(super) async fn held(&self) -> Result<Held, String> {
        let (crm, advoware) =
            (self.systems.records(Side::Crm).await?, self.systems.records(Side::Advoware).await?);
        let failed = |problem: shared::ports::PortError| problem.to_string();
        let mut walk = self.desk.walk(&Filter::default()).await.map_err(failed)?;
        let letters = walk.take(usize::MAX).await.map_err(failed)?;
        Ok(Held::new(crm, advoware, report::ids_of(&letters)))
    }

    pub(super) async fn around(&self, held: &Held) -> Around {
        let mut around = Around { dead_letters: held.dead_letters(), ..Around::default() };
        for topology in self.parts.topologies() {
            // A depth that cannot be told now is told at the next look.
            let depth = self.parts.queue.depth(&topology).await.unwrap_or_default();
            around.ready += depth.ready;
            around.delayed += depth.delayed;
        }
        around
    }

    /// Judges both sides as they stand, with nobody at work.
    pub(super) async fn judge(&self, goal: &[Expected], began: Instant) -> Result<Report, String> {
        // Before the ledgers are read, which is no part of producer and worker.
        let memory_bytes =
            report::memory_of(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        let held = self.held().await?;
        let mut ledger = Ledger::default();
        for side in [Side::Crm, Side::Advoware] {
            self.systems.read_journal(side, |page| ledger.read(page)).await?;
        }
        let written = ledger.written();
        let differences = report::differences(goal, &held);
        Ok(Report {
            equal: differences.is_empty() && written.created_twice == 0 && written.writes_without_change == 0,
            categories: report::rows(goal, &held),
            differences,
            written,
            dead_letters_open: held.dead_letters(),
            requests: [self.systems.requests(Side::Crm).await?, self.systems.requests(Side::Advoware).await?],
            seconds: began.elapsed().as_secs_f64(),
            memory_bytes,
        })
    }
}

/// Whether people work on both sides of a party. Which edit comes first must not matter, so they are made while
/// nobody looks.
fn touches_both_sides(category: Category) -> bool {
    matches!(category, Category::BothDifferentFields | Category::BothSameField | Category::BothSameValue)
}
