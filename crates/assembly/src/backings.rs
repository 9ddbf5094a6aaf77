//! The adapters behind the two ports, as configured.

use std::sync::Arc;

use adapter_embedded::{Embedded, EmbeddedOptions};
use adapter_rabbitmq::RabbitmqQueue;
use adapter_redis::RedisState;
use configuration::{Config, QueueBacking, StateBacking};
use secrecy::ExposeSecret as _;
use shared::clock::Clock;
use shared::flow::{Check, Verdict};
use shared::ports::PortError;
use shared::ports::queue::Queue;
use shared::ports::state::State;
use shared::ports::transfer::{TransferQueue, TransferState};

use crate::{Role, Transfer};

/// The adapters in use.
#[derive(Debug, Clone)]
pub(crate) struct Backings {
    queue: QueueAdapter,
    state: StateAdapter,
}

#[derive(Debug, Clone)]
enum QueueAdapter {
    Embedded(Embedded),
    RabbitMq(Arc<RabbitmqQueue>),
}

#[derive(Debug, Clone)]
enum StateAdapter {
    Embedded(Embedded),
    Redis(Arc<RedisState>),
}

impl Backings {
    pub(crate) fn open(config: &Config, role: Role, clock: Arc<dyn Clock>) -> Result<Self, PortError> {
        let uses_directory =
            matches!(config.queue, QueueBacking::Embedded) || matches!(config.state, StateBacking::Embedded);
        let embedded = if uses_directory { Some(open_directory(config, role, clock.clone())?) } else { None };
        let queue = match (&config.queue, &embedded) {
            (QueueBacking::RabbitMq(settings), _) => {
                let url = settings.url_with_password();
                let options = rabbitmq_options(settings);
                QueueAdapter::RabbitMq(Arc::new(RabbitmqQueue::new(url.expose_secret(), options, clock)?))
            }
            (QueueBacking::Embedded, Some(embedded)) => QueueAdapter::Embedded(embedded.clone()),
            (QueueBacking::Embedded, None) => return Err(no_directory()),
        };
        let state = match (&config.state, embedded) {
            (StateBacking::Redis(settings), _) => {
                let options = adapter_redis::Options {
                    prefix: settings.namespace.clone(),
                    further_hosts: settings.further_hosts.clone(),
                    connect_timeout: settings.timeout,
                    answer_timeout: settings.timeout,
                };
                let url = settings.url_with_password();
                StateAdapter::Redis(Arc::new(RedisState::new(url.expose_secret(), options)?))
            }
            (StateBacking::Embedded, Some(embedded)) => StateAdapter::Embedded(embedded),
            (StateBacking::Embedded, None) => return Err(no_directory()),
        };
        Ok(Self { queue, state })
    }

    pub(crate) fn queue(&self) -> Arc<dyn Queue> {
        match &self.queue {
            QueueAdapter::Embedded(embedded) => embedded.queue.clone(),
            QueueAdapter::RabbitMq(queue) => queue.clone(),
        }
    }

    pub(crate) fn state(&self) -> Arc<dyn State> {
        match &self.state {
            StateAdapter::Embedded(embedded) => embedded.state.clone(),
            StateAdapter::Redis(state) => state.clone(),
        }
    }

    pub(crate) fn transfer(&self) -> Transfer {
        let queue: Arc<dyn TransferQueue> = match &self.queue {
            QueueAdapter::Embedded(embedded) => embedded.queue.clone(),
            QueueAdapter::RabbitMq(queue) => queue.clone(),
        };
        let state: Arc<dyn TransferState> = match &self.state {
            StateAdapter::Embedded(embedded) => embedded.state.clone(),
            StateAdapter::Redis(state) => state.clone(),
        };
        Transfer { queue, state }
    }

    pub(crate) async fn check(&self) -> Vec<Check> {
        let mut checks = match &self.queue {
            QueueAdapter::Embedded(embedded) => vec![answers("embedded queue", embedded.queue.ping().await)],
            QueueAdapter::RabbitMq(queue) => queue.check().await,
        };
        match &self.state {
            StateAdapter::Embedded(embedded) => {
                checks.push(answers("embedded state store", embedded.state.ping().await));
            }
            StateAdapter::Redis(state) => checks.extend(state.check().await),
        }
        checks
    }
}

/// How a person calls queue and store: where they are, without credentials. The same name is the same place.
pub fn backing_names(config: &Config) -> (String, String) {
    let directory = || {
        let dir = &config.embedded.dir;
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
        format!("directory {}", dir.display())
    };
    let queue = match &config.queue {
        QueueBacking::Embedded => directory(),
        QueueBacking::RabbitMq(settings) => format!("RabbitMQ at {}", settings.place()),
    };
    let state = match &config.state {
        StateBacking::Embedded => directory(),
        StateBacking::Redis(settings) => format!("Redis at {}", settings.place()),
    };
    (queue, state)
}

fn open_directory(config: &Config, role: Role, clock: Arc<dyn Clock>) -> Result<Embedded, PortError> {
    let role = match role {
        Role::Serving => adapter_embedded::Role::Serving,
        Role::Visiting => adapter_embedded::Role::Visiting,
    };
    Embedded::open(EmbeddedOptions::new(&config.embedded.dir, role, clock))
}

fn no_directory() -> PortError {
    PortError::Misconfigured("the embedded directory was not opened".to_owned())
}

fn rabbitmq_options(settings: &configuration::RabbitMq) -> adapter_rabbitmq::Options {
    let seconds_a_day = 24 * 3_600;
    adapter_rabbitmq::Options {
        namespace: settings.namespace.clone(),
        further_hosts: settings.further_hosts.clone(),
        heartbeat_seconds: u16::try_from(settings.heartbeat.as_secs()).unwrap_or(u16::MAX),
        connect_timeout: settings.confirm_timeout,
        confirm_timeout: settings.confirm_timeout,
        delivery_limit: settings.delivery_limit,
        dead_letter_age_days_max: u32::try_from(settings.dead_letter_retention.as_secs() / seconds_a_day)
            .unwrap_or(u32::MAX),
        dead_letter_bytes_max: settings.dead_letter_log_bytes_max,
        ..adapter_rabbitmq::Options::default()
    }
}

fn answers(subject: &str, outcome: Result<(), PortError>) -> Check {
    let subject = subject.to_owned();
    match outcome {
        Ok(()) => {
            Check { subject, verdict: Verdict::Well, seen: "answers".to_owned(), remedy: String::new() }
        }
        Err(problem) => {
            let remedy = "Free the disk, or name another directory in embedded.dir.".to_owned();
            Check { subject, verdict: Verdict::Broken, seen: problem.to_string(), remedy }
        }
    }
}
