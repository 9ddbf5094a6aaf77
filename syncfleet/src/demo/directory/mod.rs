//! `demo directory`: a company in a simulated WeCom, kept the same in a simulated SCIM service.
//!
//! The first sync is asked for as `syncfleet directory first-sync` does it. Then a day passes in the company, whose callbacks
//! come in another order, some of them twice. What must come of it is computed by [`judge`], which shares no code with the
//! flow. All of it lives in this process, and begins anew each time.

mod company;
mod judge;
mod settings;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use assembly::program::{EXIT_CONFIGURATION, start, stop_on_signals};
use assembly::{Parts, Role};
use configuration::Config;
use flows::directory::first_sync::{FirstSync, Phase, Request};
use flows::directory::flow::DirectoryFlow;
use operations::health::Health;
use serde::Serialize;
use simulators::wecom::WecomCallback;
use simulators::{ScimOptions, ScimSimulator, WecomOptions, WecomSimulator};
use telemetry::PrometheusMeter;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::course::DemoDir;
use super::{EXIT_STOPPED, bind, log_into, metrics_listener, unavailable};
use crate::cli::DirectoryDemoArgs;
use crate::directory::standing::{Course, phase};
use crate::fleet::{Fleet, PrivateListener};
use crate::output::{self, EXIT_WRONG, Outcome, fail, note};
use crate::sync;
use judge::{Directory, cut};

/// How often it is looked.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// Longest time until what happened on a day has arrived.
const DAY_TIME_MAX: Duration = Duration::from_secs(120);
/// How often callbacks are sent.
const DELIVERY_INTERVAL: Duration = Duration::from_millis(100);
/// Share of the callbacks that come twice.
const DOUBLED: f64 = 0.2;
/// What a run leaves in its directory, and how it is known that the directory is one of this demo.
const LEFTOVERS: [&str; 4] = ["directory.json", "data", "secrets", "syncfleet.toml"];

/// How it ended.
#[derive(Debug, Serialize)]
struct Report {
    equal: bool,
    departments: usize,
    members: usize,
    first_sync_seconds: f64,
    day_seconds: f64,
    requests_to_wecom: u64,
    requests_to_scim: u64,
    differences: Vec<String>,
}

/// Runs the command.
pub(super) async fn run(args: &DirectoryDemoArgs) -> Outcome {
    let stop = stop_on_signals();
    let dir = DemoDir::take(&args.dir).map_err(unavailable)?;
    if dir.course().is_some() || super::calendars::is_in(&dir) {
        return Err(unavailable("another demo is in this directory; name another with --dir".to_owned()));
    }
    clear(&dir).map_err(|error| unavailable(format!("{} cannot be emptied: {error}", args.dir.display())))?;
    log_into(&dir).map_err(unavailable)?;
    let (stage, private) = Stage::set(&dir, args, &stop).await?;
    let outcome = stage.play(args).await;
    stage.strike().await;
    private.stop().await;
    match outcome {
        Ok(Some(report)) => {
            if args.json {
                output::json(&report);
            } else {
                output::line(report.text());
            }
            Ok(ExitCode::from(if report.equal { 0 } else { EXIT_WRONG }))
        }
        Ok(None) => {
            note("\nStopped. `syncfleet demo directory` begins anew.");
            Ok(ExitCode::from(EXIT_STOPPED))
        }
        Err(why) => Err(unavailable(why)),
    }
}

/// Removes what a run left, and says whose directory it is.
fn clear(dir: &DemoDir) -> std::io::Result<()> {
    for path in LEFTOVERS.map(|name| dir.join(name)) {
        let removed =
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::write(dir.join(LEFTOVERS[0]), "{}")
}

/// Everything that is set up before it begins.
struct Stage<'a> {
    wecom: WecomSimulator,
    scim: ScimSimulator,
    config: Config,
    parts: Parts,
    flow: Arc<DirectoryFlow>,
    health: Health,
    public: SocketAddr,
    stop: &'a CancellationToken,
}

impl<'a> Stage<'a> {
    async fn set(
        dir: &DemoDir,
        args: &DirectoryDemoArgs,
        stop: &'a CancellationToken,
    ) -> Result<(Self, PrivateListener), ExitCode> {
        let failed = |error: std::io::Error| unavailable(format!("the simulators do not start: {error}"));
        let private = metrics_listener().await.map_err(unavailable)?;
        // Bound for its number only: the producer binds it anew.
        let public = bind(0).await.and_then(|listener| listener.local_addr()).map_err(failed)?;
        let metrics = private.local_addr().map_err(failed)?;
        let callback = WecomCallback {
            shuffled: true,
            doubled_probability: DOUBLED,
            seed: args.seed,
            ..WecomCallback::new(&format!("http://{public}/webhooks/directory"))
        };
        let wecom = WecomSimulator::start(WecomOptions {
            callback: Some(callback),
            delivery_interval: Some(DELIVERY_INTERVAL),
            order_seed: args.seed,
            ..WecomOptions::default()
        });
        let wecom = wecom.await.map_err(failed)?;
        let scim = ScimSimulator::start(ScimOptions::default()).await.map_err(failed)?;
        note(format!("Laying out a company of {} people in a simulated WeCom …", args.members));
        company::lay_out(&wecom, args.members, args.seed).map_err(failed)?;
        let written = settings::Settings {
            dir: dir.path(),
            wecom: &wecom.base_url(),
            scim: &scim.service_url(),
            public,
            metrics,
        }
        .write();
        let file =
            written.map_err(|error| unavailable(format!("the configuration cannot be written: {error}")))?;
        // The environment is for real installations.
        let config = Config::load(Some(&file), [])
            .map_err(|problems| fail(EXIT_CONFIGURATION, problems.to_string()))?;
        let (parts, meter) = start(&config, Role::Serving)?;
        let flow = parts.directory.clone();
        let flow = flow.ok_or_else(|| unavailable("the flow directory is not there".to_owned()))?;
        let health = Health::default();
        let private = PrivateListener::serve(private, meter as Arc<PrometheusMeter>, health.clone());
        Ok((Self { wecom, scim, config, parts, flow, health, public, stop }, private))
    }

    /// The whole demo; none when it was stopped.
    async fn play(&self, args: &DirectoryDemoArgs) -> Result<Option<Report>, String> {
        let listener = TcpListener::bind(self.public).await.map_err(|error| error.to_string())?;
        let fleet = Fleet::start(&self.config, &self.parts, &self.health, Some(listener), self.stop);
        let report = self.both_halves(args.members).await;
        let well = fleet.stop().await;
        match report {
            Ok(report) if well => Ok(report),
            Ok(_) => Err("the fleet ended by a defect".to_owned()),
            Err(why) => Err(why),
        }
    }

    async fn both_halves(&self, members: u64) -> Result<Option<Report>, String> {
        let began = Instant::now();
        let Some(sync) = self.first_sync().await? else { return Ok(None) };
        let first_sync_seconds = began.elapsed().as_secs_f64();
        note(format!("  The first sync is over after {first_sync_seconds:.1} s: {} done.", sync.done));
        let Some(at_first) = self.agree(DAY_TIME_MAX).await? else { return Ok(None) };
        note(match at_first.len() {
            0 => "  Both sides are equal.".to_owned(),
            n => format!("  Both sides differ in {n} records."),
        });
        note("Then, within a moment, and WeCom tells of it in any order, of some of it twice:");
        let began = Instant::now();
        for happening in company::a_day(&self.wecom, members)? {
            note(format!("  {happening}"));
        }
        let Some(differences) = self.agree(DAY_TIME_MAX).await? else { return Ok(None) };
        let wanted = Directory::wanted(&self.wecom.records());
        Ok(Some(Report {
            equal: at_first.is_empty() && differences.is_empty(),
            departments: wanted.groups.len(),
            members: wanted.users.len(),
            first_sync_seconds,
            day_seconds: began.elapsed().as_secs_f64(),
            requests_to_wecom: self.wecom.counters().values().sum(),
            requests_to_scim: self.scim.counters().values().sum(),
            differences: cut(at_first.into_iter().chain(differences).collect()),
        }))
    }

    /// Asks for it, and waits for its end; none when the demo was stopped.
    async fn first_sync(&self) -> Result<Option<FirstSync>, String> {
        let (id, now) = (Uuid::now_v7().simple().to_string(), self.parts.clock.now());
        let request = Request { id: &id, by: "the demo", again: false, now };
        self.flow.request_first_sync(&request).await.map_err(|fault| fault.to_string())?;
        let key = self.flow.first_sync_key();
        sync::publish(&self.parts, self.flow.as_ref(), &key)
            .await
            .map_err(|_| "the message of the first sync cannot be published".to_owned())?;
        note("The first sync:");
        let ticker = output::ticker(&output::bars());
        let mut told = None;
        loop {
            let found = self.flow.first_sync().await.map_err(|fault| fault.to_string())?;
            if let Some(sync) = found {
                let course = Course::of(&sync, self.parts.clock.now());
                ticker.set_message(format!("{} · {}", phase(sync.phase), course.line()));
                ticker.tick();
                if told != Some(sync.phase) && sync.phase != Phase::Done {
                    told = Some(sync.phase);
                    note(format!("  {}", phase(sync.phase)));
                }
                if sync.phase == Phase::Done {
                    ticker.finish_and_clear();
                    return Ok(Some(sync));
                }
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(LOOK_PAUSE)).await.is_none() {
                ticker.finish_and_clear();
                return Ok(None);
            }
        }
    }

    /// Waits until both sides are equal; answers what still differs after that time, and none when it was stopped.
    async fn agree(&self, time_max: Duration) -> Result<Option<Vec<String>>, String> {
        let deadline = Instant::now() + time_max;
        loop {
            let wanted = Directory::wanted(&self.wecom.records());
            let differences = wanted.differences(&Directory::held(&self.scim.records()));
            if differences.is_empty() || Instant::now() >= deadline {
                return Ok(Some(differences));
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(LOOK_PAUSE)).await.is_none() {
                return Ok(None);
            }
        }
    }

    async fn strike(self) {
        self.wecom.stop().await;
        self.scim.stop().await;
    }
}

impl Report {
    fn text(&self) -> String {
        let rows = [
            ("departments, as groups", self.departments.to_string()),
            ("members, as users", self.members.to_string()),
            ("first sync", format!("{:.1} s", self.first_sync_seconds)),
            ("what happened on the day has arrived", format!("after {:.1} s", self.day_seconds)),
            ("requests to WeCom, SCIM", format!("{}, {}", self.requests_to_wecom, self.requests_to_scim)),
        ];
        let mut text = output::table(["", ""], rows.map(|(what, value)| [what.to_owned(), value]));
        for difference in &self.differences {
            text.push_str(&format!("NOT EQUAL: {difference}\n"));
        }
        text.push_str(match self.equal {
            true => "\nThe SCIM service holds what it must, computed from what WeCom holds alone.\n",
            false => "\nThe SCIM service does NOT hold what it must.\n",
        });
        text
    }
}
