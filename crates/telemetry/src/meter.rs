//! The metrics of [`shared::names`], exposed in Prometheus' text format.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{Error, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};
use shared::dead_letter::Reason;
use shared::envelope::Cause;
use shared::meter::{Meter, Metric, MetricKind};
use shared::names;
use shared::record_key::FlowName;

/// Most values of one label of one metric; further ones are counted as [`OTHER`].
pub const LABEL_VALUES_MAX: usize = 100;
/// The label value that stands for all beyond [`LABEL_VALUES_MAX`].
pub const OTHER: &str = "other";

/// Bounds of all distributions, in seconds: from a local answer to the longest wait between attempts.
const BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0];

/// A [`Meter`] that Prometheus can read.
#[derive(Debug)]
pub struct PrometheusMeter {
    registry: Registry,
    families: HashMap<&'static str, Family>,
}

#[derive(Debug)]
struct Family {
    series: Series,
    /// The values seen of each label.
    seen: RwLock<Vec<HashSet<String>>>,
}

#[derive(Debug)]
enum Series {
    Counter(IntCounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

impl PrometheusMeter {
    /// A meter with every metric registered, those without labels at 0, the build's version set, and (on Linux)
    /// the metrics of the process. A metric whose name Prometheus refuses is left out, with a complaint in the
    /// log; a test sees to it that there is none.
    pub fn new() -> Self {
        let registry = Registry::new();
        let mut families = HashMap::new();
        for metric in names::ALL {
            let seen = RwLock::new(vec![HashSet::new(); metric.labels.len()]);
            match Series::register(metric, &registry) {
                Ok(series) => drop(families.insert(metric.name, Family { series, seen })),
                Err(error) => tracing::error!(metric = metric.name, %error, "a metric is left out"),
            }
        }
        #[cfg(target_os = "linux")]
        if let Err(error) =
            registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
        {
            tracing::error!(%error, "the metrics of the process are left out");
        }
        let meter = Self { registry, families };
        names::ALL
            .iter()
            .filter(|metric| metric.labels.is_empty())
            .for_each(|metric| meter.start(metric, &[]));
        meter.set(&names::BUILD_INFO, &[shared::VERSION], 1.0);
        meter
    }

    /// Starts the series of a flow at 0, for all label values that are known beforehand.
    pub fn init_flow(&self, flow: &FlowName) {
        for metric in names::ALL {
            match metric.labels {
                ["flow"] => self.start(metric, &[flow.as_str()]),
                ["flow", label] => known_values(metric, label)
                    .iter()
                    .for_each(|value| self.start(metric, &[flow.as_str(), value])),
                _ => {}
            }
        }
    }

    /// Starts the series of an upstream system at 0 that have no other label.
    pub fn init_system(&self, system: &str) {
        names::ALL
            .iter()
            .filter(|metric| metric.labels == ["system"])
            .for_each(|metric| self.start(metric, &[system]));
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "the metrics cannot be written");
            String::new()
        })
    }

    fn start(&self, metric: &Metric, labels: &[&str]) {
        self.with(metric, labels, |series, labels| match series {
            Series::Counter(vec) => find(vec, metric, labels, |_| ()),
            Series::Gauge(vec) => find(vec, metric, labels, |_| ()),
            Series::Histogram(vec) => find(vec, metric, labels, |_| ()),
        });
    }

    fn with(&self, metric: &Metric, labels: &[&str], measure: impl FnOnce(&Series, &[&str])) {
        let Some(family) = self.families.get(metric.name) else {
            tracing::error!(metric = metric.name, "this metric is not in shared::names::ALL; not counted");
            return;
        };
        measure(&family.series, &family.bounded(labels));
    }
}

impl Default for PrometheusMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl Meter for PrometheusMeter {
    fn add(&self, metric: &'static Metric, labels: &[&str], amount: u64) {
        self.with(metric, labels, |series, labels| match series {
            Series::Counter(vec) => find(vec, metric, labels, |counter| counter.inc_by(amount)),
            _ => wrong_kind(metric, "added to"),
        });
    }

    fn set(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.with(metric, labels, |series, labels| match series {
            Series::Gauge(vec) => find(vec, metric, labels, |gauge| gauge.set(value)),
            _ => wrong_kind(metric, "set"),
        });
    }

    fn shift(&self, metric: &'static Metric, labels: &[&str], by: f64) {
        self.with(metric, labels, |series, labels| match series {
            Series::Gauge(vec) => find(vec, metric, labels, |gauge| gauge.add(by)),
            _ => wrong_kind(metric, "shifted"),
        });
    }

    fn observe(&self, metric: &'static Metric, labels: &[&str], seconds: f64) {
        self.with(metric, labels, |series, labels| match series {
            Series::Histogram(vec) => find(vec, metric, labels, |histogram| histogram.observe(seconds)),
            _ => wrong_kind(metric, "observed"),
        });
    }
}

impl Family {
    /// The labels, with values beyond the bound replaced.
    fn bounded<'l>(&self, labels: &[&'l str]) -> Vec<&'l str> {
        let known =
            |seen: &[HashSet<String>]| labels.iter().zip(seen).all(|(value, seen)| seen.contains(*value));
        if known(&self.seen.read().unwrap_or_else(PoisonError::into_inner)) {
            return labels.to_vec();
        }
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        let mut bounded = labels.to_vec();
        for (value, seen) in bounded.iter_mut().zip(seen.iter_mut()) {
            if !seen.contains(*value) && seen.len() >= LABEL_VALUES_MAX {
                *value = OTHER;
            } else {
                seen.insert((*value).to_owned());
            }
        }
        bounded
    }
}

impl Series {
    fn register(metric: &Metric, registry: &Registry) -> Result<Self, Error> {
        let opts = Opts::new(metric.name, metric.help);
        Ok(match metric.kind {
            MetricKind::Counter => {
                Self::Counter(registered(registry, IntCounterVec::new(opts, metric.labels)?)?)
            }
            MetricKind::Gauge => Self::Gauge(registered(registry, GaugeVec::new(opts, metric.labels)?)?),
            MetricKind::Histogram => {
                let opts = HistogramOpts::from(opts).buckets(BUCKETS.to_vec());
                Self::Histogram(registered(registry, HistogramVec::new(opts, metric.labels)?)?)
            }
        })
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, vec: C) -> Result<C, Error> {
    registry.register(Box::new(vec.clone()))?;
    Ok(vec)
}

fn find<B: MetricVecBuilder>(
    vec: &MetricVec<B>,
    metric: &Metric,
    labels: &[&str],
    measure: impl FnOnce(B::M),
) {
    match vec.get_metric_with_label_values(labels) {
        Ok(series) => measure(series),
        Err(error) => tracing::error!(metric = metric.name, %error, "wrong labels; not counted"),
    }
}

fn wrong_kind(metric: &Metric, what: &str) {
    tracing::error!(metric = metric.name, "a {:?} cannot be {what}; not counted", metric.kind);
}

/// The values of a flow's second label that are known beforehand.
fn known_values(metric: &Metric, label: &str) -> Vec<&'static str> {
    match label {
        "cause" => [Cause::Webhook, Cause::Sweep, Cause::Manual, Cause::Replay, Cause::Released]
            .map(Cause::name)
            .to_vec(),
        "reason" => Reason::ALL.map(Reason::name).to_vec(),
        "settlement" => vec!["ack", "retry", "postpone", "park", "dead_letter", "return"],
        "policy" => vec!["crm_wins", "remote_wins", "newest_wins", "ask"],
        "outcome" if metric.name == names::SWEEP_KEYS.name => vec!["published", "skipped"],
        "outcome" if metric.name == names::SPOOLED.name => vec!["spooled", "drained", "refused"],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> FlowName {
        FlowName::new("parties").unwrap()
    }

    fn values(metric: &Metric) -> Vec<String> {
        metric.labels.iter().map(|label| format!("some-{label}")).collect()
    }

    #[test]
    fn every_metric_is_rendered_with_help_and_type() {
        let meter = PrometheusMeter::new();
        for metric in names::ALL {
            let values = values(metric);
            meter.start(metric, &values.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let text = meter.render();
        for metric in names::ALL {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            assert!(text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{}", metric.name);
            assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}", metric.name);
        }
        assert!(text.contains(&format!("syncfleet_build_info{{version=\"{}\"}} 1", shared::VERSION)));
        assert!(cfg!(not(target_os = "linux")) || text.contains("process_resident_memory_bytes"));
    }

    #[test]
    fn every_line_is_valid_text_format() {
        let meter = PrometheusMeter::new();
        meter.init_flow(&flow());
        meter.add(&names::WEBHOOKS, &["odd \"name\"\n\\", "ok"], 1);
        meter.observe(&names::SWEEP_DURATION, &["parties"], 2.0);
        for line in meter.render().lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = series.split('{').next().unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b"_:".contains(&b)), "{line}");
            assert_eq!(series.contains('{'), series.ends_with('}'), "{line}");
        }
    }

    #[test]
    fn known_series_start_at_zero() {
        let meter = PrometheusMeter::new();
        assert!(meter.render().contains("\nsyncfleet_leader 0\n"));
        meter.init_flow(&flow());
        meter.init_system("espocrm");
        let text = meter.render();
        for series in [
            "syncfleet_messages_published_total{cause=\"webhook\",flow=\"parties\"} 0",
            "syncfleet_dead_letters{flow=\"parties\",reason=\"poison\"} 0",
            "syncfleet_deliveries_total{flow=\"parties\",settlement=\"ack\"} 0",
            "syncfleet_sweep_keys_total{flow=\"parties\",outcome=\"skipped\"} 0",
            "syncfleet_shards_served{flow=\"parties\"} 0",
            "syncfleet_convergence_seconds_count{flow=\"parties\"} 0",
            "syncfleet_account_paused{system=\"espocrm\"} 0",
        ] {
            assert!(text.contains(series), "{series} is missing:\n{text}");
        }
    }

    #[test]
    fn what_is_measured_is_shown() {
        let meter = PrometheusMeter::new();
        meter.add(&names::LEASES_LOST, &["parties"], 2);
        meter.add(&names::LEASES_LOST, &["parties"], 3);
        meter.set(&names::LEADER, &[], 1.0);
        meter.shift(&names::DELIVERIES_IN_PROGRESS, &["parties"], 2.0);
        meter.shift(&names::DELIVERIES_IN_PROGRESS, &["parties"], -1.0);
        meter.observe(&names::SWEEP_DURATION, &["parties"], 0.2);
        let text = meter.render();
        for line in [
            "syncfleet_leases_lost_total{flow=\"parties\"} 5",
            "syncfleet_leader 1",
            "syncfleet_deliveries_in_progress{flow=\"parties\"} 1",
            "syncfleet_sweep_duration_seconds_bucket{flow=\"parties\",le=\"0.25\"} 1",
            "syncfleet_sweep_duration_seconds_bucket{flow=\"parties\",le=\"0.1\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
    }

    #[test]
    fn label_values_are_bounded() {
        let meter = PrometheusMeter::new();
        for n in 0..3 * LABEL_VALUES_MAX {
            meter.add(&names::TOKEN_REFRESHES, &[&format!("system-{n}"), "ok"], 1);
        }
        let text = meter.render();
        let series = text.lines().filter(|line| line.starts_with("syncfleet_token_refreshes_total{")).count();
        assert_eq!(series, LABEL_VALUES_MAX + 1);
        assert!(text.contains(&format!(
            "syncfleet_token_refreshes_total{{outcome=\"ok\",system=\"other\"}} {}",
            2 * LABEL_VALUES_MAX
        )));
    }

    #[test]
    fn wrong_use_counts_nothing_and_breaks_nothing() {
        let meter = PrometheusMeter::new();
        let before = meter.render().lines().filter(|line| line.starts_with("syncfleet")).count();
        meter.add(&names::LEADER, &[], 1);
        meter.observe(&names::LEASES_LOST, &["parties"], 1.0);
        meter.add(&names::LEASES_LOST, &["too", "many"], 1);
        assert_eq!(meter.render().lines().filter(|line| line.starts_with("syncfleet")).count(), before);
    }
}
