//! How the spool stands: readiness and metrics.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shared::names;
use shared::ports::queue::Queue;
use tokio::time::{MissedTickBehavior, interval};

use super::{Spool, lock, topology};
use crate::run::Engine;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a refusal counts against readiness.
const REFUSAL_KNOWN: Duration = Duration::from_secs(60);

/// Opens the spool where it is not open yet, then reports how it stands until it is dropped.
pub async fn report(engine: &Engine, spool: &Spool) {
    spool.open(&engine.health).await;
    let Some(disk) = spool.opened().await else { return };
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        show(engine, spool, disk.as_ref()).await;
    }
}

async fn show(engine: &Engine, spool: &Spool, disk: &dyn Queue) {
    let mut oldest = None;
    for (flow, waiting) in &spool.waiting {
        let waiting = waiting.load(Ordering::SeqCst);
        let since = match waiting {
            0 => None,
            _ => disk.depth(&topology(flow)).await.ok().and_then(|depth| depth.oldest),
        };
        let labels = [flow.as_str()];
        #[expect(clippy::cast_precision_loss, reason = "bounded far below 2^53")]
        engine.meter.set(&names::SPOOL_MESSAGES, &labels, waiting as f64);
        let seconds = since.map_or(0.0, |since| since.as_duration().as_secs_f64());
        engine.meter.set(&names::SPOOL_OLDEST, &labels, seconds);
        oldest = oldest.into_iter().chain(since).min();
    }
    let dir = spool.settings.dir.clone();
    #[expect(clippy::cast_precision_loss, reason = "bounded far below 2^53")]
    if let Ok(bytes) = tokio::task::spawn_blocking(move || bytes_in(&dir)).await {
        engine.meter.set(&names::SPOOL_BYTES, &[], bytes as f64);
    }
    let refusal = lock(&spool.refusal).clone();
    let refusal = refusal.filter(|(at, _)| at.elapsed() < REFUSAL_KNOWN).map(|(_, why)| why);
    engine.health.set("spool", fact(spool.waiting(), oldest, refusal));
}

/// What readiness says.
fn fact(waiting: u64, oldest: Option<jiff::Timestamp>, refusal: Option<String>) -> Result<String, String> {
    if let Some(why) = refusal {
        return Err(format!("webhooks were refused: {why}"));
    }
    let since = oldest.map(|at| format!(", the oldest since {at:.0}")).unwrap_or_default();
    Ok(if waiting == 0 {
        "empty".to_owned()
    } else {
        format!("{waiting} messages wait for the broker{since}")
    })
}

/// Bytes of a directory's files.
fn bytes_in(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_tells_what_waits_and_why_webhooks_were_refused() {
        assert_eq!(fact(0, None, None), Ok("empty".into()));
        let since = "2026-11-20T09:15:00.25Z".parse().unwrap();
        let waiting = fact(3, Some(since), None).unwrap();
        assert_eq!(waiting, "3 messages wait for the broker, the oldest since 2026-11-20T09:15:00Z");
        assert!(fact(3, None, Some("disk full".into())).unwrap_err().contains("disk full"));
    }

    #[test]
    fn bytes_are_those_of_the_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), [0; 10]).unwrap();
        std::fs::write(dir.path().join("b"), [0; 5]).unwrap();
        assert_eq!(bytes_in(dir.path()), 15);
        assert_eq!(bytes_in(&dir.path().join("not-there")), 0);
    }
}
