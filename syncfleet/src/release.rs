//! `release`: lets the changes through that the mass-change guard holds back.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::ReleaseArgs;
use crate::operator;
use crate::output::{self, Outcome, counted};

/// Runs the command.
pub async fn run(file: Option<&Path>, args: &ReleaseArgs) -> Outcome {
    let (_, parts) = operator::visit(file)?;
    let flow = operator::flow(&parts, &args.flow)?;
    let by = operator::name(args.by.as_deref())?;
    let released = flow.release(&by, parts.clock.now()).await.map_err(operator::upstream_failed)?;
    output::line(match released {
        0 => format!("Nothing of flow {} waits for a release.", args.flow),
        n => format!(
            "{} of flow {} released by {by}; workers go on with it by themselves.",
            counted(usize::try_from(n).unwrap_or(usize::MAX), "sweep"),
            args.flow
        ),
    });
    Ok(ExitCode::SUCCESS)
}
