//! Log lines: which are written, and in which form.

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::json::JsonLine;

/// Crates that write credentials or bodies into their logs below this level, or drown ours.
const HELD_AT_INFO: &[&str] = &[
    "amq_protocol",
    "async_rs",
    "h2",
    "hyper",
    "hyper_util",
    "lapin",
    "mio",
    "polling",
    "redis",
    "reqwest",
    "rustls",
    "tower",
];

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For reading, with colours where the writer is a terminal.
    Human {
        /// Whether to colour.
        colours: bool,
    },
    /// One JSON object a line: `timestamp`, `level`, `message`, then the fields of the spans and of the event
    /// (`flow.name`, `record.id`, `trace.id`, …), then `target`.
    Json,
}

/// The logs were set up before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogsError;

impl std::fmt::Display for LogsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the logs of this process are already set up")
    }
}

impl std::error::Error for LogsError {}

/// What writes log lines of `level` and above to `writer`.
pub fn subscriber<W>(format: LogFormat, level: LevelFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let held = HELD_AT_INFO.iter().map(|name| (*name, level.min(LevelFilter::INFO)));
    let filter = Targets::new().with_default(level).with_targets(held);
    let layer = match format {
        LogFormat::Human { colours } => {
            fmt::layer().compact().with_target(false).with_ansi(colours).with_writer(writer).boxed()
        }
        LogFormat::Json => fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(JsonLine)
            .with_ansi(false)
            .with_writer(writer)
            .boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter))
}

/// Sets up the logs of this process, those of the `log` crate included. Once per process.
///
/// # Errors
/// [`LogsError`] when they are set up already.
pub fn init_logs<W>(format: LogFormat, level: LevelFilter, writer: W) -> Result<(), LogsError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    subscriber(format, level, writer).try_init().map_err(|_| LogsError)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat, level: LevelFilter, work: impl FnOnce()) -> Vec<String> {
        let page = Page::default();
        let writer = page.clone();
        tracing::subscriber::with_default(subscriber(format, level, move || writer.clone()), work);
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn run() {
        let span = tracing::info_span!(
            "process",
            flow.name = "parties",
            record.id = "6b00526cc80a09e94",
            trace.id = tracing::field::Empty
        );
        span.record("trace.id", "0af7651916cd43dd8448eb211c80319c");
        span.in_scope(|| tracing::warn!(attempts = 3, "a run failed: \"quoted\"\nand broken"));
        tracing::debug!("not at this level");
        tracing::debug!(target: "lapin::frames", "password");
    }

    #[test]
    fn a_json_line_is_one_object_with_the_fields_of_its_spans() {
        let lines = written(LogFormat::Json, LevelFilter::INFO, run);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        let names: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(names[..3], ["timestamp", "level", "message"]);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "a run failed: \"quoted\"\nand broken");
        assert_eq!(line["flow.name"], "parties");
        assert_eq!(line["record.id"], "6b00526cc80a09e94");
        assert_eq!(line["trace.id"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(line["attempts"], 3);
        assert_eq!(line["target"], "telemetry::logs::tests");
    }

    #[test]
    fn a_human_line_names_the_record_as_well() {
        let lines = written(LogFormat::Human { colours: false }, LevelFilter::INFO, run).join("\n");
        for part in ["WARN", "a run failed", "parties", "6b00526cc80a09e94", "0af7651916cd43dd"] {
            assert!(lines.contains(part), "{part}: {lines}");
        }
    }

    #[test]
    fn talkative_crates_stay_at_info_whatever_the_level() {
        let lines = written(LogFormat::Json, LevelFilter::TRACE, run).join("\n");
        assert!(lines.contains("not at this level") && !lines.contains("password"), "{lines}");
    }
}
