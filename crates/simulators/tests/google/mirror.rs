//! Whoever follows pages and increments ends up with what there is, whatever happens in between.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simulators::google::GoogleSimulator;
use simulators::{Dice, GoogleOptions};

use super::{ANNA, BERND, Client, EVENTS, configure, encoded, guests, meeting, options, with};
use crate::replay::object;

/// What a client that only lists knows, by id.
#[derive(Default)]
struct Mirror {
    events: BTreeMap<String, Value>,
    token: Option<String>,
}

impl Mirror {
    /// One list from its first page to its last; `between` happens after each page. A 410 starts all over.
    async fn follow(&mut self, client: &Client, page_items: usize, mut between: impl FnMut()) {
        let mut page = String::new();
        let mut seen = BTreeMap::new();
        loop {
            let token = self.token.as_ref().map(|token| format!("&syncToken={}", encoded(token)));
            let query = format!("maxResults={page_items}{}{page}", token.clone().unwrap_or_default());
            let got = client.get(&format!("{EVENTS}?{query}")).await;
            if got.status == 410 {
                self.token = None;
                page.clear();
                seen.clear();
                continue;
            }
            assert_eq!(got.status, 200, "{got:?}");
            let body = got.json();
            for item in body["items"].as_array().unwrap() {
                seen.insert(item["id"].as_str().unwrap().to_owned(), item.clone());
            }
            between();
            if let Some(next) = body["nextPageToken"].as_str() {
                page = format!("&pageToken={}", encoded(next));
                continue;
            }
            if self.token.is_none() {
                // A full list has no tombstones: what it does not name is gone.
                self.events.clear();
            }
            self.events.append(&mut seen);
            self.token = Some(body["nextSyncToken"].as_str().unwrap().to_owned());
            return;
        }
    }

    /// The living events with their etags, and the cancelled occurrences of living series.
    fn known(&self) -> BTreeMap<String, Value> {
        let is_alive = |event: &Value| event["status"] != "cancelled";
        let shown = self.events.iter().filter(|(_, event)| {
            let master = event["recurringEventId"].as_str().and_then(|master| self.events.get(master));
            is_alive(event) || master.is_some_and(is_alive)
        });
        shown.map(|(id, event)| (id.clone(), event["etag"].clone())).collect()
    }
}

/// One thing that a person does.
fn act(google: &GoogleSimulator, dice: &mut Dice) {
    let known: Vec<String> = google
        .records()
        .iter()
        .map(|event| {
            let id = event["id"].as_str().unwrap();
            let is_series = event.get("recurrence").is_some();
            let start = event["start"]["dateTime"].as_str().unwrap_or_default();
            let id = match is_series && id.len() < 28 && start.len() > 10 {
                true => format!("{id}_{}T090000Z", start[..10].replace('-', "")),
                false => id.to_owned(),
            };
            format!("{}:{id}", event["calendarId"].as_str().unwrap())
        })
        .collect();
    let day = u8::try_from(1 + dice.below(25)).unwrap();
    let pick = dice.pick(&known);
    let master = pick.split('_').next().unwrap_or_default().to_owned();
    let summary = format!("{}", dice.roll());
    let invited = guests(&[ANNA, BERND]);
    // Chosen by the dice, so that a seed plays the same again.
    let body = with(meeting(&summary, day, 10), json!({ "id": format!("{:016x}", dice.roll()) }));
    // What is refused (an event that is gone, what only the organiser may) leaves everything as it was.
    let _outcome = match dice.below(10) {
        0..=2 => google.create_as_person(&object(body)).map(|_| ()),
        3 => {
            let series = with(body, json!({ "recurrence": ["RRULE:FREQ=DAILY;COUNT=4"] }));
            google.create_as_person(&object(series)).map(|_| ())
        }
        4 => {
            let body = with(body, json!({ "calendarId": BERND, "attendees": invited }));
            google.create_as_person(&object(body)).map(|_| ())
        }
        5 | 6 => google.edit_as_person(&pick, &object(json!({ "summary": summary }))),
        7 => google.edit_as_person(&master, &object(json!({ "recurrence": ["RRULE:FREQ=DAILY;COUNT=2"] }))),
        8 => google.delete_as_person(&pick),
        _ => google.delete_as_person(&master),
    };
}

#[tokio::test]
async fn pages_and_increments_lead_to_what_there_is() {
    for seed in 0..12 {
        let options = GoogleOptions { page_items_max: Some(3), ..options() };
        let google = GoogleSimulator::start(options).await.unwrap();
        let client = Client::new(&google, ANNA);
        let mut dice = Dice::new(seed);
        let mut mirror = Mirror::default();
        for _ in 0..12 {
            for _ in 0..dice.below(6) {
                act(&google, &mut dice);
            }
            if dice.chance(0.2) {
                configure(&google, json!({ "expire_at_page": 1 + dice.below(3) }));
            }
            configure(&google, json!({ "empty_page_every": 2 + dice.below(3) }));
            let page_items = 1 + dice.below(5);
            mirror
                .follow(&client, page_items, || {
                    if dice.chance(0.3) {
                        act(&google, &mut dice);
                    }
                })
                .await;
        }
        // Once more in peace: what happened while it paged is in this increment at the latest.
        mirror.follow(&client, 5, || {}).await;
        let mut oracle = Mirror::default();
        oracle.follow(&client, 250, || {}).await;
        assert_eq!(mirror.known(), oracle.known(), "seed {seed}");
        assert!(oracle.events.len() > 3, "seed {seed} made too little");
    }
}
