//! Both systems, a store, and the flow between them; a worker's dispatcher in small.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use connector_advoware::Advoware;
use connector_espocrm::EspoCrm;
use flows::parties::{Parties, PartiesSettings};
use http_client::Limits;
use http_client::breaker::BreakerPolicy;
use serde_json::{Value, json};
use shared::clock::{Clock, ManualClock, SystemClock};
use shared::envelope::{Cause, Operation};
use shared::fault::{Fault, FaultKind};
use shared::flow::{Failure, Flow, Guard, NoHints, Outcome, Run, Unguarded};
use shared::generation;
use shared::meter::NoMeter;
use shared::ports::queue::Queue as _;
use shared::ports::state::{Fence, State};
use shared::record_key::{FlowName, RecordKey};
use shared::settlement::{Circumstances, Settlement, decide};
use simulators::{ActorKind, AdvowareOptions, AdvowareSimulator, EspocrmOptions, EspocrmSimulator, Record};
use simulators::{duplicate_creates, espocrm, writes_without_change};
use tempfile::TempDir;

/// Requests to count.
pub const CRM_GET: &str = "GET /api/v1/CBeteiligte/{id}";
pub const CRM_PUT: &str = "PUT /api/v1/CBeteiligte/{id}";
pub const NOTE: &str = "POST /api/v1/Note";
pub const GET: &str = "GET /api/v1/advonet/Beteiligte/{id}";
pub const PUT: &str = "PUT /api/v1/advonet/Beteiligte/{id}";
pub const POST: &str = "POST /api/v1/advonet/Beteiligte";

pub struct Bench {
    pub crm: EspocrmSimulator,
    pub advoware: AdvowareSimulator,
    pub flow: Arc<Parties>,
    pub clock: Arc<ManualClock>,
    pub settings: PartiesSettings,
    state: Arc<dyn State>,
    _dir: TempDir,
}

pub fn object(value: Value) -> Record {
    let Value::Object(object) = value else { panic!("no object: {value}") };
    object
}

fn limits() -> Limits {
    Limits {
        deadline: Duration::from_secs(5),
        requests_per_second_max: 1_000,
        concurrency_max: 8,
        breaker: BreakerPolicy { failures_max: 1_000, ..BreakerPolicy::default() },
        ..Limits::default()
    }
}

impl Bench {
    pub async fn new(settings: PartiesSettings) -> Self {
        http_client::install_crypto_provider();
        let settings = PartiesSettings { notify_user_id: Some(espocrm::PERSON_ID.to_owned()), ..settings };
        let crm = EspocrmSimulator::start(EspocrmOptions::default()).await.unwrap();
        let advoware = AdvowareSimulator::start(AdvowareOptions::default()).await.unwrap();
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let options = EmbeddedOptions::new(dir.path(), Role::Serving, Arc::new(SystemClock));
        let state: Arc<dyn State> = Embedded::open(options).unwrap().state;
        let flow = flow(&crm, &advoware, Arc::clone(&state), settings.clone());
        Self { crm, advoware, flow, clock, settings, state, _dir: dir }
    }

    /// The same installation with other settings.
    pub fn with_settings(self, settings: PartiesSettings) -> Self {
        let settings = PartiesSettings { notify_user_id: self.settings.notify_user_id.clone(), ..settings };
        let flow = flow(&self.crm, &self.advoware, Arc::clone(&self.state), settings.clone());
        Self { flow, settings, ..self }
    }

    /// A new installation with the same systems: our store is empty.
    pub fn with_empty_store(self) -> Self {
        let dir = TempDir::new().unwrap();
        let options = EmbeddedOptions::new(dir.path(), Role::Serving, Arc::new(SystemClock));
        let state: Arc<dyn State> = Embedded::open(options).unwrap().state;
        let flow = flow(&self.crm, &self.advoware, Arc::clone(&state), self.settings.clone());
        Self { flow, state, _dir: dir, ..self }
    }

    /// The same after a person has gone on with a store that was emptied.
    pub async fn with_released_store(self) -> Self {
        let dir = TempDir::new().unwrap();
        let options = EmbeddedOptions::new(dir.path(), Role::Serving, Arc::new(SystemClock));
        let store = Embedded::open(options).unwrap();
        // The queue was there before.
        store.queue.remember("generation").await.unwrap();
        let released = generation::release(&*store.queue, &*store.state, "anna", SystemClock.now()).await;
        assert!(released.unwrap().is_some());
        let state: Arc<dyn State> = store.state;
        let flow = flow(&self.crm, &self.advoware, Arc::clone(&state), self.settings.clone());
        Self { flow, state, _dir: dir, ..self }
    }

    /// The systems, for people to work with.
    pub fn office(&self) -> super::random::Office<'_> {
        super::random::Office { crm: &self.crm, advoware: &self.advoware }
    }

    /// A person of the CRM makes a record.
    pub fn record(&self, fields: Value) -> String {
        self.crm.create_as_person(&object(fields)).unwrap()
    }

    /// A person of the firm makes a party.
    pub fn party(&self, fields: Value) -> i64 {
        self.advoware.create_as_person(&object(fields)).unwrap().parse().unwrap()
    }

    pub fn edit_record(&self, id: &str, fields: Value) {
        self.crm.edit_as_person(id, &object(fields)).unwrap();
    }

    pub fn edit_party(&self, bet_nr: i64, fields: Value) {
        self.advoware.edit_as_person(&bet_nr.to_string(), &object(fields)).unwrap();
    }

    pub fn crm_of(&self, id: &str) -> Value {
        self.crm.records().into_iter().find(|record| record["id"] == id).unwrap()
    }

    pub fn party_of(&self, bet_nr: i64) -> Option<Value> {
        self.advoware.records().into_iter().find(|party| party["betNr"] == bet_nr)
    }

    /// The party of a record.
    pub fn counterpart(&self, id: &str) -> Value {
        self.party_of(self.crm_of(id)["betnr"].as_i64().unwrap()).unwrap()
    }

    pub fn run(&self, id: &str) -> Run {
        Run {
            key: RecordKey::new(FlowName::new("parties").unwrap(), id).unwrap(),
            operation: Operation::Check,
            cause: Cause::Webhook,
            sweep_id: None,
            attempts_before: 0,
            is_suspect: false,
            trace_id: "0".repeat(32),
            guard: Arc::new(Unguarded),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            hints: Arc::new(NoHints),
        }
    }

    pub async fn handle(&self, id: &str) -> Result<Outcome, Fault> {
        self.flow.handle(&self.run(id)).await
    }

    /// Runs and reports as a worker does, with no waiting between attempts, until the message is settled.
    pub async fn dispatch(&self, id: &str) -> Settlement {
        self.dispatch_run(self.run(id)).await.0
    }

    pub async fn dispatch_run(&self, mut run: Run) -> (Settlement, Option<Fault>) {
        let (mut reruns, mut postponed) = (0, 0);
        loop {
            let fault = match self.flow.handle(&run).await {
                Ok(_) => return (Settlement::Ack, None),
                Err(fault) => fault,
            };
            let now = Circumstances {
                attempts_before: run.attempts_before,
                reruns,
                age: Duration::ZERO,
                random: 0.0,
            };
            let settlement = decide(&fault, now, &self.settings.retry);
            if settlement == Settlement::RunAgain {
                reruns += 1;
                continue;
            }
            let counts = matches!(settlement, Settlement::Retry { counts: true, .. });
            let dead_letter =
                if let Settlement::DeadLetter(reason) = settlement { Some(reason) } else { None };
            let attempts = run.attempts_before + 1;
            self.flow.report(&run, &Failure { fault: &fault, attempts, dead_letter }).await.ok();
            match settlement {
                Settlement::Retry { .. } if counts => (run.attempts_before, reruns) = (attempts, 0),
                Settlement::Retry { .. } if postponed < 5 => postponed += 1,
                settled => return (settled, Some(fault)),
            }
        }
    }

    /// Links a record, and forgets the requests for it.
    pub async fn linked(&self, fields: Value) -> (String, i64) {
        let id = self.record(fields);
        self.handle(&id).await.unwrap();
        self.forget();
        let bet_nr = self.crm_of(&id)["betnr"].as_i64().unwrap();
        (id, bet_nr)
    }

    pub fn forget(&self) {
        self.crm.clear_counters();
        self.advoware.clear_counters();
    }

    /// Requests since the last [`Bench::forget`], without tokens and addresses.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        let mut calls = self.crm.counters();
        calls.extend(self.advoware.counters());
        calls.retain(|name, _| !name.contains("/Token") && !name.contains("/Url"));
        calls
    }

    pub fn expect_calls(&self, expected: &[(&str, u64)]) {
        let expected: BTreeMap<String, u64> =
            expected.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        assert_eq!(self.calls(), expected);
        self.forget();
    }

    /// The posts that users got.
    pub fn notices(&self) -> Vec<String> {
        let journal = self.crm.journal();
        let notes =
            journal.iter().filter(|entry| entry.entity == "Note" && entry.actor_kind == ActorKind::Api);
        notes.map(|entry| entry.after.as_ref().unwrap()["post"].as_str().unwrap().to_owned()).collect()
    }

    /// Nothing was created twice, and nothing was written that did not differ.
    pub fn expect_clean_journals(&self) {
        for journal in [self.crm.journal(), self.advoware.journal()] {
            assert_eq!(writes_without_change(&journal), Vec::<&simulators::JournalEntry>::new());
            let name = |record: &Value| record["name"].as_str().map(str::to_owned);
            assert!(duplicate_creates(&journal, name).is_empty(), "created twice: {journal:#?}");
        }
    }
}

pub fn flow(
    crm: &EspocrmSimulator,
    advoware: &AdvowareSimulator,
    state: Arc<dyn State>,
    settings: PartiesSettings,
) -> Arc<Parties> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let credentials = connector_espocrm::Credentials::ApiKey(espocrm::API_KEY.to_owned().into());
    let url = crm.base_url().parse().unwrap();
    let crm = connector_espocrm::Settings { url, credentials, limits: limits(), fleet: None };
    let crm = EspoCrm::new(crm, Arc::new(NoMeter), Arc::clone(&clock)).unwrap();
    let account = AdvowareOptions::default();
    let credentials = connector_advoware::Credentials::new(
        &account.app_id,
        &account.api_key.into(),
        &account.kanzlei,
        &account.database,
        &account.user,
        account.password.into(),
    )
    .unwrap();
    let configurator = advoware.base_url().parse().unwrap();
    let advoware = connector_advoware::Settings { configurator, credentials, limits: limits(), fleet: None };
    let advoware = Advoware::new(advoware, Arc::new(NoMeter), clock).unwrap();
    Arc::new(Parties::new(settings, crm, advoware, state, Arc::new(NoMeter)).unwrap())
}

/// Does something at the n-th time that a run asks whether it may write, and then lets it go on or not.
pub struct At {
    left: Mutex<Option<u32>>,
    act: Box<dyn Fn() -> bool + Send + Sync>,
}

impl std::fmt::Debug for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("At")
    }
}

impl At {
    /// `act` answers whether the run may go on.
    pub fn step(step: u32, act: impl Fn() -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { left: Mutex::new(Some(step)), act: Box::new(act) })
    }

    /// The run is stopped there, as by a lost lease or a crash.
    pub fn stop(step: u32) -> Arc<Self> {
        Self::step(step, || false)
    }

    /// Whether the step was reached.
    pub fn struck(&self) -> bool {
        self.left.lock().unwrap().is_none()
    }
}

impl Guard for At {
    fn fence(&self) -> Result<Option<Fence>, Fault> {
        let mut left = self.left.lock().unwrap();
        match *left {
            Some(0) => {
                *left = None;
                if (self.act)() {
                    return Ok(None);
                }
                Err(Fault::new(
                    FaultKind::Busy { after: Duration::from_secs(1) },
                    "lease_lost",
                    "stopped by the test",
                ))
            }
            Some(n) => {
                *left = Some(n - 1);
                Ok(None)
            }
            None => Ok(None),
        }
    }
}

pub fn erika() -> Value {
    json!({ "firstName": "Erika", "lastName": "Müller-Lüdenscheidt", "salutationName": "Ms.", "dateOfBirth": "1980-05-17" })
}

pub fn company() -> Value {
    json!({ "firmenname": "Bäcker & Söhne", "rechtsform": "GmbH", "handelsregisterNummer": "HRB 123" })
}
