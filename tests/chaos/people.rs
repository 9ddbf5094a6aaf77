//! People who make and edit parties on both sides, and what both sides must hold because of it. No two edits of theirs
//! are in conflict: each field has one side on which it is edited, so that the last edit of each must be there in the
//! end, whatever happened to the fleet meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use simulators::{AdvowareSimulator, Dice, EspocrmSimulator, Record};
use system_tests::Fleet;
use system_tests::fleet::Webhook;
use system_tests::http::Http;

/// How many webhooks are under way at once.
const WEBHOOKS_AT_ONCE: usize = 8;
/// Pause before a refused webhook is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// A webhook that nobody takes for so long fails the case.
const NOBODY_FOR: Duration = Duration::from_secs(180);
/// Shares of what people do.
const CREATES: f64 = 0.25;
const EDITS_IN_ADVOWARE: f64 = 0.3;

/// What must be there in the end for one record.
#[derive(Debug, Clone)]
pub struct Expected {
    pub last_name: String,
    /// Edited in Advoware.
    pub first_name: String,
    /// Edited in the CRM.
    pub date_of_birth: String,
}

/// The systems that people work with.
#[derive(Clone, Copy)]
pub struct Office<'a> {
    pub crm: &'a EspocrmSimulator,
    pub advoware: &'a AdvowareSimulator,
    pub http: &'a Http,
    pub webhooks: &'a [Webhook],
}

impl<'a> Office<'a> {
    pub fn of(fleet: &'a Fleet) -> Self {
        Self { crm: &fleet.crm, advoware: &fleet.advoware, http: &fleet.http, webhooks: &fleet.webhooks }
    }
}

/// The people, and the oracle.
pub struct People {
    dice: RefCell<Dice>,
    expected: RefCell<BTreeMap<String, Expected>>,
    number: Cell<usize>,
    pub accepted: Cell<usize>,
    pub refused: Cell<usize>,
}

/// What somebody did, to be told to the fleet.
pub struct Event {
    pub operation: &'static str,
    pub body: String,
}

impl People {
    pub fn new(seed: u64) -> Self {
        Self {
            dice: RefCell::new(Dice::new(seed)),
            expected: RefCell::default(),
            number: Cell::new(0),
            accepted: Cell::new(0),
            refused: Cell::new(0),
        }
    }

    /// What must be there in the end, by the CRM's id.
    pub fn expected(&self) -> BTreeMap<String, Expected> {
        self.expected.borrow().clone()
    }

    /// Parties that only the CRM has yet.
    pub fn lay_out(&self, fleet: &Fleet, count: usize) {
        for _ in 0..count {
            let (fields, expected) = self.somebody_new();
            let id = fleet.crm.seed(fields).unwrap();
            self.expected.borrow_mut().insert(id, expected);
        }
    }

    /// Does so many things, one after the other, each told by a webhook that is sent until it is taken.
    pub async fn work(&self, office: Office<'_>, count: usize, pause: Duration) {
        let permits = tokio::sync::Semaphore::new(WEBHOOKS_AT_ONCE);
        let one = async || {
            let _permit = permits.acquire().await.expect("never closed");
            let event = self.act(office);
            self.tell(office, &event).await;
        };
        let paced = futures_util::stream::unfold(0, |done| async move {
            tokio::time::sleep(pause).await;
            (done < count).then_some(((), done + 1))
        });
        futures_util::StreamExt::for_each_concurrent(paced, WEBHOOKS_AT_ONCE, |()| one()).await;
    }

    /// One thing that somebody does.
    pub fn act(&self, office: Office<'_>) -> Event {
        let (create, in_advoware, chosen) = {
            let mut dice = self.dice.borrow_mut();
            let chosen = dice.below(self.expected.borrow().len());
            (dice.chance(CREATES), dice.chance(EDITS_IN_ADVOWARE), chosen)
        };
        let id = self.expected.borrow().keys().nth(chosen).cloned();
        match id {
            Some(id) if !create => self.edit(office, &id, in_advoware),
            _ => self.create(office),
        }
    }

    fn create(&self, office: Office<'_>) -> Event {
        let (fields, expected) = self.somebody_new();
        let id = office.crm.create_as_person(&fields).unwrap();
        self.expected.borrow_mut().insert(id.clone(), expected);
        event("create", &id, json!({ "lastName": "told" }))
    }

    /// Edits in Advoware, where the party is there and that is wanted; else in the CRM.
    pub fn edit(&self, office: Office<'_>, id: &str, in_advoware: bool) -> Event {
        let number = self.next_number();
        let key = if in_advoware { key_of(office.crm, id) } else { None };
        let mut expected = self.expected.borrow_mut();
        let expected = expected.get_mut(id).expect("a record of these people");
        if let Some(key) = key {
            expected.first_name = format!("Vor{number}");
            let fields = object(json!({ "vorname": expected.first_name }));
            office.advoware.edit_as_person(&key, &fields).unwrap();
        } else {
            expected.date_of_birth = day(number);
            let fields = object(json!({ "dateOfBirth": expected.date_of_birth }));
            office.crm.edit_as_person(id, &fields).unwrap();
        }
        event("update", id, json!({ "dateOfBirth": "told" }))
    }

    /// Sends a webhook until somebody takes it.
    pub async fn tell(&self, office: Office<'_>, event: &Event) {
        let taken = tokio::time::timeout(NOBODY_FOR, async {
            while !self.tell_once(office, event).await {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        });
        taken.await.expect("somebody who takes a webhook");
    }

    /// Sends a webhook to one of the producers; answers whether it was taken.
    pub async fn tell_once(&self, office: Office<'_>, event: &Event) -> bool {
        let fitting: Vec<&Webhook> =
            office.webhooks.iter().filter(|hook| hook.url.ends_with(event.operation)).collect();
        let hook = fitting[self.dice.borrow_mut().below(fitting.len())];
        let answer = office.http.deliver(hook, event.body.clone()).await;
        let is_taken = answer.is_ok_and(|answer| (200..300).contains(&answer.status));
        let count = if is_taken { &self.accepted } else { &self.refused };
        count.set(count.get() + 1);
        is_taken
    }

    fn somebody_new(&self) -> (Record, Expected) {
        let number = self.next_number();
        let expected = Expected {
            last_name: format!("Nachname{number}"),
            first_name: format!("Vor{number}"),
            date_of_birth: day(number),
        };
        let fields = json!({ "lastName": expected.last_name, "firstName": expected.first_name,
            "dateOfBirth": expected.date_of_birth, "syncStatus": "pending_sync", "syncRetryCount": 0 });
        (object(fields), expected)
    }

    fn next_number(&self) -> usize {
        self.number.set(self.number.get() + 1);
        self.number.get()
    }
}

fn event(operation: &'static str, id: &str, changed: Value) -> Event {
    let mut item = object(changed);
    item.insert("id".to_owned(), json!(id));
    Event { operation, body: json!([item]).to_string() }
}

/// The party's key, where the CRM shows one.
fn key_of(crm: &EspocrmSimulator, id: &str) -> Option<String> {
    let records = crm.records();
    let record = records.iter().find(|record| record["id"] == *id)?;
    record["betnr"].as_u64().map(|key| key.to_string())
}

/// A day of its own for some ten thousand numbers.
fn day(number: usize) -> String {
    format!("{}-{:02}-{:02}", 1930 + number / 336 % 70, 1 + number / 28 % 12, 1 + number % 28)
}

pub fn object(value: Value) -> Record {
    value.as_object().cloned().expect("an object")
}
