//! A whole installation in this process: WeCom and a target over HTTP, a producer that takes callbacks, workers on the
//! embedded queue.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use connector_wecom::callback::Receiver;
use flows::directory::flow::{DirectoryFlow, DirectoryParts};
use flows::directory::settings::DirectorySettings;
use operations::health::Health;
use producer::gate::Gate;
use producer::run::{self as producing, ProducerSettings};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use shared::envelope::{Cause, Envelope, Operation};
use shared::flow::Flow;
use shared::meter::NoMeter;
use shared::ports::queue::{Outbound, Queue as _};
use shared::ports::state::State;
use shared::record_key::RecordKey;
use shared::trace::TraceParent;
use simulators::wecom::WecomCallback;
use simulators::{WecomOptions, WecomSimulator};
use system_tests::supervise::Folder;
use system_tests::wait;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::run::{self as working, WorkerSettings};

use super::counted::{Counted, Ran, Waited};
use super::place::Place;

/// Longest time in which everything that was published is done.
const SETTLED: Duration = Duration::from_secs(600);

/// How an installation is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    pub settings: DirectorySettings,
    pub workers: usize,
    pub wecom: WecomOptions,
    /// How long a worker that was killed is waited for.
    pub lease_ttl: Duration,
    /// How often what is parked is looked after.
    pub parking_look_every: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            settings: DirectorySettings { shards: 8, ..DirectorySettings::default() },
            workers: 1,
            wecom: WecomOptions::default(),
            lease_ttl: Duration::from_secs(30),
            parking_look_every: Duration::from_secs(60),
        }
    }
}

struct Task {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Task {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// A worker with a runtime of its own, so that it can end in the middle of anything.
struct Worker {
    runtime: Runtime,
    task: Task,
}

/// The installation.
pub struct Installation {
    pub wecom: WecomSimulator,
    pub place: Place,
    pub flow: Arc<DirectoryFlow>,
    pub store: Embedded,
    pub callback_url: String,
    /// Runs that had to wait for another record.
    pub waited: Waited,
    /// The workers that had runs.
    pub ran: Ran,
    setup: Setup,
    workers: Vec<Worker>,
    /// Workers so far: their numbers are their names, so that each play has the same shards with the same workers.
    hired: usize,
    producer: Option<Task>,
    _folder: Folder,
}

fn worker_settings(name: String, setup: &Setup) -> WorkerSettings {
    let lease_ttl = setup.lease_ttl;
    WorkerSettings {
        holder: format!("{name}/1"),
        name,
        concurrency_max: 8,
        prefetch: 50,
        unsettled_max: Duration::from_secs(29 * 60),
        // Plays are many, and each is short.
        key_rest: Duration::from_millis(20),
        drain: Duration::from_secs(10),
        lease_ttl,
        member_ttl: lease_ttl,
        trial_wait: Duration::from_millis(200),
        parking_look_every: setup.parking_look_every,
        clock_skew_max: Duration::from_millis(20),
    }
}

impl Installation {
    pub async fn start(place: Place, setup: Setup) -> Self {
        let folder = Folder::new("directory").unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store =
            Embedded::open(EmbeddedOptions::new(folder.join("store"), Role::Serving, clock.clone())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let callback_url = format!("http://{}/webhooks/directory", listener.local_addr().unwrap());
        let callback = setup.wecom.callback.clone().unwrap_or_else(|| WecomCallback::new(&callback_url));
        let callback = WecomCallback { url: callback_url.clone(), ..callback };
        let options = WecomOptions { callback: Some(callback), ..setup.wecom };
        let wecom = WecomSimulator::start(options.clone()).await.unwrap();
        let settings = DirectorySettings { lease_ttl: setup.lease_ttl, ..setup.settings };
        let setup = Setup { wecom: options, settings, ..setup };
        let flow = flow_of(&setup, &wecom, &place, &store);
        let topology = working::topology(flow.as_ref());
        store.queue.prepare(std::slice::from_ref(&topology)).await.unwrap();
        let mut installation = Self {
            wecom,
            place,
            flow,
            store,
            callback_url,
            waited: Waited::default(),
            ran: Ran::default(),
            setup,
            workers: Vec::new(),
            hired: 0,
            producer: None,
            _folder: folder,
        };
        installation.producer = Some(installation.produce(listener, &clock));
        for _ in 0..installation.setup.workers {
            installation.hire();
        }
        installation
    }

    fn produce(&self, listener: TcpListener, clock: &Arc<dyn Clock>) -> Task {
        let engine = producing::Engine {
            settings: ProducerSettings {
                holder: "producer/1".to_owned(),
                name: "producer".to_owned(),
                schedules: HashMap::new(),
                webhook_answer_max: Duration::from_secs(5),
                lease_ttl: Duration::from_secs(15),
                webhook_body_bytes_max: 1_000_000,
                webhook_concurrency_max: 200,
                drain: Duration::from_secs(5),
                publish_batch_max: 100,
                sweep_page_time_max: Duration::from_secs(600),
            },
            queue: self.store.queue.clone(),
            spool: None,
            gate: Gate::default(),
            state: self.store.state.clone(),
            meter: Arc::new(NoMeter),
            clock: clock.clone(),
            health: Health::default(),
            connecting: None,
        };
        let stop = CancellationToken::new();
        let flows: Vec<Arc<dyn Flow>> = vec![self.flow.clone()];
        let task = tokio::spawn(producing::run(Arc::new(engine), flows, Some(listener), stop.clone()));
        Task { stop, task }
    }

    /// One more worker.
    pub fn hire(&mut self) {
        self.hired += 1;
        let name = format!("worker{}", self.hired);
        let settings = worker_settings(name.clone(), &self.setup);
        let flow = flow_of(&self.setup, &self.wecom, &self.place, &self.store);
        let topology = working::topology(flow.as_ref());
        let (queue, state) = (self.store.queue.clone(), self.store.state.clone());
        let stop = CancellationToken::new();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let counted = Counted { flow, waited: self.waited.clone(), ran: self.ran.clone(), worker: name };
        let (flows, stopped): (Vec<Arc<dyn Flow>>, _) = (vec![Arc::new(counted)], stop.clone());
        let task = runtime.spawn(async move {
            let engine = working::Engine::new(settings, queue, state, vec![topology]);
            working::run(Arc::new(engine), flows, stopped).await;
        });
        self.workers.push(Worker { runtime, task: Task { stop, task } });
    }

    /// The oldest worker ends wherever it is, and another one comes.
    pub fn kill_one(&mut self) {
        let worker = self.workers.remove(0);
        worker.runtime.shutdown_background();
        self.hire();
    }

    /// Does to WeCom what its console would: callbacks follow by themselves where the options say so.
    pub fn operate(&self, op: &Value) {
        self.wecom.control("POST", "ops", op).unwrap();
    }

    /// Asks for a run of a record.
    pub async fn publish(&self, id: &str, cause: Cause, sweep_id: Option<&str>) {
        let key = RecordKey::new(self.flow.spec().name.clone(), id).unwrap();
        self.publish_all(vec![key], cause, sweep_id).await;
    }

    async fn publish_all(&self, keys: Vec<RecordKey>, cause: Cause, sweep_id: Option<&str>) {
        let outbound = |key| {
            let (trace, now) = (TraceParent::new(fastrand::u128(..), 1), SystemClock.now());
            let envelope = Envelope::new(Uuid::now_v7(), "/test", key, Operation::Check, cause, trace, now);
            let envelope = Envelope { sweep_id: sweep_id.map(str::to_owned), ..envelope };
            Outbound::of(&envelope, self.setup.settings.shards)
        };
        let batch: Vec<Outbound> = keys.into_iter().map(outbound).collect();
        for part in batch.chunks(100) {
            self.store.queue.publish(part).await.unwrap();
        }
    }

    /// A whole sweep, as the producer does it.
    pub async fn sweep(&self, sweep_id: &str) -> Result<usize, shared::fault::Fault> {
        let (mut cursor, mut found) = (None, 0);
        loop {
            let page = self.flow.sweep(cursor.as_ref(), sweep_id, SystemClock.now()).await?;
            found += page.records.len();
            let keys = page.records.into_iter().map(|hit| hit.key).collect();
            self.publish_all(keys, Cause::Sweep, Some(sweep_id)).await;
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// Waits until nothing is in the queue, and nothing waits for another record: what found nothing to do is settled
    /// before it releases that.
    #[track_caller]
    pub fn settled(&self, what: &str) -> impl Future<Output = ()> {
        let topology = working::topology(self.flow.as_ref());
        wait::until(what, SETTLED, async move || {
            let parked = self.parked().await;
            let depth = self.store.queue.depth(&topology).await.unwrap();
            if depth.ready + depth.delayed == 0 && parked.is_empty() { Ok(()) } else { Err((depth, parked)) }
        })
    }

    /// Messages in the queue.
    pub async fn waiting(&self) -> u64 {
        let topology = working::topology(self.flow.as_ref());
        let depth = self.store.queue.depth(&topology).await.unwrap();
        depth.ready + depth.delayed
    }

    /// What failed for good.
    pub async fn dead(&self) -> Vec<String> {
        let page = self.store.queue.scan_dead_letters(0, 100).await.unwrap();
        page.into_events().map(|event| format!("{event:?}").chars().take(600).collect()).collect()
    }

    /// What is parked, by what it waits for.
    pub async fn parked(&self) -> BTreeMap<String, usize> {
        let found = self.store.state.scan("parked/", None, 1_000).await.unwrap();
        let count = |value: &[u8]| {
            let text: Value = serde_json::from_slice(value).unwrap_or_default();
            text["messages"].as_array().map_or(1, Vec::len)
        };
        found.into_iter().map(|(key, document)| (key, count(&document.value))).collect()
    }

    /// What differs between what the target shows and what it has to.
    pub async fn differences(&self) -> Vec<String> {
        assert_eq!(self.dead().await, Vec::<String>::new(), "dead letters");
        let wanted = self.place.wanted(&self.wecom.records());
        let shown = self.place.shown().await.without_leavers(&wanted);
        shown.differences(&wanted)
    }

    /// Everything ends but the target; nothing is left open.
    pub async fn end(self) -> Place {
        for worker in self.workers {
            worker.task.end().await;
            worker.runtime.shutdown_background();
        }
        if let Some(producer) = self.producer {
            producer.end().await;
        }
        self.place
    }
}

fn flow_of(setup: &Setup, wecom: &WecomSimulator, place: &Place, store: &Embedded) -> Arc<DirectoryFlow> {
    let callbacks = setup.wecom.callback.as_ref().map(|callback| {
        let secret = |text: &String| SecretString::from(text.clone());
        let (token, key) = (secret(&callback.token), secret(&callback.encoding_aes_key));
        Receiver::new(&token, &key, &setup.wecom.corp_id).unwrap()
    });
    let flow = DirectoryFlow::new(DirectoryParts {
        settings: setup.settings.clone(),
        source: super::place::source(wecom, &setup.wecom),
        target: place.target(&(store.state.clone() as Arc<dyn State>)),
        callbacks,
        state: store.state.clone(),
        meter: Arc::new(NoMeter),
    });
    Arc::new(flow.unwrap())
}

/// An event of a test's own.
pub fn event(change: &str, fields: &Value) -> Value {
    let mut event = json!({ "ChangeType": change });
    event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    event
}
