//! The `worker` program, and how a worker is built from the configuration.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use assembly::{Parts, Role, program};
use configuration::Config;
use operations::health::Health;

use crate::hints::Publisher;
use crate::run::{self, Engine, WorkerSettings};

/// Time from the beginning of a run of a record to the next one's, at least: what is saved twice in a row, or by a
/// script a thousand times, is looked at once at first and once when it is over.
const KEY_REST: Duration = Duration::from_secs(2);
/// Longest time that a message is held without being settled. RabbitMQ takes all that a consumer holds away from it when one
/// of them is unsettled for half an hour (`consumer_timeout`), and counts that as a crash of each.
const UNSETTLED_MAX: Duration = Duration::from_secs(29 * 60);
/// How far the clocks of producers and workers may differ before a message is wrongly taken for satisfied.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(2);

/// How long a worker lives with a message that may have killed another one before that runs alone again: the fourth run
/// comes after 8 s, longer than workers live that are killed again and again from outside.
const TRIAL_WAIT: Duration = Duration::from_secs(2);
/// How often what is parked is looked after: counted, and released when it has waited long enough.
const PARKING_LOOK_EVERY: Duration = Duration::from_secs(30);

/// A worker's engine, as configured. To be called within a runtime.
pub fn engine(config: &Config, parts: &Parts, health: Health) -> Engine {
    let settings = &config.worker;
    let name = program::process_name(settings.name.as_deref());
    let settings = WorkerSettings {
        holder: program::lease_holder(&name),
        name,
        concurrency_max: settings.concurrency_max,
        prefetch: settings.prefetch,
        unsettled_max: UNSETTLED_MAX,
        key_rest: KEY_REST,
        drain: settings.drain,
        lease_ttl: settings.lease,
        member_ttl: settings.member,
        trial_wait: TRIAL_WAIT,
        parking_look_every: PARKING_LOOK_EVERY,
        clock_skew_max: CLOCK_SKEW_MAX,
    };
    let (meter, clock) = (parts.meter.clone(), parts.clock.clone());
    let engine = Engine::new(settings, parts.queue.clone(), parts.state.clone(), parts.topologies());
    let publisher = Publisher {
        queue: parts.queue.clone(),
        topologies: parts.topologies(),
        name: engine.settings.name.clone(),
        meter: meter.clone(),
    };
    Engine { meter, clock, health, hints: Arc::new(publisher), ..engine }
}

/// Sees to it that a run which does not yield ends the process.
pub fn watch(engine: &Engine) {
    if let Err(problem) = engine.watchdog.start() {
        tracing::warn!("Runs are not watched, so that one which does not yield stays: {problem}");
    }
}

/// Readiness that waits for every part of a worker.
pub fn health(parts: &Parts) -> Health {
    let consumers = parts.flows.iter().map(|flow| format!("consumers_{}", flow.spec().name));
    let names: Vec<String> = ["queue", "state"].map(str::to_owned).into_iter().chain(consumers).collect();
    Health::expecting(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Runs the program; `file` names the settings.
pub async fn main(file: Option<&Path>) -> ExitCode {
    // First of all: a stop that comes while the rest is being set up is a stop as well.
    let stop = program::stop_on_signals();
    let config = match program::load_configuration(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    program::init_logs(&config);
    let (parts, meter) = match program::start(&config, Role::Serving) {
        Ok(started) => started,
        Err(code) => return code,
    };
    let health = health(&parts);
    let engine = Arc::new(engine(&config, &parts, health.clone()));
    watch(&engine);
    let serving = run::run(engine, parts.flows.clone(), stop);
    program::observed(&config, meter, health, serving).await
}
