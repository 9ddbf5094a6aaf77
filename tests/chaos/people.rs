//! People who make and edit parties on both sides, and what both sides must hold because of it. No two edits of theirs
//! are in conflict: each field has one side on which it is edited, so that the last edit of each must be there in the
//! end, whatever happened to the fleet meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use simulators::{AdvowareSimulator, Dice, EspocrmSimulator, Record};
use system_tests::Fleet;
use system_tests::fleet::Webhook;
use system_tests::http::Http;

/// Between two things that people do, where a case says nothing else.
const PACE: Duration = Duration::from_millis(12);
/// How many webhooks are under way at once, where a case says nothing else.
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
    /// What may stand there as well, since the memory of what both sides agreed on was lost.
    pub earlier_first_names: Vec<String>,
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

/// The people, and the oracle.
pub struct People {
    dice: RefCell<Dice>,
    expected: RefCell<BTreeMap<String, Expected>>,
    number: Cell<usize>,
    /// Pause between two things that people do.
    pub pace: Cell<Duration>,
    /// How many webhooks are under way at once.
    pub webhooks_at_once: Cell<usize>,
    /// Whether nobody sends webhooks, so that sweeps must find what changed.
    pub is_silent: Cell<bool>,
    /// Whether sweeps come so often that there is always a message on its way.
    pub has_sweeps: Cell<bool>,
    /// Whether what both sides agreed on is forgotten, so that an edit in Advoware may be lost, and nothing else.
    pub is_forgotten: Cell<bool>,
    /// How many of a hundred new parties have no name, so that Advoware refuses them.
    pub nameless_percent: Cell<u8>,
    nameless: RefCell<Vec<String>>,
    given_up: RefCell<Vec<String>>,
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
            pace: Cell::new(PACE),
            webhooks_at_once: Cell::new(WEBHOOKS_AT_ONCE),
            is_silent: Cell::new(false),
            has_sweeps: Cell::new(false),
            is_forgotten: Cell::new(false),
            nameless_percent: Cell::new(0),
            nameless: RefCell::default(),
            given_up: RefCell::default(),
            accepted: Cell::new(0),
            refused: Cell::new(0),
        }
    }

    /// What must be there in the end, by the CRM's id.
    pub fn expected(&self) -> BTreeMap<String, Expected> {
        self.expected.borrow().clone()
    }

    /// The ids of the parties that Advoware refuses.
    pub fn nameless(&self) -> Vec<String> {
        self.nameless.borrow().clone()
    }

    /// Nobody works with this record any more, and nothing is expected of it.
    pub fn give_up(&self, id: &str) {
        self.expected.borrow_mut().remove(id);
        self.given_up.borrow_mut().push(id.to_owned());
    }

    /// Whether nothing is expected of this record.
    pub fn has_given_up(&self, id: &str) -> bool {
        self.given_up.borrow().iter().any(|given_up| given_up == id)
    }

    /// What both sides agreed on is forgotten: edits in Advoware that the CRM does not have yet may be lost.
    pub fn forget(&self, crm: &EspocrmSimulator) {
        self.is_forgotten.set(true);
        for (id, expected) in self.expected.borrow_mut().iter_mut() {
            let record = crm.record(id);
            let there = record.as_ref().and_then(|record| record["firstName"].as_str());
            expected
                .earlier_first_names
                .extend(there.filter(|name| *name != expected.first_name).map(str::to_owned));
        }
    }

    /// Somebody gave the nameless their names, so that nothing is refused any more.
    pub fn names_were_given(&self) {
        self.nameless.borrow_mut().clear();
    }

    /// Parties that only the CRM has yet.
    pub fn lay_out(&self, fleet: &Fleet, count: usize) {
        for _ in 0..count {
            let (fields, expected) = self.somebody_new();
            let id = fleet.crm.seed(fields).unwrap();
            self.expected.borrow_mut().insert(id, expected);
        }
    }

    /// Does one thing after the other, each told by a webhook that is sent until it is taken, for as long as `goes_on`
    /// says so of the number of things done.
    pub async fn work(&self, office: Office<'_>, goes_on: impl Fn(usize) -> bool) {
        let paced = stream::unfold(0, |done| {
            let goes_on = goes_on(done);
            async move {
                tokio::time::sleep(self.pace.get()).await;
                goes_on.then_some(((), done + 1))
            }
        });
        let one = async || {
            let event = self.act(office);
            if !self.is_silent.get() {
                self.tell(office, &event).await;
            }
        };
        paced.for_each_concurrent(self.webhooks_at_once.get(), |()| one()).await;
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
        let (mut fields, expected) = self.somebody_new();
        let share = f64::from(self.nameless_percent.get()) / 100.0;
        let id = if self.dice.borrow_mut().chance(share) {
            fields.shift_remove("lastName");
            let id = office.crm.create_as_person(&fields).unwrap();
            self.nameless.borrow_mut().push(id.clone());
            id
        } else {
            let id = office.crm.create_as_person(&fields).unwrap();
            self.expected.borrow_mut().insert(id.clone(), expected);
            id
        };
        event("create", &id, json!({ "lastName": "told" }))
    }

    /// Edits in Advoware, where that is wanted and nothing is on its way there; else in the CRM.
    pub fn edit(&self, office: Office<'_>, id: &str, in_advoware: bool) -> Event {
        let number = self.next_number();
        let key = if in_advoware { key_in_step(office, id) } else { None };
        let mut expected = self.expected.borrow_mut();
        let expected = expected.get_mut(id).expect("a record of these people");
        if let Some(key) = key {
            let before = std::mem::replace(&mut expected.first_name, format!("Vor{number}"));
            if self.is_forgotten.get() {
                expected.earlier_first_names.push(before);
            } else {
                expected.earlier_first_names.clear();
            }
            let fields = object(json!({ "vorname": expected.first_name }));
            office.advoware.edit_as_person(&key, &fields).unwrap();
        } else {
            expected.date_of_birth = day(number);
            let mut fields = object(json!({ "dateOfBirth": expected.date_of_birth }));
            if self.is_silent.get() {
                // What a sweep looks for.
                fields.insert("syncStatus".to_owned(), json!("dirty"));
            }
            office.crm.edit_as_person(id, &fields).unwrap();
        }
        event("update", id, json!({ "dateOfBirth": "told" }))
    }

    /// Tells of every record, as if each had been saved once more.
    pub async fn tell_of_all(&self, office: Office<'_>) {
        for id in self.expected().keys() {
            self.tell_of(office, id).await;
        }
    }

    /// A webhook that says that this record was changed.
    pub async fn tell_of(&self, office: Office<'_>, id: &str) {
        self.tell(office, &event("update", id, json!({ "dateOfBirth": "told" }))).await;
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
            earlier_first_names: Vec::new(),
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

/// The party's key, where both sides say the same. Advoware takes whole records and knows no versions, so that nobody
/// can save what a person writes there between our reading a party and our writing it.
fn key_in_step(office: Office<'_>, id: &str) -> Option<String> {
    let record = office.crm.record(id)?;
    let key = record["betnr"].as_u64()?.to_string();
    let party = office.advoware.record(&key)?;
    let same = [("lastName", "name"), ("firstName", "vorname"), ("dateOfBirth", "geburtsdatum")]
        .iter()
        .all(|(ours, theirs)| text(&record[*ours]) == text(&party[*theirs]));
    (same && record["syncStatus"] == "clean").then_some(key)
}

/// The text; of a date the day.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().split('T').next().unwrap_or_default().to_owned()
}

/// A day of its own for some ten thousand numbers.
fn day(number: usize) -> String {
    format!("{}-{:02}-{:02}", 1930 + number / 336 % 70, 1 + number / 28 % 12, 1 + number % 28)
}

pub fn object(value: Value) -> Record {
    value.as_object().cloned().expect("an object")
}
