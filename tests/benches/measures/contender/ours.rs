//! The product's worker as it is configured by default, with the flow of the measures. It logs as it does in
//! production, into nothing.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use assembly::Role;
use configuration::Config;
use shared::clock::SystemClock;
use shared::meter::{Meter, Metric};
use shared::names;
use shared::settlement::Settlement;
use telemetry::{LogFormat, PrometheusMeter};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

use super::Tally;
use crate::flow::{BenchFlow, Work};

/// Serves until it is told to stop.
pub async fn run(config: &Config, work: Work, tally: Arc<Tally>, stop: CancellationToken) {
    let nothing = File::options().write(true).open("/dev/null").unwrap();
    telemetry::init_logs(LogFormat::Json, LevelFilter::INFO, Arc::new(nothing)).unwrap();
    let meter = Arc::new(TellingMeter { meter: PrometheusMeter::new(), tally });
    let mut parts = assembly::build(config, Role::Serving, meter, Arc::new(SystemClock)).unwrap();
    parts.flows.push(BenchFlow::doing(work));
    let health = worker::program::health(&parts);
    let engine = Arc::new(worker::program::engine(config, &parts, health));
    worker::run::run(engine, parts.flows, stop).await;
}

/// The product's meter, which tells of acknowledgements and shards.
#[derive(Debug)]
struct TellingMeter {
    meter: PrometheusMeter,
    tally: Arc<Tally>,
}

impl Meter for TellingMeter {
    fn add(&self, metric: &'static Metric, labels: &[&str], amount: u64) {
        self.meter.add(metric, labels, amount);
        if std::ptr::eq(metric, &names::DELIVERIES) && labels[1] == Settlement::Ack.name() {
            (0..amount).for_each(|_| self.tally.acked());
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of shards")]
    fn set(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.meter.set(metric, labels, value);
        if std::ptr::eq(metric, &names::SHARDS_SERVED) {
            self.tally.serving.store(value as usize, Ordering::Relaxed);
        }
    }

    fn shift(&self, metric: &'static Metric, labels: &[&str], by: f64) {
        self.meter.shift(metric, labels, by);
    }

    fn observe(&self, metric: &'static Metric, labels: &[&str], seconds: f64) {
        self.meter.observe(metric, labels, seconds);
    }
}
