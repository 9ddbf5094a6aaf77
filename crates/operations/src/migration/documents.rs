//! The state: documents with the rest of their time, and counters.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use shared::ports::PortError;
use shared::ports::state::Write;
use shared::ports::transfer::{Exported, TransferState};
use shared::{generation, membership};

use super::mark;
use super::report::{Line, Sum};

/// Documents read at a time, and written at once.
const PAGE: u32 = 200;

/// What stays behind: what names a store, says who serves it, is made from the log of dead letters and its positions,
/// or is an embedded queue's mark.
fn is_carried(key: &str) -> bool {
    ![mark::KEY, generation::KEY].contains(&key)
        && ![membership::PREFIX, "letters/", "queue_mark/"].iter().any(|p| key.starts_with(p))
}

fn kind(key: &str) -> &str {
    key.split('/').next().unwrap_or(key)
}

/// Copies all; safe to repeat.
pub(super) async fn copy(from: &dyn TransferState, to: &dyn TransferState) -> Result<(), PortError> {
    let mut after = None;
    loop {
        let page = from.export(after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        try_join_all(page.iter().filter(|document| is_carried(&document.key)).map(async |document| {
            let write =
                Write { time_to_live: document.time_to_live, ..Write::put(&document.key, &document.value) };
            to.write(write).await
        }))
        .await?;
    }
    for counter in from.export_counters().await? {
        let present = to.count(&counter.key, 0, counter.ends_in).await?;
        if present < counter.value {
            to.count(&counter.key, counter.value - present, counter.ends_in).await?;
        }
    }
    Ok(())
}

/// The documents of one kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    /// Those that stay.
    stay: Sum,
    /// How many end by themselves.
    end: u64,
}

impl Tally {
    pub(super) fn count(&self) -> u64 {
        self.stay.count + self.end
    }

    fn add(&mut self, document: &Exported) {
        match document.time_to_live {
            None => self.stay.add(&[document.key.as_bytes(), &document.value]),
            Some(_) => self.end += 1,
        }
    }
}

/// The documents by their kind.
pub(super) async fn tally(state: &dyn TransferState) -> Result<BTreeMap<String, Tally>, PortError> {
    let mut found: BTreeMap<String, Tally> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = state.export(after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.key.clone());
        for document in page.iter().filter(|document| is_carried(&document.key)) {
            found.entry(kind(&document.key).to_owned()).or_default().add(document);
        }
    }
}

/// Compares both. What ends by itself ends in the target a little later, and the target is read first: it has all
/// that the source still has.
pub(super) async fn compare(
    from: &dyn TransferState,
    to: &dyn TransferState,
) -> Result<Vec<Line>, PortError> {
    let counted: BTreeMap<String, u64> =
        to.export_counters().await?.into_iter().map(|counter| (counter.key, counter.value)).collect();
    let mut there = tally(to).await?;
    let here = tally(from).await?;
    let mut lines: Vec<Line> = here
        .into_iter()
        .map(|(kind, here)| line(kind.clone(), here, there.remove(&kind).unwrap_or_default()))
        .collect();
    lines.extend(there.into_iter().map(|(kind, there)| line(kind, Tally::default(), there)));
    let counters = from.export_counters().await?;
    let equal = counters.iter().all(|counter| counted.get(&counter.key) == Some(&counter.value));
    let to = Some(counted.len() as u64);
    lines.push(Line { to, equal, ..Line::counted("counters".to_owned(), counters.len() as u64) });
    Ok(lines)
}

fn line(kind: String, here: Tally, there: Tally) -> Line {
    let note = if here.end + there.end > 0 {
        format!("and {} that end by themselves, {} in the target", here.end, there.end)
    } else {
        String::new()
    };
    let line = Line::compared(kind, here.stay, there.stay);
    Line { note, equal: line.equal && here.end <= there.end, ..line }
}
