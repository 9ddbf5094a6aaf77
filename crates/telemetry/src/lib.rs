//! How the programs are seen from outside: log lines and metrics. Set up once by each program's `main`; the
//! parts themselves know only `tracing` and [`shared::meter::Meter`].

mod json;
mod logs;
mod meter;

pub use logs::{LogFormat, LogsError, init_logs, subscriber};
pub use meter::{LABEL_VALUES_MAX, OTHER, PrometheusMeter};
