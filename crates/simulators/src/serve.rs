//! The simulators in one process: what `syncfleet simulators` runs.

use std::future::Future;
use std::io;
use std::time::Duration;

use crate::advoware::{AdvowareOptions, AdvowareSimulator};
use crate::espocrm::{EspocrmOptions, EspocrmSimulator};
use crate::google::{GoogleOptions, GoogleSimulator};
use crate::microsoft::{MicrosoftOptions, MicrosoftSimulator};
use crate::scim::{ScimOptions, ScimSimulator};
use crate::wecom::{WecomOptions, WecomSimulator};

/// How often idleness is looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// The CRM.
    pub espocrm: EspocrmOptions,
    /// The practice management.
    pub advoware: AdvowareOptions,
    /// Sign-in and calendars of Microsoft.
    pub microsoft: MicrosoftOptions,
    /// Sign-in and calendars of Google.
    pub google: GoogleOptions,
    /// Departments and members.
    pub wecom: WecomOptions,
    /// Users and groups.
    pub scim: ScimOptions,
    /// Ends when none got a request (control requests included) for so long; never when absent.
    pub exit_when_idle: Option<Duration>,
}

/// The base addresses of those that run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// EspoCRM.
    pub espocrm: String,
    /// Advoware.
    pub advoware: String,
    /// Microsoft.
    pub microsoft: String,
    /// Google.
    pub google: String,
    /// WeCom.
    pub wecom: String,
    /// The SCIM service, with the path that clients are given.
    pub scim: String,
}

/// Runs all until `shutdown` ends, or until idle for the set time. `ready` is called as soon as all answer.
///
/// # Errors
/// When a port is taken or a folder cannot be used.
pub async fn serve(
    options: ServeOptions,
    ready: impl FnOnce(&Served),
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let espocrm = EspocrmSimulator::start(options.espocrm).await?;
    let advoware = AdvowareSimulator::start(options.advoware).await?;
    let microsoft = MicrosoftSimulator::start(options.microsoft).await?;
    let google = GoogleSimulator::start(options.google).await?;
    let wecom = WecomSimulator::start(options.wecom).await?;
    let scim = ScimSimulator::start(options.scim).await?;
    ready(&Served {
        espocrm: espocrm.base_url(),
        advoware: advoware.base_url(),
        microsoft: microsoft.base_url(),
        google: google.base_url(),
        wecom: wecom.base_url(),
        scim: scim.service_url(),
    });
    let idle_time = || {
        let office = [espocrm.idle(), advoware.idle(), microsoft.idle(), google.idle()];
        let directory = [wecom.idle(), scim.idle()];
        office.into_iter().chain(directory).min().unwrap_or_default()
    };
    let idle = async {
        match options.exit_when_idle {
            None => std::future::pending().await,
            Some(limit) => {
                while idle_time() < limit {
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
    microsoft.stop().await;
    google.stop().await;
    wecom.stop().await;
    scim.stop().await;
    Ok(())
}
