//! The `producer` program, and how a producer is built from the configuration.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use assembly::{Parts, Role, program};
use configuration::Config;
use operations::health::Health;
use shared::flow::Flow;
use shared::record_key::FlowName;
use tokio::net::TcpListener;

use crate::gate::Gate;
use crate::run::{self, Engine, ProducerSettings};
use crate::schedule::Schedule;
use crate::spool::way::waits;
use crate::spool::{Spool, SpoolSettings};

/// A page is a few requests, each with a time limit of its own, that may wait for their account's turn: beyond this,
/// it waits for something that does not come.
const SWEEP_PAGE_TIME_MAX: Duration = Duration::from_secs(600);

/// A producer's engine, as configured.
pub fn engine(config: &Config, parts: &Parts, health: Health) -> Engine {
    let settings = &config.producer;
    let name = program::process_name(settings.name.as_deref());
    Engine {
        settings: ProducerSettings {
            holder: program::lease_holder(&name),
            name,
            schedules: schedules(config, parts),
            lease_ttl: settings.lease,
            webhook_body_bytes_max: settings.webhook_body_bytes_max,
            webhook_concurrency_max: settings.webhook_concurrency_max,
            webhook_answer_max: settings.webhook_answer_max,
            drain: settings.drain,
            publish_batch_max: settings.publish_batch_max,
            sweep_page_time_max: SWEEP_PAGE_TIME_MAX,
        },
        queue: parts.queue.clone(),
        spool: spool(config, parts),
        gate: Gate::default(),
        state: parts.state.clone(),
        meter: parts.meter.clone(),
        clock: parts.clock.clone(),
        health,
        connecting: parts.connecting.clone(),
    }
}

/// The spool, where the queue may go away and one is configured.
fn spool(config: &Config, parts: &Parts) -> Option<Arc<Spool>> {
    let open = assembly::spool_disk(config, parts.clock.clone())?;
    let (producer, spool) = (&config.producer, config.producer.spool.as_ref()?);
    let (_, disk_wait) = waits(producer.webhook_answer_max);
    let settings = SpoolSettings {
        dir: spool.dir.clone(),
        messages_max: spool.messages_max,
        disk_wait,
        writes_max: producer.webhook_concurrency_max,
    };
    let flows = parts.flows.iter().map(|flow| flow.spec().name.clone());
    Some(Arc::new(Spool::new(settings, open, flows)))
}

fn schedules(config: &Config, parts: &Parts) -> HashMap<FlowName, Schedule> {
    let schedule_of = |flow: &Arc<dyn Flow>| {
        let name = flow.spec().name.clone();
        let (cron, zone) = config.flow.sweep_of(name.as_str())?;
        let schedule = Schedule::new(cron.clone(), zone.clone());
        Some((name, schedule))
    };
    parts.flows.iter().filter_map(schedule_of).collect()
}

/// Opens the public listener, where one is configured.
///
/// # Errors
/// A sentence with the address and what to do.
pub async fn listen(config: &Config) -> Result<Option<TcpListener>, String> {
    let Some(address) = config.producer.webhook_listen else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    listener.map(Some).map_err(|error| {
        format!("webhooks cannot be taken at {address} ({error}): free the address, or change producer.webhook_listen")
    })
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
    // The producer consumes nothing, so that it may run beside an embedded worker.
    let (parts, meter) = match program::start(&config, Role::Visiting) {
        Ok(started) => started,
        Err(code) => return code,
    };
    let listener = match listen(&config).await {
        Ok(listener) => listener,
        Err(problem) => {
            program::complain(&problem);
            return ExitCode::from(program::EXIT_UNAVAILABLE);
        }
    };
    let health = Health::expecting(&["queue", "state", "leader"]);
    let engine = Arc::new(engine(&config, &parts, health.clone()));
    let serving = run::run(engine, parts.flows.clone(), listener, stop);
    program::observed(&config, meter, health, serving).await
}
