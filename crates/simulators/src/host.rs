//! Hosts a simulated system on a listener of its own and hands it one request at a time.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::connection::{CuttableListener, Peer};
use crate::deliveries;
use crate::dispatch::dispatch;
use crate::faults::{FaultRule, Faults};
use crate::journal::JournalEntry;
use crate::screen;
use crate::store::Store;
use crate::upstream::{Record, Upstream};
use crate::wire::{Answer, Request};

/// Largest request body taken.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Endpoints counted apart; further ones are counted together.
const ENDPOINTS_MAX: usize = 1_000;

/// Where a simulator listens and keeps its state.
#[derive(Debug, Clone, Default)]
pub struct Hosting {
    /// Address to listen on; 127.0.0.1 when absent.
    pub address: Option<IpAddr>,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// Folder for state and journal; without one both are in memory only.
    pub folder: Option<PathBuf>,
    /// The clock.
    pub clock: Clock,
}

pub(crate) struct Core<U> {
    pub(crate) upstream: U,
    pub(crate) store: Store,
}

pub(crate) struct Shared<U> {
    core: Mutex<Core<U>>,
    pub(crate) faults: Faults,
    counters: Mutex<BTreeMap<String, u64>>,
    clock: Clock,
    clock_offset_ms: AtomicI64,
    last_request: Mutex<Instant>,
    /// Requests under way, by lane.
    under_way: Mutex<BTreeMap<String, usize>>,
    stopping: watch::Sender<bool>,
    pub(crate) delivering: tokio::sync::Mutex<()>,
    pub(crate) client: OnceLock<reqwest::Client>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<U: Upstream> Shared<U> {
    pub(crate) fn core(&self) -> MutexGuard<'_, Core<U>> {
        lock(&self.core)
    }

    pub(crate) fn now(&self) -> Timestamp {
        let offset = SignedDuration::from_millis(self.clock_offset_ms.load(Ordering::SeqCst));
        self.clock.now().checked_add(offset).unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn set_clock_offset(&self, offset: SignedDuration) {
        let ms = i64::try_from(offset.as_millis()).unwrap_or(i64::MAX);
        self.clock_offset_ms.store(ms, Ordering::SeqCst);
    }

    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        lock(&self.counters).clone()
    }

    pub(crate) fn clear_counters(&self) {
        lock(&self.counters).clear();
    }

    pub(crate) fn reset(&self) -> io::Result<()> {
        self.core().store.reset()?;
        self.faults.clear();
        self.clear_counters();
        Ok(())
    }

    /// Ends when the simulator is told to stop.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as `self`, so this cannot end early.
        let _told: bool = stopping.wait_for(|stopping| *stopping).await.is_ok();
    }

    pub(crate) fn note_activity(&self) {
        *lock(&self.last_request) = Instant::now();
    }

    pub(crate) fn count(&self, request: &Request) {
        let own = self.core().upstream.endpoint(request);
        let mut endpoint = own.unwrap_or_else(|| endpoint(&request.method, &request.path));
        let mut counters = lock(&self.counters);
        if counters.len() >= ENDPOINTS_MAX && !counters.contains_key(&endpoint) {
            endpoint = "other".to_owned();
        }
        *counters.entry(endpoint).or_default() += 1;
    }

    /// Takes a place in the request's lane; an answer when there is none left.
    pub(crate) fn enter(&self, request: &Request) -> Result<Place<'_>, Answer> {
        let (lane, requests_max) = {
            let Core { upstream, store } = &mut *self.core();
            (upstream.lane(store, request), upstream.lane_requests_max())
        };
        if let Some(lane) = &lane {
            let mut under_way = lock(&self.under_way);
            let requests = under_way.entry(lane.clone()).or_default();
            if *requests >= requests_max {
                drop(under_way);
                return Err(self.core().upstream.crowded());
            }
            *requests += 1;
        }
        Ok(Place { under_way: &self.under_way, lane })
    }

    /// Answers a request, after the handshakes that it asks for.
    pub(crate) async fn answer_after_handshakes(&self, request: &mut Request) -> Answer {
        let urls = {
            let Core { upstream, store } = &mut *self.core();
            upstream.handshakes(store, self.now(), request)
        };
        for url in urls {
            request.handshakes.push(deliveries::shake_hands(&self.client, &url).await);
        }
        self.answer(request)
    }

    pub(crate) fn control(&self, method: &str, path: &[&str], body: &Value) -> Result<Value, String> {
        let now = self.now();
        let Core { upstream, store } = &mut *self.core();
        upstream.control(store, now, method, path, body)
    }

    /// The page for people, where the request asks for one and the system has one.
    pub(crate) fn page(&self, request: &Request) -> Option<Answer> {
        if !screen::is_asked_for(request) {
            return None;
        }
        let now = self.now();
        let Core { upstream, store } = &mut *self.core();
        upstream.page(store, now, request).map_err(unsaved::<U>).unwrap_or_else(Some)
    }

    fn answer(&self, request: &Request) -> Answer {
        let now = self.now();
        let Core { upstream, store } = &mut *self.core();
        upstream.answer(store, now, request).unwrap_or_else(unsaved::<U>)
    }
}

fn unsaved<U: Upstream>(error: io::Error) -> Answer {
    tracing::error!(system = U::NAME, %error, "state could not be saved");
    Answer::status(500)
}

/// A request's place in its lane; given back when it is dropped.
pub(crate) struct Place<'a> {
    under_way: &'a Mutex<BTreeMap<String, usize>>,
    lane: Option<String>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(lane) = self.lane.take() else { return };
        let mut under_way = lock(self.under_way);
        if let Some(requests) = under_way.get_mut(&lane) {
            *requests -= 1;
            if *requests == 0 {
                under_way.remove(&lane);
            }
        }
    }
}

/// `GET /api/v1/CBeteiligte/{id}`: the method and the path with ids taken out.
fn endpoint(method: &str, path: &str) -> String {
    let is_id = |segment: &str| {
        let hex = segment.len() == 17 && segment.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex || (!segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let path: Vec<&str> =
        path.split('/').map(|segment| if is_id(segment) { "{id}" } else { segment }).collect();
    format!("{method} {}", path.join("/"))
}

/// A running simulator. Dropping it stops it; [`Simulator::stop`] also waits until it has stopped.
pub struct Simulator<U: Upstream> {
    shared: Arc<Shared<U>>,
    address: SocketAddr,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl<U: Upstream> std::fmt::Debug for Simulator<U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator").field("system", &U::NAME).field("address", &self.address).finish()
    }
}

impl<U: Upstream> Simulator<U> {
    pub(crate) async fn host(mut upstream: U, hosting: Hosting) -> io::Result<Self> {
        let address = hosting.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let listener = TcpListener::bind((address, hosting.port)).await?;
        let address = listener.local_addr()?;
        upstream.set_base_url(&format!("http://{address}"));
        let store = Store::open(U::NAME, hosting.folder.as_deref())?;
        let shared = Arc::new(Shared {
            core: Mutex::new(Core { upstream, store }),
            faults: Faults::default(),
            counters: Mutex::default(),
            clock: hosting.clock,
            clock_offset_ms: AtomicI64::new(0),
            last_request: Mutex::new(Instant::now()),
            under_way: Mutex::default(),
            stopping: watch::Sender::new(false),
            delivering: tokio::sync::Mutex::new(()),
            client: OnceLock::new(),
        });
        let router = Router::new()
            .fallback(dispatch::<U>)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<Peer>();
        let stopping = Arc::clone(&shared);
        let stopped = async move { stopping.stopped().await };
        let serving = axum::serve(CuttableListener(listener), router).with_graceful_shutdown(stopped);
        let server = Some(tokio::spawn(serving.into_future()));
        Ok(Self { shared, address, server })
    }

    /// `http://<address>:<port>`, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every accepted write so far (the newest 200,000), oldest first.
    #[must_use]
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.journal_after(0)
    }

    /// Those of [`Self::journal`] that came after the one of this number.
    #[must_use]
    pub fn journal_after(&self, sequence: u64) -> Vec<JournalEntry> {
        self.shared.core().store.journal_after(sequence, usize::MAX)
    }

    /// Those of [`Self::journal`] about one kind of record.
    #[must_use]
    pub fn journal_of(&self, entity: &str) -> Vec<JournalEntry> {
        self.shared.core().store.journal_of(entity)
    }

    /// The number of the newest entry of the journal; 0 while there is none.
    #[must_use]
    pub fn journal_sequence(&self) -> u64 {
        self.shared.core().store.sequence()
    }

    /// The main records as stored: CBeteiligte (deleted ones too, with `deleted: true`) or Beteiligte.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        let core = self.shared.core();
        core.upstream.records(&core.store)
    }

    /// One of [`Self::records`], by its id.
    #[must_use]
    pub fn record(&self, id: &str) -> Option<Value> {
        let core = self.shared.core();
        core.upstream.record(&core.store, id)
    }

    /// Adds a fault rule.
    pub fn fault(&self, rule: FaultRule) {
        self.shared.faults.add(rule, self.shared.now());
    }

    /// The fault rules in force.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Requests by endpoint, such as `GET /api/v1/CBeteiligte/{id}`; control requests are not counted.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.shared.counters()
    }

    /// Starts the counters at nothing.
    pub fn clear_counters(&self) {
        self.shared.clear_counters();
    }

    /// Puts a record there as if it had always been: no validation, no webhook, actor `seed` in the
    /// journal. An id in the record is kept (and replaces the record that has it). Answers the id.
    ///
    /// # Errors
    /// When the state cannot be saved.
    pub fn seed(&self, record: Record) -> io::Result<String> {
        let now = self.shared.now();
        let mut core = self.shared.core();
        let Core { upstream, store } = &mut *core;
        upstream.seed(store, now, record)
    }

    /// Makes a record as a person would. Answers its id.
    ///
    /// # Errors
    /// What the system says against it.
    pub fn create_as_person(&self, fields: &Record) -> Result<String, String> {
        let now = self.shared.now();
        let mut core = self.shared.core();
        let Core { upstream, store } = &mut *core;
        upstream.create(store, now, fields)
    }

    /// Changes some fields as a person would; in EspoCRM that fires webhooks, also those with skipOwn.
    ///
    /// # Errors
    /// What the system says against it.
    pub fn edit_as_person(&self, id: &str, fields: &Record) -> Result<(), String> {
        let now = self.shared.now();
        let mut core = self.shared.core();
        let Core { upstream, store } = &mut *core;
        upstream.edit(store, now, id, fields)
    }

    /// Deletes a record as a person would.
    ///
    /// # Errors
    /// When it is not there.
    pub fn delete_as_person(&self, id: &str) -> Result<(), String> {
        let now = self.shared.now();
        let mut core = self.shared.core();
        let Core { upstream, store } = &mut *core;
        upstream.remove(store, now, id)
    }

    /// Changes settings while running; see the documentation of the system's options for the keys.
    /// They fall back to the options at a restart.
    ///
    /// # Errors
    /// Names the unknown or wrong key.
    pub fn configure(&self, settings: &Record) -> Result<(), String> {
        self.shared.core().upstream.configure(settings)
    }

    /// A control request of this system alone, as another process would send it to `/_control/{path}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn control(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let path: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        self.shared.control(method, &path, body)
    }

    /// Moves the simulator's clock away from the real one.
    pub fn set_clock_offset(&self, offset: SignedDuration) {
        self.shared.set_clock_offset(offset);
    }

    /// Forgets all records, the journal (in the file as well), faults and counters; keeps settings.
    ///
    /// # Errors
    /// When the file cannot be emptied.
    pub fn reset(&self) -> io::Result<()> {
        self.shared.reset()
    }

    /// Stops taking requests, lets those under way finish, and waits for that.
    pub async fn stop(mut self) {
        self.shared.stopping.send_replace(true);
        if let Some(server) = self.server.take()
            && let Err(error) = server.await
        {
            tracing::error!(system = U::NAME, %error, "the server ended badly");
        }
    }

    /// Time since the last request, control requests included.
    pub(crate) fn idle(&self) -> Duration {
        lock(&self.shared.last_request).elapsed()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<U>> {
        &self.shared
    }
}

impl<U: Upstream> Drop for Simulator<U> {
    fn drop(&mut self) {
        self.shared.stopping.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn endpoints_carry_no_ids() {
        assert_eq!(endpoint("GET", "/api/v1/CBeteiligte/6b00526cc80a09e94"), "GET /api/v1/CBeteiligte/{id}");
        assert_eq!(
            endpoint("PUT", "/api/v1/advonet/Beteiligte/104860"),
            "PUT /api/v1/advonet/Beteiligte/{id}"
        );
        assert_eq!(endpoint("POST", "/api/v1/Token"), "POST /api/v1/Token");
    }
}
