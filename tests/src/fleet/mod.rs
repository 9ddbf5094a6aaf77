//! A whole installation under test: both simulated systems, a file of settings, webhooks, and the real programs as
//! processes.

mod member;
mod settings;

use std::path::Path;
use std::time::Duration;

use adapter_embedded::{Embedded, EmbeddedOptions};
use adapter_rabbitmq::RabbitmqQueue;
use serde_json::{Value, json};
use shared::clock::SystemClock;
use shared::dead_letter::{DeadLetter, OpenLetters};
use shared::ports::queue::Queue;
use simulators::demo_data::Pair;
use simulators::{AdvowareOptions, AdvowareSimulator, EspocrmOptions, EspocrmSimulator};
use std::sync::Arc;

use crate::http::{Answer, Http};
use crate::supervise::Folder;
use crate::{HarnessError, Program, Result, unique_name, wait};

pub use member::{Kind, Member};
pub use settings::Backing;

/// Long enough for anything that works, on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// How often the simulated CRM sends its webhooks.
const WEBHOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long it waits before it sends a refused one again. It tries four times, which must outlast a restart of a
/// server; 10 minutes in the real one.
const WEBHOOK_RETRY_DELAY: Duration = Duration::from_secs(12);
const DEAD_LETTER_PAGE: u32 = 1_000;
const NAME_CHARS_MIN: usize = 7;

/// What to set up.
pub struct Plan {
    /// Queue and state.
    pub backing: Backing,
    /// How many producers.
    pub producers: usize,
    /// How many workers.
    pub workers: usize,
    /// How many programs that are both in one.
    pub ups: usize,
    /// Settings that differ from those of [`Fleet`], such as `("WORKER__CONCURRENCY_MAX", "4")`.
    pub settings: Vec<(&'static str, String)>,
    /// Whether requests have wide limits; else they have the product's.
    pub has_wide_limits: bool,
    /// Whether the simulated CRM sends its webhooks.
    pub sends_webhooks: bool,
}

impl Plan {
    /// An installation with so many producers and workers.
    pub fn new(backing: Backing, producers: usize, workers: usize) -> Self {
        Self {
            backing,
            producers,
            workers,
            ups: 0,
            settings: Vec::new(),
            has_wide_limits: true,
            sends_webhooks: true,
        }
    }
}

/// A webhook as EspoCRM showed it when it was made.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// Where it is sent to.
    pub url: String,
}

/// The installation. Retries, leases and sweeps are quick.
pub struct Fleet {
    /// The CRM.
    pub crm: EspocrmSimulator,
    /// The practice management.
    pub advoware: AdvowareSimulator,
    /// The programs: first the producers, then the workers, then those that are both.
    pub members: Vec<Member>,
    /// The webhooks of all producers.
    pub webhooks: Vec<Webhook>,
    /// Asks the programs.
    pub http: Http,
    backing: Backing,
    namespace: String,
    folder: Folder,
    /// Variables of the environment that hold a secret, and the secret.
    secrets: Vec<(String, String)>,
}

impl Fleet {
    /// Starts the simulators, makes the webhooks and writes the settings; starts no program yet.
    ///
    /// # Errors
    /// When a simulator cannot run, or the programs are not built (with the command that builds them).
    pub async fn new(plan: Plan) -> Result<Self> {
        let http = Http::new()?;
        let espocrm = EspocrmOptions {
            webhook_interval: plan.sends_webhooks.then_some(WEBHOOK_INTERVAL),
            webhook_portion: 500,
            webhook_retry_delay: WEBHOOK_RETRY_DELAY,
            ..EspocrmOptions::default()
        };
        let upstreams = AdvowareOptions::default();
        let failed =
            |error: std::io::Error| HarnessError::new(format!("a simulator does not start: {error}"));
        let crm = EspocrmSimulator::start(espocrm).await.map_err(failed)?;
        let advoware = AdvowareSimulator::start(upstreams.clone()).await.map_err(failed)?;

        let mut members = Vec::new();
        for (kind, count) in
            [(Kind::Producer, plan.producers), (Kind::Worker, plan.workers), (Kind::Up, plan.ups)]
        {
            for number in 1..=count {
                members.push(Member::new(kind, number)?);
            }
        }
        let mut webhooks = Vec::new();
        for url in members.iter().filter_map(Member::webhook_url) {
            for event in ["create", "update", "delete"] {
                webhooks
                    .push(make_webhook(&http, &crm, event, format!("{url}/webhooks/parties/{event}")).await?);
            }
        }
        let (folder, namespace) = (Folder::new("fleet")?, unique_name("scenario"));
        let parts = settings::Parts {
            backing: &plan.backing.settings(&namespace, folder.path())?,
            crm_url: crm.base_url(),
            advoware_url: advoware.base_url(),
            advoware: &upstreams,
            webhooks: &webhooks,
            has_wide_limits: plan.has_wide_limits,
        };
        let secrets = parts.secrets();
        settings::write(&folder.join("syncfleet.toml"), &parts.toml())?;
        for member in &mut members {
            member.configure(folder.path(), &secrets, &plan.settings);
        }
        Ok(Self { crm, advoware, members, webhooks, http, backing: plan.backing, namespace, folder, secrets })
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// First part of the names in the queue.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Lays parties out on both sides, as if they had always been.
    ///
    /// # Errors
    /// When a simulator does not take one.
    pub fn seed(&self, pairs: &[Pair]) -> Result<()> {
        let refused = |error: std::io::Error| HarnessError::new(format!("a record is not laid out: {error}"));
        for pair in pairs {
            self.crm.seed(pair.crm.clone()).map_err(refused)?;
            if let Some(party) = &pair.advoware {
                self.advoware.seed(party.clone()).map_err(refused)?;
            }
        }
        Ok(())
    }

    /// Starts all programs.
    ///
    /// # Errors
    /// When a process cannot be created.
    pub fn start(&mut self) -> Result<()> {
        self.members.iter_mut().try_for_each(Member::start)
    }

    /// Starts all programs and waits until each says that it is ready.
    ///
    /// # Errors
    /// As [`Self::start`], or when one does not become ready, with what it said last.
    pub async fn start_ready(&mut self) -> Result<()> {
        self.start()?;
        self.ready().await
    }

    /// Waits until each program says that it is ready.
    ///
    /// # Errors
    /// When one does not, with what it said last.
    pub async fn ready(&self) -> Result<()> {
        for member in &self.members {
            let what = format!("readiness of {}", member.name());
            wait::try_until(&what, READY_TIMEOUT, async || match self.readiness(member).await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(other),
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until each program says that the state store was lost, so that it pauses, and what to do.
    ///
    /// # Errors
    /// When one does not, with what it said last.
    pub async fn paused(&self) -> Result<()> {
        for member in &self.members {
            let what = format!("pause of {}", member.name());
            wait::try_until(&what, READY_TIMEOUT, async || {
                let answer = self.readiness(member).await.map_err(|error| error.to_string())?;
                let lost = self.metric(member, "syncfleet_store_lost").await;
                let says_so = answer.status == 503 && answer.body.contains("syncfleet release --store");
                if says_so && lost.is_ok_and(|lost| lost == 1.0) { Ok(()) } else { Err(answer.body) }
            })
            .await?;
        }
        Ok(())
    }

    /// What a program says at `/readyz`.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn readiness(&self, member: &Member) -> Result<Answer> {
        self.http.get(&format!("{}/readyz", member.private_url())).await
    }

    /// A metric of a program, over all its labels.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn metric(&self, member: &Member, name: &str) -> Result<f64> {
        let text = self.http.get(&format!("{}/metrics", member.private_url())).await?.body;
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok()).flatten()
        };
        Ok(text.lines().filter_map(value).sum())
    }

    /// The programs of one kind.
    pub fn of_kind(&mut self, kind: Kind) -> impl Iterator<Item = &mut Member> {
        self.members.iter_mut().filter(move |member| member.kind() == kind)
    }

    /// Ends all programs in good order.
    ///
    /// # Errors
    /// When one does not end in time, or not with success.
    pub async fn drain(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.drain().await?;
        }
        Ok(())
    }

    /// Runs the operator's program, such as `&["release", "parties", "--by", "anna"]`, and returns what it printed.
    ///
    /// # Errors
    /// When it does not end in time, or not with success, with what it printed.
    pub async fn operate(&self, args: &[&str]) -> Result<String> {
        let mut running = self.operator(args)?.start()?;
        let status = running.wait_exit(READY_TIMEOUT).await?;
        let printed = running.complete_log(READY_TIMEOUT).await?;
        if status.success() {
            return Ok(printed);
        }
        Err(HarnessError::new(format!("syncfleet {} ended with {status}:\n{printed}", args.join(" "))))
    }

    /// The operator's program in the folder of the settings, with the secrets that they refer to.
    ///
    /// # Errors
    /// When it is not built.
    pub fn operator(&self, args: &[&str]) -> Result<Program> {
        let secrets = self.secrets.iter();
        let program =
            secrets.fold(Program::new("syncfleet")?, |program, (name, value)| program.env(name, value));
        Ok(program.args(args.iter().copied()).current_dir(self.folder.path()))
    }

    /// The queue, as an operator looks at it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn queue(&self) -> Result<Arc<dyn Queue>> {
        let failed = |error: shared::ports::PortError| HarnessError::new(format!("the queue: {error}"));
        let clock = Arc::new(SystemClock);
        match &self.backing {
            Backing::Embedded => {
                let role = adapter_embedded::Role::Visiting;
                let options = EmbeddedOptions::new(self.folder.join("data"), role, clock);
                Embedded::open(options).map(|embedded| embedded.queue as Arc<dyn Queue>).map_err(failed)
            }
            Backing::Servers { rabbitmq, .. } => {
                let options =
                    adapter_rabbitmq::Options { namespace: self.namespace.clone(), ..Default::default() };
                let queue = RabbitmqQueue::new(rabbitmq, options, clock).map_err(failed)?;
                Ok(Arc::new(queue))
            }
        }
    }

    /// The open dead letters, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        let queue = self.queue()?;
        let (mut open, mut position) = (OpenLetters::default(), 0);
        loop {
            let page = queue
                .scan_dead_letters(position, DEAD_LETTER_PAGE)
                .await
                .map_err(|error| HarnessError::new(format!("the dead letters: {error}")))?;
            let is_last = page.at_end;
            position = page.next;
            page.into_events().for_each(|event| open.apply(event));
            if is_last {
                return Ok(open.oldest_first().into_iter().cloned().collect());
            }
        }
    }

    /// What the programs printed about a record, in all their lives.
    pub fn log_about(&self, id: &str) -> String {
        let lines = |member: &Member| -> String {
            let log = member.log();
            let about = log.lines().filter(|line| line.contains(id));
            about.map(|line| format!("{}: {line}\n", member.name())).collect()
        };
        self.members.iter().map(lines).collect()
    }

    /// Secrets, and names of parties, that stand in a program's log.
    pub fn leaks(&self) -> Vec<String> {
        let records = self.crm.records();
        let name = |record: &Value, field: &str| record[field].as_str().map(str::trim).map(str::to_owned);
        let names = records.iter().flat_map(|r| ["lastName", "firmenname"].map(|field| name(r, field)));
        // A short name is a part of other words.
        let names = names.flatten().filter(|name| name.chars().count() >= NAME_CHARS_MIN);
        let names: Vec<String> = names.collect();
        let mut found = Vec::new();
        for member in &self.members {
            let (log, printed) = (member.log(), member.printed());
            let secrets = self
                .secrets
                .iter()
                .map(|(_, secret)| secret)
                .filter(|secret| printed.contains(secret.as_str()));
            let leaked = secrets.chain(names.iter().filter(|name| log.contains(name.as_str())));
            found.extend(leaked.map(|text| format!("{} prints {text}", member.name())));
        }
        found
    }
}

async fn make_webhook(http: &Http, crm: &EspocrmSimulator, event: &str, url: String) -> Result<Webhook> {
    let body = json!({ "event": format!("CBeteiligte.{event}"), "url": url, "skipOwn": true });
    let headers = [("X-Api-Key", simulators::espocrm::API_KEY), ("Content-Type", "application/json")];
    let address = format!("{}/api/v1/Webhook", crm.base_url());
    let answer = http.post(&address, &headers, body.to_string().into_bytes()).await?;
    let made: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    match (made["id"].as_str(), made["secretKey"].as_str()) {
        (Some(id), Some(secret)) => Ok(Webhook { id: id.to_owned(), secret: secret.to_owned(), url }),
        _ => Err(HarnessError::new(format!("no webhook for {event}: {answer:?}"))),
    }
}
