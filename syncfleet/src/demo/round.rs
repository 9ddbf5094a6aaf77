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
use super::report::{self, Report, Row, Written};
use super::{Demo, keep};
use crate::fleet::Fleet;
use crate::output::note;

/// Pause between two looks at both sides.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// How long nothing may change before the demo gives up.
const STANDSTILL_MAX: Duration = Duration::from_secs(60);
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
        drained(fleet).await?;
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
        drained(fleet).await?;
        Ok(goes_on?.then_some(goal))
    }

    /// Waits until both sides are as they must be, or nothing moves any more. `false` when stopped.
    async fn reach(&self, round: u8, goal: &[Expected]) -> Result<bool, String> {
        let mut progress = Progress::begin(round);
        let mut last: (Vec<Row>, Instant) = (Vec::new(), Instant::now());
        loop {
            let held = self.held().await?;
            let rows = report::rows(goal, &held);
            progress.show(&rows, self.around(&held).await);
            let reached = rows.iter().all(|row| row.parties == row.as_expected);
            if rows != last.0 {
                last = (rows, Instant::now());
            }
            if reached || last.1.elapsed() > STANDSTILL_MAX {
                progress.end();
                return Ok(true);
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(LOOK_PAUSE)).await.is_none() {
                progress.end();
                return Ok(false);
            }
        }
    }

    /// What both sides hold now.
    pub(super) async fn held(&self) -> Result<Held, String> {
        let (crm, advoware) =
            (self.systems.records(Side::Crm).await?, self.systems.records(Side::Advoware).await?);
        let listed = self.desk.list(&Filter::default(), 0, usize::MAX).await;
        let letters = listed.map_err(|problem| problem.to_string())?.letters;
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
        let held = self.held().await?;
        let (crm, advoware) =
            (self.systems.journal(Side::Crm).await?, self.systems.journal(Side::Advoware).await?);
        let written = Written::of(&crm, &advoware);
        let differences = report::differences(goal, &held);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Ok(Report {
            equal: differences.is_empty() && written.created_twice == 0 && written.writes_without_change == 0,
            categories: report::rows(goal, &held),
            differences,
            written,
            dead_letters_open: held.dead_letters(),
            requests: [self.systems.requests(Side::Crm).await?, self.systems.requests(Side::Advoware).await?],
            seconds: began.elapsed().as_secs_f64(),
            memory_bytes: report::memory_of(&status),
        })
    }
}

/// Whether people work on both sides of a party. Which edit comes first must not matter, so they are made while
/// nobody looks.
fn touches_both_sides(category: Category) -> bool {
    matches!(category, Category::BothDifferentFields | Category::BothSameField | Category::BothSameValue)
}

async fn drained(fleet: Fleet) -> Result<(), String> {
    if fleet.stop().await {
        Ok(())
    } else {
        Err("producer or worker ended by a defect; see syncfleet.log".to_owned())
    }
}
