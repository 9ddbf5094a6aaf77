//! Callbacks: what happened becomes an event, and the event goes to the one receiver, three times at most.

use std::io;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Wecom;
use super::contacts::{Done, departments_of};
use super::crypt::{self, encode};
use crate::store::{Change, Store};
use crate::upstream::{Delivery, Record};

pub(super) const QUEUE: &str = "events";
const COUNTERS: &str = "counters";
/// Deliveries of one event, the first included.
const TRIES_MAX: u64 = 3;
/// Events that wait at most; further ones are lost.
const QUEUE_MAX: u64 = 200_000;
/// Among how many of the oldest one is chosen where they are shuffled.
const SHUFFLED_MAX: usize = 1_000;

impl Wecom {
    /// Makes an event of what was done, if the receiver is told of it.
    pub(super) fn tell(&mut self, store: &mut Store, now: Timestamp, done: &Done) -> io::Result<()> {
        let Some(callback) = self.options.callback.as_ref().filter(|callback| callback.own_events) else {
            return Ok(());
        };
        match event(done, callback.is_old) {
            Some(event) => self.queue(store, now, &event).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Puts an event at the end of the queue: `{"ChangeType": "create_user", "UserID": …}`, with what is not said filled in.
    /// Answers how often it will come.
    pub(super) fn queue(&mut self, store: &mut Store, now: Timestamp, event: &Value) -> io::Result<u32> {
        let Some(callback) = &self.options.callback else { return Ok(0) };
        let (lost, doubled) = (callback.lost_probability, callback.doubled_probability);
        if self.dice.chance(lost) || waiting(store) >= QUEUE_MAX {
            count(store, now, "lost")?;
            return Ok(0);
        }
        let copies = if self.dice.chance(doubled) { 2 } else { 1 };
        let message = self.message(event, now);
        for _ in 0..copies {
            let key = store.get(COUNTERS, QUEUE).and_then(Value::as_u64).unwrap_or(0) + 1;
            let row = json!({ "message": message, "due": now.to_string(), "tries": 0 });
            let changes = vec![
                Change::set(COUNTERS, QUEUE, json!(key)),
                Change::set(QUEUE, &format!("{key:020}"), row),
            ];
            store.commit(now, None, changes)?;
        }
        Ok(copies)
    }

    /// The event as XML.
    fn message(&self, event: &Value, now: Timestamp) -> String {
        let fields = event.as_object().cloned().unwrap_or_default();
        let kind = if fields.contains_key("ChangeType") { "change_contact" } else { "batch_job_result" };
        let mut head = Record::new();
        head.insert("ToUserName".to_owned(), json!(self.options.corp_id));
        head.insert("FromUserName".to_owned(), json!("sys"));
        head.insert("CreateTime".to_owned(), json!(now.as_second()));
        head.insert("MsgType".to_owned(), json!("event"));
        head.insert("Event".to_owned(), json!(kind));
        head.extend(fields);
        let elements: String = head.iter().map(|(name, value)| element(name, value)).collect();
        format!("<xml>{elements}</xml>")
    }

    pub(super) fn next_event(&mut self, store: &Store, now: Timestamp) -> Option<Delivery> {
        let due = |row: &Value| {
            row["due"].as_str().and_then(|due| due.parse::<Timestamp>().ok()).is_none_or(|due| due <= now)
        };
        let callback = self.options.callback.clone()?;
        let ready = store.rows(QUEUE).filter(|(key, row)| !self.on_their_way.contains(*key) && due(row));
        let ready: Vec<_> = ready.take(if callback.shuffled { SHUFFLED_MAX } else { 1 }).collect();
        let at = if callback.shuffled { self.dice.below(ready.len()) } else { 0 };
        let (key, row) = ready.get(at).copied()?;
        let message = row["message"].as_str().unwrap_or_default();
        let sealed = crypt::seal(&callback, &self.options.corp_id, message, now.as_second(), &mut self.dice)?;
        self.on_their_way.insert(key.clone());
        let join = if callback.url.contains('?') { '&' } else { '?' };
        let body = format!(
            "<xml><ToUserName><![CDATA[{}]]></ToUserName><Encrypt><![CDATA[{}]]></Encrypt><AgentID><![CDATA[]]></AgentID></xml>",
            self.options.corp_id, sealed.encrypted
        );
        Some(Delivery {
            items: vec![key.clone()],
            url: format!("{}{join}{}", callback.url, sealed.query),
            headers: vec![("Content-Type", "text/xml".to_owned())],
            body,
        })
    }

    /// Anything but 200 is a failure.
    pub(super) fn settle_event(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        delivery: &Delivery,
        status: u16,
    ) -> io::Result<()> {
        for key in &delivery.items {
            self.on_their_way.remove(key);
            let Some(mut row) = store.get(QUEUE, key).cloned() else { continue };
            let tries = row["tries"].as_u64().unwrap_or(0) + 1;
            if status != 200 && tries < TRIES_MAX {
                let delay = self
                    .options
                    .callback
                    .as_ref()
                    .map_or_else(Default::default, |callback| callback.retry_delay);
                let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::ZERO);
                row["tries"] = json!(tries);
                row["due"] = json!(now.checked_add(delay).unwrap_or(now).to_string());
                store.commit(now, None, vec![Change::set(QUEUE, key, row)])?;
                continue;
            }
            store.commit(now, None, vec![Change::remove(QUEUE, key)])?;
            count(store, now, if status == 200 { "delivered" } else { "lost" })?;
        }
        Ok(())
    }

    /// `{"waiting", "delivered", "lost"}`.
    pub(super) fn event_counts(store: &Store) -> Value {
        let counted =
            |name: &str| store.get(COUNTERS, &format!("events_{name}")).and_then(Value::as_u64).unwrap_or(0);
        json!({ "waiting": store.rows(QUEUE).count(), "delivered": counted("delivered"), "lost": counted("lost") })
    }

    /// A check of the address: the query that WeCom would `GET` with, and what it wants to hear.
    pub(super) fn address_check(&mut self, now: Timestamp) -> Option<Value> {
        let callback = self.options.callback.clone()?;
        let echo = (self.dice.roll() >> 1).to_string();
        let sealed = crypt::seal(&callback, &self.options.corp_id, &echo, now.as_second(), &mut self.dice)?;
        let query = format!("{}&echostr={}", sealed.query, encode(&sealed.encrypted));
        Some(json!({ "query": query, "answer": echo }))
    }
}

/// How many wait, those counted in between that left before their turn.
fn waiting(store: &Store) -> u64 {
    let number =
        |row: Option<(&String, &Value)>| row.and_then(|(key, _)| key.parse::<u64>().ok()).unwrap_or(0);
    number(store.rows(QUEUE).next_back()).saturating_sub(number(store.rows(QUEUE).next()))
}

fn count(store: &mut Store, now: Timestamp, name: &str) -> io::Result<()> {
    let key = format!("events_{name}");
    let number = store.get(COUNTERS, &key).and_then(Value::as_u64).unwrap_or(0) + 1;
    store.commit(now, None, vec![Change::set(COUNTERS, &key, json!(number))])
}

/// Numbers as they are, text in CDATA, lists with commas, records as elements in it.
fn element(name: &str, value: &Value) -> String {
    let text = |text: &str| format!("<![CDATA[{}]]>", text.replace("]]>", "]]]]><![CDATA[>"));
    let inner = match value {
        Value::Null => String::new(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(words) => text(words),
        Value::Array(items) => {
            let word = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
            text(&items.iter().map(word).collect::<Vec<_>>().join(","))
        }
        Value::Object(fields) => fields.iter().map(|(name, value)| element(name, value)).collect(),
    };
    format!("<{name}>{inner}</{name}>")
}

/// The event of what was done, in the shape of the receiver's age; none where it is not told.
fn event(done: &Done, is_old: bool) -> Option<Value> {
    let ids = |change: &str, member: &Value| json!({ "ChangeType": change, "UserID": member["userid"] });
    let event = match done {
        Done::MemberCreated { after } => {
            let mut event = ids("create_user", after);
            event["Department"] = json!(departments_of(after));
            if is_old {
                add(&mut event, after, after.as_object()?.keys());
            }
            event
        }
        Done::MemberUpdated { before, after } => {
            let mut event = ids("update_user", before);
            let renamed = before["userid"] != after["userid"];
            if renamed {
                event["NewUserID"] = after["userid"].clone();
            }
            let moved = before["department"] != after["department"];
            if is_old {
                let changed: Vec<&String> = after
                    .as_object()?
                    .iter()
                    .filter(|(name, value)| before.get(name.as_str()) != Some(value))
                    .map(|(name, _)| name)
                    .collect();
                add(&mut event, after, changed.into_iter());
            } else if !renamed && !moved {
                // [A] Told only when a department or the id changes.
                return None;
            }
            if renamed || moved {
                event["Department"] = json!(departments_of(after));
            }
            event
        }
        Done::MemberDeleted { before } => ids("delete_user", before),
        Done::DepartmentCreated { after } => {
            let mut event =
                json!({ "ChangeType": "create_party", "Id": after["id"], "ParentId": after["parentid"] });
            if is_old {
                event["Name"] = after["name"].clone();
                event["Order"] = after["order"].clone();
            }
            event
        }
        Done::DepartmentUpdated { before, after } => {
            let moved = before["parentid"] != after["parentid"];
            let mut event = json!({ "ChangeType": "update_party", "Id": after["id"] });
            if moved {
                event["ParentId"] = after["parentid"].clone();
            } else if !is_old {
                // A renamed department makes no event.
                return None;
            }
            if is_old && before["name"] != after["name"] {
                event["Name"] = after["name"].clone();
            }
            event
        }
        Done::DepartmentDeleted { before } => json!({ "ChangeType": "delete_party", "Id": before["id"] }),
        Done::TagUpdated { change } => {
            let mut event = json!({ "ChangeType": "update_tag" });
            if let (Some(event), Some(change)) = (event.as_object_mut(), change.as_object()) {
                event.extend(change.clone());
            }
            event
        }
    };
    Some(event)
}

/// The elements of the full shape.
const ELEMENTS: [(&str, &str); 12] = [
    ("name", "Name"),
    ("main_department", "MainDepartment"),
    ("is_leader_in_dept", "IsLeaderInDept"),
    ("direct_leader", "DirectLeader"),
    ("position", "Position"),
    ("mobile", "Mobile"),
    ("gender", "Gender"),
    ("email", "Email"),
    ("biz_mail", "BizMail"),
    ("status", "Status"),
    ("alias", "Alias"),
    ("telephone", "Telephone"),
];

fn add<'a>(event: &mut Value, member: &Value, changed: impl Iterator<Item = &'a String>) {
    for field in changed {
        if let Some((_, element)) = ELEMENTS.iter().find(|(name, _)| name == field) {
            event[*element] = member[field].clone();
        }
    }
}
