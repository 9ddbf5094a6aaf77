//! What commands beside a running fleet share: the configuration, queue and state, who operates.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use assembly::program::{EXIT_UNAVAILABLE, EXIT_USAGE, load_configuration, start};
use assembly::{Parts, Role};
use configuration::Config;
use jiff::Timestamp;
use shared::fault::Fault;
use shared::flow::{Flow, Preview};
use shared::ports::PortError;
use shared::record_key::{FlowName, RecordKey};

use crate::cli::RecordArgs;
use crate::output::fail;

/// Reads the configuration and builds what it names, to look at or publish beside a fleet that may run.
pub fn visit(file: Option<&Path>) -> Result<(Config, Parts), ExitCode> {
    let config = load_configuration(file)?;
    let (parts, _) = start(&config, Role::Visiting)?;
    Ok((config, parts))
}

/// A flow that is enabled.
pub fn flow<'p>(parts: &'p Parts, name: &FlowName) -> Result<&'p Arc<dyn Flow>, ExitCode> {
    parts.flow(name).ok_or_else(|| {
        let known: Vec<&str> = parts.flows.iter().map(|flow| flow.spec().name.as_str()).collect();
        let known =
            if known.is_empty() { "none is".to_owned() } else { format!("enabled: {}", known.join(", ")) };
        fail(
            EXIT_USAGE,
            format!("flow {name} is not enabled ({known}); see [flow.{name}] in the configuration"),
        )
    })
}

/// What a run would do now. Gives the places at the accounts back: else whoever comes next waits until they end by
/// themselves.
pub async fn preview(flow: &dyn Flow, key: &RecordKey, now: Timestamp) -> Result<Preview, Fault> {
    let preview = flow.preview(key, now).await;
    flow.leave().await;
    preview
}

/// The key of a record named on the command line.
pub fn key(record: &RecordArgs) -> Result<RecordKey, ExitCode> {
    RecordKey::new(record.flow.clone(), record.id.as_str())
        .map_err(|error| fail(EXIT_USAGE, error.to_string()))
}

/// Who operates: as given, or the user of this session.
pub fn name(given: Option<&str>) -> Result<String, ExitCode> {
    let environment = configuration::environment();
    let user = || ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| environment.get(*name).cloned());
    let name = given.map(str::to_owned).or_else(user).filter(|name| !name.trim().is_empty());
    name.ok_or_else(|| fail(EXIT_USAGE, "nobody knows who does this: say it with --by NAME"))
}

/// The queue or the store failed.
pub fn port_failed(problem: PortError) -> ExitCode {
    fail(EXIT_UNAVAILABLE, problem.to_string())
}

/// An upstream failed.
pub fn upstream_failed(fault: Fault) -> ExitCode {
    fail(EXIT_UNAVAILABLE, fault.to_string())
}
