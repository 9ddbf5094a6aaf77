//! `demo`: the whole at work on two simulated systems, and judged.
//!
//! In the first round, parties that are out of step in every way are brought into step. Then the fleet is stopped
//! while people go on in both systems, and more edits follow while it works: the second round. What must come of
//! it all is computed by [`oracle`], which shares no code with the flow, and compared by [`judge`].

mod calendars;
mod course;
mod directory;
mod faults;
mod judge;
mod numbers;
mod oracle;
mod process;
mod progress;
mod report;
mod round;
mod running;
mod settings;
mod systems;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use assembly::program::{EXIT_CONFIGURATION, EXIT_UNAVAILABLE, start, stop_on_signals};
use assembly::{Parts, Role};
use configuration::Config;
use operations::dead_letters::DeadLetterDesk;
use operations::health::Health;
use simulators::demo_data::{self, Pair, Side};
use telemetry::PrometheusMeter;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::{DemoArgs, OtherDemo};
use crate::fleet::{Fleet, PrivateListener};
use crate::output::{self, EXIT_WRONG, Outcome, fail, note};
use course::{Course, DemoDir, Stage};
use systems::Systems;

/// Where metrics are served if nobody else does.
const METRICS_PORT: u16 = 9180;
/// Exit code of a demo that was stopped by Ctrl-C, as shells have it.
const EXIT_STOPPED: u8 = 130;

/// Runs the command.
pub async fn run(args: &DemoArgs) -> Outcome {
    match &args.other {
        Some(OtherDemo::Calendars(args)) => return calendars::run(args).await,
        Some(OtherDemo::Directory(args)) => return directory::run(args).await,
        None => {}
    }
    let stop = stop_on_signals();
    let dir = DemoDir::take(&args.dir).map_err(unavailable)?;
    if calendars::is_in(&dir) {
        return Err(unavailable(
            "the demo of calendars is in this directory; name another with --dir".to_owned(),
        ));
    }
    let course = begin(&dir, args).await.map_err(unavailable)?;
    let systems = process::find_or_start(dir.path()).await.map_err(unavailable)?;
    let pairs = demo_data::initial(course.seed, usize::try_from(course.parties).unwrap_or(usize::MAX));
    let course = lay_out(&dir, &systems, &pairs, course).await.map_err(unavailable)?;
    let (demo, private) = Demo::prepare(&dir, systems, pairs, args, stop).await?;
    let outcome = demo.run(course).await;
    private.stop().await;
    match outcome {
        Ok(Some(report)) => {
            // Those of a demo that was stopped live on: it will go on with them.
            process::end(dir.path()).await.map_err(unavailable)?;
            Ok(ExitCode::from(if report.equal { 0 } else { EXIT_WRONG }))
        }
        Ok(None) => {
            note("\nStopped. `syncfleet demo` goes on where it stood.");
            Ok(ExitCode::from(EXIT_STOPPED))
        }
        Err(why) => Err(unavailable(why)),
    }
}

fn unavailable(why: String) -> ExitCode {
    fail(EXIT_UNAVAILABLE, why)
}

/// The demo that was begun in the directory, or a new one.
async fn begin(dir: &DemoDir, args: &DemoArgs) -> Result<Course, String> {
    match dir.course() {
        Some(course) if course.stage != Stage::Ended => {
            note(format!(
                "Going on with the demo in {}: {} parties, seed {}. (Remove the directory for a new one.)",
                args.dir.display(),
                course.parties,
                course.seed
            ));
            Ok(course)
        }
        _ => {
            process::end(dir.path()).await?;
            dir.clear().map_err(|error| format!("{} cannot be emptied: {error}", args.dir.display()))?;
            Ok(Course { seed: args.seed, parties: args.parties, stage: Stage::LayingOut })
        }
    }
}

async fn lay_out(dir: &DemoDir, systems: &Systems, pairs: &[Pair], course: Course) -> Result<Course, String> {
    if course.stage != Stage::LayingOut {
        return Ok(course);
    }
    note(format!("Laying out {} parties in a simulated EspoCRM and a simulated Advoware …", pairs.len()));
    keep(dir, &course)?;
    systems.lay_out(pairs).await?;
    let course = Course { stage: Stage::FirstRound, ..course };
    keep(dir, &course)?;
    Ok(course)
}

fn keep(dir: &DemoDir, course: &Course) -> Result<(), String> {
    dir.keep(course).map_err(|error| format!("how far the demo has come cannot be written down: {error}"))
}

/// Everything that a demo works with.
struct Demo<'a> {
    args: &'a DemoArgs,
    dir: &'a DemoDir,
    systems: Systems,
    pairs: Vec<Pair>,
    config: Config,
    parts: Parts,
    desk: DeadLetterDesk,
    health: Health,
    webhooks: SocketAddr,
    metrics: SocketAddr,
    stop: CancellationToken,
}

impl<'a> Demo<'a> {
    async fn prepare(
        dir: &'a DemoDir,
        systems: Systems,
        pairs: Vec<Pair>,
        args: &'a DemoArgs,
        stop: CancellationToken,
    ) -> Result<(Self, PrivateListener), ExitCode> {
        let private = metrics_listener().await.map_err(unavailable)?;
        let address =
            |listener: &TcpListener| listener.local_addr().map_err(|error| unavailable(error.to_string()));
        let metrics = address(&private)?;
        // Bound for its number only: the producer binds it anew whenever the fleet starts.
        let webhooks = address(&bind(0).await.map_err(|error| unavailable(error.to_string()))?)?;
        let hooks =
            systems.webhooks(&format!("http://{webhooks}/webhooks/parties")).await.map_err(unavailable)?;
        systems.register(&format!("http://{webhooks}")).await.map_err(unavailable)?;
        let written = settings::Demo {
            dir: dir.path(),
            systems: systems.addresses(),
            webhooks,
            metrics,
            hooks: &hooks,
            parties: u32::try_from(pairs.len()).unwrap_or(u32::MAX),
        }
        .write();
        let file =
            written.map_err(|error| unavailable(format!("the configuration cannot be written: {error}")))?;
        // The environment is for real installations.
        let config = Config::load(Some(&file), [])
            .map_err(|problems| fail(EXIT_CONFIGURATION, problems.to_string()))?;
        log_into(dir).map_err(unavailable)?;
        let (parts, meter) = start(&config, Role::Serving)?;
        let desk = DeadLetterDesk::new(parts.queue.clone(), parts.state.clone(), parts.topologies());
        let health = Health::default();
        let private = PrivateListener::serve(private, meter as Arc<PrometheusMeter>, health.clone());
        let demo = Self { args, dir, systems, pairs, config, parts, desk, health, webhooks, metrics, stop };
        Ok((demo, private))
    }

    /// The whole demo; none when it was stopped.
    async fn run(&self, course: Course) -> Result<Option<report::Report>, String> {
        let began = tokio::time::Instant::now();
        let (crm, advoware) = faults::rules(self.args.faults, course.seed);
        self.systems.misbehave(Side::Crm, &crm).await?;
        self.systems.misbehave(Side::Advoware, &advoware).await?;
        let Some(course) = self.first_round(course).await? else { return Ok(None) };
        let Some(expected) = self.second_round(&course).await? else { return Ok(None) };
        let report = self.judge(&expected, began).await?;
        keep(self.dir, &Course { stage: Stage::Ended, ..course })?;
        if self.args.json {
            output::json(&report);
        } else {
            output::line(format!("\n{}", report.text()));
        }
        if self.args.keep_running {
            self.keep_running().await?;
        }
        Ok(Some(report))
    }

    /// Producer and worker, until they are stopped.
    async fn fleet(&self) -> Result<Fleet, String> {
        let listener = TcpListener::bind(self.webhooks).await;
        let listener =
            listener.map_err(|error| format!("webhooks cannot be taken at {}: {error}", self.webhooks))?;
        Ok(Fleet::start(&self.config, &self.parts, &self.health, Some(listener), &self.stop))
    }
}

async fn bind(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

async fn metrics_listener() -> Result<TcpListener, String> {
    match bind(METRICS_PORT).await {
        Ok(listener) => Ok(listener),
        Err(_) => bind(0).await.map_err(|error| format!("no port is free for metrics: {error}")),
    }
}

/// The terminal is for the progress.
fn log_into(dir: &DemoDir) -> Result<(), String> {
    let path = dir.join("syncfleet.log");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    let file = file.map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    let level = tracing::level_filters::LevelFilter::INFO;
    telemetry::init_logs(telemetry::LogFormat::Human { colours: false }, level, file)
        .map_err(|error| error.to_string())
}
