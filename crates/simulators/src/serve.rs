//! Both simulators in one process: what `syncfleet simulators` runs.

use std::future::Future;
use std::io;
use std::time::Duration;

use crate::advoware::{AdvowareOptions, AdvowareSimulator};
use crate::espocrm::{EspocrmOptions, EspocrmSimulator};

/// How often idleness is looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// The CRM.
    pub espocrm: EspocrmOptions,
    /// The practice management.
    pub advoware: AdvowareOptions,
    /// Ends when neither got a request (control requests included) for so long; never when absent.
    pub exit_when_idle: Option<Duration>,
}

/// Runs both until `shutdown` ends, or until idle for the set time. `ready` is called with the base URLs
/// of EspoCRM and Advoware as soon as both answer.
///
/// # Errors
/// When a port is taken or a folder cannot be used.
pub async fn serve(
    options: ServeOptions,
    ready: impl FnOnce(&str, &str),
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let espocrm = EspocrmSimulator::start(options.espocrm).await?;
    let advoware = AdvowareSimulator::start(options.advoware).await?;
    ready(&espocrm.base_url(), &advoware.base_url());
    let idle = async {
        match options.exit_when_idle {
            None => std::future::pending().await,
            Some(limit) => {
                while espocrm.idle().min(advoware.idle()) < limit {
                    tokio::time::sleep(LOOK_INTERVAL.min(limit)).await;
                }
            }
        }
    };
    tokio::select! {
        () = shutdown => {}
        () = idle => {}
    }
    espocrm.stop().await;
    advoware.stop().await;
    Ok(())
}
