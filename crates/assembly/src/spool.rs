//! The disk of a producer's spool.

use std::sync::Arc;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use configuration::{Config, QueueBacking};
use shared::clock::Clock;
use shared::ports::PortError;
use shared::ports::queue::Queue;

/// Opens the directory as a queue of which this process alone consumes. May block.
pub type OpenDisk = Arc<dyn Fn() -> Result<Arc<dyn Queue>, PortError> + Send + Sync>;

/// How the spool's directory is opened; `None` where there is no spool: it is switched off, or the queue is itself on
/// this machine's disk.
pub fn spool_disk(config: &Config, clock: Arc<dyn Clock>) -> Option<OpenDisk> {
    let spool =
        config.producer.spool.clone().filter(|_| matches!(config.queue, QueueBacking::RabbitMq(_)))?;
    Some(Arc::new(move || {
        let options = EmbeddedOptions {
            // What was accepted leaves the spool for the queue only, however often producers crash.
            delivery_limit: u32::MAX,
            bytes_max: spool.bytes_max,
            disk_free_bytes_min: spool.disk_free_bytes_min,
            ..EmbeddedOptions::new(&spool.dir, Role::Serving, clock.clone())
        };
        Embedded::open(options).map(|embedded| embedded.queue as Arc<dyn Queue>)
    }))
}
