//! The metrics port: parts count and measure through it, the telemetry crate exposes it to Prometheus.

use std::fmt::Debug;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only ever rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution, in seconds.
    Histogram,
}

/// One metric: its Prometheus name, help text, kind and label names. All of them stand in [`crate::names`].
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Prometheus name, with prefix and unit.
    pub name: &'static str,
    /// One sentence for the reader of `/metrics`.
    pub help: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricKind,
    /// Label names; values come from fixed sets, never from record ids.
    pub labels: &'static [&'static str],
}

/// Where measurements go. Never fails and never blocks.
pub trait Meter: Send + Sync + Debug {
    /// Adds to a counter.
    fn add(&self, metric: &'static Metric, labels: &[&str], amount: u64);
    /// Sets a gauge.
    fn set(&self, metric: &'static Metric, labels: &[&str], value: f64);
    /// Moves a gauge up or down.
    fn shift(&self, metric: &'static Metric, labels: &[&str], by: f64);
    /// Records one value of a distribution, in seconds.
    fn observe(&self, metric: &'static Metric, labels: &[&str], seconds: f64);
}

/// A meter that forgets everything: for tests and one-shot commands.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMeter;

impl Meter for NoMeter {
    fn add(&self, _: &'static Metric, _: &[&str], _: u64) {}
    fn set(&self, _: &'static Metric, _: &[&str], _: f64) {}
    fn shift(&self, _: &'static Metric, _: &[&str], _: f64) {}
    fn observe(&self, _: &'static Metric, _: &[&str], _: f64) {}
}
