//! `demo calendars`: one account, its calendar in Outlook and its meetings in EspoCRM, to be tried out in a browser.
//!
//! The fleet is the real one, with the flow `calendar` alone; EspoCRM is provisioned as `syncfleet provision` does it, and
//! the account is connected by the link that `syncfleet accounts connect` would print. Everything lives in a directory,
//! and goes on there after any end.

mod account;
mod happenings;
mod settings;
mod watch;
mod week;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use assembly::program::{EXIT_CONFIGURATION, start, stop_on_signals};
use assembly::{Parts, Role};
use configuration::{Config, Problems};
use operations::health::Health;
use serde::{Deserialize, Serialize};
use simulators::espocrm::PERSON_ID;
use telemetry::PrometheusMeter;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::course::DemoDir;
use super::systems::Systems;
use super::{EXIT_STOPPED, bind, log_into, metrics_listener, process, unavailable};
use crate::cli::CalendarsArgs;
use crate::fleet::{Fleet, PrivateListener};
use crate::output::{self, EXIT_WRONG, Outcome, counted, fail, note};
use crate::provision;
use account::Account;
use watch::Watch;

/// How often it is looked whether something happened.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// What the demo of calendars keeps for its next start.
const MEMORY: &str = "calendars.json";

/// What one run leaves to the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    /// Where browsers, EspoCRM and Microsoft reach us: links, webhooks and subscriptions name it.
    public_port: Option<u16>,
    /// Whether both calendars have their first events.
    is_laid_out: bool,
}

/// Whether the demo of calendars was begun in the directory.
pub(super) fn is_in(dir: &DemoDir) -> bool {
    dir.join(MEMORY).exists()
}

impl Memory {
    fn load(dir: &DemoDir) -> Self {
        let kept = std::fs::read(dir.join(MEMORY)).ok();
        kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default()
    }

    fn keep(&self, dir: &DemoDir) -> Result<(), String> {
        let new = dir.join("calendars.json.new");
        let written = serde_json::to_vec(self).map_err(std::io::Error::from);
        let written = written.and_then(|text| std::fs::write(&new, text));
        let kept = written.and_then(|()| std::fs::rename(new, dir.join(MEMORY)));
        kept.map_err(|error| format!("{MEMORY} cannot be written: {error}"))
    }
}

/// Runs the command.
pub(super) async fn run(args: &CalendarsArgs) -> Outcome {
    let stop = stop_on_signals();
    let dir = DemoDir::take(&args.dir).map_err(unavailable)?;
    if dir.course().is_some() {
        return Err(unavailable(
            "the demo of parties is in this directory; name another with --dir".to_owned(),
        ));
    }
    log_into(&dir).map_err(unavailable)?;
    let (stage, private) = Stage::set(&dir, &stop).await?;
    let outcome = stage.play(args.connect).await;
    private.stop().await;
    match outcome {
        Ok(true) => {
            note("\nStopped. `syncfleet demo calendars` goes on where it stood.");
            Ok(ExitCode::from(EXIT_STOPPED))
        }
        Ok(false) => Err(fail(
            EXIT_WRONG,
            format!("it ended by a defect: see {}", dir.join("syncfleet.log").display()),
        )),
        Err(why) => Err(unavailable(why)),
    }
}

/// Everything that is set up before it begins.
struct Stage<'a> {
    dir: &'a DemoDir,
    systems: Systems,
    config: Config,
    parts: Parts,
    health: Health,
    /// Taken from the start, so that nothing is told to a closed door.
    public: TcpListener,
    stop: &'a CancellationToken,
}

impl<'a> Stage<'a> {
    async fn set(dir: &'a DemoDir, stop: &'a CancellationToken) -> Result<(Self, PrivateListener), ExitCode> {
        let mut memory = Memory::load(dir);
        memory.keep(dir).map_err(unavailable)?;
        let systems = process::find_or_start(dir.path()).await.map_err(unavailable)?;
        let (public, private) = (public_listener(&memory).await, metrics_listener().await);
        let (public, private) = (public.map_err(unavailable)?, private.map_err(unavailable)?);
        let address =
            |listener: &TcpListener| listener.local_addr().map_err(|error| unavailable(error.to_string()));
        let (at, metrics) = (address(&public)?, address(&private)?);
        let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), at.port());
        memory.public_port = Some(at.port());
        memory.keep(dir).map_err(unavailable)?;
        if !memory.is_laid_out {
            week::lay_out(&systems).await.map_err(unavailable)?;
            memory.is_laid_out = true;
            memory.keep(dir).map_err(unavailable)?;
        }
        systems.register(&format!("http://{at}")).await.map_err(unavailable)?;
        let written =
            settings::Settings { dir: dir.path(), systems: systems.addresses(), public: at, metrics }.write();
        let file =
            written.map_err(|error| unavailable(format!("the configuration cannot be written: {error}")))?;
        // The environment is for real installations.
        let wrong = |problems: Problems| fail(EXIT_CONFIGURATION, problems.to_string());
        let done = provision::quietly(&Config::load_to_provision(Some(&file), []).map_err(wrong)?).await?;
        if done > 0 {
            note(format!(
                "{} made in EspoCRM, as `syncfleet provision --yes` does: fields, rights, webhooks.",
                counted(done, "thing")
            ));
        }
        let config = Config::load(Some(&file), []).map_err(wrong)?;
        let (parts, meter) = start(&config, Role::Serving)?;
        let health = Health::default();
        let private = PrivateListener::serve(private, meter as Arc<PrometheusMeter>, health.clone());
        Ok((Self { dir, systems, config, parts, health, public, stop }, private))
    }

    /// Until it is stopped; `false` when the fleet ended by a defect.
    async fn play(self, connects: bool) -> Result<bool, String> {
        let account = Account::new(&self.parts, &self.config, PERSON_ID)?;
        let is_connected = account.is_connected().await?;
        self.introduce(&account, is_connected || connects)?;
        let mut watch = Watch::begin(&self.systems, &account).await?;
        let fleet = Fleet::start(&self.config, &self.parts, &self.health, Some(self.public), self.stop);
        if connects && !is_connected {
            account.connect(&self.systems, week::MAIL).await?;
        }
        let ended = fleet.ended();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                well = &mut ended => return Ok(well),
                () = tokio::time::sleep(LOOK_PAUSE) => {}
            }
            let told = watch.look().await;
            match told {
                Ok(lines) => lines.iter().for_each(output::line),
                // The simulators were ended: nothing can happen any more.
                Err(why) if !self.stop.is_cancelled() => {
                    self.stop.cancel();
                    let _well = ended.await;
                    return Err(why);
                }
                Err(_) => {}
            }
        }
    }

    fn introduce(&self, account: &Account, is_connected: bool) -> Result<(), String> {
        let addresses = self.systems.addresses();
        let outlook = addresses.microsoft.as_deref().unwrap_or_default();
        let mut text = format!(
            "\nThe calendar of {} in Outlook, and her meetings and calls in EspoCRM. Open in a browser:\n\n",
            week::MAIL
        );
        let connect = match is_connected {
            true => "(done)".to_owned(),
            false => account.link()?.to_string(),
        };
        let pages = [
            ("connect her account", connect),
            ("Outlook", format!("{outlook}/")),
            ("EspoCRM", format!("{}/", addresses.espocrm)),
        ];
        for (what, address) in pages {
            text.push_str(&format!("  {what:<20} {address}\n"));
        }
        let first = if is_connected {
            "Add, change or delete"
        } else {
            "Accept at the first, then add, change or delete"
        };
        text.push_str(&format!(
            "\n{first} an event on either page: it arrives on the other.\n\
             Beside it: syncfleet --config {} status. Ctrl-C ends it; started again, it goes on.\n",
            self.dir.join("syncfleet.toml").display()
        ));
        output::line(text);
        Ok(())
    }
}

/// Where it was before, or anywhere.
async fn public_listener(memory: &Memory) -> Result<TcpListener, String> {
    if let Some(port) = memory.public_port
        && let Ok(listener) = bind(port).await
    {
        return Ok(listener);
    }
    bind(0).await.map_err(|error| format!("no port is free: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_kept_for_the_next_start() {
        let outer = tempfile::tempdir().unwrap();
        let dir = DemoDir::take(&outer.path().join("demo")).unwrap();
        assert!(!is_in(&dir));
        assert_eq!(Memory::load(&dir), Memory::default());
        let memory = Memory { public_port: Some(40_000), is_laid_out: true };
        memory.keep(&dir).unwrap();
        assert!(is_in(&dir));
        assert_eq!(Memory::load(&dir), memory);
    }
}
