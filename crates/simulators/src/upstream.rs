//! What the host needs of a simulated system.

use std::io;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::store::Store;
use crate::wire::{Answer, Request};

/// A JSON object.
pub type Record = Map<String, Value>;

/// A call the simulated system makes by itself (a webhook delivery).
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Stands for the delivery in [`Upstream::settle_delivery`].
    pub items: Vec<String>,
    /// Where it goes.
    pub url: String,
    /// Headers; without a Content-Type among them the body is JSON.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

/// A simulated system, implemented by this crate's. Implementations hold settings; all records live in the store.
pub trait Upstream: Send + 'static {
    /// Name in the journal and of its file.
    const NAME: &'static str;

    /// Answers a request. An error means that the state could not be saved; nothing was changed then.
    fn answer(&mut self, store: &mut Store, now: Timestamp, request: &Request) -> io::Result<Answer>;

    /// The page for people at `/`, or what became of what they did on it; none where there is no such page.
    fn page(
        &mut self,
        _store: &mut Store,
        _now: Timestamp,
        _request: &Request,
    ) -> io::Result<Option<Answer>> {
        Ok(None)
    }

    /// The listener is bound: this is where clients reach it.
    fn set_base_url(&mut self, base_url: &str);

    /// What an empty list looks like.
    fn empty_list(&self) -> Value;

    /// What an unknown credential is answered.
    fn unauthorized(&self) -> Answer;

    /// All main records, as stored.
    fn records(&self, store: &Store) -> Vec<Value>;

    /// One main record, as stored.
    fn record(&self, store: &Store, id: &str) -> Option<Value>;

    /// Puts a record there as if it had always been; answers its id.
    fn seed(&mut self, store: &mut Store, now: Timestamp, record: Record) -> io::Result<String>;

    /// Changes fields of a record as a person would; an error says why the system refuses.
    fn edit(&mut self, store: &mut Store, now: Timestamp, id: &str, fields: &Record) -> Result<(), String>;

    /// Makes a record as a person would; answers its id.
    fn create(&mut self, store: &mut Store, now: Timestamp, fields: &Record) -> Result<String, String>;

    /// Deletes a record as a person would; an error says why not.
    fn remove(&mut self, store: &mut Store, now: Timestamp, id: &str) -> Result<(), String>;

    /// Changes settings while running; an error names the unknown or wrong one.
    fn configure(&mut self, settings: &Record) -> Result<(), String>;

    /// Control requests of this system alone; the path is what follows `/_control/`. An error says what is wrong with it.
    fn control(
        &mut self,
        _store: &mut Store,
        _now: Timestamp,
        method: &str,
        path: &[&str],
        _body: &Value,
    ) -> Result<Value, String> {
        Err(format!("no control request {method} {}", path.join("/")))
    }

    /// What a request is counted as; by default its method and its path with ids taken out.
    fn endpoint(&self, _request: &Request) -> Option<String> {
        None
    }

    /// What the request takes one of the few places of, for as long as it is under way.
    fn lane(&self, _store: &Store, _request: &Request) -> Option<String> {
        None
    }

    /// Requests that may be under way in one lane.
    fn lane_requests_max(&self) -> usize {
        usize::MAX
    }

    /// The answer where a lane is full.
    fn crowded(&mut self) -> Answer {
        Answer::status(429)
    }

    /// Addresses that must answer a POST with an empty text before this request can be answered.
    fn handshakes(&mut self, _store: &Store, _now: Timestamp, _request: &Request) -> Vec<String> {
        Vec::new()
    }

    /// Deliveries on their way at the same time.
    fn deliveries_at_once(&self) -> usize {
        1
    }

    /// Takes the next delivery that is due, if the system makes any. Where more than one may be on its way, it is another
    /// one each time.
    fn next_delivery(&mut self, _store: &mut Store, _now: Timestamp) -> io::Result<Option<Delivery>> {
        Ok(None)
    }

    /// Turns what happened since the last round into deliveries.
    fn prepare_deliveries(&mut self, _store: &mut Store, _now: Timestamp) -> io::Result<()> {
        Ok(())
    }

    /// Records how the receiver answered; status 0 is no connection, 408 a time-out.
    fn settle_delivery(
        &mut self,
        _store: &mut Store,
        _now: Timestamp,
        _delivery: &Delivery,
        _status: u16,
    ) -> io::Result<()> {
        Ok(())
    }
}
