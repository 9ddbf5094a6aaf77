//! `release`: lets go on what waits for a person.

use std::path::Path;
use std::process::ExitCode;

use assembly::Parts;
use shared::generation;
use shared::record_key::FlowName;

use crate::cli::ReleaseArgs;
use crate::operator;
use crate::output::{self, Outcome, counted};

/// Runs the command.
pub async fn run(file: Option<&Path>, args: &ReleaseArgs) -> Outcome {
    let (_, parts) = operator::visit(file)?;
    let by = operator::name(args.by.as_deref())?;
    match &args.flow {
        Some(flow) => release_flow(&parts, flow, &by).await,
        None => release_store(&parts, &by).await,
    }
}

async fn release_flow(parts: &Parts, name: &FlowName, by: &str) -> Outcome {
    let flow = operator::flow(parts, name)?;
    let released = flow.release(by, parts.clock.now()).await.map_err(operator::upstream_failed)?;
    output::line(match released {
        0 => format!("Nothing of flow {name} waits for a release."),
        n => format!(
            "{} of flow {name} released by {by}; workers go on with it by themselves.",
            counted(usize::try_from(n).unwrap_or(usize::MAX), "sweep"),
        ),
    });
    Ok(ExitCode::SUCCESS)
}

async fn release_store(parts: &Parts, by: &str) -> Outcome {
    let (queue, state) = (parts.queue.as_ref(), parts.state.as_ref());
    let released =
        generation::release(queue, state, by, parts.clock.now()).await.map_err(operator::port_failed)?;
    output::line(match released {
        None => "Nothing is wrong with the state store: nothing was done.".to_owned(),
        Some(_) => format!("State store released by {by}; producers and workers go on by themselves."),
    });
    Ok(ExitCode::SUCCESS)
}
