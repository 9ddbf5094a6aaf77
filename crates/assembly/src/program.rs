//! What the programs do alike: configuration, logs, signals, exit codes.

use std::future::poll_fn;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};

use configuration::Config;
use operations::health::Health;
use operations::http;
use shared::clock::{Clock, SystemClock};
use telemetry::PrometheusMeter;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

use crate::{Parts, Role};

/// Exit code for a wrong command line (as `EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;
/// Exit code for something that must be there and is not: queue, store, directory (as `EX_UNAVAILABLE`).
pub const EXIT_UNAVAILABLE: u8 = 69;
/// Exit code for a worker that ends because a run does not yield (as `EX_SOFTWARE`).
pub const EXIT_STUCK: u8 = 70;
/// Exit code for a wrong configuration (as `EX_CONFIG`).
pub const EXIT_CONFIGURATION: u8 = 78;

/// Reads the configuration; prints all its problems where it has any.
///
/// # Errors
/// [`EXIT_CONFIGURATION`].
pub fn load_configuration(file: Option<&Path>) -> Result<Config, ExitCode> {
    Config::load(file, configuration::environment()).map_err(|problems| {
        complain(&problems.to_string());
        ExitCode::from(EXIT_CONFIGURATION)
    })
}

/// The same for provisioning; see [`Config::load_to_provision`].
///
/// # Errors
/// [`EXIT_CONFIGURATION`].
pub fn load_configuration_to_provision(file: Option<&Path>) -> Result<Config, ExitCode> {
    Config::load_to_provision(file, configuration::environment()).map_err(|problems| {
        complain(&problems.to_string());
        ExitCode::from(EXIT_CONFIGURATION)
    })
}

/// Prints a complaint on the standard error stream.
pub fn complain(text: &str) {
    // Nothing is left to be done where even the complaint cannot be printed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Begins to log on the standard error stream, as configured. Once per process; later calls change nothing.
pub fn init_logs(config: &Config) {
    let format = match config.log.format {
        configuration::LogFormat::Human => {
            telemetry::LogFormat::Human { colours: std::io::stderr().is_terminal() }
        }
        configuration::LogFormat::Json => telemetry::LogFormat::Json,
    };
    let level = config.log.level.name().parse().unwrap_or(LevelFilter::INFO);
    if telemetry::init_logs(format, level, std::io::stderr).is_err() {
        tracing::debug!("Logs were set up already.");
    }
}

/// Builds everything with the machine's clock and a meter of its own.
///
/// # Errors
/// [`EXIT_UNAVAILABLE`], after the reason was printed.
pub fn start(config: &Config, role: Role) -> Result<(Parts, Arc<PrometheusMeter>), ExitCode> {
    http_client::install_crypto_provider();
    let unavailable = |problem: String| {
        complain(&problem);
        ExitCode::from(EXIT_UNAVAILABLE)
    };
    let meter = Arc::new(PrometheusMeter::new());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let parts = crate::build(config, role, meter.clone(), clock).map_err(|p| unavailable(p.to_string()))?;
    let systems = [
        connector_espocrm::SYSTEM,
        connector_advoware::SYSTEM,
        connector_msgraph::SYSTEM,
        connector_google::SYSTEM,
    ];
    for system in systems {
        meter.init_system(system);
    }
    for flow in &parts.flows {
        meter.init_flow(&flow.spec().name);
    }
    Ok((parts, meter))
}

/// A token that is cancelled by SIGTERM, SIGINT or SIGHUP. A second signal ends the process at once.
pub fn stop_on_signals() -> CancellationToken {
    let stop = CancellationToken::new();
    let token = stop.clone();
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let mut signals: Vec<Signal> = kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect();
    tokio::spawn(async move {
        any(&mut signals).await;
        tracing::info!("Stopping: what is held is finished or handed back. A second signal stops at once.");
        token.cancel();
        any(&mut signals).await;
        std::process::exit(130);
    });
    stop
}

/// Waits for one of these signals, and ends by nothing else: not by the runtime's end either.
async fn any(signals: &mut [Signal]) {
    let arrived = |signal: &mut Signal, context: &mut Context<'_>| {
        matches!(signal.poll_recv(context), Poll::Ready(Some(())))
    };
    poll_fn(|context| {
        if signals.iter_mut().any(|signal| arrived(signal, context)) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Who holds a process's leases: its name and a random part, new at each start.
pub fn lease_holder(name: &str) -> String {
    format!("{name}/{:016x}", fastrand::u64(..))
}

/// The name of a process in the fleet: as configured, or the host's name and a random part.
pub fn process_name(configured: Option<&str>) -> String {
    configured.map_or_else(
        || {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let host = if host.trim().is_empty() { "host" } else { host.trim() };
            format!("{host}-{:06x}", fastrand::u32(..0x100_0000))
        },
        str::to_owned,
    )
}

/// Runs `serving` to its end with the private listener beside it, which goes on until then, so that a draining
/// process can still be watched.
pub async fn observed(
    config: &Config,
    meter: Arc<PrometheusMeter>,
    health: Health,
    serving: impl Future<Output = ()>,
) -> ExitCode {
    let Some(address) = config.operations.listen else {
        serving.await;
        return ExitCode::SUCCESS;
    };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            complain(&format!(
                "metrics cannot be shown at {address} ({error}): free the address, or change operations.listen"
            ));
            return ExitCode::from(EXIT_UNAVAILABLE);
        }
    };
    tracing::info!("Metrics and health are shown at http://{address}/metrics, /healthz and /readyz.");
    let routes = http::private_routes(health, move || meter.render());
    let ended = CancellationToken::new();
    let showing =
        tokio::spawn(http::serve(listener, routes, http::Bounds::default(), ended.clone().cancelled_owned()));
    serving.await;
    ended.cancel();
    let _ = showing.await;
    ExitCode::SUCCESS
}
