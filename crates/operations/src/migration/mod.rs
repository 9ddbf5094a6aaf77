//! Moving an installation to other backings, such as from one machine to a fleet and back.
//!
//! Messages are moved, batch by batch: published there, confirmed, then removed here. Everything else is copied, and
//! stays here. Both stores say that they take part ([`mark`]), so that no program serves them by mistake. Killed at
//! any point and run again it goes on: what was copied is copied once more, and of the messages one batch for each
//! interruption may be there twice, which is counted.

mod documents;
mod letters;
pub mod mark;
mod messages;
mod report;

use jiff::Timestamp;
use shared::ports::PortError;
use shared::ports::queue::FlowTopology;
use shared::ports::transfer::{TransferQueue, TransferState};
use shared::{labelled, membership};
use uuid::Uuid;

use mark::{Mark, Part};
pub use report::{Line, Report};

/// What is read of a store at a time to find out whether somebody serves it.
const MEMBERS_MAX: u32 = 10;

/// One of the two installations.
#[derive(Debug, Clone)]
pub struct Side<'a> {
    /// How a person calls it: addresses without credentials.
    pub name: String,
    /// Its queue.
    pub queue: &'a dyn TransferQueue,
    /// Its state store.
    pub state: &'a dyn TransferState,
    /// Its flows.
    pub flows: Vec<FlowTopology>,
}

impl Side<'_> {
    /// The flow with all its shards: also those that an earlier, larger number left behind.
    async fn present(&self, flow: &FlowTopology) -> Result<FlowTopology, PortError> {
        let shards = self.queue.shards_present(flow).await?.max(flow.shards);
        Ok(FlowTopology { shards, ..flow.clone() })
    }

    /// How many messages of the flow wait in all its shards.
    async fn waiting(&self, flow: &FlowTopology) -> Result<u64, PortError> {
        let depth = self.queue.depth(&self.present(flow).await?).await?;
        Ok(depth.ready + depth.delayed)
    }
}

/// Why nothing, or no more, was moved.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// A queue or a store failed. Run it again.
    #[error("{0}")]
    Port(#[from] PortError),
    /// It must not be done as things are; the text says why, and what to do.
    #[error("{0}")]
    Refused(String),
}

/// Says what would be moved. Moves nothing; the target's queues are declared, so that they can be looked into.
///
/// # Errors
/// As [`run`]'s.
pub async fn survey(from: &Side<'_>, to: &Side<'_>) -> Result<Report, MigrationError> {
    begin(from, to).await?;
    let mut report = Report::default();
    for flow in &from.flows {
        let waiting = from.waiting(flow).await?;
        report.lines.push(Line::counted(format!("messages {}", flow.flow), waiting));
    }
    report.lines.push(Line::counted("dead letters".to_owned(), letters::count(from.queue).await?));
    let documents = documents::tally(from.state).await?;
    report.lines.extend(documents.into_iter().map(|(kind, tally)| Line::counted(kind, tally.count())));
    let counters = from.state.export_counters().await?.len();
    report.lines.push(Line::counted("counters".to_owned(), counters as u64));
    Ok(report)
}

/// Moves everything. A report whose lines are not all equal leaves the migration unfinished: look, and run it again.
/// One without lines says that everything had been moved and compared before, and only the target's mark was left.
///
/// # Errors
/// [`MigrationError::Refused`] while anybody serves one of the two, or when the target holds anything else.
pub async fn run(from: &Side<'_>, to: &Side<'_>, id: Uuid, now: Timestamp) -> Result<Report, MigrationError> {
    let mut mark = match begin(from, to).await? {
        Some(mark) => mark,
        None => Mark::new(id, Part::Leaving, &to.name, now),
    };
    if mark.part == Part::Left {
        may_be_served(to).await?;
        return Ok(Report::default());
    }
    from.queue.prepare(&from.flows).await?;
    to.queue.prepare(&to.flows).await?;
    mark::save(to.state, &Mark::new(mark.id, Part::Arriving, &from.name, now)).await?;
    mark::save(from.state, &mark).await?;
    from.queue.remember(mark::QUEUE).await?;
    to.queue.remember(mark::QUEUE).await?;
    labelled::reach("migrate.after_marks");
    // Whoever looked for the marks before they were written serves by now.
    nobody_serves(from).await?;
    nobody_serves(to).await?;
    let highest = from.state.rise_above(0).await?;
    to.state.rise_above(highest).await?;
    documents::copy(from.state, to.state).await?;
    labelled::reach("migrate.after_documents");
    letters::copy(from.queue, to.queue).await?;
    labelled::reach("migrate.after_letters");
    for flow in &from.flows {
        messages::carry(from, to, flow, &mut mark).await?;
    }
    nobody_serves(from).await?;
    nobody_serves(to).await?;
    let report = verify(from, to, &mark).await?;
    if report.is_equal() {
        mark::save(from.state, &Mark { part: Part::Left, ..mark }).await?;
        labelled::reach("migrate.after_left");
        may_be_served(to).await?;
    }
    Ok(report)
}

/// Gives a migration up that was not finished: moves back what was moved, and has the source served again. The
/// target keeps its copies, and must be cleared.
///
/// # Errors
/// [`MigrationError::Refused`] when none is under way between the two, or while anybody serves one of them.
pub async fn abandon(from: &Side<'_>, to: &Side<'_>) -> Result<u64, MigrationError> {
    nobody_serves(from).await?;
    nobody_serves(to).await?;
    let here = mark::load(from.state).await?;
    let mut there = match mark::load(to.state).await? {
        Some(there) if there.part == Part::Arriving && there.other == from.name => there,
        _ => {
            return Err(MigrationError::Refused(format!(
                "no migration from {} to {} is under way: nothing is to be given up",
                from.name, to.name
            )));
        }
    };
    if here.is_some_and(|here| here.id != there.id || here.part == Part::Left) {
        return Err(MigrationError::Refused(format!(
            "the migration from {} to {} has moved everything: run it once more to finish it",
            from.name, to.name
        )));
    }
    from.queue.prepare(&from.flows).await?;
    to.queue.prepare(&to.flows).await?;
    for flow in &to.flows {
        messages::carry(to, from, flow, &mut there).await?;
    }
    may_be_served(from).await?;
    may_be_served(to).await?;
    Ok(there.moved.values().map(|moved| moved.messages).sum())
}

/// Takes the marks away; the store's last, since it is what a migration goes on by.
async fn may_be_served(side: &Side<'_>) -> Result<(), PortError> {
    side.queue.forget(mark::QUEUE).await?;
    mark::remove(side.state).await
}

/// Whether it may begin, or go on: then with the mark that the source has.
async fn begin(from: &Side<'_>, to: &Side<'_>) -> Result<Option<Mark>, MigrationError> {
    if from.flows.is_empty() {
        return Err(MigrationError::Refused(format!(
            "no flow is enabled for {}: enable those whose messages are to be moved",
            from.name
        )));
    }
    if let Some(flow) = from.flows.iter().find(|flow| !to.flows.iter().any(|other| other.flow == flow.flow)) {
        return Err(MigrationError::Refused(format!(
            "flow {} is enabled for {}, and not for {}: enable it there, or its messages would be lost",
            flow.flow, from.name, to.name
        )));
    }
    nobody_serves(from).await?;
    nobody_serves(to).await?;
    match (mark::load(from.state).await?, mark::load(to.state).await?) {
        (None, None) => {
            is_empty(to).await?;
            Ok(None)
        }
        (None, Some(there)) if there.part == Part::Arriving && there.other == from.name => {
            // It was interrupted between the two marks.
            Ok(Some(Mark { part: Part::Leaving, other: to.name.clone(), ..there }))
        }
        (Some(here), Some(there)) if here.id == there.id && there.part == Part::Arriving => Ok(Some(here)),
        (Some(here), _) if here.part == Part::Left => Err(MigrationError::Refused(format!(
            "{} was migrated to {} at {}: nothing is left to be done. To go back, migrate from there into something new",
            from.name, here.other, here.at
        ))),
        (Some(here), _) => Err(MigrationError::Refused(format!(
            "{} takes part in another migration, with {}, since {}: finish that one first",
            from.name, here.other, here.at
        ))),
        (None, Some(there)) => Err(MigrationError::Refused(format!(
            "{} was migrated to {} at {} and holds what it held then: clear it, or name something new",
            to.name, there.other, there.at
        ))),
    }
}

async fn nobody_serves(side: &Side<'_>) -> Result<(), MigrationError> {
    let members = side.state.scan(membership::PREFIX, None, MEMBERS_MAX).await?;
    let members = members.into_iter().map(|(key, _)| key);
    let leases = side.state.held_leases().await?.into_iter().map(|name| format!("lease {name}"));
    let serving: Vec<String> = members.chain(leases).take(MEMBERS_MAX as usize).collect();
    if serving.is_empty() {
        return Ok(());
    }
    Err(MigrationError::Refused(format!(
        "{} is being served ({}): stop its programs. What was killed counts as serving until its leases have ended, \
         half a minute by default",
        side.name,
        serving.join(", ")
    )))
}

async fn is_empty(side: &Side<'_>) -> Result<(), MigrationError> {
    let mut found = Vec::new();
    let documents = documents::tally(side.state).await?;
    found.extend(documents.iter().map(|(kind, tally)| format!("{} × {kind}", tally.count())));
    side.queue.prepare(&side.flows).await?;
    for flow in &side.flows {
        let waiting = side.waiting(flow).await?;
        if waiting > 0 {
            found.push(format!("{waiting} messages of flow {}", flow.flow));
        }
    }
    if !side.queue.scan_dead_letters(0, 1).await?.entries.is_empty() {
        found.push("dead letters".to_owned());
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(MigrationError::Refused(format!(
        "{} is not empty ({}): clear it, or name another directory or namespace",
        side.name,
        found.join(", ")
    )))
}

async fn verify(from: &Side<'_>, to: &Side<'_>, mark: &Mark) -> Result<Report, MigrationError> {
    let mut report = Report::default();
    for flow in &from.flows {
        let there = to.flows.iter().find(|other| other.flow == flow.flow).unwrap_or(flow);
        report.lines.push(messages::compare(from, to, flow, there, mark).await?);
    }
    report.lines.push(letters::compare(from.queue, to.queue).await?);
    report.lines.extend(documents::compare(from.state, to.state).await?);
    Ok(report)
}
