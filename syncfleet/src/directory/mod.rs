//! `directory`: the first sync of WeCom's departments and members, how it stands, and what differs.

mod args;
mod difference;
mod stall;
pub mod standing;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use assembly::Parts;
use assembly::program::EXIT_USAGE;
use flows::directory::first_sync::{Begin, FirstSync, Phase, Request};
use flows::directory::flow::DirectoryFlow;
use jiff::Timestamp;
use serde_json::json;
use shared::flow::Flow as _;
use shared::{dead_mark, membership};
use uuid::Uuid;

pub use args::DirectoryCommand;

use crate::output::{self, EXIT_WRONG, Outcome, fail, note};
use crate::status::ago;
use crate::{operator, parked, sync};
use args::{DiffArgs, FirstSyncArgs, StatusArgs};
use stall::Stall;
use standing::{Course, Standing, awaited, phase};

/// Pause between two looks of `--watch`.
const LOOK_PAUSE: Duration = Duration::from_secs(2);

/// Runs the command.
pub async fn run(file: Option<&Path>, command: &DirectoryCommand) -> Outcome {
    let (_, parts) = operator::visit(file)?;
    let Some(flow) = parts.directory.clone() else {
        let what = "flow directory is not enabled; see [flow.directory] in `syncfleet config default`";
        return Err(fail(EXIT_USAGE, what));
    };
    match command {
        DirectoryCommand::FirstSync(args) => first_sync(&parts, &flow, args).await,
        DirectoryCommand::Status(args) if args.watch => watch(&parts, &flow).await,
        DirectoryCommand::Status(args) => status(&parts, &flow, args).await,
        DirectoryCommand::Diff(args) => diff(&flow, args).await,
    }
}

async fn first_sync(parts: &Parts, flow: &Arc<DirectoryFlow>, args: &FirstSyncArgs) -> Outcome {
    let by = operator::name(args.by.as_deref())?;
    let (id, now) = (Uuid::now_v7().simple().to_string(), parts.clock.now());
    let request = Request { id: &id, by: &by, again: args.again, now };
    let begin = flow.request_first_sync(&request).await.map_err(operator::upstream_failed)?;
    let (word, sync) = match &begin {
        Begin::Start(sync) => ("begun", sync),
        Begin::Join(sync) => ("joined", sync),
        Begin::Refuse(sync) => ("refused", sync),
    };
    let message = match begin {
        // Whoever joins hints at it as well, in case the message of whoever began it was never published.
        Begin::Start(_) | Begin::Join(_) => {
            let published = sync::publish(parts, flow.as_ref(), &flow.first_sync_key()).await;
            Some(published.inspect_err(|_| {
                note("It is kept that the first sync was asked for. Ask again when the queue answers: it is joined.");
            })?)
        }
        Begin::Refuse(_) => None,
    };
    if args.json.json {
        let course = Course::of(sync, now);
        output::json(&json!({ "outcome": word, "first_sync": course, "message": message }));
    } else {
        output::line(said(&begin, now));
    }
    Ok(ExitCode::from(if message.is_some() { 0 } else { EXIT_WRONG }))
}

/// What became of the request, for people.
fn said(begin: &Begin, now: Timestamp) -> String {
    let who = |sync: &FirstSync| format!("{} asked for it {}", sync.by, ago(sync.begun_at, now));
    match begin {
        Begin::Start(sync) => format!(
            "First sync {} is begun; workers do it. `syncfleet directory status --watch` shows how it stands.",
            sync.id
        ),
        Begin::Join(sync) => format!(
            "First sync {} is under way ({}): {}; {}. Nothing else was begun. `syncfleet directory status --watch` shows how \
             it stands.",
            sync.id,
            who(sync),
            phase(sync.phase),
            Course::of(sync, now).line()
        ),
        Begin::Refuse(sync) => format!(
            "Nothing was begun: first sync {} is over ({}). What changes is carried over by callbacks, and everything is \
             compared by each sweep. Where another one is meant all the same: `syncfleet directory first-sync --again`.",
            sync.id,
            who(sync)
        ),
    }
}

async fn look(parts: &Parts, flow: &Arc<DirectoryFlow>) -> Result<Standing, ExitCode> {
    let name = &flow.spec().name;
    let at = parts.clock.now();
    let first_sync = flow.first_sync().await.map_err(operator::upstream_failed)?;
    let members = membership::members(parts.state.as_ref(), name).await.map_err(operator::port_failed)?;
    let parked = parked::read(parts, Some(name)).await?;
    let is_under_way = first_sync.as_ref().is_some_and(|sync| sync.phase != Phase::Done);
    // One document says it; the log of dead letters need not be read for each look.
    let mark = match is_under_way {
        true => dead_mark::load(parts.state.as_ref(), &flow.first_sync_key()).await,
        false => Ok(None),
    };
    let mark = mark.map_err(operator::port_failed)?;
    Ok(Standing {
        at,
        dead_letter: mark.and_then(|mark| mark.letters.last().copied()),
        first_sync: first_sync.map(|sync| Course::of(&sync, at)),
        last_sweep: flow.last_sweep().await.map_err(operator::upstream_failed)?,
        workers: members.len(),
        held_back: flow.held_back().await.map_err(operator::upstream_failed)?,
        parked: awaited(parked.into_iter().map(|waiting| (waiting.waits_for, waiting.since))),
    })
}

async fn status(parts: &Parts, flow: &Arc<DirectoryFlow>, args: &StatusArgs) -> Outcome {
    let standing = look(parts, flow).await?;
    if args.json {
        output::json(&standing);
    } else {
        output::line(standing.text());
    }
    Ok(ExitCode::SUCCESS)
}

async fn diff(flow: &Arc<DirectoryFlow>, args: &DiffArgs) -> Outcome {
    let found = flow.diff(usize::try_from(args.limit).unwrap_or(usize::MAX)).await;
    // Whoever comes next waits for the places at the accounts else.
    flow.leave().await;
    let found = found.map_err(operator::upstream_failed)?;
    if args.json {
        output::json(&found);
    } else {
        output::line(difference::text(&found));
    }
    Ok(ExitCode::from(if difference::is_equal(&found) { 0 } else { EXIT_WRONG }))
}

/// Shows it until it is over, or nobody goes on with it.
async fn watch(parts: &Parts, flow: &Arc<DirectoryFlow>) -> Outcome {
    let ticker = output::ticker(&output::bars());
    let (mut told, mut stall) = (None, Stall::default());
    loop {
        let standing = look(parts, flow).await?;
        let Some(course) = standing.first_sync.as_ref().filter(|course| !course.is_over()) else {
            ticker.finish_and_clear();
            output::line(standing.text());
            return Ok(ExitCode::from(if standing.first_sync.is_some() { 0 } else { EXIT_WRONG }));
        };
        if stall.is_for_good(course, standing.dead_letter) {
            ticker.finish_and_clear();
            output::line(standing.text());
            return Ok(ExitCode::from(EXIT_WRONG));
        }
        let line = format!("{} · {}", phase(course.phase), course.line());
        ticker.set_message(line.clone());
        ticker.tick();
        // Where nobody watches a terminal, a line for each phase will do.
        if !output::is_watched() && told != Some(course.phase) {
            told = Some(course.phase);
            note(line);
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flows::directory::first_sync::begin;

    #[test]
    fn a_second_request_says_what_becomes_of_it() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let request = Request { id: "0192f0c1", by: "anna", again: false, now };
        let started = begin(None, &request);
        insta::assert_snapshot!(said(&started, now), @r"
        First sync 0192f0c1 is begun; workers do it. `syncfleet directory status --watch` shows how it stands.
        ");
        let Begin::Start(sync) = started else { panic!("nothing was there") };
        insta::assert_snapshot!(said(&begin(Some(&sync), &request), now), @r"
        First sync 0192f0c1 is under way (anna asked for it 0 s ago): 1 of 5: departments, parents first; 0 done (how many there are is not known). Nothing else was begun. `syncfleet directory status --watch` shows how it stands.
        ");
        let over = FirstSync { phase: Phase::Done, ..*sync };
        insta::assert_snapshot!(said(&begin(Some(&over), &request), now), @r"
        Nothing was begun: first sync 0192f0c1 is over (anna asked for it 0 s ago). What changes is carried over by callbacks, and everything is compared by each sweep. Where another one is meant all the same: `syncfleet directory first-sync --again`.
        ");
    }
}
