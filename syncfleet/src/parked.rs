//! `parked`: messages that wait for other records.

use std::path::Path;
use std::process::ExitCode;

use assembly::Parts;
use jiff::Timestamp;
use serde::Serialize;
use shared::parking;
use shared::record_key::{FlowName, RecordKey};

use crate::cli::{ParkedCommand, ParkedListArgs};
use crate::operator;
use crate::output::{self, Outcome, counted};

/// Keys that are read in one round trip.
const PAGE_KEYS: u32 = 200;

/// A line of the list.
#[derive(Debug, Serialize)]
pub struct Waiting {
    /// Whose message it is.
    pub record: RecordKey,
    /// What it waits for.
    pub waits_for: RecordKey,
    /// Since when.
    pub since: Timestamp,
    first_seen: Timestamp,
    look_again_at: Timestamp,
}

/// Runs the command.
pub async fn run(file: Option<&Path>, command: &ParkedCommand) -> Outcome {
    let ParkedCommand::List(args) = command;
    let (_, parts) = operator::visit(file)?;
    let mut found = read(&parts, args.flow.as_ref()).await?;
    found.sort_by(|one, other| (one.since, &one.record).cmp(&(other.since, &other.record)));
    show(args, &found);
    Ok(ExitCode::SUCCESS)
}

/// Reads what is parked, of one flow or of all.
pub async fn read(parts: &Parts, flow: Option<&FlowName>) -> Result<Vec<Waiting>, ExitCode> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = parking::page(parts.state.as_ref(), after.as_deref(), PAGE_KEYS).await;
        let page = page.map_err(operator::port_failed)?;
        for key in page.unreadable {
            output::note(format!(
                "What is parked in {key} cannot be read: use the version of the newest worker, or mend the document."
            ));
        }
        for (awaited, waiting) in page.waiting {
            found.extend(waiting.into_iter().map(|parked| Waiting {
                record: parked.record,
                waits_for: awaited.clone(),
                since: parked.since,
                first_seen: parked.first_seen,
                look_again_at: parked.look_again_at,
            }));
        }
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    found.retain(|waiting| flow.is_none_or(|flow| waiting.record.flow() == flow));
    Ok(found)
}

fn show(args: &ParkedListArgs, found: &[Waiting]) {
    if args.json {
        return output::json(&found);
    }
    if found.is_empty() {
        return output::line("Nothing is parked.");
    }
    let second = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    let rows = found.iter().map(|waiting| {
        let Waiting { record, waits_for, since, first_seen, look_again_at } = waiting;
        [
            record.to_string(),
            waits_for.to_string(),
            second(*since),
            second(*look_again_at),
            second(*first_seen),
        ]
    });
    output::line(output::table(["RECORD", "WAITS FOR", "SINCE", "LOOKS AGAIN AT", "FIRST SEEN"], rows));
    output::line(counted(found.len(), "parked message"));
}
