//! `migrate`: moves an installation to other backings.

use std::path::Path;
use std::process::ExitCode;

use assembly::program::{EXIT_CONFIGURATION, EXIT_UNAVAILABLE, load_configuration, start};
use assembly::{Parts, Role, Transfer, backing_names};
use configuration::Config;
use operations::migration::{self, Line, MigrationError, Report, Side};
use uuid::Uuid;

use crate::cli::MigrateArgs;
use crate::output::{self, EXIT_WRONG, Outcome, counted, fail};

/// Runs the command.
pub async fn run(file: Option<&Path>, args: &MigrateArgs) -> Outcome {
    let (here, there) = (load_configuration(file)?, load_configuration(Some(&args.to))?);
    check_both_differ(&here, &there)?;
    let (from_parts, _) = start(&here, Role::Serving)?;
    let (to_parts, _) = start(&there, Role::Serving)?;
    let (from_ports, to_ports) = (from_parts.transfer(), to_parts.transfer());
    let (from, to) = (side(&here, &from_parts, &from_ports), side(&there, &to_parts, &to_ports));
    if args.abandon {
        return abandon(&from, &to).await;
    }
    let report = if args.dry_run {
        migration::survey(&from, &to).await
    } else {
        output::note(format!("From {}\n  to {}", from.name, to.name));
        migration::run(&from, &to, Uuid::now_v7(), from_parts.clock.now()).await
    };
    let report = report.map_err(failed)?;
    if args.json {
        output::json(&report);
    } else if report.lines.is_empty() {
        output::note("Everything had been moved and compared before: what was left to do is done.");
    } else {
        output::line(table(&report));
    }
    if !report.is_equal() {
        return Err(fail(EXIT_WRONG, "the two sides differ where it says so above: look, and run it again"));
    }
    if args.dry_run {
        output::note("Nothing was moved.");
    } else {
        output::note(advice(&from.name, &args.to, &here));
    }
    Ok(ExitCode::SUCCESS)
}

fn side<'a>(config: &Config, parts: &Parts, ports: &'a Transfer) -> Side<'a> {
    let (queue, state) = backing_names(config);
    let name = if queue == state { queue } else { format!("{queue}, {state}") };
    Side { name, queue: ports.queue.as_ref(), state: ports.state.as_ref(), flows: parts.topologies() }
}

async fn abandon(from: &Side<'_>, to: &Side<'_>) -> Outcome {
    let moved = migration::abandon(from, to).await.map_err(failed)?;
    output::line(format!(
        "Given up: {} moved back. {} may be served again; clear {}.",
        counted(usize::try_from(moved).unwrap_or(usize::MAX), "message"),
        from.name,
        to.name
    ));
    Ok(ExitCode::SUCCESS)
}

/// Both the queue and the store move: one that stayed could not be told from the other.
fn check_both_differ(here: &Config, there: &Config) -> Result<(), ExitCode> {
    let (here, there) = (backing_names(here), backing_names(there));
    if here.0 == there.0 || here.1 == there.1 {
        let text = format!(
            "both files name {}: queue and state store must both be others in the file given with --to (does the \
             environment set them for both?)",
            if here.0 == there.0 { here.0 } else { here.1 }
        );
        return Err(fail(EXIT_CONFIGURATION, text));
    }
    Ok(())
}

fn failed(error: MigrationError) -> ExitCode {
    fail(EXIT_UNAVAILABLE, error.to_string())
}

fn table(report: &Report) -> String {
    output::table(
        ["KIND", "SOURCE", "TARGET", "CHECKSUM", "", "NOTE"],
        report.lines.iter().map(|line| {
            [
                line.kind.clone(),
                line.from.to_string(),
                line.to.map_or_else(String::new, |count| count.to_string()),
                checksum(line),
                if line.equal { "equal" } else { "DIFFERENT" }.to_owned(),
                line.note.clone(),
            ]
        }),
    )
}

fn checksum(line: &Line) -> String {
    match (&line.checksum_from, &line.checksum_to) {
        (Some(from), Some(to)) if from != to => format!("{from} {to}"),
        (Some(from), _) => from.clone(),
        (None, _) => String::new(),
    }
}

fn advice(from: &str, to: &Path, here: &Config) -> String {
    let spool = here.producer.spool.as_ref().map_or_else(String::new, |spool| {
        format!(
            "\nWhat a producer has spooled in {} stays there: a producer with the new settings and that directory \
             publishes it.",
            spool.dir.display()
        )
    });
    format!(
        "Start the programs with {}. {from} keeps its copies, and is not served any more; clear it when all is \
         well.{spool}",
        to.display()
    )
}
