//! Replay, edit, discard.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use assembly::program::{EXIT_USAGE, stop_on_signals};
use operations::dead_letters::{Filter, LetterSummary, Listing, Report};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::args::{DiscardArgs, EditArgs, ReplayArgs};
use super::{Counter, refused, text};
use crate::operator;
use crate::output::{self, EXIT_WRONG, Outcome, counted, fail};

/// Letters sent together at most.
const CHUNK: u16 = 50;
/// Letters that a dry run lists.
const LISTED_MAX: usize = 50;
/// Longest edited message, in bytes: more than any message may have.
const MESSAGE_BYTES_MAX: u64 = 1_000_000;

/// Which letters, a chunk at a time.
enum Source<'a> {
    Ids(std::slice::Chunks<'a, Uuid>),
    Walk(operations::dead_letters::Walk<'a>, usize),
}

impl Source<'_> {
    async fn next(&mut self) -> Result<Option<Vec<Uuid>>, ExitCode> {
        match self {
            Self::Ids(chunks) => Ok(chunks.next().map(<[Uuid]>::to_vec)),
            Self::Walk(walk, size) => {
                let letters = walk.take(*size).await.map_err(operator::port_failed)?;
                let ids: Vec<Uuid> = letters.iter().map(|letter| letter.id).collect();
                Ok((!ids.is_empty()).then_some(ids))
            }
        }
    }
}

impl Counter<'_> {
    async fn source<'s>(
        &'s self,
        ids: &'s [Uuid],
        filter: &Filter,
        size: u16,
    ) -> Result<Source<'s>, ExitCode> {
        let size = usize::from(size);
        match ids {
            [] => Ok(Source::Walk(self.desk.walk(filter).await.map_err(operator::port_failed)?, size)),
            ids => Ok(Source::Ids(ids.chunks(size))),
        }
    }

    pub(super) async fn replay(&self, args: &ReplayArgs) -> Outcome {
        if !args.ids.is_empty() && args.filter.is_set() {
            return Err(fail(EXIT_USAGE, "name ids or filters, not both"));
        }
        if args.dry_run {
            return self.dry_run(args).await;
        }
        let by = operator::name(args.by.as_deref())?;
        self.parts.queue.prepare(&self.parts.topologies()).await.map_err(operator::port_failed)?;
        let size = args.per_second.min(CHUNK);
        let mut ticks =
            tokio::time::interval(Duration::from_secs(1) * u32::from(size) / u32::from(args.per_second));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = stop_on_signals();
        let mut source = self.source(&args.ids, &self.filter(&args.filter), size).await?;
        let mut tally = Tally::default();
        while let Some(ids) = source.next().await? {
            if stop.run_until_cancelled(ticks.tick()).await.is_none() {
                output::line(format!("{} sent again by {by}; interrupted, the rest is open.", tally.done()));
                return Ok(ExitCode::from(EXIT_WRONG));
            }
            match self.desk.replay(&ids, &by, self.parts.clock.now()).await {
                Ok(report) => tally.add(&report),
                Err(error) => {
                    output::note(format!(
                        "{} sent again; the rest is open. Run it again to go on.",
                        tally.done()
                    ));
                    return Err(refused(error));
                }
            }
        }
        output::line(format!("{} sent again by {by}.", tally.done()));
        Ok(tally.code())
    }

    async fn dry_run(&self, args: &ReplayArgs) -> Outcome {
        let (mut letters, mut total) = (Vec::new(), 0usize);
        if args.ids.is_empty() {
            let filter = self.filter(&args.filter);
            let mut walk = self.desk.walk(&filter).await.map_err(operator::port_failed)?;
            while let Some(letter) = walk.next().await.map_err(operator::port_failed)? {
                total += 1;
                if letters.len() < LISTED_MAX {
                    letters.push(letter);
                }
            }
        }
        for id in &args.ids {
            let shown = self.desk.show(*id).await.map_err(refused)?;
            if shown.ending.is_none() {
                total += 1;
                letters.push(LetterSummary::of(&shown.letter, 0));
            }
        }
        let has_more = total > letters.len();
        let listing = Listing { letters, total: Some(total as u64), has_more, unreadable: 0 };
        let table = text::table(&listing);
        output::line(format!(
            "{table}{} would be sent again. Nothing was sent.",
            counted(total, "dead letter")
        ));
        Ok(ExitCode::SUCCESS)
    }

    pub(super) async fn edit(&self, args: &EditArgs) -> Outcome {
        let message = read(&args.message)?;
        let shown = self.desk.show(args.id).await.map_err(refused)?;
        let changes = text::changes(&shown.letter.message, &message);
        if args.dry_run {
            self.desk.check_message(&message).map_err(refused)?;
            output::line(format!("{changes}The message can be sent. Nothing was sent."));
            return Ok(ExitCode::SUCCESS);
        }
        let by = operator::name(args.by.as_deref())?;
        self.parts.queue.prepare(&self.parts.topologies()).await.map_err(operator::port_failed)?;
        let report =
            self.desk.replay_edited(args.id, &message, &by, self.parts.clock.now()).await.map_err(refused)?;
        let mut tally = Tally::default();
        tally.add(&report);
        if tally.done > 0 {
            output::line(format!("{changes}Sent by {by} in place of dead letter {}.", args.id));
        }
        Ok(tally.code())
    }

    pub(super) async fn discard(&self, args: &DiscardArgs) -> Outcome {
        let by = operator::name(args.by.as_deref())?;
        let filter = Filter { group: args.group.clone(), ..Filter::default() };
        let mut source = self.source(&args.ids, &filter, CHUNK).await?;
        let mut tally = Tally::default();
        while let Some(ids) = source.next().await? {
            let report = self.desk.discard(&ids, &by, &args.reason, self.parts.clock.now()).await;
            tally.add(&report.map_err(refused)?);
        }
        output::line(format!("{} discarded by {by}.", tally.done()));
        Ok(tally.code())
    }
}

/// What was done until now.
#[derive(Debug, Default)]
struct Tally {
    done: usize,
    refused: usize,
}

impl Tally {
    fn add(&mut self, report: &Report) {
        self.done += report.done.len();
        self.refused += report.refused.len();
        for refusal in &report.refused {
            fail(EXIT_WRONG, format!("dead letter {} stays as it is: {}", refusal.letter, refusal.why));
        }
    }

    fn done(&self) -> String {
        counted(self.done, "dead letter")
    }

    fn code(&self) -> ExitCode {
        ExitCode::from(if self.refused == 0 { 0 } else { EXIT_WRONG })
    }
}

fn read(file: &Path) -> Result<String, ExitCode> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().take(MESSAGE_BYTES_MAX).read_to_string(&mut text),
        false => std::fs::File::open(file)
            .and_then(|opened| opened.take(MESSAGE_BYTES_MAX).read_to_string(&mut text)),
    };
    read.map_err(|problem| {
        fail(EXIT_USAGE, format!("the edited message cannot be read from {}: {problem}", file.display()))
    })?;
    Ok(text)
}
